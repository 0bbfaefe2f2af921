"""Augmentation of waveforms for the audio classifier, independent of the label: band limits, spectral tilt, and noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ....media.clip import SAMPLE_RATE

LOWEST_LIMIT = 3400.0  # Hz, of telephone speech
STOP_GAIN = 0.01  # beyond a band limit (-40 dB)
MAX_TILT = 6.0  # dB over the whole band, up or down
MAX_RIPPLE = 3.0  # dB
NOISE = (15.0, 45.0)  # dB by which noise lies below the speech


def augment(waveform: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """One random change with probability ``share``, else the waveform float32 [S] as it is."""
    if rng.random() >= share:
        return waveform
    change = AUGMENTATIONS[int(rng.integers(len(AUGMENTATIONS)))]
    return change(waveform, rng).astype(np.float32)


def limit_band(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Attenuate what lies above a random frequency: sample rates differ between sources, and must not tell the classes apart."""
    limit = rng.uniform(LOWEST_LIMIT, SAMPLE_RATE / 2)
    return _filtered(waveform, lambda hertz: np.where(hertz > limit, STOP_GAIN, 1.0))


def tilt_spectrum(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change tilt and colour of the spectrum smoothly, as microphones and rooms do."""
    tilt, ripple, cycles = rng.uniform(-MAX_TILT, MAX_TILT), rng.uniform(-MAX_RIPPLE, MAX_RIPPLE), rng.uniform(0.5, 2.0)

    def gain(hertz: np.ndarray) -> np.ndarray:
        place = hertz / (SAMPLE_RATE / 2)
        return 10.0 ** ((tilt * place + ripple * np.sin(2.0 * np.pi * cycles * place)) / 20.0)

    return _filtered(waveform, gain)


def add_noise(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """White noise at a random level."""
    level = np.sqrt(np.mean(waveform**2)) * 10.0 ** (-rng.uniform(*NOISE) / 20.0)
    return waveform + level * rng.standard_normal(len(waveform))


AUGMENTATIONS = (limit_band, tilt_spectrum, add_noise)


def _filtered(waveform: np.ndarray, gain: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The waveform with its spectrum multiplied by a gain, which is a function of the frequency in Hz."""
    spectrum = np.fft.rfft(waveform)
    return np.fft.irfft(spectrum * gain(np.fft.rfftfreq(len(waveform), 1.0 / SAMPLE_RATE)), len(waveform))
