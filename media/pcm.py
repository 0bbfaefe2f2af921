"""16-bit PCM samples to float waveforms and back."""

from __future__ import annotations

import numpy as np

INT16_SCALE = 32768.0  # int16 value of a float sample of 1


def to_float32(samples: np.ndarray) -> np.ndarray:
    """int16 samples to float32 in [-1, 1), divided by 32768."""
    return np.asarray(samples, dtype=np.float32) / np.float32(INT16_SCALE)


def to_int16(waveform: np.ndarray) -> np.ndarray:
    """Float samples to int16, clipped to [-1, 1] and rounded to the nearest multiple of 1/32767.

    The factor is 32767, so that 1 is the largest int16 value: samples of full scale do not overflow, and a sample that
    :func:`to_float32` made comes back within one step.
    """
    clipped: np.ndarray = np.clip(waveform, -1.0, 1.0)
    return (clipped * 32767.0).round().astype(np.int16)
