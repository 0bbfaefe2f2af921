from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avwitness.evaluation.robustness.degradations import timing
from avwitness.evaluation.robustness.degradations.base import TimedFrame
from avwitness.media.clip import SAMPLE_RATE, SAMPLES_PER_FRAME


def numbered(times: list[float]) -> Iterator[TimedFrame]:
    return ((time, np.array([index])) for index, time in enumerate(times))


def cut(times: list[float], begin: float, end: float) -> list[tuple[float, int]]:
    return [(time, int(frame[0])) for time, frame in timing.between(numbered(times), begin, end)]


def padded(before: float, sounding: float, after: float) -> np.ndarray:
    parts = [np.zeros(round(before * SAMPLE_RATE)), np.full(round(sounding * SAMPLE_RATE), 0.1), np.zeros(round(after * SAMPLE_RATE))]
    return np.concatenate(parts).astype(np.float32)


def test_a_cut_on_a_frame_begins_with_it() -> None:
    assert cut([i / 25 for i in range(10)], 0.12, 0.24) == [(0.0, 3), (pytest.approx(0.04), 4), (pytest.approx(0.08), 5)]


def test_a_cut_between_frames_begins_with_the_shown_frame() -> None:
    found = cut([0.0, 0.1, 0.2, 0.3], 0.15, 0.3)
    assert found == [(0.0, 1), (pytest.approx(0.05), 2)]


def test_video_that_begins_after_the_cut_stays_late() -> None:
    assert cut([0.4, 0.44, 0.48], 0.2, math.inf) == [(pytest.approx(t), i) for i, t in enumerate((0.2, 0.24, 0.28))]


def test_a_single_frame_is_kept() -> None:
    assert cut([0.0], 3.0, 5.0) == [(0.0, 0)]


def test_no_cut() -> None:
    times = [0.0, 0.033, 0.067, 0.5]
    assert cut(times, 0.0, math.inf) == [(pytest.approx(t), i) for i, t in enumerate(times)]


@given(st.lists(st.floats(0.01, 0.3), min_size=1, max_size=30), st.floats(0.0, 2.0), st.floats(0.1, 3.0))
def test_shown_frames_do_not_change(steps: list[float], begin: float, length: float) -> None:
    times = [0.0, *np.cumsum(steps)]

    def on_screen(shown: list[tuple[float, int]], moment: float) -> int:
        return [number for time, number in shown if time <= moment + timing.TICK][-1]

    before, after = list(zip(times, range(len(times)), strict=True)), cut(times, begin, begin + length)
    assert all(time >= 0.0 for time, _ in after)
    assert after == sorted(after)
    for moment in np.arange(0.0, length - 2 * timing.TICK, 0.02):
        if all(abs(begin + moment - time) > 2 * timing.TICK for time in times):  # not at the change of a frame
            assert on_screen(after, moment) == on_screen(before, begin + moment)


def test_all_frames_are_read_so_that_damage_at_the_end_is_found() -> None:
    def broken() -> Iterator[TimedFrame]:
        yield from numbered([0.0, 0.04, 0.08])
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        list(timing.between(broken(), 0.0, 0.05))


def test_audio_delay() -> None:
    rng = np.random.default_rng(0)
    waveform = rng.normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
    assert np.array_equal(timing.cut_audio_end(waveform, 200, rng), waveform[: round(0.8 * SAMPLE_RATE)])
    frames = list(timing.cut_video_start(numbered([i / 25 for i in range(25)]), 200, rng))
    assert [int(frame[0]) for _, frame in frames] == list(range(5, 25))
    assert [time for time, _ in frames] == pytest.approx([i / 25 for i in range(20)])
    assert len(timing.cut_audio_end(waveform[:100], 200, rng)) == 0


@given(st.integers(0, 150), st.integers(10, 200), st.integers(0, 150), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_silence_that_is_left(before: int, sounding: int, after: int, left: float) -> None:
    waveform = padded(before / 100, sounding / 100, after / 100)
    begin, end = timing.trim_silence(waveform, left)
    first, last = before * 160, (before + sounding) * 160
    assert 0 <= begin < end
    assert first - begin <= left * SAMPLE_RATE
    assert end - last < left * SAMPLE_RATE + (SAMPLES_PER_FRAME if last == len(waveform) else 1)
    assert begin % SAMPLES_PER_FRAME == 0 and end % SAMPLES_PER_FRAME == 0
    # At most a frame of audio, or of the silence that may remain, is lost at either end.
    assert begin < max(1, first - left * SAMPLE_RATE + SAMPLES_PER_FRAME)
    assert end > min(last + left * SAMPLE_RATE, len(waveform)) - SAMPLES_PER_FRAME


def test_audio_without_silence_is_kept() -> None:
    waveform = padded(0.0, 1.03, 0.0)
    begin, end = timing.trim_silence(waveform, 0.0)
    assert begin == 0
    assert end >= len(waveform)


def test_silent_audio_is_kept() -> None:
    silent = np.zeros(SAMPLE_RATE, np.float32)
    assert timing.trim_silence(silent, 0.0) == (0, SAMPLE_RATE)


def test_audio_shorter_than_a_frame_is_kept() -> None:
    begin, end = timing.trim_silence(padded(0.5, 0.02, 0.5), 0.0)
    assert (begin, end) == (round(0.5 * SAMPLE_RATE), round(0.52 * SAMPLE_RATE))
