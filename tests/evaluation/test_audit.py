from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from avwitness.cli import app
from avwitness.datasets.manifest import read_labels
from avwitness.evaluation import audit as auditing
from avwitness.evaluation.audit import Probe, audit, audit_stream, is_leak, make_folds, probe_auc, section
from avwitness.evaluation.metrics import Interval
from avwitness.evaluation.shortcuts import NUMBERS, TAGS, StreamStatistics
from avwitness.media.encode import write_media
from makers import noise_frames
from typer.testing import CliRunner

RATE = 16_000
PAIRS = 30  # genuine clips of a made-up set, each of its own speaker and with one fake


# Numbers alone


def rows(count: int, people: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and identities: every person has as many fakes as genuine clips."""
    return np.arange(count) % 2, (np.arange(count) // 2) % people


def auc_of(x: np.ndarray, labels: np.ndarray, people: np.ndarray, seed: int = 0) -> Interval:
    return probe_auc(x.reshape(len(labels), -1), labels, make_folds(people, labels, seed), people, seed)


def test_noise_is_no_leak() -> None:
    labels, people = rows(2000, 50)
    found = [auc_of(np.random.default_rng(seed).normal(size=(2000, 2)), labels, people, seed) for seed in range(10)]
    assert np.mean([auc.value for auc in found]) == pytest.approx(0.5, abs=0.01)
    assert sum(is_leak(auc) for auc in found) <= 1  # one in forty intervals lies above 0.5 by chance
    assert max(auc.value for auc in found) < 0.55


def test_noise_does_not_rank_backwards_where_folds_differ_in_balance() -> None:
    # Every person is wholly fake or wholly genuine, and they differ in size: no division into folds is even.
    rng = np.random.default_rng(0)
    sizes = rng.integers(5, 60, 14)
    people = np.repeat(np.arange(14), sizes)
    labels = people % 2
    values = [auc_of(rng.normal(size=len(people)), labels, people, seed).value for seed in range(12)]
    assert np.mean(values) == pytest.approx(0.5, abs=0.03)


def test_relations_that_rise_and_fall_are_found() -> None:
    rng = np.random.default_rng(0)
    labels, people = rows(400, 40)
    ring = np.where(labels == 1, rng.choice([-1, 1], 400) * rng.uniform(1.0, 2.0, 400), rng.uniform(-1.2, 1.2, 400))
    comb = np.where(labels == 1, rng.integers(0, 8, 400) / 4, rng.uniform(0, 2, 400))
    missing = np.where(labels == 1, np.nan, rng.normal(size=400))
    for x, least in ((ring, 0.85), (comb, 0.6), (missing, 0.99)):
        auc = auc_of(x, labels, people)
        assert auc.value > least
        assert auc.low > 0.5


def test_a_person_is_no_shortcut() -> None:
    # Each person has a pitch of their own and is always fake or always genuine: known people would be recognised.
    rng = np.random.default_rng(1)
    people = np.repeat(np.arange(40), 10)
    labels = people % 2
    pitch = rng.uniform(0, 1, 40)[people] + 0.001 * rng.normal(size=400)
    known = probe_auc(pitch[:, None], labels, np.arange(400) % 5, people)
    held_out = auc_of(pitch, labels, people)
    assert known.value > 0.8
    assert held_out.value < 0.6
    for fold in range(5):
        folds = make_folds(people, labels)
        assert not set(people[folds == fold]) & set(people[folds != fold])


def test_numbers_that_do_not_vary_or_do_not_exist() -> None:
    labels, people = rows(100, 20)
    assert auc_of(np.ones(100), labels, people) == Interval(0.5, 0.5, 0.5)
    assert probe_auc(np.zeros((100, 0)), labels, make_folds(people, labels), people).value == 0.5
    nothing = Probe("x", auc_of(np.full(100, np.nan), labels, people))
    assert nothing.verdict == "not there"
    assert not nothing.leak


def test_what_counts_as_a_leak() -> None:
    for auc, among, verdict in (
        (Interval(0.56, 0.4, 0.7), 1, "suspect"),
        (Interval(0.53, 0.51, 0.55), 1, "leak"),
        (Interval(0.525, 0.505, 0.545), 14, "suspect"),  # one of fourteen is that far off by chance in a tenth of all sets
        (Interval(0.6, 0.55, 0.65), 14, "leak"),
        (Interval(1.0, 1.0, 1.0), 14, "leak"),
        (Interval(0.54, 0.49, 0.6), 1, "clean"),
        (Interval(0.3, 0.2, 0.4), 1, "clean"),
        (Interval(0.5, 0.5, 0.5), 1, "clean"),
    ):
        assert Probe("x", auc, among).verdict == verdict
        assert is_leak(auc, among) == (verdict == "leak")


def made_up(
    change: Callable[[dict[str, list[float]], int], None], families: Sequence[str] = ("a",), people: int = 30
) -> auditing.StreamAudit:
    """An audio stream of 240 clips in which every number is noise that genuine clip and fake share, until changed."""
    rng = np.random.default_rng(0)
    labels, identities = rows(240, people)
    statistics = []
    for pair in range(120):
        numbers = {name: rng.normal(size=len(units)).tolist() for name, units in NUMBERS["audio"].items()}
        for label in (0, 1):
            own = {name: list(values) for name, values in numbers.items()}
            if label:
                change(own, pair)
            statistics.append(StreamStatistics(own, ["codec=aac"]))
    family = [families[i // 2 % len(families)] if label else "real" for i, label in enumerate(labels)]
    sources = [f"clip{i // 2}" for i in range(240)]
    frame = pd.DataFrame({"identity": [f"p{i}" for i in identities], "source": sources, "family": family})
    return audit_stream("audio", frame, labels, statistics, 0, lambda *_: None)


@pytest.fixture(scope="module")
def untouched() -> auditing.StreamAudit:
    return made_up(lambda *_: None)


@pytest.fixture(scope="module")
def three_kinds() -> auditing.StreamAudit:
    """Fakes of three families, two of which run too long."""

    def longer(numbers: dict[str, list[float]], pair: int) -> None:
        if pair % 2:
            numbers["duration"][1] += 5.0

    return made_up(longer, ("sound", "cut") * 9 + ("sound", "rare"))


def test_the_planted_number_is_named(untouched: auditing.StreamAudit) -> None:
    def louder(numbers: dict[str, list[float]], _: int) -> None:
        numbers["loudness"][0] += 3.0

    assert made_up(louder).leaks == ["loudness"]
    assert untouched.leaks == []


def test_the_worst_probe_of_every_family(three_kinds: auditing.StreamAudit, untouched: auditing.StreamAudit) -> None:
    families = {family.name: family for family in three_kinds.families}
    assert {name: family.fakes for name, family in families.items()} == {"sound": 60, "cut": 54, "rare": 6}
    assert families["rare"].worst is None
    assert families["cut"].worst is not None and families["sound"].worst is not None
    assert families["cut"].worst.name == "duration"
    assert families["cut"].worst.auc.value > 0.95
    assert families["sound"].worst.auc.value < 0.6
    assert untouched.families == []  # one family is the whole


def test_one_identity_is_divided_by_source_clip(untouched: auditing.StreamAudit) -> None:
    alone = made_up(lambda *_: None, people=1)
    assert (alone.grouped_by, alone.drawn, alone.identities) == ("source clip", "source clips", 1)
    assert (untouched.grouped_by, untouched.drawn, untouched.identities, untouched.folds) == ("identity", "identities", 30, 5)


# Files


def voice(seed: int, wait: float) -> np.ndarray:
    """Two bursts with 150 ms of silence between them; ``wait`` seconds of it are moved to the start."""
    rng = np.random.default_rng(seed)
    dull, loud = rng.integers(2, 12), 10.0 ** rng.uniform(-2.0, -1.0)
    bursts = [loud * np.convolve(rng.standard_normal(4000), np.ones(dull) / dull, mode="same") for _ in range(2)]
    begin, rest = round(wait * RATE), round((0.15 - wait) * RATE)
    return np.concatenate([np.zeros(begin), bursts[0], np.zeros(rest), bursts[1], np.zeros(rng.integers(0, 800))]).astype(np.float32)


def collection(folder: Path, make: Callable[[Path, int, int], Path], *, video: bool, audio: bool) -> Path:
    """A set of pairs; ``make(stem, clip, label)`` writes one file."""
    table = []
    for clip in range(PAIRS):
        for label in (0, 1):
            file = make(folder / f"{clip}_{label}", clip, label)
            labels = {"video_label": label if video else None, "audio_label": label if audio else None}
            table.append(
                {"path": file.name, **labels, "identity": f"p{clip % 20}", "source_clip": f"clip{clip}", "family": "f" if label else ""}
            )
    pd.DataFrame(table).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


def leaks(manifest: Path) -> dict[str, set[str]]:
    result = audit(read_labels(manifest))
    assert not result.unreadable
    return {stream.stream: set(stream.leaks) for stream in result.streams}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def upside_down(stem: Path, clip: int, label: int) -> Path:
        # A fake that no trivial statistic sees: the same sound with its sign turned.
        sound = voice(clip, 0.03) * (-1.0 if label else 1.0)
        return write_media(stem.with_suffix(".wav"), waveform=sound, audio_codec="pcm_s16le")

    return collection(tmp_path_factory.mktemp("clean"), upside_down, video=False, audio=True)


def late(stem: Path, clip: int, label: int) -> Path:
    return write_media(stem.with_suffix(".wav"), waveform=voice(clip, 0.12 if label else 0.0), audio_codec="pcm_s16le")


def test_a_clean_set_passes(clean: Path) -> None:
    assert leaks(clean) == {"audio": set()}


def test_leading_silence_is_caught(tmp_path: Path) -> None:
    found = leaks(collection(tmp_path, late, video=False, audio=True))["audio"]
    # The silence also moves the sound against the 400-ms blocks of the loudness.
    assert "leading silence" in found
    assert found <= {"leading silence", "loudness"}


def test_a_lower_bit_rate_is_caught(tmp_path: Path) -> None:
    def thrifty(stem: Path, clip: int, label: int) -> Path:
        return write_media(stem.with_suffix(".m4a"), waveform=voice(clip, 0.0), audio_bit_rate=32_000 if label else 64_000)

    # What a thrifty encoder leaves out may be missed in the spectrum, and nowhere else.
    found = leaks(collection(tmp_path, thrifty, video=False, audio=True))["audio"]
    assert "bit rate" in found
    assert found <= {"bit rate", "bandwidth", "spectral slope"}


def test_an_encoder_tag_is_caught(tmp_path: Path) -> None:
    def signed(stem: Path, clip: int, label: int) -> Path:
        whole = write_media(stem.with_suffix(".whole.mp4"), noise_frames(10, side=64, seed=clip), voice(clip, 0.02))
        target = stem.with_suffix(".mp4")
        with av.open(str(whole)) as source, av.open(str(target), "w") as copy:
            streams = {stream.index: copy.add_stream_from_template(stream) for stream in source.streams}
            streams[0].metadata["handler_name"] = "Forgery" if label else "VideoHandler"
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream.index]
                    copy.mux(packet)
        return target

    assert leaks(collection(tmp_path, signed, video=True, audio=True)) == {"audio": set(), "video": {TAGS}}


def test_what_was_measured_is_not_measured_again(clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = read_labels(clean)
    steps: list[tuple[str, int, int]] = []
    first = audit(table, cache=tmp_path, on_step=lambda *step: steps.append(step))
    assert ("reading clips", 2 * PAIRS, 2 * PAIRS) in steps
    assert steps[-1][0] == "probing audio"
    assert steps[-1][1] == steps[-1][2]
    lines = (tmp_path / auditing.CACHE_NAME).read_text().splitlines()
    (tmp_path / auditing.CACHE_NAME).write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:40])  # interrupted while writing
    read: list[Path] = []
    real = auditing.measure
    monkeypatch.setattr(auditing, "measure", lambda file: (read.append(file), real(file))[1])
    assert str(audit(table, cache=tmp_path)) == str(first)  # NaN is equal to itself only in writing
    assert len(read) == 1
    assert str(audit(table, cache=tmp_path)) == str(first)
    assert len(read) == 1
    os.utime(table.file[0])
    audit(table, cache=tmp_path)
    assert read[1:] == [table.file[0]]


def test_a_file_that_kills_its_reader_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    # In place of files, signals for the reading process: 9 kills it, 0 does nothing.
    monkeypatch.setattr(auditing, "_try", signal.raise_signal)
    monkeypatch.setattr(auditing, "_settle", os.getpid)
    found = dict(auditing._measured([0, 9], 2))  # type: ignore[list-item]
    assert found[0] is None  # type: ignore[index]
    assert "died" in str(found[9])  # type: ignore[index]


# The command


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["audit", *map(str, arguments), "--workers", "1"])
    return done.exit_code, done.output


def test_the_command(clean: Path, tmp_path: Path, broken_files: dict[str, Path]) -> None:
    code, text = run(clean)
    assert code == 0
    assert "No statistic gives the label away." in text
    table = pd.read_csv(clean)
    table["path"] = [str(clean.parent / name) for name in table.path]
    table["split"] = ["dev", "test"] * (len(table) // 2)
    table.loc[table.audio_label == 1, "path"] = [str(late(tmp_path / f"late{clip}", clip, 1)) for clip in range(PAIRS)]
    extra = pd.DataFrame(
        [{"path": str(broken_files[kind]), "audio_label": 1, "identity": "x", "split": "test"} for kind in ("text", "missing")]
    )
    pd.concat([table, extra]).to_parquet(tmp_path / "manifest.parquet")
    out = tmp_path / "RESULTS.md"
    out.write_text("# Results\n\n<!-- other: begin -->\nkept\n<!-- other: end -->\n")
    code, text = run(tmp_path, "--out", out, "--section", "mine", "--title", "My set", "--cache", tmp_path / "cache")
    assert code == 3
    assert "The label leaks. audio: leading silence" in text
    assert f"{2 * PAIRS + 2} clips, 2 of them not readable" in text
    assert "text.mp4" in text and "missing.mp4" in text
    written = out.read_text()
    assert "kept" in written
    assert "<!-- mine: begin -->\n# My set\n" in written
    assert f"avwitness audit {tmp_path} --seed 0" in written
    assert "| leading silence | 1.000 [1.000, 1.000] | leak |" in written
    assert f"{PAIRS} genuine and {PAIRS} fake clips of 20 identities; 5 folds" in written


def test_usage_errors_name_file_and_cure(tmp_path: Path) -> None:
    file = tmp_path / "manifest.csv"
    for content, arguments, named in (
        (None, (), "no manifest there"),
        ("name,audio_label\na.wav,0\n", (), "column path is missing"),
        ("path,label\na.wav,0\n", (), "video_label and audio_label are missing"),
        ("path,audio_label\na.wav,maybe\n", (), "audio_label must be 0, 1 or empty"),
        ("path,audio_label\na.wav,0\n", ("--split", "test"), "leave --split out"),
        ("path,audio_label,split\na.wav,0,dev\n", ("--split", "test"), "there are dev"),
        ("path,audio_label\na.wav,0\nb.wav,1\n", (), "none of the 2 clips can be read"),
    ):
        if content is not None:
            file.write_text(content)
        code, text = run(file, *arguments)
        assert code == 2
        assert named in text
        assert content is None or "manifest.csv" in text or "a.wav" in text


def test_one_class_is_nothing_to_tell_apart(clean: Path) -> None:
    table = read_labels(clean)
    with pytest.raises(auditing.NothingToAudit, match="both genuine"):
        audit(table[table.audio_label == 0].head(2))


def test_labels_come_from_any_manifest(tmp_path: Path) -> None:
    file = tmp_path / "manifest.csv"
    file.write_text("path,audio_label,speaker,method,source_clip\na.wav,1,s1,tts,x.wav\nb.wav,,,,\n")
    table = read_labels(file)
    assert table.file.tolist() == [tmp_path / "a.wav", tmp_path / "b.wav"]
    assert table.identity.tolist() == ["s1", ""]
    assert table.family.tolist() == ["tts", ""]
    assert table.source.tolist() == ["x.wav", "b.wav"]
    assert table.audio_label.isna().tolist() == [False, True]
    assert table.video_label.isna().all()


def test_the_section_says_how_it_was_made(three_kinds: auditing.StreamAudit) -> None:
    text = "\n".join(section(auditing.Audit(240, {}, [three_kinds]), "Set", "avwitness audit x"))
    assert "Written by `avwitness audit x`" in text
    assert "every family against the genuine clips of its sources" in text
    assert "| rare | 6 | too few | - |" in text
    assert "Video: not judged" in text


def test_twins_in_different_folds_are_told() -> None:
    # Without a common source, the genuine twin that was learnt by heart makes its fake look genuine.
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 2
    twins = np.repeat(rng.integers(0, 15, 150), 2).astype(float)
    frame = pd.DataFrame({"identity": "", "source": [f"clip{i}" for i in range(300)], "family": "f"}, index=range(300))
    statistics = [StreamStatistics({n: [t] * len(u) for n, u in NUMBERS["audio"].items()}, []) for t in twins]
    torn = audit_stream("audio", frame, labels, statistics, 0, lambda *_: None)
    assert torn.leaks == []
    assert "Worse than chance" in " ".join(auditing.remarks(auditing.Audit(300, {}, [torn])))
