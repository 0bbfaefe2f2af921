"""Augmentation of mouth crops, face crops and waveforms; independent of the label, so the same for fake and genuine clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from ...generators.faces.blending import jpeg_compressed
from ...media.clip import SAMPLE_RATE
from ...media.face.mouth import CROP_SIZE, INPUT_SIZE


@dataclass
class AugmentConfig:
    """Probability of each augmentation, for one sample."""

    resize: float = 0.3  # lower native resolution
    min_size: float = 0.45  # smallest native resolution, as a share of the crop's side; no probability
    blur: float = 0.2
    noise: float = 0.25  # audio and images apart
    jpeg: float = 0.7
    low_frame_rate: float = 0.1  # frames are repeated
    lower_face_blur: float = 0.15  # blur of the lower half of a face alone, as moving lips and shallow focus make it
    babble: float = 0.15  # another speaker in the background
    low_pass: float = 0.5
    spectral_tilt: float = 0.5
    mu_law: float = 0.1  # 8-bit companding
    silent_edges: float = 0.2
    reverberation: float = 0.25
    high_pass: float = 0.25
    clipping: float = 0.1  # amplitude

    RENAMED: ClassVar[Mapping[str, str]] = {  # settings of version 0.1
        "smallest": "augment.min_size",
        "slow": "augment.low_frame_rate",
        "local_blur": "augment.lower_face_blur",
        "bands": "augment.low_pass",
        "tilt": "augment.spectral_tilt",
        "coarse": "augment.mu_law",
        "mute": "augment.silent_edges",
        "room": "augment.reverberation",
        "rumble": "augment.high_pass",
        "clipped": "augment.clipping",
    }


def _degrade_image(image: np.ndarray, native: int, blur: float, grain: np.ndarray | None, quality: int) -> np.ndarray:
    """An image [S, S] or [S, S, 3] at a native resolution in pixels, blurred, with noise, compressed; ``quality`` 0 leaves JPEG out."""
    side = image.shape[0]
    if native < side:
        image = cv2.resize(cv2.resize(image, (native, native), interpolation=cv2.INTER_AREA), (side, side), interpolation=cv2.INTER_CUBIC)
    if blur:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    if grain is not None:
        image = np.clip(image + grain, 0, 255).astype(np.uint8)
    return jpeg_compressed(image, quality) if quality else image


def augment_mouth(crops: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Mouth crops uint8 [T, 96, 96] to [T, 88, 88]: position, flip, tone, native resolution, blur, noise, JPEG, frame rate."""
    left, top = rng.integers(0, CROP_SIZE - INPUT_SIZE + 1, 2)
    flip = rng.random() < 0.5
    tone_curve = _tone_curve(rng)
    native, blur, noise, quality = _sample_degradation(config, rng, INPUT_SIZE)
    shown = _shown_frames(len(crops), config, rng)
    out = np.empty((len(crops), INPUT_SIZE, INPUT_SIZE), dtype=np.uint8)
    for index, source in enumerate(shown):
        if index and source == shown[index - 1]:
            out[index] = out[index - 1]
            continue
        image = cv2.LUT(np.ascontiguousarray(crops[source, top : top + INPUT_SIZE, left : left + INPUT_SIZE]), tone_curve)
        grain = noise * rng.standard_normal(image.shape, dtype=np.float32) if noise else None
        image = _degrade_image(image, native, blur, grain, quality)
        out[index] = image[:, ::-1] if flip else image
    return out


def augment_faces(faces: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Aligned faces uint8 [N, S, S, 3] to the same shape: tone, native resolution, blur, noise, JPEG, flip; black faces stay black."""
    flip = rng.random() < 0.5
    tone_curve = _tone_curve(rng)
    native, blur, noise, quality = _sample_degradation(config, rng, faces.shape[1])
    sigma = rng.uniform(0.5, 1.6) if rng.random() < config.lower_face_blur else 0.0  # pixels
    edge = rng.uniform(0.45, 0.65)
    out = np.empty_like(faces)
    for index, face in enumerate(faces):
        if not face.any():
            out[index] = 0
            continue
        image = cv2.LUT(face, tone_curve)
        if sigma:
            ramp = np.clip((np.arange(len(image)) / len(image) - edge) * 8.0, 0.0, 1.0).astype(np.float32)[:, None, None]
            image = (ramp * cv2.GaussianBlur(image, (0, 0), sigma) + (1.0 - ramp) * image).astype(np.uint8)
        grain = noise * rng.standard_normal(image.shape[:2], dtype=np.float32)[..., None] if noise else None
        image = _degrade_image(image, native, blur, grain, 0)
        if quality:
            coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            image = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        out[index] = image[:, ::-1] if flip else image
    return out


def _tone_curve(rng: np.random.Generator) -> np.ndarray:
    """Look-up table uint8 [256] of gain, bias and gamma."""
    gain, bias, gamma = rng.uniform(0.8, 1.2), rng.uniform(-15, 15), rng.uniform(0.8, 1.25)
    values: np.ndarray = np.clip((np.arange(256) / 255.0) ** gamma * 255.0 * gain + bias, 0, 255).astype(np.uint8)
    return values


def _sample_degradation(config: AugmentConfig, rng: np.random.Generator, side: int) -> tuple[int, float, float, int]:
    """Native side in pixels, blur in pixels, noise in levels, JPEG quality (0 for none)."""
    native = int(rng.uniform(config.min_size, 1.0) * side) if rng.random() < config.resize else side
    blur = rng.uniform(0.3, 1.2) if rng.random() < config.blur else 0.0
    noise = rng.uniform(1.0, 5.0) if rng.random() < config.noise else 0.0
    return native, blur, noise, int(rng.integers(35, 96)) if rng.random() < config.jpeg else 0


def _shown_frames(frames: int, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Index of the frame that is shown at each moment int [T]; frames repeat where the frame rate is lower."""
    index = np.arange(frames)
    if rng.random() >= config.low_frame_rate or frames == 0:
        return index
    step = rng.uniform(1.2, 2.1)
    return np.minimum((np.floor(index / step) * step).round().astype(int), frames - 1)


def augment_audio(waveform: np.ndarray, config: AugmentConfig, rng: np.random.Generator, babble: np.ndarray | None = None) -> np.ndarray:
    """Reverberation, noise, babble, band limits, spectral tilt, clipping, mu-law and silent edges, of a waveform float32 [S] at 16 kHz.

    Parameters
    ----------
    babble : float32 [S'], optional
        Another speaker's waveform; used if it is as long as ``waveform``, at least.
    """
    if not len(waveform):
        return waveform
    if rng.random() < config.reverberation:
        waveform = _reverberate(waveform, rng)
    level = float(np.sqrt(np.mean(np.square(waveform)))) + 1e-6
    if rng.random() < config.noise:
        grain = rng.standard_normal(len(waveform), dtype=np.float32)
        if rng.random() < 0.5:  # noise of rooms and microphones falls towards high frequencies
            grain = np.convolve(grain, np.ones(4, dtype=np.float32) / 2.0, mode="same")
        waveform = waveform + level * 10.0 ** (-rng.uniform(10.0, 45.0) / 20.0) * grain
    if babble is not None and len(babble) >= len(waveform) and rng.random() < config.babble:
        begin = int(rng.integers(0, len(babble) - len(waveform) + 1))
        other = babble[begin : begin + len(waveform)].astype(np.float32)
        waveform = waveform + other * (level / (other.std() + 1e-6) * 10.0 ** (-rng.uniform(8.0, 25.0) / 20.0))
    low_passed, tilted, high_passed = rng.random() < config.low_pass, rng.random() < config.spectral_tilt, rng.random() < config.high_pass
    if low_passed or tilted or high_passed:
        spectrum = np.fft.rfft(waveform)
        hertz = np.fft.rfftfreq(len(waveform), 1.0 / SAMPLE_RATE)
        if low_passed:
            spectrum = spectrum / (1.0 + (hertz / rng.uniform(3000.0, 7800.0)) ** rng.uniform(8.0, 60.0))
        if high_passed:
            spectrum = spectrum / (1.0 + (rng.uniform(60.0, 350.0) / np.maximum(hertz, 1.0)) ** rng.uniform(4.0, 16.0))
        if tilted:
            spectrum = spectrum * 10.0 ** (rng.uniform(-8.0, 8.0) * (hertz / (SAMPLE_RATE / 2) - 0.5) / 20.0 * 2.0)
        waveform = np.fft.irfft(spectrum, len(waveform)).astype(np.float32)
    if rng.random() < config.clipping:
        peak = float(np.abs(waveform).max()) + 1e-6
        peak_limit = rng.uniform(0.3, 0.9) * peak
        waveform = np.clip(waveform, -peak_limit, peak_limit)
    if rng.random() < config.mu_law:
        peak = float(np.abs(waveform).max()) + 1e-6
        companded = np.sign(waveform) * np.log1p(255.0 * np.abs(waveform) / peak) / np.log(256.0)  # mu-law, ITU-T G.711
        companded = np.round(companded * 127.0) / 127.0
        waveform = (np.sign(companded) * (256.0 ** np.abs(companded) - 1.0) / 255.0 * peak).astype(np.float32)
    if rng.random() < config.silent_edges:
        waveform = waveform.copy()
        edge = int(rng.integers(0, max(1, len(waveform) // 6)))
        waveform[: edge if rng.random() < 0.5 else 0] = 0.0
        waveform[len(waveform) - (edge if rng.random() < 0.5 else 0) :] = 0.0
    return waveform.astype(np.float32)


def _reverberate(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A waveform [S] with late reverberation: convolved with noise of exponential decay."""
    decay = rng.uniform(0.15, 0.7)  # seconds, reverberation time (60 dB)
    direct_to_reverberant = rng.uniform(0.0, 15.0)  # dB
    delay = int(rng.uniform(0.002, 0.02) * SAMPLE_RATE)
    seconds = np.arange(int(decay * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(seconds), dtype=np.float32) * 10.0 ** (-3.0 * seconds / decay)
    tail *= 10.0 ** (-direct_to_reverberant / 20.0) / np.sqrt(np.square(tail).sum())
    reverberant = np.fft.irfft(np.fft.rfft(waveform, len(waveform) + len(tail)) * np.fft.rfft(tail, len(waveform) + len(tail)))
    out = waveform.copy()
    out[delay:] += reverberant[: max(len(waveform) - delay, 0)].astype(np.float32)
    return out
