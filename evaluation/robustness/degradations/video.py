"""Degradations of video: downscaling, blur, noise, crop, dropped frames."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from ....media.clip import MIN_SIDE
from .base import TimedFrame


def resize(frames: Iterator[TimedFrame], share: float, rng: np.random.Generator) -> Iterator[TimedFrame]:
    """Downscale by area averaging, as platforms do, without upscaling to the original size.

    Upscaling would give the file a resolution that it does not have, and traces of an interpolation that platforms do not make.

    Parameters
    ----------
    frames : iterator of (float, uint8 [H, W, 3])
        Seconds and RGB.
    share : float
        Of each side that is left; no side falls below 32 pixels, the smallest size that is scored.
    """
    for time, frame in frames:
        size = _shrunk(frame.shape[1], frame.shape[0], share)
        yield time, cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def blur(frames: Iterator[TimedFrame], sigma: float, rng: np.random.Generator) -> Iterator[TimedFrame]:
    """Gaussian blur with a standard deviation of ``sigma`` pixels of the file."""
    for time, frame in frames:
        yield time, cv2.GaussianBlur(frame, (0, 0), sigma)


def grain(frames: Iterator[TimedFrame], levels: float, rng: np.random.Generator) -> Iterator[TimedFrame]:
    """White Gaussian noise with a standard deviation of ``levels`` (of 255), independent in each frame.

    The three channels share the noise, since the 4:2:0 sampling of the written files would reduce noise in chroma, and the frames would
    be less noisy than ``levels``.
    """
    for time, frame in frames:
        noise = rng.standard_normal(frame.shape[:2], dtype=np.float32)[..., None] * np.float32(levels)
        yield time, np.clip(np.rint(frame + noise), 0, 255).astype(np.uint8)


def crop(frames: Iterator[TimedFrame], share: float, rng: np.random.Generator) -> Iterator[TimedFrame]:
    """Centre crop: ``share`` of each side is cut, half of it at either end. The crop is not upscaled."""
    for time, frame in frames:
        height, width = frame.shape[:2]
        wide, high = _shrunk(width, height, 1.0 - share)
        left, top = (width - wide) // 2, (height - high) // 2
        yield time, frame[top : top + high, left : left + wide]


def frame_drop(frames: Iterator[TimedFrame], share: float, rng: np.random.Generator) -> Iterator[TimedFrame]:
    """Drop a random ``share`` of the frames and repeat the previous one, as players do. The first frame is never dropped."""
    held: np.ndarray | None = None
    for time, frame in frames:
        lost = rng.random() < share
        if held is None or not lost:
            held = frame
        yield time, held


def _shrunk(width: int, height: int, share: float) -> tuple[int, int]:
    """Even sides, as 4:2:0 codecs require, no longer than the original ones."""
    scale = max(share, MIN_SIDE / min(width, height))
    return 2 * min(round(width * scale / 2), width // 2), 2 * min(round(height * scale / 2), height // 2)
