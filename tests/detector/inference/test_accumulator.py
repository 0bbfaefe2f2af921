from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from avwitness.detector.calibration import Calibration, StreamCalibration
from avwitness.detector.inference.accumulator import Accumulator, FaceRecord, StreamLogits
from avwitness.detector.inference.verdict_builder import SEGMENT, face, has_mixed_evidence, segment_probability, stream_verdict
from avwitness.detector.inference.window_model import WindowOutput
from avwitness.detector.verdict import ModelInfo, Segment, StreamVerdict
from avwitness.media.window_views import WindowViews


class Constant:
    """A model that outputs the same logits for every window and notes which inputs it was given."""

    info, calibration, uses_portraits = ModelInfo("constant", "1", "0"), Calibration(), False

    def __init__(self) -> None:
        self.inputs: list[tuple[bool, bool]] = []

    def extract_audio_features(self, waveform: np.ndarray) -> np.ndarray:
        return np.zeros((len(waveform) // 640, 4), np.float32)

    def predict_window(self, features: np.ndarray | None, crops: np.ndarray | None, *_: object, **__: object) -> WindowOutput:
        self.inputs.append((features is not None, crops is not None))
        frames = None if features is None else np.full(len(features), 2.0, np.float32)
        return WindowOutput(audio=None if features is None else 1.0, audio_frames=frames)


def tone(frames: int) -> np.ndarray:
    return (0.1 * np.sin(0.1 * np.arange(frames * 640))).astype(np.float32)


def test_logits_are_averaged_over_overlapping_windows() -> None:
    logits = StreamLogits()
    assert logits.logit is None
    logits.add(1.0, np.ones(4), np.ones(4, bool), 0)
    logits.add(4.0, np.full(4, 3.0), np.array([True, True, False, False]), 2)
    assert logits.logit == pytest.approx((1.0 * 4 + 4.0 * 2) / 6)
    assert logits.count.tolist() == [1, 1, 2, 2, 0, 0]
    assert (logits.total[:4] / logits.count[:4]).tolist() == [1, 1, 2, 2]


def test_windows_with_little_sound_are_not_scored() -> None:
    model = Constant()
    sums = Accumulator(model)
    quiet = np.zeros(50 * 640, np.float32)
    sums.add(WindowViews(0, quiet))
    assert model.inputs == [] and sums.audio_windows == 0 and sums.frames == 50 and sums.peak == 0.0
    quiet[: 9 * 640] = tone(9)
    sums.add(WindowViews(0, quiet))
    assert model.inputs == [] and sums.peak == pytest.approx(0.1, abs=1e-3)
    sums.add(WindowViews(25, tone(50)))
    assert model.inputs == [(True, False)] and sums.audio_windows == 1 and sums.frames == 75
    assert sums.audio.logit == 1.0 and sums.video.logit is None


def test_segments_without_a_scored_frame_have_no_probability() -> None:
    logits = StreamLogits()
    logits.add(0.0, np.full(3 * SEGMENT, 2.0), np.arange(3 * SEGMENT) < SEGMENT, 0)
    known = StreamCalibration()
    assert segment_probability(logits, known, 0) == pytest.approx(float(known.probability(2.0)), abs=1e-4)
    assert segment_probability(logits, known, SEGMENT) is None
    assert segment_probability(logits, replace(known, power=0.5), 0) is None


def test_labels_of_a_stream() -> None:
    logits, known = StreamLogits(), StreamCalibration()
    assert stream_verdict(False, logits, known) == StreamVerdict()
    assert stream_verdict(True, logits, known) == StreamVerdict(True, None, "inconclusive")
    logits.add(5.0, np.ones(1), np.ones(1, bool), 0)
    assert stream_verdict(True, logits, known).label == "fake"
    assert stream_verdict(True, logits, replace(known, power=0.5)) == StreamVerdict(True, None, "inconclusive")


def test_two_fake_segments_in_a_genuine_stream_are_mixed_evidence() -> None:
    genuine, absent = StreamVerdict(True, 0.1, "genuine"), StreamVerdict()

    def timeline(*values: float | None) -> tuple[Segment, ...]:
        return tuple(Segment(float(i), i + 1.0, value, None) for i, value in enumerate(values))

    assert has_mixed_evidence(timeline(0.1, 0.9, 0.9), genuine, absent, Calibration())
    assert not has_mixed_evidence(timeline(0.9, 0.1, 0.9, None, 0.9), genuine, absent, Calibration())
    assert not has_mixed_evidence(timeline(0.9, 0.9), replace(genuine, label="fake"), absent, Calibration())


def test_a_face_is_described_by_its_frames() -> None:
    box = np.array([0.1, 0.2, 0.3, 0.4])
    entry = face("face-1", FaceRecord(25, 74, set(range(25, 75, 2)), True, [box, box + 0.1, box + 0.1]))
    assert (entry.start, entry.end, entry.seen, entry.speaking) == (1.0, 3.0, 0.5, True)
    assert entry.box == pytest.approx((0.2, 0.3, 0.4, 0.5))
