"""Pitch period and periodicity of speech by autocorrelation, for the voices that excite a filter with pulses and noise."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import median_filter
from scipy.signal.windows import hann

from ...media.speech import FRAME_LENGTH

STEP = 100  # samples between two frames, 6.25 ms: a quarter of the analysis window
PITCH_LENGTH = 640  # samples, 40 ms: more than two periods of the lowest pitch
PITCH_PERIODS = (40, 230)  # samples: 400 Hz to 70 Hz


def frames(waveform: np.ndarray, length: int) -> np.ndarray:
    """Hann-windowed frames float64 [N, length] at every 6.25 ms; frame ``n`` is centred on sample ``100 n - 200``."""
    front = length // 2 + FRAME_LENGTH // 2
    padded = np.pad(waveform.astype(np.float64), (front, length + FRAME_LENGTH))
    count = -(-(len(waveform) + FRAME_LENGTH) // STEP) + 1
    return sliding_window_view(padded, length)[::STEP][:count] * hann(length, sym=False)


def autocorrelation(frames: np.ndarray, lags: int) -> np.ndarray:
    """Autocorrelation [N, lags] of frames [N, L] at lags from zero."""
    spectrum = np.fft.rfft(frames, 2 * frames.shape[1])
    return np.fft.irfft(np.square(np.abs(spectrum)))[:, :lags]


def pitch_periods(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pitch period [N] in samples and periodicity [N] in [0, 1] of every frame of 6.25 ms of a waveform float [S] at 16 kHz.

    Source: Boersma, *Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a
    sampled sound*, IFA Proceedings 1993 (autocorrelation divided by that of the window), without its path search.
    """
    shortest, longest = PITCH_PERIODS
    correlation = autocorrelation(frames(waveform, PITCH_LENGTH), longest + 1)
    of_window = autocorrelation(hann(PITCH_LENGTH, sym=False)[None], longest + 1)
    correlation = correlation / np.maximum(correlation[:, :1], 1e-9) / (of_window / of_window[:, :1])
    candidates = correlation[:, shortest:]
    # Multiples of the period correlate as well as the period: prefer the shortest lag.
    best = np.argmax(candidates * np.linspace(1.0, 0.9, candidates.shape[1]), axis=1)
    periodic = np.take_along_axis(candidates, best[:, None], axis=1)[:, 0]
    return median_filter(best + float(shortest), 5), np.clip(median_filter(periodic, 3), 0.0, 1.0)


def per_sample(values: np.ndarray, length: int) -> np.ndarray:
    """Values [N] of the frames of :func:`frames`, interpolated to every sample: float64 [length]."""
    return np.interp(np.arange(length), np.arange(len(values)) * STEP - FRAME_LENGTH // 2, values)


def voicing(periodicity: np.ndarray) -> np.ndarray:
    """Share of the power that is periodic, in [0, 0.98], from the periodicity of frames."""
    return np.clip((periodicity - 0.4) / 0.4, 0.0, 0.98)
