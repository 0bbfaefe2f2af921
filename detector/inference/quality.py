"""What a clip must offer before its picture is judged: outside of it a verdict would be a guess."""

from __future__ import annotations

import os
from collections.abc import Sequence

import cv2
import numpy as np

from ...media.clip import MediaInfo

SMALL_FACE = 2.0  # enlargement of the mouth above which the face is called small
TINY_FACE = 4.0  # enlargement above which nothing is said: the eyes are less than 23 pixels apart
SOFT_MOUTH = 1.8  # sharpness below which nothing is said: none of the clips that the detector was trained on lies there
FEW_BITS = 0.008  # bits of the file for each pixel of each frame; below it a codec has replaced the skin
ABSTAIN = frozenset({"tiny_face", "blurred_mouth", "heavy_compression"})  # flags under which the picture is not judged


def sharpness(crops: Sequence[np.ndarray] | np.ndarray) -> float:
    """Logarithm of the Laplacian's variance of pictures uint8 [H, W], the median over them; NaN where there are none."""
    values = [cv2.Laplacian(crop, cv2.CV_32F).var() for crop in crops]
    return float(np.log(np.median(values) + 1e-3)) if values else float("nan")


def bits_per_pixel(info: MediaInfo) -> float | None:
    """Size of a file over all pixels of its video, in bits; ``None`` where the container does not say how long it is.

    The sound counts too: an upper bound, so that no clip is called compressed for what its container leaves out.
    """
    video = info.video
    if video is None or not info.duration or not video.frame_rate:
        return None
    pixels = video.width * video.height * video.frame_rate * info.duration
    return 8.0 * os.stat(info.path).st_size / max(pixels, 1.0)


def limits(scale: float | None, sharp: float | None, bits: float | None) -> list[str]:
    """Quality flags of a picture.

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
    if sharp is not None and sharp < SOFT_MOUTH:
        flags.append("blurred_mouth")
    if bits is not None and bits < FEW_BITS:
        flags.append("heavy_compression")
    return flags
