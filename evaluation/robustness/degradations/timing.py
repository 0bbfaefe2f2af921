"""When things are seen and heard: sound that comes late, and silence cut from the ends.

Nothing is invented here, only cut. Silence or mirrored speech in front of a late sound would be a mark by itself, and it would change
what an audio detector hears; so the picture loses its beginning and the sound its end, as where both are recorded from the same moment on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ....media.clip import SAMPLE_RATE, SAMPLES_PER_FRAME
from ....media.silence import sounding
from .base import TimedFrame

TICK = 1e-3  # seconds; Matroska places frames no finer


def early_picture(frames: Iterator[TimedFrame], milliseconds: float, rng: np.random.Generator) -> Iterator[TimedFrame]:
    """What is seen from ``milliseconds`` on: beside a sound that keeps its time, the sound is late by as much."""
    return between(frames, milliseconds / 1000.0, math.inf)


def without_end(waveform: np.ndarray, milliseconds: float, rng: np.random.Generator, voices: Sequence[np.ndarray] = ()) -> np.ndarray:
    """The sound without the last ``milliseconds``, for which :func:`early_picture` has no picture any more."""
    return waveform[: max(0, len(waveform) - round(milliseconds / 1000.0 * SAMPLE_RATE))]


def around_sound(waveform: np.ndarray, seconds: float) -> tuple[int, int]:
    """First and one past the last sample of a stretch with at most ``seconds`` of silence at either end.

    Its edges are moved inwards to video frames at 25 Hz: what was left of a frame would still tell how long the silence had been.
    Where the sound stops, so does the file, whatever its picture does.

    Parameters
    ----------
    waveform : float32 [S]
        At 16 kHz. Where nothing sounds, all of it counts as sounding.
    seconds : float
    """
    first, last = sounding(waveform)
    margin = round(seconds * SAMPLE_RATE)
    begin = max(0, -(-(first - margin) // SAMPLES_PER_FRAME))
    # Where the sound goes on to its last sample, nothing silent is left in that frame to cut.
    end = -(-(last + margin) // SAMPLES_PER_FRAME) if last == len(waveform) else (last + margin) // SAMPLES_PER_FRAME
    return (begin * SAMPLES_PER_FRAME, end * SAMPLES_PER_FRAME) if end > begin else (first, last)


def between(frames: Iterator[TimedFrame], begin: float, end: float) -> Iterator[TimedFrame]:
    """Frames on screen from ``begin`` to ``end`` (seconds), on a clock that begins there.

    The one that was on screen when it begins is shown from zero on. All frames are read, so that damage behind the end is found, too.
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
