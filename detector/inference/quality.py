"""Quality limits of the video, outside of which it gets no label."""

from __future__ import annotations

import os
from collections.abc import Sequence

import cv2
import numpy as np

from ...media.clip import MediaInfo

SMALL_FACE = 2.0  # enlargement of the mouth above which the face is flagged as small
TINY_FACE = 4.0  # enlargement above which the video gets no label: the eyes are less than 23 pixels apart
MIN_SHARPNESS = 1.8  # below it the video gets no label: no training clip is that blurred
MIN_BITS_PER_PIXEL = 0.008  # of the file, for each pixel of each frame; below it the codec removes the texture of the skin
ABSTAIN = frozenset({"tiny_face", "blurred_mouth", "heavy_compression", "hdr_video"})  # flags under which the video gets no label


def sharpness(crops: Sequence[np.ndarray] | np.ndarray) -> float:
    """Logarithm of the variance of the Laplacian, median over crops uint8 [H, W]; NaN without any."""
    values = [cv2.Laplacian(crop, cv2.CV_32F).var() for crop in crops]
    return float(np.log(np.median(values) + 1e-3)) if values else float("nan")


def bits_per_pixel(info: MediaInfo, seconds: float) -> float | None:
    """Size of a file over all pixels of its video, in bits; ``None`` where the container states no frame rate.

    The audio is included, so this is an upper bound.

    Parameters
    ----------
    info : MediaInfo
    seconds : float
        Length of the decoded video; the duration that a container states may count an offset of its clock.
    """
    video = info.video
    if video is None or seconds <= 0.0 or not video.frame_rate:
        return None
    pixels = video.width * video.height * video.frame_rate * seconds
    return 8.0 * os.stat(info.path).st_size / max(pixels, 1.0)


def limits(scale: float | None, sharp: float | None, bits: float | None) -> list[str]:
    """Quality flags of a video.

    Parameters
    ----------
    scale : float or None
        Enlargement of the mouth, see :func:`avwitness.media.face.mouth.native_scale`.
    sharp : float or None
        See :func:`sharpness`.
    bits : float or None
        See :func:`bits_per_pixel`.
    """
    flags = []
    if scale is not None and scale > SMALL_FACE:
        flags.append("tiny_face" if scale > TINY_FACE else "small_face")
    if sharp is not None and sharp < MIN_SHARPNESS:
        flags.append("blurred_mouth")
    if bits is not None and bits < MIN_BITS_PER_PIXEL:
        flags.append("heavy_compression")
    return flags
