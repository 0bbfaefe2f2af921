"""What happens to pictures on their way: fewer pixels, blur, noise, narrower framing, frames that never arrive."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from ....media.clip import MIN_SIDE
from .base import TimedFrame


def resize(frames: Iterator[TimedFrame], share: float, rng: np.random.Generator) -> Iterator[TimedFrame]:
    """Smaller pictures, as a platform delivers them: averaged down, and not brought back to their old size.

    Who looks at such a file sees how large it is. Enlarged again it would claim a resolution that it does not have, and would hold the
    traces of an interpolation that no platform makes.

    Parameters
    ----------
    frames : iterator of (float, uint8 [H, W, 3])
        Seconds and RGB.
    share : float
        Of each side that is left; no side falls below 32 pixels, under which no file is looked at.
    """
    for time, frame in frames:
        size = _shrunk(frame.shape[1], frame.shape[0], share)
        yield time, cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def blur(frames: Iterator[TimedFrame], sigma: float, rng: np.random.Generator) -> Iterator[TimedFrame]:
    """A Gaussian blur of ``sigma`` pixels of the file, as a lens out of focus leaves it."""
    for time, frame in frames:
        yield time, cv2.GaussianBlur(frame, (0, 0), sigma)


def grain(frames: Iterator[TimedFrame], levels: float, rng: np.random.Generator) -> Iterator[TimedFrame]:
    """White Gaussian noise of a standard deviation of ``levels`` (of 255), new in each frame.

    The three channels share it: noise in colours would be halved again by the 4:2:0 sampling that every file is written with, and the
    picture would be less noisy than ``levels`` says.
    """
    for time, frame in frames:
        noise = rng.standard_normal(frame.shape[:2], dtype=np.float32)[..., None] * np.float32(levels)
        yield time, np.clip(np.rint(frame + noise), 0, 255).astype(np.uint8)


def crop(frames: Iterator[TimedFrame], share: float, rng: np.random.Generator) -> Iterator[TimedFrame]:
    """The middle of the picture: ``share`` of each side is cut, half of it at either end; what is left is not enlarged."""
    for time, frame in frames:
        height, width = frame.shape[:2]
        wide, high = _shrunk(width, height, 1.0 - share)
        left, top = (width - wide) // 2, (height - high) // 2
        yield time, frame[top : top + high, left : left + wide]


def frame_drop(frames: Iterator[TimedFrame], share: float, rng: np.random.Generator) -> Iterator[TimedFrame]:
    """A ``share`` of the frames at random does not arrive; the one before stays on screen, as players do. The first always arrives."""
    held: np.ndarray | None = None
    for time, frame in frames:
        lost = rng.random() < share
        if held is None or not lost:
            held = frame
        yield time, held


def _shrunk(width: int, height: int, share: float) -> tuple[int, int]:
    """Even sides, since 4:2:0 codecs hold no others, and none longer than it was."""
    scale = max(share, MIN_SIDE / min(width, height))
    return 2 * min(round(width * scale / 2), width // 2), 2 * min(round(height * scale / 2), height // 2)
