"""Where the audio of a recording begins and ends: silence at the edges is a shortcut in published sets."""

from __future__ import annotations

import os

import numpy as np

from .clip import MAX_SECONDS, SAMPLE_RATE, SAMPLES_PER_FRAME
from .decode import Damage, stream_samples
from .probe import probe

BLOCK = SAMPLE_RATE // 100  # samples, 10 ms
SILENCE_LEVEL = 40.0  # dB below loud frames; quieter frames are silent
PERCENTILE_RANGE = 60.0  # dB below the loudest frame; quieter frames do not count in the percentile
LOUD_PERCENTILE = 95.0  # of the level of those frames; a bump or a click is louder than all speech, and short
MIN_FRAMES = 25  # at 25 Hz (1 s) that must be left, or nothing is cut
MIN_LEVEL = 1e-4  # root mean square (-80 dB of full scale); below this even the loudest frame is silence


def active_range(waveform: np.ndarray, silence_level: float = SILENCE_LEVEL) -> tuple[int, int]:
    """First and one past the last sample that is not silent.

    Parameters
    ----------
    waveform : float [S]
        At 16 kHz.
    silence_level : float
        dB below loud blocks of 10 ms; quieter blocks are silent.

    Returns
    -------
    (int, int)
        The whole waveform if all of it is silent.

    Notes
    -----
    In published sets labels can be predicted from silence at the edges: Mueller et al., *Speech is silver, silence is golden*, ASVspoof
    workshop 2021, of ASVspoof 2019; Smeu et al., *Circumventing shortcuts in audio-visual deepfake detection datasets with
    unsupervised learning*, CVPR 2025, of FakeAVCeleb and AV-Deepfake1M.
    """
    return _active_range(_levels(waveform), len(waveform), silence_level)


def _levels(waveform: np.ndarray) -> np.ndarray:
    """Root mean square of every whole block of a waveform [S]."""
    blocks = len(waveform) // BLOCK
    return np.asarray(np.sqrt(np.mean(np.square(waveform[: blocks * BLOCK].reshape(blocks, BLOCK), dtype=np.float64), axis=1)))


def _active_range(level: np.ndarray, samples: int, silence_level: float = SILENCE_LEVEL) -> tuple[int, int]:
    """:func:`active_range` of a waveform of so many samples by the levels of its blocks."""
    loudest = float(level.max(initial=0.0))
    if loudest < MIN_LEVEL:
        return 0, samples
    loud = np.percentile(level[level >= loudest * 10.0 ** (-PERCENTILE_RANGE / 20.0)], LOUD_PERCENTILE)
    active = np.flatnonzero(level >= loud * 10.0 ** (-silence_level / 20.0))
    end = samples if active[-1] == len(level) - 1 else int(active[-1] + 1) * BLOCK
    return int(active[0]) * BLOCK, end


def active_frames(path: str | os.PathLike[str], max_seconds: float = MAX_SECONDS) -> tuple[int, int] | None:
    """First and one past the last video frame (at 25 Hz) of a file that is entirely within its active audio.

    Edges are moved inwards to whole frames, so that less than 10 ms of silence is left at either.

    Returns
    -------
    (int, int) or None
        ``None`` without audio, or where less than a second would be left, which is too little to score.

    Raises
    ------
    MediaError
        As :func:`avwitness.media.probe.probe`.
    """
    info = probe(path)
    if info.audio is None:
        return None
    levels, rest, samples = [], np.zeros(0, dtype=np.float32), 0  # the waveform of a whole day would not fit into memory
    for chunk in stream_samples(info, Damage(), max_seconds):
        samples += len(chunk)
        rest = np.concatenate([rest, chunk])
        levels.append(_levels(rest))
        rest = rest[len(levels[-1]) * BLOCK :]
    if not samples:
        return None
    first, last = _active_range(np.concatenate(levels), samples)
    # The file may end within the last frame; there is no silence to cut then.
    begin, end = -(-first // SAMPLES_PER_FRAME), -(-last // SAMPLES_PER_FRAME) if last == samples else last // SAMPLES_PER_FRAME
    return (begin, end) if end - begin >= MIN_FRAMES else None
