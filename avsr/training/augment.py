"""Augmentation of clips in pretraining: noise, babble, tempo, masking of spans and bands, changes of mouth crops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from ...media.face.mouth import CROP_SIZE, INPUT_SIZE
from ...media.speech import STACK


@dataclass
class AugmentConfig:
    """Probability or strength of every augmentation."""

    noise: float = 0.25  # probability of white noise
    babble: float = 0.35  # probability of other speakers
    snr: tuple[float, float] = (-5.0, 20.0)  # dB, of either
    babble_speakers: int = 4  # at most
    tempo: float = 0.12  # largest change of tempo of both streams, as a share
    audio_spans: float = 0.25  # share of audio frames that are masked, in spans
    video_spans: float = 0.25  # share of video frames that are masked, in spans
    max_span: int = 8  # frames
    max_bands: int = 2  # masked frequency bands
    max_band_width: int = 10  # mel bins
    zoom: float = 0.08  # largest change of the mouth's size, as a share
    rotation: float = 6.0  # degrees, at most
    brightness: float = 0.2  # largest change of contrast and brightness, as a share
    audio_only: float = 0.25  # probability that video is left out of the joint representation (modality dropout)
    video_only: float = 0.35  # probability that audio is left out of it

    RENAMED: ClassVar[Mapping[str, str]] = {  # settings of version 0.1
        "talkers": "augment.babble_speakers",
        "span": "augment.max_span",
        "bands": "augment.max_bands",
        "band": "augment.max_band_width",
        "tilt": "augment.rotation",
        "light": "augment.brightness",
    }


def mix(speech: np.ndarray, noise: np.ndarray, snr: float) -> np.ndarray:
    """Add noise at a signal-to-noise ratio.

    Parameters
    ----------
    speech, noise : float32 [S]
        Noise that is shorter than the speech is repeated.
    snr : float
        dB, from the mean powers of both.
    """
    noise = np.resize(noise, len(speech))
    power, noise_power = (float(np.mean(np.square(x, dtype=np.float64))) for x in (speech, noise))
    if power <= 0.0 or noise_power <= 0.0:
        return speech
    return (speech + noise * np.sqrt(power / noise_power * 10.0 ** (-snr / 10.0))).astype(np.float32)


def babble(voices: list[np.ndarray], samples: int, rng: np.random.Generator) -> np.ndarray:
    """Several speakers at once, each at the same mean power and from a random moment on: float32 [samples]."""
    total = np.zeros(samples, dtype=np.float32)
    for voice in voices:
        looped = np.resize(np.roll(voice, int(rng.integers(len(voice)))), samples)
        total += looped / max(float(np.sqrt(np.mean(np.square(looped, dtype=np.float64)))), 1e-6)
    return total


def span_mask(frames: int, share: float, longest: int, rng: np.random.Generator) -> np.ndarray:
    """Frames to mask, bool [frames]: spans of 2 to ``longest`` frames, about ``share`` of all."""
    masked = np.zeros(frames, dtype=bool)
    for _ in range(rng.poisson(share * frames / (0.5 * (2 + longest)))):
        start = int(rng.integers(frames))
        masked[start : start + int(rng.integers(2, longest + 1))] = True
    return masked


def resample_nearest(array: np.ndarray, frames: int) -> np.ndarray:
    """An array with its first axis resampled to ``frames`` entries, each the nearest one."""
    return array[np.minimum((np.arange(frames) + 0.5) * len(array) / frames, len(array) - 1).astype(int)]


def change_tempo(waveform: np.ndarray, samples: int) -> np.ndarray:
    """A waveform resampled to ``samples`` by linear interpolation, which changes tempo and pitch."""
    return np.interp(np.linspace(0, len(waveform) - 1, samples), np.arange(len(waveform)), waveform).astype(np.float32)


def warp_mouth(mouth: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """One random crop, zoom, rotation, flip and change of brightness for all frames: uint8 [T, 96, 96] to [T, 88, 88]."""
    matrix = cv2.getRotationMatrix2D(
        (CROP_SIZE / 2, CROP_SIZE / 2),
        float(rng.uniform(-config.rotation, config.rotation)),
        float(1.0 + rng.uniform(-config.zoom, config.zoom)),
    )
    matrix[:, 2] -= rng.integers(0, CROP_SIZE - INPUT_SIZE + 1, 2)
    gain, shift = 1.0 + rng.uniform(-config.brightness, config.brightness), 128.0 * rng.uniform(-config.brightness, config.brightness)
    table = np.clip((np.arange(256) - 128.0) * gain + 128.0 + shift, 0, 255).astype(np.uint8)
    flipped = rng.random() < 0.5
    out = np.empty((len(mouth), INPUT_SIZE, INPUT_SIZE), dtype=np.uint8)
    for index, frame in enumerate(mouth):
        warped = cv2.warpAffine(frame, matrix, (INPUT_SIZE, INPUT_SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        out[index] = table[warped[:, ::-1] if flipped else warped]
    return out


def mask_bands(features: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Set some mel bands to 0 for the whole clip: float32 [T, 4 * bins] to the same."""
    bins = features.reshape(len(features), STACK, -1).copy()
    widest = min(config.max_band_width, bins.shape[2] // 4)
    for _ in range(int(rng.integers(0, config.max_bands + 1))):
        width = int(rng.integers(1, widest + 1))
        start = int(rng.integers(0, bins.shape[2] - width + 1))
        bins[:, :, start : start + width] = 0.0
    return bins.reshape(len(features), -1)
