from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from makers import Talk

from avwitness.datasets.benchmark import tabulate
from avwitness.detector.inference.detector import load
from avwitness.detector.verdict import StreamVerdict, Verdict, error_verdict
from avwitness.evaluation.benchmarks.scoring import VERDICTS_FILE, scorer
from avwitness.evaluation.robustness.degradations import registry as degradations
from avwitness.evaluation.robustness.output import write_robustness
from avwitness.evaluation.robustness.plan import RobustnessSettings, make_plan
from avwitness.evaluation.robustness.suite import run_robustness
from avwitness.media.clip import MediaError
from avwitness.media.encode import write_media
from avwitness.media.parallel import AHEAD
from avwitness.media.windows import read_clip

RATE = 16_000
PEOPLE = 5
SETTING = RobustnessSettings("made_up", "ear", ("band_limit", "blur"), n_bootstrap=20)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of short clips of five people: fake audio has a tone above 6 kHz, and fake video has noise.

    Each has a genuine and a fake clip with both streams, and one of each with sound alone.
    """
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    time = np.arange(RATE * 2 // 5) / RATE
    for person in range(PEOPLE):
        for fake in (0, 1):
            tone = 0.2 * np.sin(2.0 * np.pi * (300 + 40 * person) * time)
            hiss = 0.02 * np.sin(2.0 * np.pi * (6200 + 100 * rng.random()) * time)
            sound = (tone + fake * hiss).astype(np.float32)
            smooth = np.linspace(60, 180 + person, 64)[None, None, :, None].repeat(10, 0).repeat(64, 1).repeat(3, 3)
            grain = fake * 12.0 * rng.standard_normal((10, 64, 64, 1))
            frames = np.clip(smooth + grain, 0, 255).astype(np.uint8)
            write_media(folder / f"{person}-{fake}.mkv", frames, sound, audio_codec="flac", video_options={"crf": "8"})
            write_media(folder / f"{person}-{fake}.wav", None, sound[::-1], audio_codec="pcm_s16le")
    return folder


def table(corpus: Path, suffixes: tuple[str, ...] = (".mkv", ".wav"), people: str = "p{}", **changes: Any) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for suffix in suffixes:
        seen = suffix == ".mkv"
        for person in range(PEOPLE):
            for fake in (0, 1):
                row = {"path": f"{person}-{fake}{suffix}", "identity": people.format(person), "source_clip": f"{person}{suffix}"}
                row |= {"audio_label": fake, "has_video": seen, "category": ("RVRA", "FVFA")[fake] if seen else ""}
                rows.append(row | ({"video_label": fake} if seen else {}) | changes)
    return tabulate(rows, corpus, "made_up")


class HighFrequencyDetector:
    """A detector of high frequencies and video noise; may be interrupted after some verdicts."""

    def __init__(self, last: int | None = None) -> None:
        self.asked: list[str] = []
        self.last = last
        self.most = 0  # largest number of copies on disk

    def __call__(self, paths: Iterable[str]) -> Iterator[Verdict]:
        for number, path in enumerate(paths):
            if number == self.last:
                raise KeyboardInterrupt
            self.asked.append(path)
            if Path(path).name == "copy.mkv":
                self.most = max(self.most, len(list(Path(path).parents[1].iterdir())))
            try:
                clip = read_clip(path)
            except MediaError as error:
                yield error_verdict(path, "MediaError", str(error))
                continue
            streams = {}
            if clip.waveform is not None:
                power = np.abs(np.fft.rfft(clip.waveform)) ** 2
                streams["audio"] = float(np.clip(power[len(power) * 3 // 4 :].sum() / power.sum() / 0.005, 0.0, 1.0))
            if clip.frames is not None:
                streams["video"] = float(np.clip(np.abs(np.diff(clip.frames.astype(float), axis=1)).mean() / 20.0, 0.0, 1.0))
            said = {name: StreamVerdict(True, p, "fake" if p >= 0.5 else "genuine") for name, p in streams.items()}
            yield Verdict(path, "ok", "fake", p_fake=max(streams.values()), **said)


def figures(results: dict[str, Any]) -> dict[tuple[str, int, str], dict[str, Any]]:
    return {(row["condition"], row["level"], row["target"]): row for row in results["results"]}


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path, HighFrequencyDetector]:
    """Results, folder and detector of a complete run."""
    out, detector = tmp_path_factory.mktemp("whole") / "out", HighFrequencyDetector()
    return run_robustness(table(corpus), SETTING, detector, "weights", out, 1), out, detector


@pytest.mark.slow
def test_band_limit_defeats_a_detector_of_high_frequencies(whole: tuple[dict[str, Any], Path, HighFrequencyDetector]) -> None:
    found = figures(whole[0])
    for kind in ("original", "control"):
        for target in ("audio", "video", "overall"):
            row = found[kind, 0, target]
            assert row["auc"][0] == 1.0 and row["tpr"] == 1.0 and row["fpr"] == 0.0 and row["coverage"] == 1.0
    mild, hard = found["band_limit", 1, "audio"], found["band_limit", 5, "audio"]
    assert mild["auc"][0] == 1.0 and mild["severity"] == 7000 and mild["change"] == [0.0, 0.0, 0.0]
    assert hard["tpr"] == 0.0 and hard["balanced_accuracy"] == 0.5 and hard["severity"] == 2500
    assert found["band_limit", 5, "video"]["change"] == [0.0, 0.0, 0.0]  # the other stream is unchanged
    assert found["blur", 5, "video"]["tpr"] == 0.0 and found["blur", 5, "audio"]["auc"][0] == 1.0


@pytest.mark.slow
def test_clips_without_the_stream_are_left_out(whole: tuple[dict[str, Any], Path, HighFrequencyDetector]) -> None:
    results, found = whole[0], figures(whole[0])
    assert {len(results["results"]), results["clips"]["sampled"]} == {(2 + 10) * 3, 20}
    assert found["control", 0, "audio"]["clips"] == found["band_limit", 3, "audio"]["clips"] == 20
    assert found["blur", 3, "audio"]["clips"] == 10
    assert (found["control", 0, "video"]["fakes"], found["control", 0, "overall"]["fakes"]) == (5, 10)
    assert results["failures"] == [] and results["notes"] == []
    assert results["setting"] == {
        **{"dataset": "made_up", "detector": "ear", "weights": "weights", "degradations": ["band_limit", "blur"]},
        **{"limit": None, "seed": 0, "n_bootstrap": 20, "levels": [1, 2, 3, 4, 5], "modality": "auto"},
    }
    json.dumps(results, allow_nan=False)


def test_one_stream_is_evaluated_on_the_clips_that_have_it(corpus: Path, tmp_path: Path) -> None:
    settings = replace(SETTING, names=("blur",), levels=(5,), modality="video")
    results = run_robustness(table(corpus), settings, HighFrequencyDetector(), "weights", tmp_path, 1)
    assert {row["target"] for row in results["results"]} == {"video"} and results["clips"]["sampled"] == 10
    assert json.loads((tmp_path / VERDICTS_FILE).read_text().splitlines()[0])["weights"] == "weights video"
    with pytest.raises(ValueError, match="no clip has video with a label"):
        make_plan(table(corpus, suffixes=(".wav",)), settings)


def test_copies_are_deleted_after_scoring(whole: tuple[dict[str, Any], Path, HighFrequencyDetector], corpus: Path) -> None:
    _, out, detector = whole
    assert 0 < detector.most <= AHEAD + 1
    assert len(detector.asked) == 20 + 20 + 5 * 20 + 5 * 10
    assert len(list(corpus.iterdir())) == 20 and [p.name for p in out.iterdir()] == [VERDICTS_FILE]
    assert not [path for path in detector.asked if Path(path).parent != corpus and Path(path).exists()]
    line = json.loads((out / VERDICTS_FILE).read_text().splitlines()[-1])
    assert set(line) == {"content", "condition", "seed", "weights", "p_video", "p_audio", "p_fake", "status"}
    assert (line["condition"], line["seed"], line["weights"], line["status"]) == ("blur 3.5", 0, "weights", "ok")


@pytest.mark.slow
def test_interrupted_run_is_resumed_with_the_same_results(
    whole: tuple[dict[str, Any], Path, HighFrequencyDetector], corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, _, detector = whole
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with pytest.raises(KeyboardInterrupt):
        run_robustness(table(corpus), SETTING, HighFrequencyDetector(last=55), "weights", tmp_path, 1)
    assert list((tmp_path / "temporary").iterdir()) == []
    kept = tmp_path / VERDICTS_FILE
    assert len(kept.read_text().splitlines()) == 55
    kept.write_text(kept.read_text()[:-5])  # an incomplete last line
    rest = HighFrequencyDetector()
    assert run_robustness(table(corpus), SETTING, rest, "weights", tmp_path, 1) == results
    assert len(rest.asked) == len(detector.asked) - 54
    third = HighFrequencyDetector()
    assert run_robustness(table(corpus), SETTING, third, "weights", tmp_path, 1) == results and third.asked == []


@pytest.mark.slow
def test_verdicts_of_other_weights_and_seeds_are_not_used(corpus: Path, tmp_path: Path) -> None:
    clips, setting = table(corpus, (".wav",)), replace(SETTING, names=())
    for weights, seed, asked in (("a", 0, 20), ("b", 0, 20), ("a", 1, 20), ("a", 0, 0)):
        detector = HighFrequencyDetector()
        run_robustness(clips, replace(setting, seed=seed), detector, weights, tmp_path, 1)
        assert len(detector.asked) == asked


@pytest.mark.slow
def test_broken_files_are_counted(corpus: Path, broken_files: dict[str, Path], tmp_path: Path) -> None:
    clips = table(corpus, (".wav",))
    broken = tabulate([{"path": str(broken_files["text"]), "audio_label": 1, "identity": "p9", "has_video": False}], corpus, "made_up")
    missing = tabulate([{"path": "missing.wav", "audio_label": 1, "identity": "p9", "has_video": False}], corpus, "made_up")
    every = pd.concat([clips, broken, missing], ignore_index=True)
    results = run_robustness(every, replace(SETTING, names=("band_limit",)), HighFrequencyDetector(), "weights", tmp_path, 2)
    found = figures(results)
    assert results["clips"] == {"listed": 12, "valid": 11, "sampled": 11}
    assert {row["clips"] for row in results["results"]} == {11}
    assert found["band_limit", 1, "audio"]["coverage"] == pytest.approx(10 / 11) and found["band_limit", 1, "audio"]["auc"][0] == 1.0
    lost = {row["condition"]: row for row in results["failures"]}
    assert len(lost) == 7
    assert (lost["original"]["not_degraded"], lost["original"]["not_scored"]) == (0, 1)
    assert (lost["control"]["not_degraded"], lost["control"]["not_scored"]) == (1, 0)
    assert lost["band_limit 2500"]["example"].startswith(str(broken_files["text"]))


def test_missing_files_are_left_out_with_a_note(corpus: Path, tmp_path: Path) -> None:
    clips = table(corpus, (".wav",))
    clips.loc[0, "file"] = tmp_path / "gone.wav"
    results = run_robustness(clips, replace(SETTING, names=()), HighFrequencyDetector(), "weights", tmp_path, 1)
    assert results["clips"]["sampled"] == 9 and results["notes"] == [
        "1 clips were left out, since their files cannot be read, such as 0-0.wav (No such file or directory)"
    ]
    with pytest.raises(ValueError, match=r"made_up: 1 clips were left out, .*0-0\.wav"):
        run_robustness(clips.head(1), replace(SETTING, names=()), HighFrequencyDetector(), "weights", tmp_path, 1)


def test_babble_needs_other_identities(corpus: Path, tmp_path: Path) -> None:
    setting = replace(SETTING, names=("babble", "blur"))
    results = run_robustness(table(corpus, (".wav",)), setting, HighFrequencyDetector(), "weights", tmp_path, 1)
    assert results["setting"]["degradations"] == ["babble"] and results["failures"] == []
    assert results["notes"] == ["blur was left out, since no clip has the stream that it changes (video)"]
    assert figures(results)["babble", 5, "audio"]["coverage"] == 1.0
    alone = run_robustness(table(corpus, (".wav",), people="somebody"), setting, HighFrequencyDetector(), "weights", tmp_path, 1)
    assert alone["degradations"] == [] and alone["notes"][0].startswith("babble was left out: the benchmark has no genuine audio of other")
    few = table(corpus, (".wav",))
    few.loc[0, "identity"] = ""
    some = run_robustness(few, setting, HighFrequencyDetector(), "weights", tmp_path, 1)
    assert some["notes"][0].startswith("babble left out 1 clips: ") and figures(some)["babble", 5, "audio"]["clips"] == 9


@pytest.mark.slow
def test_limit_and_equal_contents(corpus: Path, tmp_path: Path) -> None:
    detector = HighFrequencyDetector()
    limited = replace(SETTING, names=(), limit=6)
    results = run_robustness(table(corpus, (".wav",)), limited, detector, "weights", tmp_path / "a", 1)
    assert results["clips"] == {"listed": 10, "valid": 10, "sampled": 6} and len(detector.asked) == 12
    assert (figures(results)["original", 0, "audio"]["fakes"], figures(results)["original", 0, "audio"]["genuine"]) == (3, 3)
    twins = table(corpus, (".wav",))
    twins["file"] = twins["file"].iloc[0]
    again = HighFrequencyDetector()
    run_robustness(twins, replace(SETTING, names=()), again, "weights", tmp_path / "b", 1)
    assert len(again.asked) == 2


def test_invalid_requests_are_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no degradation rust; there are h264, "):
        run_robustness(table(corpus), replace(SETTING, names=("blur", "rust")), HighFrequencyDetector(), "weights", tmp_path, 1)
    with pytest.raises(ValueError, match="made_up: no row is without a problem"):
        run_robustness(table(corpus, problem="is odd"), SETTING, HighFrequencyDetector(), "weights", tmp_path, 1)
    assert not (tmp_path / VERDICTS_FILE).exists()


@pytest.mark.slow
def test_bundled_detector_in_every_condition(talk: Talk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("h264", "band_limit"):  # only their mildest and their worst severity
        known = degradations.DEGRADATIONS[name]
        monkeypatch.setitem(degradations.DEGRADATIONS, name, replace(known, severities=known.severities[::4]))
    rows = []
    frames, waveform = talk.frames[:40], talk.waveform[: RATE * 40 // 25]
    for fake, shown in enumerate((frames, frames[:, :, ::-1])):
        write_media(tmp_path / f"{fake}.mp4", shown, waveform)
        rows.append({"path": f"{fake}.mp4", "identity": f"p{fake}", "source_clip": str(fake), "video_label": fake, "audio_label": fake})
    setting = RobustnessSettings("talk", "small", ("h264", "band_limit"), n_bootstrap=5)
    weights = load("small", device="cpu").info.sha256
    results = run_robustness(tabulate(rows, tmp_path, "talk"), setting, scorer("small", 1, "cpu"), weights, tmp_path / "out", 1)
    said = [json.loads(line) for line in (tmp_path / "out" / VERDICTS_FILE).read_text().splitlines()]
    assert len(said) == 2 * (2 + 4) and {line["status"] for line in said} == {"ok"}
    found = figures(results)
    assert found["h264", 2, "video"]["severity"] == 43 and found["band_limit", 1, "overall"]["coverage"] == 1.0
    scores = {(line["content"], line["condition"]): line["p_audio"] for line in said}
    for content in {line["content"] for line in said}:
        assert scores[content, "h264 43"] == pytest.approx(scores[content, "control"], abs=1e-3)  # the audio is unchanged
        assert scores[content, "band_limit 2500"] != scores[content, "control"]
    assert write_robustness(results, tmp_path / "out").is_file()
