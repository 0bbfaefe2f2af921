"""Degradations of timing: delayed audio, and silence trimmed from the ends.

Both only cut. Silence or mirrored speech in front of delayed audio would be an artefact of its own and would change the input of an audio
detector, so the video loses its beginning and the audio its end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ....media.clip import SAMPLE_RATE, SAMPLES_PER_FRAME
from ....media.silence import active_range
from .base import TimedFrame

TICK = 1e-3  # seconds; Matroska places frames no finer


def cut_video_start(frames: Iterator[TimedFrame], milliseconds: float, rng: np.random.Generator) -> Iterator[TimedFrame]:
    """Frames from ``milliseconds`` on; with unchanged audio, the audio is delayed by as much."""
    return between(frames, milliseconds / 1000.0, math.inf)


def cut_audio_end(waveform: np.ndarray, milliseconds: float, rng: np.random.Generator, voices: Sequence[np.ndarray] = ()) -> np.ndarray:
    """The waveform without its last ``milliseconds``, for which :func:`cut_video_start` leaves no frames."""
    return waveform[: max(0, len(waveform) - round(milliseconds / 1000.0 * SAMPLE_RATE))]


def trim_silence(waveform: np.ndarray, seconds: float) -> tuple[int, int]:
    """First and one past the last sample of the part that has at most ``seconds`` of silence at either end.

    Its edges are moved inwards to video frames at 25 Hz, since a part of a frame would reveal how long the silence had been.
    The file ends where the audio ends, however long its video is.

    Parameters
    ----------
    waveform : float32 [S]
        At 16 kHz. A silent waveform is kept as a whole.
    seconds : float
    """
    first, last = active_range(waveform)
    margin = round(seconds * SAMPLE_RATE)
    begin = max(0, -(-(first - margin) // SAMPLES_PER_FRAME))
    # Where the waveform sounds until its last sample, its last frame has no silence to cut.
    end = -(-(last + margin) // SAMPLES_PER_FRAME) if last == len(waveform) else (last + margin) // SAMPLES_PER_FRAME
    return (begin * SAMPLES_PER_FRAME, end * SAMPLES_PER_FRAME) if end > begin else (first, last)


def between(frames: Iterator[TimedFrame], begin: float, end: float) -> Iterator[TimedFrame]:
    """Frames that are shown from ``begin`` to ``end`` (seconds), with times relative to ``begin``.

    The frame that is shown at ``begin`` gets the time 0. All frames are read, so that damage after ``end`` is found, too.
    """
    shown: np.ndarray | None = None
    for time, frame in frames:
        if time < begin + TICK / 2:
            shown = frame
        elif time < end - TICK / 2:
            if shown is not None:
                yield 0.0, shown
                shown = None
            yield time - begin, frame
    if shown is not None:
        yield 0.0, shown
