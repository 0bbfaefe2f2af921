"""Where the sound of a recording begins and ends, so that silence at its edges cannot speak for it."""

from __future__ import annotations

import os

import numpy as np

from .clip import SAMPLE_RATE, SAMPLES_PER_FRAME
from .decode import Damage, stream_samples
from .probe import probe

FRAME = SAMPLE_RATE // 100  # samples, 10 ms
BELOW = 40.0  # dB under loud frames, from which on a frame is silent
DEEP = 60.0  # dB under the loudest frame, from which on a frame is not asked how loud the others are
LOUD = 95.0  # percentile of those frames that counts as loud: a bump or a click is louder than all speech, and short
LEAST = 25  # frames at 25 Hz (1 s) that must be left, or nothing is cut
FLOOR = 1e-4  # root mean square (-80 dB of full scale) under which even the loudest frame is silence


def sounding(waveform: np.ndarray, below: float = BELOW) -> tuple[int, int]:
    """First and one past the last sample that is not silent.

    Parameters
    ----------
    waveform : float [S]
        At 16 kHz.
    below : float
        dB under loud frames of 10 ms.

    Returns
    -------
    (int, int)
        All of it where nothing sounds at all.

    Notes
    -----
    Silence at the edges gives labels of published sets away: Mueller et al., *Speech is silver, silence is golden*, ASVspoof
    workshop 2021, of ASVspoof 2019; Smeu et al., *Circumventing shortcuts in audio-visual deepfake detection datasets with
    unsupervised learning*, CVPR 2025, of FakeAVCeleb and AV-Deepfake1M.
    """
    frames = len(waveform) // FRAME
    if not frames:
        return 0, len(waveform)
    level = np.sqrt(np.mean(np.square(waveform[: frames * FRAME].reshape(frames, FRAME), dtype=np.float64), axis=1))
    loudest = float(level.max())
    if loudest < FLOOR:
        return 0, len(waveform)
    loud = np.percentile(level[level >= loudest * 10.0 ** (-DEEP / 20.0)], LOUD)
    active = np.flatnonzero(level >= loud * 10.0 ** (-below / 20.0))
    end = len(waveform) if active[-1] == frames - 1 else int(active[-1] + 1) * FRAME
    return int(active[0]) * FRAME, end


def sounding_frames(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """First and one past the last video frame (at 25 Hz) of a file that lies wholly within its sound.

    Edges are moved inwards to whole frames, so that less than 10 ms of silence is left at either.

    Returns
    -------
    (int, int) or None
        ``None`` where there is no sound to go by, or less than a second would be left: too little to judge a clip by.

    Raises
    ------
    MediaError
        As :func:`avwitness.media.probe.probe`.
    """
    info = probe(path)
    if info.audio is None:
        return None
    chunks = list(stream_samples(info, Damage()))
    if not chunks:
        return None
    waveform = np.concatenate(chunks)
    first, last = sounding(waveform)
    # Within the sound's last frame the file may end: nothing silent is left there to cut.
    begin, end = -(-first // SAMPLES_PER_FRAME), -(-last // SAMPLES_PER_FRAME) if last == len(waveform) else last // SAMPLES_PER_FRAME
    return (begin, end) if end - begin >= LEAST else None
