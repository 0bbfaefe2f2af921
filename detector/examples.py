"""Training material to labelled examples: pairs of a genuine stretch and a forgery of it, augmented without regard to the label."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..generators.faces import FACES, local_blur, recompressed
from ..generators.faces import seams as seams_of
from ..media.clip import SAMPLE_RATE, SAMPLES_PER_FRAME
from ..media.mouth import CROP, INPUT
from ..media.speech import log_mel
from .artefacts import CELL
from .model import MAX_OFFSET
from .prepare import Material

PARTIAL = 0.3  # share of forgeries that cover only a part of the stretch
CROSSFADE = 160  # samples over which forged and genuine speech are mixed at a seam


@dataclass(frozen=True)
class VideoExample:
    """Mouth crops uint8 [T, 88, 88], mask bool [T], labels of the frames float32 [T], seams float32 [T, 11, 11] in [0, 1]."""

    crops: np.ndarray
    mask: np.ndarray
    labels: np.ndarray
    seams: np.ndarray


@dataclass(frozen=True)
class AudioExample:
    """Log-mel float32 [T, 320], mask bool [T], labels of the frames float32 [T]."""

    features: np.ndarray
    mask: np.ndarray
    labels: np.ndarray


def interval(frames: int, rng: np.random.Generator) -> tuple[int, int]:
    """Which frames a forgery covers: all of them, or 25 to 75 % in one piece."""
    if rng.random() >= PARTIAL or frames < 8:
        return 0, frames
    length = int(rng.integers(frames // 4, 3 * frames // 4 + 1))
    begin = int(rng.integers(0, frames - length + 1))
    return begin, begin + length


def video_example(
    material: Material, donor: Material, start: int, frames: int, family: str | None, rng: np.random.Generator, strength: float = 1.0
) -> VideoExample:
    """Frames ``start`` to ``start + frames`` of a clip, forged by ``family`` or genuine; short clips are padded.

    ``strength`` in [0, 1] is how often the augmentations strike: a run begins with clean pictures, in which seams can be
    found at all.

    Raises
    ------
    ValueError
        If the clip or the donor shows no face.
    """
    if material.mouth is None or material.lips is None or material.usable is None or donor.mouth is None or donor.lips is None:
        raise ValueError("a video example needs a face")
    stop = min(start + frames, len(material.mouth))
    crops, lips, mask = material.mouth[start:stop].copy(), material.lips[start:stop], material.usable[start:stop].copy()
    labels, seams = np.zeros(len(crops), dtype=np.float32), np.zeros_like(crops)
    if family is not None:
        begin, end = interval(len(crops), rng)
        crops[begin:end], share = FACES[family]((crops[begin:end], lips[begin:end]), (donor.mouth, donor.lips), rng)
        seams[begin:end] = seams_of(share)
        labels[begin:end] = 1.0
    if rng.random() < 0.3 * strength:
        crops = local_blur((crops, lips), rng)
    crops, seams = augment_video(crops, seams, rng, strength)
    cells = seams.reshape(len(seams), INPUT // CELL, CELL, INPUT // CELL, CELL).max(axis=(2, 4)) / np.float32(255.0)
    short = frames - len(crops)
    edges = ((0, short), (0, 0), (0, 0))
    return VideoExample(np.pad(crops, edges), np.pad(mask, (0, short)), np.pad(labels, (0, short)), np.pad(cells, edges))


def augment_video(crops: np.ndarray, seams: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Random crop to 88x88, flip, tone, native resolution, blur, noise and compression: the same for a whole stretch.

    Seams follow the crop and the flip.
    """
    left, top = rng.integers(0, CROP - INPUT + 1, 2)
    flip = rng.random() < 0.5
    gain, bias, gamma = rng.uniform(0.8, 1.2), rng.uniform(-15, 15), rng.uniform(0.8, 1.25)
    native = int(rng.uniform(0.6, 1.0) * INPUT) if rng.random() < 0.3 * strength else INPUT
    blur = rng.uniform(0.3, 0.8) if rng.random() < 0.2 * strength else 0.0
    noise = rng.uniform(1.0, 3.0) if rng.random() < 0.2 * strength else 0.0  # grey levels
    quality = int(rng.integers(45, 96))  # always: an uncompressed seam is no seam anyone will meet
    tone = (np.clip((np.arange(256) / 255.0) ** gamma * 255.0 * gain + bias, 0, 255)).astype(np.uint8)
    out = np.empty((len(crops), INPUT, INPUT), dtype=np.uint8)
    for index, crop in enumerate(crops):
        image = cv2.LUT(np.ascontiguousarray(crop[top : top + INPUT, left : left + INPUT]), tone)
        if native < INPUT:
            image = cv2.resize(
                cv2.resize(image, (native, native), interpolation=cv2.INTER_AREA), (INPUT, INPUT), interpolation=cv2.INTER_CUBIC
            )
        if blur:
            image = cv2.GaussianBlur(image, (0, 0), blur)
        if noise:
            image = np.clip(image + noise * rng.standard_normal(image.shape, dtype=np.float32), 0, 255).astype(np.uint8)
        image = recompressed(image, quality)
        out[index] = image[:, ::-1] if flip else image
    seams = seams[:, top : top + INPUT, left : left + INPUT]
    return out, seams[:, :, ::-1] if flip else seams


def audio_example(
    material: Material, start: int, frames: int, family: str | None, rng: np.random.Generator, babble: np.ndarray | None = None
) -> AudioExample:
    """Sound under the frames ``start`` (which may be negative) to ``start + frames``, re-voiced by ``family`` or genuine.

    Raises
    ------
    ValueError
        If the clip has no sound.
    """
    if material.speech is None:
        raise ValueError("an audio example needs sound")
    made = material.speech[int(rng.random() < 0.5)]  # with or without a codec, whatever the label
    length = made.shape[1] // SAMPLES_PER_FRAME
    first, stop = max(start, 0), min(start + frames, length)
    window = slice(first * SAMPLES_PER_FRAME, max(stop, first) * SAMPLES_PER_FRAME)
    waveform = made[0, window].astype(np.float32) / 32768.0
    present = max(stop - first, 0)
    labels = np.zeros(present, dtype=np.float32)
    if family is not None and present:
        begin, end = interval(present, rng)
        forged = made[1 + material.voices.index(family), window].astype(np.float32) / 32768.0
        weight = np.zeros(len(waveform), dtype=np.float32)
        weight[begin * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME] = 1.0
        if begin > 0 or end < present:
            weight = np.convolve(weight, np.full(CROSSFADE, 1.0 / CROSSFADE, dtype=np.float32), mode="same")
        waveform = waveform * (1.0 - weight) + forged * weight
        labels[begin:end] = 1.0
    if present:
        waveform = augment_audio(waveform, rng, babble)
    features = log_mel(waveform)
    before, after = first - start, frames - (first - start) - present
    return AudioExample(
        np.pad(features, ((before, after), (0, 0))),
        np.pad(np.ones(present, dtype=bool), (before, after)),
        np.pad(labels, (before, after)),
    )


def augment_audio(waveform: np.ndarray, rng: np.random.Generator, babble: np.ndarray | None = None) -> np.ndarray:
    """Noise, babble, band limits, a spectral tilt and muted edges, drawn without regard to the label."""
    level = float(np.sqrt(np.mean(np.square(waveform)))) + 1e-6
    if rng.random() < 0.4:
        waveform = waveform + level * 10.0 ** (-rng.uniform(10.0, 45.0) / 20.0) * rng.standard_normal(len(waveform), dtype=np.float32)
    if babble is not None and len(babble) >= len(waveform) and rng.random() < 0.2:
        begin = int(rng.integers(0, len(babble) - len(waveform) + 1))
        other = babble[begin : begin + len(waveform)].astype(np.float32)
        waveform = waveform + other * (level / (other.std() + 1e-6) * 10.0 ** (-rng.uniform(5.0, 25.0) / 20.0))
    if rng.random() < 0.6:
        spectrum = np.fft.rfft(waveform)
        hertz = np.fft.rfftfreq(len(waveform), 1.0 / SAMPLE_RATE)
        if rng.random() < 0.5:  # band limit of a telephone, a codec or a microphone
            cut = rng.uniform(3000.0, 7800.0)
            spectrum = spectrum / (1.0 + (hertz / cut) ** rng.uniform(8.0, 60.0))
        spectrum = spectrum * 10.0 ** (rng.uniform(-6.0, 6.0) * (hertz / (SAMPLE_RATE / 2) - 0.5) / 20.0 * 2.0)
        waveform = np.fft.irfft(spectrum, len(waveform)).astype(np.float32)
    if rng.random() < 0.1:
        edge = int(rng.uniform(0.0, 0.25) * len(waveform))
        waveform = waveform.copy()
        waveform[:edge] *= 0.01
    return waveform


def offset_or_none(rng: np.random.Generator) -> int:
    """By how many frames the sound is moved against the picture: not at all half of the time."""
    return 0 if rng.random() < 0.5 else int(rng.integers(-MAX_OFFSET, MAX_OFFSET + 1))
