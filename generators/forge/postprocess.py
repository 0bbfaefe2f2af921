"""Postprocessing of forged and genuine clips alike: cropping, degradation and encoding with settings drawn independently of the label."""

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

MIN_IMAGE_SIZE = 96  # pixels, shorter side of the smallest written frame
MAX_PEAK = 0.98  # of full scale, limit of the written waveform


@dataclass(frozen=True)
class Postprocess:
    """The drawn settings of the postprocessing of one clip.

    Parameters
    ----------
    scale : float
        Factor by which the frames are downscaled.
    upscaled : bool
        Whether they are upscaled to the original size afterwards, which makes them soft.
    crop : tuple of float
        Shares of width and height that are cropped: left, top, right, bottom.
    soften : str
        ``none``; ``mouth`` or ``face``: blurred locally; ``smooth``: skin smoothing; ``frame``: blurred as a whole.
    grain : float
        Standard deviation of the noise in grey levels.
    gain, bias : float
        Of the tones of the frames.
    level : float
        Level of active speech in dB of full scale.
    band : float
        Cut-off frequency of a low-pass in Hz; 0 for none.
    hiss : float
        Level of white noise in dB below the speech; 0 for none.
    jitter : int
        Frames by which the audio is late (negative: early): within the range of recorders and editors.
    lead, trail : int
        Held frames in silence that are added before and after.
    crf, gop : int
        Constant rate factor and key-frame interval of H.264.
    preset : str
        Of H.264.
    audio_bit_rate : int
        Bits per second of AAC.
    seed : int
        Of noise and blur.
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
        """Draw all settings at once."""
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
        """Plain values, for the record of a clip."""
        return asdict(self)


def degrade_frames(frames: np.ndarray, landmarks: np.ndarray | None, postprocess: Postprocess) -> np.ndarray:
    """Soften, crop and scale frames uint8 [T, H, W, 3], change their tones and add noise; ``landmarks`` are [T, 478, 2] or ``None``."""
    rng = np.random.default_rng(postprocess.seed)
    frames = _blurred(frames, landmarks, postprocess, rng)
    height, width = frames.shape[1:3]
    left, top, right, bottom = (round(share * side) for share, side in zip(postprocess.crop, (width, height) * 2, strict=True))
    frames = frames[:, top : height - bottom, left : width - right]
    height, width = frames.shape[1:3]
    scale = max(postprocess.scale, min(1.0, MIN_IMAGE_SIZE / min(height, width)))
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


def _blurred(frames: np.ndarray, landmarks: np.ndarray | None, postprocess: Postprocess, rng: np.random.Generator) -> np.ndarray:
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
    reach = rng.uniform(12.0, 35.0)  # grey levels, range of the bilateral filter
    out = np.empty_like(frames)
    for index, (frame, points) in enumerate(zip(frames, outline, strict=True)):
        weight = region.mask(points, frame.shape[:2])[..., None]
        out[index] = weight * cv2.bilateralFilter(frame, 5, reach, 2.0) + (1.0 - weight) * frame
    return out


def degrade_audio(waveform: np.ndarray, postprocess: Postprocess) -> np.ndarray:
    """Set level, band limit, noise and lag of a waveform float32 [S]."""
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
        # The edge is filled by mirrored audio: silence there would reveal the lag.
        audio = np.pad(audio, (max(move, 0), max(-move, 0)), mode="reflect")[max(-move, 0) : max(-move, 0) + len(waveform)]
    peak = float(np.abs(audio).max(initial=0.0))
    return (audio * min(1.0, MAX_PEAK / max(peak, 1e-9))).astype(np.float32)


def write_clip(
    path: str | os.PathLike[str],
    frames: np.ndarray | None,
    waveform: np.ndarray | None,
    landmarks: np.ndarray | None,
    postprocess: Postprocess,
) -> None:
    """Postprocess one clip and write it as H.264/AAC MP4, atomically."""
    if frames is not None:
        frames = degrade_frames(frames, landmarks, postprocess)
        frames = np.concatenate([frames[:1].repeat(postprocess.lead, axis=0), frames, frames[-1:].repeat(postprocess.trail, axis=0)])
    if waveform is not None:
        waveform = np.pad(
            degrade_audio(waveform, postprocess), (postprocess.lead * SAMPLES_PER_FRAME, postprocess.trail * SAMPLES_PER_FRAME)
        )
    # Without macroblock trees, with which the output of x264 is not deterministic.
    options = {
        "crf": str(postprocess.crf),
        "preset": postprocess.preset,
        "g": str(postprocess.gop),
        "threads": "1",
        "x264-params": "mbtree=0",
    }
    write_media(path, frames, waveform, video_options=options, audio_bit_rate=postprocess.audio_bit_rate)
