"""The offset of a file, by the bundled detector."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import avwitness
from avwitness.cli.app import app
from avwitness.detector.inference.detector import Detector
from avwitness.detector.inference.synchronisation.measure import MS_PER_FRAME
from avwitness.media.clip import SAMPLES_PER_FRAME, MediaError
from avwitness.media.encode import write_media
from avwitness.media.windows import read_clip

SAMPLE = Path(__file__).parents[4] / "samples" / "font.mp4"


@pytest.fixture(scope="module")
def detector() -> Detector:
    return avwitness.load("small", device="cpu")


def moved(clip: Path, frames: int, target: Path) -> Path:
    """A copy whose sound comes some frames later; as many frames of the picture are cut at the start."""
    read = read_clip(clip)
    assert read.frames is not None and read.waveform is not None
    return write_media(target, read.frames[frames:], read.waveform[: len(read.waveform) - frames * SAMPLES_PER_FRAME])


@pytest.mark.slow
def test_sound_that_is_moved_moves_the_offset(detector: Detector, footage: Path, tmp_path: Path) -> None:
    clip = footage / "grid" / "s1" / "bbaf2n.mp4"
    before = detector.measure_sync(clip)
    after = detector.measure_sync(moved(clip, 5, tmp_path / "late.mp4"))
    assert after.clip.offset_ms - before.clip.offset_ms == pytest.approx(5 * MS_PER_FRAME, abs=40.0)
    assert abs(before.clip.offset_ms) <= 60.0 and before.label == "genuine" and before.clip.confidence > 0.2
    assert len(before.similarity) == len(before.offsets_ms) == 31 and before.windows
    middle = before.windows[len(before.windows) // 2]
    assert middle.end - middle.start == 2.0 and abs(middle.offset_ms - before.clip.offset_ms) <= 80.0
    assert json.loads(json.dumps(before.to_dict()))["clip"]["offset_ms"] == before.clip.offset_ms
    # Scoring and measuring rest on the same sums.
    assert detector.score(clip).sync.offset_ms == before.clip.offset_ms


@pytest.mark.slow
def test_foreign_sound_has_less_confidence(detector: Detector, footage: Path, tmp_path: Path) -> None:
    own, other = (read_clip(footage / "grid" / "s1" / f"{name}.mp4") for name in ("bbaf2n", "bbaf3s"))
    assert own.frames is not None and other.waveform is not None
    foreign = detector.measure_sync(write_media(tmp_path / "foreign.mp4", own.frames, np.roll(other.waveform, 8000)))
    right = detector.measure_sync(footage / "grid" / "s1" / "bbaf2n.mp4")
    assert foreign.clip.confidence < right.clip.confidence and foreign.clip.p_mismatch > right.clip.p_mismatch


@pytest.mark.slow
def test_the_command_prints_plots_and_reports_what_fails(tmp_path: Path) -> None:
    silent = write_media(tmp_path / "silent.mp4", np.zeros((30, 64, 64, 3), np.uint8))
    run = CliRunner().invoke(app, ["sync", str(SAMPLE), str(silent), "--json", "--plot", str(tmp_path / "plots")])
    assert run.exit_code == 1 and "silent.mp4: has no audio stream" in run.stderr
    found = json.loads(run.stdout)
    assert found["path"] == str(SAMPLE) and -600 <= found["clip"]["offset_ms"] <= 600 and found["windows"]
    assert (tmp_path / "plots" / "font.mp4.png").stat().st_size > 5000
    run = CliRunner().invoke(app, ["sync", str(SAMPLE)])
    assert run.exit_code == 0 and "confidence" in run.stdout and "\toffset " in run.stdout


def test_a_file_without_a_face_is_refused_by_name(detector: Detector, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal(48_000).astype(np.float32) * 0.1
    file = write_media(tmp_path / "grey.mp4", np.full((75, 64, 64, 3), 128, np.uint8), noise)
    with pytest.raises(MediaError, match=r"grey\.mp4: shows no speaking face"):
        detector.measure_sync(file)
