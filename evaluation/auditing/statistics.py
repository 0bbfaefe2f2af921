"""Trivial statistics of audio and video, used as baselines and as probes for shortcuts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import cv2
import numpy as np

from ...detector.inference.quality import sharpness
from ...media.clip import SAMPLE_RATE

RELATIVE_SILENCE = 0.01  # of the largest sample (-40 dB)
DIGITAL_SILENCE = 10.0 ** (-70.0 / 20.0)  # of full scale (-70 dB)
FLOOR_FRAME = 0.01  # seconds of one frame of the noise floor
SPECTRUM_FRAME = 0.032  # seconds of one frame of the spectrum
LOUDNESS_BLOCK = 0.4  # seconds, gating block of ITU-R BS.1770; a shorter clip has no loudness


def mouth_blur(crops: np.ndarray, usable: np.ndarray) -> float:
    """Minus the log Laplacian variance of the mouth crops [T, 96, 96], higher for blurred ones."""
    return -sharpness(crops[usable])


def _spectrum(waveform: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean power spectrum in dB over 32-ms frames, and its frequencies in Hz."""
    size = round(SPECTRUM_FRAME * sample_rate)
    frames = len(waveform) // size
    if frames == 0:
        return np.zeros(0), np.zeros(0)
    power = np.abs(np.fft.rfft(waveform[: frames * size].reshape(frames, size) * np.hanning(size))) ** 2
    return 10.0 * np.log10(power.mean(axis=0) + 1e-12), np.fft.rfftfreq(size, 1.0 / sample_rate)


def spectral_slope(waveform: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """Slope of the mean spectrum above 1 kHz in dB per kHz."""
    level, hertz = _spectrum(waveform, sample_rate)
    upper = hertz > 1000.0
    if upper.sum() < 2:
        return float("nan")
    return float(np.polyfit(hertz[upper] / 1000.0, level[upper], 1)[0])


def bandwidth(waveform: np.ndarray, sample_rate: int = SAMPLE_RATE, share: float = 0.99) -> float:
    """Frequency in Hz below which that share of the power lies."""
    level, hertz = _spectrum(waveform, sample_rate)
    if not len(level):
        return float("nan")
    total = np.cumsum(10.0 ** (level / 10.0))
    return float(hertz[np.searchsorted(total, share * total[-1])])


def level(waveform: np.ndarray) -> float:
    """Root mean square in dB of full scale."""
    return float(20.0 * np.log10(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))) + 1e-9)) if len(waveform) else float("nan")


AUDIO_BASELINES: dict[str, Callable[[np.ndarray], float]] = {"spectral slope": spectral_slope, "bandwidth": bandwidth, "level": level}


def leading_silence(waveform: np.ndarray, sample_rate: int) -> tuple[float, float]:
    """Seconds before the first sample above -40 dB of the largest one, and before the first above -70 dB of full scale.

    A silent clip has its whole length.

    Notes
    -----
    Source: S. Smeu et al., *Circumventing shortcuts in audio-visual deepfake detection datasets with unsupervised
    learning*, CVPR 2025, where this number alone classifies FakeAVCeleb and AV-Deepfake1M.
    """
    loud = np.abs(waveform)
    peak = float(loud.max(initial=0.0))
    seconds = []
    for threshold in (RELATIVE_SILENCE * peak, DIGITAL_SILENCE):
        above = loud > threshold
        seconds.append((int(above.argmax()) if above.any() else len(waveform)) / sample_rate)
    return seconds[0], seconds[1]


def noise_floor(waveform: np.ndarray, sample_rate: int) -> float:
    """10th percentile of the level of 10-ms frames, in dB of full scale."""
    size = round(FLOOR_FRAME * sample_rate)
    frames = len(waveform) // size
    if frames == 0:
        return float("nan")
    power = np.square(waveform[: frames * size], dtype=np.float64).reshape(frames, size).mean(axis=1)
    return float(10.0 * np.log10(np.quantile(power, 0.1) + 1e-18))


def loudness(waveform: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness in LUFS; NaN where a clip is shorter than 0.4 s or silent.

    Notes
    -----
    Source: ITU-R BS.1770-4.
    """
    if len(waveform) < LOUDNESS_BLOCK * sample_rate:
        return float("nan")
    import torch
    from torchaudio.functional import loudness as measured

    value = float(measured(torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32))[None], sample_rate))
    return value if np.isfinite(value) else float("nan")


def frame_difference(grey: Sequence[np.ndarray]) -> tuple[float, float]:
    """Mean and spread over time of the root mean square difference of neighbouring frames [H, W], in grey values."""
    steps = [float(np.sqrt(np.mean(cv2.absdiff(a, b).astype(np.float32) ** 2))) for a, b in pairwise(grey)]
    return (float(np.mean(steps)), float(np.std(steps))) if steps else (float("nan"), float("nan"))


def frame_noise(grey: np.ndarray) -> float:
    """Standard deviation of the noise of one frame [H, W], in grey values.

    Notes
    -----
    Source: J. Immerkær, *Fast noise variance estimation*, Computer Vision and Image Understanding 64(2), 1996.
    """
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    inner = cv2.filter2D(grey.astype(np.float32), cv2.CV_32F, mask)[1:-1, 1:-1]
    return float(np.sqrt(np.pi / 2.0) / 6.0 * np.abs(inner).mean())
