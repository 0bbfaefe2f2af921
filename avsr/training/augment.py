"""What happens to a clip before the reader sees it in training."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...media.face.mouth import CROP, INPUT
from ...media.speech import STACK


@dataclass
class AugmentConfig:
    """Strength of every augmentation."""

    noise: float = 0.25  # probability of white noise
    babble: float = 0.35  # probability of other speakers
    snr: tuple[float, float] = (-5.0, 20.0)  # dB, of either
    talkers: int = 4  # most voices in a babble
    tempo: float = 0.12  # both streams are slowed or hastened by up to this share
    audio_spans: float = 0.25  # share of the sound hidden in spans
    video_spans: float = 0.25  # share of the picture hidden in spans
    span: int = 8  # frames, longest hidden span
    bands: int = 2  # hidden frequency bands
    band: int = 10  # mel bins, widest of them
    zoom: float = 0.08  # mouth size by up to this share
    tilt: float = 6.0  # degrees
    light: float = 0.2  # contrast and brightness by up to this share
    audio_only: float = 0.25  # probability that the joint representation hears only
    video_only: float = 0.35  # probability that it sees only


def mix(speech: np.ndarray, noise: np.ndarray, snr: float) -> np.ndarray:
    """Add noise at a signal-to-noise ratio.

    Parameters
    ----------
    speech, noise : float32 [S]
        The shorter noise is repeated.
    snr : float
        dB, from the mean powers of both.
    """
    noise = np.resize(noise, len(speech))
    power, noise_power = (float(np.mean(np.square(x, dtype=np.float64))) for x in (speech, noise))
    if power <= 0.0 or noise_power <= 0.0:
        return speech
    return (speech + noise * np.sqrt(power / noise_power * 10.0 ** (-snr / 10.0))).astype(np.float32)


def babble(voices: list[np.ndarray], samples: int, rng: np.random.Generator) -> np.ndarray:
    """Several voices at once, each at the same mean power and from a random moment on: float32 [samples]."""
    total = np.zeros(samples, dtype=np.float32)
    for voice in voices:
        looped = np.resize(np.roll(voice, int(rng.integers(len(voice)))), samples)
        total += looped / max(float(np.sqrt(np.mean(np.square(looped, dtype=np.float64)))), 1e-6)
    return total


def spans(frames: int, share: float, longest: int, rng: np.random.Generator) -> np.ndarray:
    """Frames to hide, bool [frames]: spans of 2 to ``longest`` frames, about ``share`` of all."""
    hidden = np.zeros(frames, dtype=bool)
    for _ in range(rng.poisson(share * frames / (0.5 * (2 + longest)))):
        start = int(rng.integers(frames))
        hidden[start : start + int(rng.integers(2, longest + 1))] = True
    return hidden


def stretch(array: np.ndarray, frames: int) -> np.ndarray:
    """The nearest of the first axis' entries at ``frames`` evenly spaced moments."""
    return array[np.minimum((np.arange(frames) + 0.5) * len(array) / frames, len(array) - 1).astype(int)]


def stretch_sound(waveform: np.ndarray, samples: int) -> np.ndarray:
    """A waveform played faster or slower, pitch included, by linear interpolation."""
    return np.interp(np.linspace(0, len(waveform) - 1, samples), np.arange(len(waveform)), waveform).astype(np.float32)


def warp_mouth(mouth: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """One random cut, zoom, tilt, mirroring and light for all frames: uint8 [T, 96, 96] to [T, 88, 88]."""
    matrix = cv2.getRotationMatrix2D(
        (CROP / 2, CROP / 2), float(rng.uniform(-config.tilt, config.tilt)), float(1.0 + rng.uniform(-config.zoom, config.zoom))
    )
    matrix[:, 2] -= rng.integers(0, CROP - INPUT + 1, 2)
    gain, shift = 1.0 + rng.uniform(-config.light, config.light), 128.0 * rng.uniform(-config.light, config.light)
    table = np.clip((np.arange(256) - 128.0) * gain + 128.0 + shift, 0, 255).astype(np.uint8)
    mirrored = rng.random() < 0.5
    out = np.empty((len(mouth), INPUT, INPUT), dtype=np.uint8)
    for index, frame in enumerate(mouth):
        warped = cv2.warpAffine(frame, matrix, (INPUT, INPUT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        out[index] = table[warped[:, ::-1] if mirrored else warped]
    return out


def hide_bands(features: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Silence some mel bands for the whole clip: float32 [T, 4 * bins] to the same."""
    bins = features.reshape(len(features), STACK, -1).copy()
    widest = min(config.band, bins.shape[2] // 4)
    for _ in range(int(rng.integers(0, config.bands + 1))):
        width = int(rng.integers(1, widest + 1))
        start = int(rng.integers(0, bins.shape[2] - width + 1))
        bins[:, :, start : start + width] = 0.0
    return bins.reshape(len(features), -1)
