"""The one postprocess through which genuine and forged clips leave: trimmed, degraded and encoded by draws that know no label."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from ...media.clip import SAMPLE_RATE, SAMPLES_PER_FRAME
from ...media.encode import write_media
from ...media.face.landmarks import LIPS_OUTER, OVAL
from ...media.speech import REFERENCE_LEVEL, normalise_level
from ..faces.blending import Region, local_blur

MIN_SIDE = 96  # pixels; no picture leaves smaller than this
PEAK = 0.98  # of full scale, above which no sample leaves


@dataclass(frozen=True)
class Postprocess:
    """How one clip is degraded and encoded.

    Parameters
    ----------
    scale : float
        By which the picture shrinks: a lower native resolution.
    upscaled : bool
        Whether it is then brought back to its old size, so that it is soft for its size.
    crop : tuple of float
        Shares of the sides that are cut off: left, top, right, bottom.
    soften : str
        ``none``; ``mouth`` or ``face`` blurred locally, ``smooth`` as phones smooth skin, ``frame`` blurred.
    grain : float
        Standard deviation of noise in levels.
    gain, bias : float
        Of the picture's tones.
    level : float
        dB of full scale of active sound.
    band : float
        Hz above which the sound is cut; 0 leaves it.
    hiss : float
        dB of white noise below the sound; 0 for none.
    jitter : int
        Frames by which the sound is late (or, below zero, early): as much as recorders and editors do.
    lead, trail : int
        Frames of a still picture in silence that are put before and behind.
    crf, gop : int
        Constant rate factor and distance of key frames of H.264.
    preset : str
        Of H.264.
    audio_bit_rate : int
        Bits per second of AAC.
    seed : int
        Of what is random about noise and blur.
    """

    scale: float
    upscaled: bool
    crop: tuple[float, float, float, float]
    soften: str
    grain: float
    gain: float
    bias: float
    level: float
    band: float
    hiss: float
    jitter: int
    lead: int
    trail: int
    crf: int
    gop: int
    preset: str
    audio_bit_rate: int
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Postprocess:
        """Everything at once, before anyone asks what the clip is."""
        return cls(
            scale=float(rng.uniform(0.55, 1.0)) if rng.random() < 0.4 else 1.0,
            upscaled=bool(rng.random() < 0.35),
            crop=tuple(float(x) for x in rng.uniform(0.0, 0.06, 4)),  # type: ignore[arg-type]
            soften=str(rng.choice(["none", "mouth", "face", "smooth", "frame"], p=[0.52, 0.18, 0.12, 0.1, 0.08])),
            grain=float(rng.uniform(0.5, 4.0)) if rng.random() < 0.25 else 0.0,
            gain=float(rng.uniform(0.88, 1.12)),
            bias=float(rng.uniform(-10.0, 10.0)),
            level=float(rng.uniform(-34.0, -18.0)),
            band=float(rng.uniform(3400.0, 7600.0)) if rng.random() < 0.25 else 0.0,
            hiss=float(rng.uniform(20.0, 45.0)) if rng.random() < 0.25 else 0.0,
            jitter=int(rng.integers(-1, 2)) if rng.random() < 0.5 else 0,
            lead=int(rng.integers(1, 11)) if rng.random() < 0.1 else 0,
            trail=int(rng.integers(1, 11)) if rng.random() < 0.1 else 0,
            crf=int(rng.integers(17, 33)),
            gop=int(rng.choice([12, 25, 50, 250])),
            preset=str(rng.choice(["superfast", "veryfast", "fast", "medium"])),
            audio_bit_rate=int(rng.choice([32, 48, 64, 96, 128])) * 1000,
            seed=int(rng.integers(2**31)),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a record."""
        return asdict(self)


def degrade_frames(frames: np.ndarray, landmarks: np.ndarray | None, postprocess: Postprocess) -> np.ndarray:
    """Crop, scale, soften, tone and grain frames uint8 [T, H, W, 3]; ``landmarks`` [T, 478, 2] say where the face is."""
    rng = np.random.default_rng(postprocess.seed)
    frames = _softened(frames, landmarks, postprocess, rng)
    height, width = frames.shape[1:3]
    left, top, right, bottom = (round(share * side) for share, side in zip(postprocess.crop, (width, height) * 2, strict=True))
    frames = frames[:, top : height - bottom, left : width - right]
    height, width = frames.shape[1:3]
    scale = max(postprocess.scale, min(1.0, MIN_SIDE / min(height, width)))
    small = (round(width * scale), round(height * scale))
    size = (width, height) if postprocess.upscaled or scale == 1.0 else small
    out = np.empty((len(frames), size[1], size[0], 3), dtype=np.uint8)
    for index, frame in enumerate(frames):
        image = frame
        if scale < 1.0:
            image = cv2.resize(frame, small, interpolation=cv2.INTER_AREA)
            if postprocess.upscaled:
                image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
        changed = image.astype(np.float32) * np.float32(postprocess.gain) + np.float32(postprocess.bias)
        if postprocess.grain:
            changed += postprocess.grain * rng.standard_normal((*changed.shape[:2], 1), dtype=np.float32)
        out[index] = np.clip(changed, 0, 255).round()
    return out


def _softened(frames: np.ndarray, landmarks: np.ndarray | None, postprocess: Postprocess, rng: np.random.Generator) -> np.ndarray:
    if postprocess.soften == "frame":
        sigma = rng.uniform(0.4, 1.2)
        return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])
    if landmarks is None or postprocess.soften == "none":
        return frames
    if postprocess.soften == "mouth":
        return local_blur((frames, landmarks[:, list(LIPS_OUTER)]), rng)
    outline = landmarks[:, list(OVAL)]
    if postprocess.soften == "face":
        return local_blur((frames, outline), rng, Region(np.array((0.95, 0.95)), np.zeros(2), rng.uniform(2.0, 6.0)))
    region = Region(np.array((0.95, 0.95)), np.zeros(2), 3.0)
    reach = rng.uniform(12.0, 35.0)  # levels that count as one tone of skin
    out = np.empty_like(frames)
    for index, (frame, points) in enumerate(zip(frames, outline, strict=True)):
        weight = region.mask(points, frame.shape[:2])[..., None]
        out[index] = weight * cv2.bilateralFilter(frame, 5, reach, 2.0) + (1.0 - weight) * frame
    return out


def degrade_audio(waveform: np.ndarray, postprocess: Postprocess) -> np.ndarray:
    """Level, band limit, hiss and jitter of a waveform float32 [S]."""
    rng = np.random.default_rng(postprocess.seed + 1)
    if not len(waveform):
        return waveform
    audio = normalise_level(waveform).astype(np.float64) * (10.0 ** (postprocess.level / 20.0) / REFERENCE_LEVEL)
    if postprocess.band:
        hertz = np.fft.rfftfreq(len(audio), 1.0 / SAMPLE_RATE)
        audio = np.fft.irfft(np.fft.rfft(audio) / (1.0 + (hertz / postprocess.band) ** 24.0), len(audio))
    if postprocess.hiss:
        audio = audio + 10.0 ** ((postprocess.level - postprocess.hiss) / 20.0) * rng.standard_normal(len(audio))
    move = postprocess.jitter * SAMPLES_PER_FRAME
    if 0 < abs(move) < len(audio):
        # What is missing at the edge is the sound next to it, mirrored: silence there would be a mark.
        audio = np.pad(audio, (max(move, 0), max(-move, 0)), mode="reflect")[max(-move, 0) : max(-move, 0) + len(waveform)]
    peak = float(np.abs(audio).max(initial=0.0))
    return (audio * min(1.0, PEAK / max(peak, 1e-9))).astype(np.float32)


def write_clip(
    path: str | os.PathLike[str],
    frames: np.ndarray | None,
    waveform: np.ndarray | None,
    landmarks: np.ndarray | None,
    postprocess: Postprocess,
) -> None:
    """Send one clip through the postprocess into an H.264/AAC MP4; the file appears when it is complete."""
    if frames is not None:
        frames = degrade_frames(frames, landmarks, postprocess)
        frames = np.concatenate([frames[:1].repeat(postprocess.lead, axis=0), frames, frames[-1:].repeat(postprocess.trail, axis=0)])
    if waveform is not None:
        waveform = np.pad(
            degrade_audio(waveform, postprocess), (postprocess.lead * SAMPLES_PER_FRAME, postprocess.trail * SAMPLES_PER_FRAME)
        )
    # Without macroblock trees, for with them x264 does not write the same file twice.
    options = {
        "crf": str(postprocess.crf),
        "preset": postprocess.preset,
        "g": str(postprocess.gop),
        "threads": "1",
        "x264-params": "mbtree=0",
    }
    write_media(path, frames, waveform, video_options=options, audio_bit_rate=postprocess.audio_bit_rate)
