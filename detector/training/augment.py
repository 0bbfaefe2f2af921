"""Augmentation of what a detector sees and hears, drawn without regard to the label: the same for fakes and genuine clips."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...generators.faces.blending import jpeg_compressed
from ...media.clip import SAMPLE_RATE
from ...media.face.mouth import CROP, INPUT


@dataclass
class AugmentConfig:
    """How often each change strikes, and how hard."""

    resize: float = 0.3  # share of clips seen at a lower native resolution
    smallest: float = 0.45  # of the crop's side
    blur: float = 0.2
    noise: float = 0.25  # share of clips, pictures and sounds apart
    jpeg: float = 0.7
    slow: float = 0.1  # share of clips shown at a lower frame rate, frames held
    local_blur: float = 0.15  # share of faces soft in their lower half alone, as moving lips and shallow focus make them
    babble: float = 0.15
    bands: float = 0.5  # share of clips behind a band limit
    tilt: float = 0.5  # share of clips with another spectral tilt
    coarse: float = 0.1  # share of clips through 8-bit companding
    mute: float = 0.2  # share of clips with silent edges
    room: float = 0.25  # share of clips that sound through a room
    rumble: float = 0.25  # share of clips without their lowest band
    clipped: float = 0.1  # share of clips recorded too loud


def _picture(image: np.ndarray, native: int, blur: float, grain: np.ndarray | None, quality: int) -> np.ndarray:
    side = image.shape[0]
    if native < side:
        image = cv2.resize(cv2.resize(image, (native, native), interpolation=cv2.INTER_AREA), (side, side), interpolation=cv2.INTER_CUBIC)
    if blur:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    if grain is not None:
        image = np.clip(image + grain, 0, 255).astype(np.uint8)
    return jpeg_compressed(image, quality) if quality else image


def augment_mouth(crops: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Mouth crops uint8 [T, 96, 96] to [T, 88, 88]: place, flip, tone, native resolution, blur, noise, compression, frame rate."""
    left, top = rng.integers(0, CROP - INPUT + 1, 2)
    flip = rng.random() < 0.5
    tone = _tone(rng)
    native, blur, noise, quality = _quality(config, rng, INPUT)
    held = _held(len(crops), config, rng)
    out = np.empty((len(crops), INPUT, INPUT), dtype=np.uint8)
    for index, source in enumerate(held):
        if index and source == held[index - 1]:
            out[index] = out[index - 1]
            continue
        image = cv2.LUT(np.ascontiguousarray(crops[source, top : top + INPUT, left : left + INPUT]), tone)
        grain = noise * rng.standard_normal(image.shape, dtype=np.float32) if noise else None
        image = _picture(image, native, blur, grain, quality)
        out[index] = image[:, ::-1] if flip else image
    return out


def augment_faces(faces: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Aligned faces uint8 [N, S, S, 3], changed in the same way: tone, native resolution, blur, noise, compression, flip."""
    flip = rng.random() < 0.5
    tone = _tone(rng)
    native, blur, noise, quality = _quality(config, rng, faces.shape[1])
    soft = rng.uniform(0.5, 1.6) if rng.random() < config.local_blur else 0.0  # pixels
    edge = rng.uniform(0.45, 0.65)
    out = np.empty_like(faces)
    for index, face in enumerate(faces):
        if not face.any():
            out[index] = 0
            continue
        image = cv2.LUT(face, tone)
        if soft:
            ramp = np.clip((np.arange(len(image)) / len(image) - edge) * 8.0, 0.0, 1.0).astype(np.float32)[:, None, None]
            image = (ramp * cv2.GaussianBlur(image, (0, 0), soft) + (1.0 - ramp) * image).astype(np.uint8)
        grain = noise * rng.standard_normal(image.shape[:2], dtype=np.float32)[..., None] if noise else None
        image = _picture(image, native, blur, grain, 0)
        if quality:
            coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            image = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        out[index] = image[:, ::-1] if flip else image
    return out


def _tone(rng: np.random.Generator) -> np.ndarray:
    gain, bias, gamma = rng.uniform(0.8, 1.2), rng.uniform(-15, 15), rng.uniform(0.8, 1.25)
    values: np.ndarray = np.clip((np.arange(256) / 255.0) ** gamma * 255.0 * gain + bias, 0, 255).astype(np.uint8)
    return values


def _quality(config: AugmentConfig, rng: np.random.Generator, side: int) -> tuple[int, float, float, int]:
    """Native side in pixels, blur in pixels, noise in levels, JPEG quality (0 for none)."""
    native = int(rng.uniform(config.smallest, 1.0) * side) if rng.random() < config.resize else side
    blur = rng.uniform(0.3, 1.2) if rng.random() < config.blur else 0.0
    noise = rng.uniform(1.0, 5.0) if rng.random() < config.noise else 0.0
    return native, blur, noise, int(rng.integers(35, 96)) if rng.random() < config.jpeg else 0


def _held(frames: int, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Which frame is shown at each moment, when fewer are shown a second."""
    index = np.arange(frames)
    if rng.random() >= config.slow or frames == 0:
        return index
    step = rng.uniform(1.2, 2.1)
    return np.minimum((np.floor(index / step) * step).round().astype(int), frames - 1)


def augment_audio(waveform: np.ndarray, config: AugmentConfig, rng: np.random.Generator, babble: np.ndarray | None = None) -> np.ndarray:
    """A room, noise, another voice, band limits, a spectral tilt, clipping, coarse samples and muted edges of a waveform float32 [S]."""
    if not len(waveform):
        return waveform
    if rng.random() < config.room:
        waveform = _in_room(waveform, rng)
    level = float(np.sqrt(np.mean(np.square(waveform)))) + 1e-6
    if rng.random() < config.noise:
        grain = rng.standard_normal(len(waveform), dtype=np.float32)
        if rng.random() < 0.5:  # of rooms and microphones: falling towards the treble
            grain = np.convolve(grain, np.ones(4, dtype=np.float32) / 2.0, mode="same")
        waveform = waveform + level * 10.0 ** (-rng.uniform(10.0, 45.0) / 20.0) * grain
    if babble is not None and len(babble) >= len(waveform) and rng.random() < config.babble:
        begin = int(rng.integers(0, len(babble) - len(waveform) + 1))
        other = babble[begin : begin + len(waveform)].astype(np.float32)
        waveform = waveform + other * (level / (other.std() + 1e-6) * 10.0 ** (-rng.uniform(8.0, 25.0) / 20.0))
    limited, tilted, raised = rng.random() < config.bands, rng.random() < config.tilt, rng.random() < config.rumble
    if limited or tilted or raised:
        spectrum = np.fft.rfft(waveform)
        hertz = np.fft.rfftfreq(len(waveform), 1.0 / SAMPLE_RATE)
        if limited:
            spectrum = spectrum / (1.0 + (hertz / rng.uniform(3000.0, 7800.0)) ** rng.uniform(8.0, 60.0))
        if raised:
            spectrum = spectrum / (1.0 + (rng.uniform(60.0, 350.0) / np.maximum(hertz, 1.0)) ** rng.uniform(4.0, 16.0))
        if tilted:
            spectrum = spectrum * 10.0 ** (rng.uniform(-8.0, 8.0) * (hertz / (SAMPLE_RATE / 2) - 0.5) / 20.0 * 2.0)
        waveform = np.fft.irfft(spectrum, len(waveform)).astype(np.float32)
    if rng.random() < config.clipped:
        peak = float(np.abs(waveform).max()) + 1e-6
        ceiling = rng.uniform(0.3, 0.9) * peak
        waveform = np.clip(waveform, -ceiling, ceiling)
    if rng.random() < config.coarse:
        peak = float(np.abs(waveform).max()) + 1e-6
        folded = np.sign(waveform) * np.log1p(255.0 * np.abs(waveform) / peak) / np.log(256.0)  # mu-law, ITU-T G.711
        folded = np.round(folded * 127.0) / 127.0
        waveform = (np.sign(folded) * (256.0 ** np.abs(folded) - 1.0) / 255.0 * peak).astype(np.float32)
    if rng.random() < config.mute:
        waveform = waveform.copy()
        edge = int(rng.integers(0, max(1, len(waveform) // 6)))
        waveform[: edge if rng.random() < 0.5 else 0] = 0.0
        waveform[len(waveform) - (edge if rng.random() < 0.5 else 0) :] = 0.0
    return waveform.astype(np.float32)


def _in_room(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A waveform [S] as a room gives it back: the direct sound, then noise that dies away, which is what late reverberation is."""
    decay = rng.uniform(0.15, 0.7)  # seconds until it is 60 dB softer
    direct = rng.uniform(0.0, 15.0)  # dB, direct over reverberant sound
    delay = int(rng.uniform(0.002, 0.02) * SAMPLE_RATE)
    seconds = np.arange(int(decay * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(seconds), dtype=np.float32) * 10.0 ** (-3.0 * seconds / decay)
    tail *= 10.0 ** (-direct / 20.0) / np.sqrt(np.square(tail).sum())
    late = np.fft.irfft(np.fft.rfft(waveform, len(waveform) + len(tail)) * np.fft.rfft(tail, len(waveform) + len(tail)))
    out = waveform.copy()
    out[delay:] += late[: max(len(waveform) - delay, 0)].astype(np.float32)
    return out
