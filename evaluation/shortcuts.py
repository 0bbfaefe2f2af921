"""Trivial rivals: one-line statistics that must be beaten before a network may claim to see a forgery."""

from __future__ import annotations

import cv2
import numpy as np

from ..media.clip import SAMPLE_RATE


def mouth_blur(crops: np.ndarray, usable: np.ndarray) -> float:
    """Minus the log Laplacian variance of the mouth crops [T, 96, 96]: softer is higher."""
    values = [cv2.Laplacian(crop, cv2.CV_32F).var() for crop in crops[usable]]
    return -float(np.log(np.median(values) + 1e-3)) if values else float("nan")


def _spectrum(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean power spectrum in dB over 32-ms frames, and its frequencies in Hz."""
    size = 512
    frames = len(waveform) // size
    if frames == 0:
        return np.zeros(0), np.zeros(0)
    power = np.abs(np.fft.rfft(waveform[: frames * size].reshape(frames, size) * np.hanning(size))) ** 2
    return 10.0 * np.log10(power.mean(axis=0) + 1e-12), np.fft.rfftfreq(size, 1.0 / SAMPLE_RATE)


def spectral_slope(waveform: np.ndarray) -> float:
    """Slope of the mean spectrum above 1 kHz in dB per kHz."""
    level, hertz = _spectrum(waveform)
    if not len(level):
        return float("nan")
    upper = hertz > 1000.0
    return float(np.polyfit(hertz[upper] / 1000.0, level[upper], 1)[0])


def bandwidth(waveform: np.ndarray) -> float:
    """Frequency in Hz below which 99 % of the power lies."""
    level, hertz = _spectrum(waveform)
    if not len(level):
        return float("nan")
    total = np.cumsum(10.0 ** (level / 10.0))
    return float(hertz[np.searchsorted(total, 0.99 * total[-1])])


def level(waveform: np.ndarray) -> float:
    """Root mean square in dB of full scale."""
    return float(20.0 * np.log10(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))) + 1e-9)) if len(waveform) else float("nan")


AUDIO_RIVALS = {"spectral slope": spectral_slope, "bandwidth": bandwidth, "level": level}
