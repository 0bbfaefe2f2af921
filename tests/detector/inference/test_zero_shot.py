from __future__ import annotations

import csv
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from makers import Talk
from typer.testing import CliRunner

from avwitness.avsr.model import EncoderConfig, SpeechEncoder
from avwitness.avsr.seq2seq import Seq2SeqConfig, Seq2SeqModel
from avwitness.cli import app
from avwitness.detector.inference.writers import TRAINED, ZERO_SHOT, add_row, flatten, table
from avwitness.detector.inference.zero_shot import (
    MAX_SHIFT,
    MIN_FRAMES,
    Match,
    ZeroShotDetector,
    best_match,
    best_shift,
    conclude,
    load_zero_shot,
    shift_sums,
)
from avwitness.detector.verdict import Verdict, schema
from avwitness.media.encode import write_media

ROOT = Path(__file__).parents[3]
READER = ROOT / "avsr" / "weights" / "small"

seeds = st.integers(0, 2**32 - 1)
shifts = st.integers(-MAX_SHIFT, MAX_SHIFT)
lengths = st.integers(MIN_FRAMES + MAX_SHIFT, 120)


def streams(seed: int, frames: int, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Audio and video features [T, 16] of the same content; the audio lags by ``lag`` frames."""
    content = np.random.default_rng(seed).normal(size=(frames + 2 * MAX_SHIFT, 16))
    return content[MAX_SHIFT - lag :][:frames], content[MAX_SHIFT:][:frames]


@given(seeds, lengths, shifts)
def test_a_lag_is_found(seed: int, frames: int, lag: int) -> None:
    audio, video = streams(seed, frames, lag)
    match = best_shift(audio, video, np.ones(frames, dtype=bool))
    assert match is not None
    assert match.offset == lag
    assert match.similarity == pytest.approx(1.0)
    assert match.curve.shape == (2 * MAX_SHIFT + 1,)
    assert np.abs(match.curve).max() <= 1.0
    assert match.curve[lag + MAX_SHIFT] == match.similarity


@given(seeds, lengths, shifts)
def test_exchanged_streams_negate_the_offset(seed: int, frames: int, lag: int) -> None:
    audio, video = streams(seed, frames, lag)
    audio += np.random.default_rng(seed + 1).normal(size=audio.shape)
    mask = np.ones(frames, dtype=bool)
    one, other = best_shift(audio, video, mask), best_shift(video, audio, mask)
    assert one is not None
    assert other is not None
    assert one.offset == -other.offset
    assert np.allclose(one.curve, other.curve[::-1])


@given(seeds, lengths, shifts, st.floats(1e-3, 1e3))
def test_only_directions_of_usable_frames_count(seed: int, frames: int, lag: int, loudness: float) -> None:
    audio, video = streams(seed, frames, lag)
    mask = np.random.default_rng(seed).random(frames) < 0.8
    before = best_shift(audio, video, mask)
    video = np.where(mask[:, None], loudness * video, -1e6)
    after = best_shift(audio, video, mask)
    if before is None or after is None:
        assert before is after is None
        return
    assert before.offset == after.offset
    assert np.allclose(before.curve, after.curve, equal_nan=True)


@given(seeds, shifts)
def test_windows_add_up(seed: int, lag: int) -> None:
    first, second = streams(seed, 60, lag), streams(seed + 1, 70, lag)
    sums = shift_sums(*first, np.ones(60, dtype=bool)) + shift_sums(*second, np.ones(70, dtype=bool))
    match = best_match(sums)
    assert match is not None
    assert (match.offset, round(match.similarity, 6)) == (lag, 1.0)
    assert sums[1, MAX_SHIFT] == 130


def test_equal_similarity_everywhere_has_offset_zero() -> None:
    still = np.tile(np.array([[0.3, 0.1, 0.7]]), (60, 1))
    match = best_shift(still, still, np.ones(60, dtype=bool))
    assert match is not None
    assert (match.offset, match.similarity) == (0, pytest.approx(1.0))


def test_less_than_a_second_gives_no_match() -> None:
    audio, video = streams(0, MIN_FRAMES + 5, 0)
    match = best_shift(audio, video, np.ones(len(video), dtype=bool))
    assert match is not None
    assert np.isnan(match.curve[[0, -1]]).all()
    assert np.isfinite(match.curve[MAX_SHIFT - 5 : MAX_SHIFT + 6]).all()
    assert best_shift(audio, video, np.arange(len(video)) < MIN_FRAMES - 1) is None
    assert best_shift(audio[:3], video[:3], np.ones(3, dtype=bool)) is None  # shorter than the shifts
    assert best_shift(0 * audio, 0 * video, np.ones(len(video), dtype=bool)).similarity == 0.0  # type: ignore[union-attr]


def test_a_threshold_labels_fake_and_never_genuine() -> None:
    blank = Verdict(path="a.mp4", status="inconclusive", verdict="inconclusive", duration=3.0)
    match = Match(-2, 0.25, np.zeros(31))
    ranked = conclude(blank, match)
    assert (ranked.status, ranked.verdict, ranked.p_fake) == ("inconclusive", "inconclusive", None)
    assert (ranked.sync.offset_ms, ranked.sync.similarity, ranked.sync.p_mismatch) == (-80.0, 0.25, None)
    assert ranked.quality == ("zero_shot",)
    accused = conclude(blank, match, 0.3)
    assert (accused.status, accused.verdict, accused.quality) == ("ok", "fake", ("zero_shot", "streams_mismatch"))
    passed = conclude(blank, match, 0.2)
    assert (passed.status, passed.verdict, passed.quality) == ("ok", "inconclusive", ("zero_shot",))
    assert conclude(blank, None, 0.9).verdict == "inconclusive"  # nothing was compared
    assert conclude(blank, None).quality == ("zero_shot",)
    assert conclude(replace(blank, duration=0.6), None).quality == ("zero_shot", "too_short")


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random AV-HuBERT of two layers, saved as ``avwitness convert`` saves a self-supervised one."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("encoder") / "tiny"
    SpeechEncoder(EncoderConfig("av_hubert", {"size": "tiny", "width": 32, "layers": 2})).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def reader(one_thread: None) -> ZeroShotDetector:
    return load_zero_shot(READER, "cpu")


def checked(verdict: Verdict) -> Verdict:
    """A verdict that gives no probability and keeps to the schema."""
    jsonschema.validate(verdict.to_dict(), schema())
    assert verdict.p_fake is None
    assert verdict.audio.p_fake is None
    assert verdict.video.p_fake is None
    assert verdict.sync.p_mismatch is None
    assert verdict.timeline == ()
    assert "audio_not_validated" not in verdict.quality
    assert ("zero_shot" in verdict.quality) == (verdict.status != "error")
    return verdict


def test_the_bundled_model_gives_a_similarity(reader: ZeroShotDetector, talk_file: Path) -> None:
    seconds: list[float] = []
    verdict = checked(reader.score(talk_file, hook=lambda done, total: seconds.append(done)))
    assert (verdict.status, verdict.verdict) == ("inconclusive", "inconclusive")
    assert verdict.sync.similarity is not None
    assert -1.0 <= verdict.sync.similarity <= 1.0
    assert verdict.sync.offset_ms is not None
    assert abs(verdict.sync.offset_ms) <= 600.0
    assert verdict.sync.offset_ms % 40.0 == 0.0
    assert (verdict.audio.label, verdict.video.label) == ("inconclusive", "inconclusive")
    assert verdict.quality == ("zero_shot",)
    assert verdict.duration == pytest.approx(3.0, abs=0.1)
    assert verdict.model == reader.info
    assert reader.info.name == "small"
    assert len(seconds) >= 1


def test_av_hubert_has_its_own_audio_features(tiny_folder: Path, talk: Talk, talk_file: Path) -> None:
    detector = load_zero_shot(tiny_folder, "cpu")
    assert detector.extract_audio_features(talk.waveform).shape == (75, 104)
    verdict = checked(detector.score(talk_file))
    assert verdict.sync.similarity is not None
    assert (verdict.model.name, verdict.model.version) == ("tiny", "unknown")  # type: ignore[union-attr]
    crops = np.random.default_rng(0).integers(0, 256, (30, 96, 96), dtype=np.uint8)
    audio, video = detector.encode(detector.extract_audio_features(talk.waveform)[:30], crops, np.arange(30) < 20)
    assert audio.shape == video.shape == (30, 32)
    assert not video[20:].any()


def test_a_fine_tuned_network_equals_its_encoder(tiny_folder: Path, tmp_path: Path) -> None:
    encoder = SpeechEncoder.from_pretrained(tiny_folder)
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", "▁a"]
    options = encoder.config.backbone_options
    model = Seq2SeqModel(Seq2SeqConfig("av_hubert", options, vocabulary=vocabulary, decoder_layers=1, decoder_feed_forward=32, tied=False))
    model.backbone.load_state_dict(encoder.backbone.state_dict())
    model.save_pretrained(tmp_path / "fine_tuned")
    rng = np.random.default_rng(0)
    features, crops = rng.normal(size=(8, 104)).astype(np.float32), rng.integers(0, 256, (8, 96, 96), dtype=np.uint8)
    one, other = (load_zero_shot(f, "cpu").encode(features, crops, np.ones(8, dtype=bool)) for f in (tiny_folder, tmp_path / "fine_tuned"))
    assert np.array_equal(one[0], other[0])
    assert np.array_equal(one[1], other[1])


def test_one_stream_alone_has_no_similarity(reader: ZeroShotDetector, talk: Talk, tmp_path: Path) -> None:
    sound = checked(reader.score(write_media(tmp_path / "sound.wav", waveform=talk.waveform, audio_codec="pcm_s16le")))
    assert (sound.sync.similarity, sound.quality) == (None, ("no_video_stream", "zero_shot"))
    muted = checked(reader.score(write_media(tmp_path / "muted.mp4", talk.frames, np.zeros_like(talk.waveform))))
    assert (muted.sync.similarity, muted.quality) == (None, ("silent_audio", "zero_shot"))
    silent = checked(reader.score(write_media(tmp_path / "silent.mp4", talk.frames), modality="av"))
    assert silent.status == "error"
    short = checked(reader.score(write_media(tmp_path / "short.mp4", talk.frames[:18], talk.waveform[: 18 * 640])))
    assert (short.sync.similarity, short.quality) == (None, ("zero_shot", "too_short"))
    with pytest.raises(ValueError, match="both streams"):
        reader.score(tmp_path / "muted.mp4", modality="audio")


@pytest.mark.slow
def test_longer_files_are_compared_as_a_whole(reader: ZeroShotDetector, talk: Talk, tmp_path: Path) -> None:
    file = write_media(tmp_path / "long.mp4", np.concatenate([talk.frames] * 3), np.tile(talk.waveform, 3))
    verdict = checked(reader.score(file))
    assert verdict.sync.similarity is not None
    assert verdict.duration == pytest.approx(9.0, abs=0.2)


@pytest.mark.slow
def test_processes_give_the_same_verdicts(talk_file: Path, broken_files: dict[str, Path]) -> None:
    detector = load_zero_shot(READER, "cpu", threshold=1.0)
    paths = [talk_file, broken_files["text"]]
    here, there = list(detector.score_many(paths)), list(detector.score_many(paths, workers=1))
    assert [(v.status, v.verdict) for v in there] == [("ok", "fake"), ("error", "inconclusive")]
    assert there[0].sync.similarity == pytest.approx(here[0].sync.similarity, abs=1e-3)  # another number of threads
    for verdict in (*here, *there):
        checked(verdict)


def test_other_models_than_speech_encoders_raise(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="avwitness convert"):
        load_zero_shot("small")
    with pytest.raises(ValueError, match="no speech encoder but 'avwitness'"):
        load_zero_shot(ROOT / "detector" / "weights" / "small")
    folder = shutil.copytree(tiny_folder, tmp_path / "deeper")
    config = json.loads((folder / "config.json").read_text())
    config["backbone_options"]["layers"] = 3
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"lacks weights.*layers\.2"):
        load_zero_shot(folder)


def test_table_and_rows_hold_the_similarity() -> None:
    verdict = conclude(Verdict("a.mp4", "inconclusive", "inconclusive"), Match(1, 0.123456, np.zeros(31)))
    assert flatten(verdict)["sync.similarity"] == 0.1235
    for numbers, cells in ((ZERO_SHOT, ["0.1235", "40"]), (TRAINED, ["-"] * 4)):
        columns = table(numbers)
        add_row(columns, verdict)
        assert [str(column.header) for column in columns.columns][2:-1] == list(numbers)
        assert [str(next(iter(column.cells))) for column in columns.columns][2:-1] == cells


def test_verdicts_of_the_first_schema_can_be_resumed() -> None:
    old = Verdict("a.mp4", "inconclusive", "inconclusive").to_dict()
    old["schema_version"] = "1.0"
    del old["sync"]["similarity"]
    jsonschema.validate(Verdict.from_dict(old).to_dict(), schema())


@pytest.fixture
def quiet() -> Iterator[None]:
    """``--debug`` turns the package's logger up; it is turned down again."""
    yield
    logging.getLogger("avwitness").setLevel(logging.NOTSET)


def test_the_command(talk_file: Path, tmp_path: Path, quiet: None) -> None:
    arguments = ["score", str(talk_file), "--zero-shot", "--model", str(READER), "--device", "cpu", "--debug", "--json"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "rows.csv"), "--zero-shot-threshold", "1", "--fail-on-fake"])
    assert done.exit_code == 3, done.output
    assert json.loads(done.stdout.splitlines()[-1])["verdict"] == "fake"
    with (tmp_path / "rows.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert -1.0 <= float(row["sync.similarity"]) <= 1.0


def test_the_command_passes_its_options_to_the_processes(talk_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: dict[str, object] = {}

    def pretend(paths: list[str], workers: int, **options: object) -> Iterator[Verdict]:
        passed.update(options)
        for path in paths:
            yield conclude(Verdict(path, "inconclusive", "inconclusive"), Match(1, 0.5, np.zeros(31)))

    monkeypatch.setattr("avwitness.detector.inference.processes.pool.score_in_processes", pretend)
    done = CliRunner().invoke(app, ["score", str(talk_file), "--zero-shot", "--zero-shot-threshold", "0.2", "--model", "mine"])
    assert done.exit_code == 0
    assert (passed["model"], passed["zero_shot"], passed["threshold"]) == ("mine", True, 0.2)
    assert "similarity" in done.stdout
    assert "0.5000" in done.stdout


@pytest.mark.parametrize("flags", [["--zero-shot-threshold", "0.2"], ["--zero-shot", "--modality", "video"]])
def test_usage(talk_file: Path, flags: list[str]) -> None:
    assert CliRunner().invoke(app, ["score", str(talk_file), *flags]).exit_code == 2
