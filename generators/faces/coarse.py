"""Coarse forgeries: faces at the low resolution of published generators, paired with genuine clips of the same softness.

Most methods match a forgery to the sharpness of its source; otherwise a detector would learn softness alone. Published
deepfakes are soft, since a generated face has fewer pixels than the frame it is pasted into. Coarse forgeries keep that
softness, and each is paired with its genuine clip blurred *as a whole* until the same region is as soft. The pair then
differs in the sharpness of the face relative to the rest of the frame and in the generated content, not in softness as such.
"""

from __future__ import annotations

import cv2
import numpy as np

SCALE_RANGE = (0.35, 1.0)  # resolution of the generated face, as a share of that of the frame
BOX_PROBABILITY = 0.4  # probability that the whole bounding box of the forgery is pasted
FEATHER_RANGE = (0.6, 3.0)  # pixels, standard deviation of the soft edge of the box
MIN_ALPHA = 0.05  # alpha above which a pixel belongs to the bounding box
UPSAMPLING = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)  # interpolations of which one is drawn
MIN_DIFFERENCE = 2  # grey levels above which a pixel counts as forged
MAX_BLUR = 6.0  # pixels, standard deviation
N_FRAMES = 8  # frames of a clip in which sharpness is measured
N_BISECTIONS = 8  # steps of the bisection for the blur


def reduce_resolution(forged: np.ndarray, weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Reduce the resolution of the forged region: downsample and upsample it.

    Parameters
    ----------
    forged : uint8 [T, H, W, 3]
    weight : float32 [T, H, W]
        Alpha: 1 where the image is forged, 0 where it is genuine.

    Returns
    -------
    uint8 [T, H, W, 3]
        In a share of the clips the bounding box of the region is affected, as in generators that output a rectangle.
    """
    height, width = forged.shape[1:3]
    factor, enlarge = rng.uniform(*SCALE_RANGE), UPSAMPLING[int(rng.integers(len(UPSAMPLING)))]
    box, feather = rng.random() < BOX_PROBABILITY, rng.uniform(*FEATHER_RANGE)
    size = (max(8, round(factor * width)), max(8, round(factor * height)))
    out = forged.copy()
    for index, (image, mask) in enumerate(zip(forged, weight, strict=True)):
        soft = cv2.resize(cv2.resize(image, size, interpolation=cv2.INTER_AREA), (width, height), interpolation=enlarge)
        alpha = (_box(mask, feather) if box else mask)[..., None]
        out[index] = np.clip(alpha * soft.astype(np.float32) + (1.0 - alpha) * image, 0, 255).round().astype(np.uint8)
    return out


def _box(weight: np.ndarray, feather: float) -> np.ndarray:
    """Mask float32 [H, W] of the bounding box of alpha, with a soft edge inside it."""
    y, x = np.nonzero(weight > MIN_ALPHA)
    box = np.zeros_like(weight)
    if len(y):
        room = round(feather)
        box[y.min() + room : y.max() + 1 - room, x.min() + room : x.max() + 1 - room] = 1.0
    return cv2.GaussianBlur(box, (0, 0), feather)


def blur_to_match(genuine: np.ndarray, forged: np.ndarray) -> np.ndarray:
    """Blur genuine images uint8 [T, H, W, 3] as a whole until the forged region is as soft as in the forgery.

    The images are returned unchanged if the forgery is not softer.
    """
    sample = np.unique(np.linspace(0, len(genuine) - 1, N_FRAMES).round().astype(int))
    masks = [np.abs(genuine[i].astype(np.int16) - forged[i]).max(axis=2) > MIN_DIFFERENCE for i in sample]
    if not any(mask.any() for mask in masks):
        return genuine
    grey = [cv2.cvtColor(genuine[i], cv2.COLOR_RGB2GRAY) for i in sample]
    target = _sharpness([cv2.cvtColor(forged[i], cv2.COLOR_RGB2GRAY) for i in sample], masks)
    if _sharpness(grey, masks) <= target:
        return genuine
    low, high = 0.0, MAX_BLUR
    for _ in range(N_BISECTIONS):
        middle = (low + high) / 2.0
        softer = _sharpness([cv2.GaussianBlur(image, (0, 0), middle) for image in grey], masks) < target
        low, high = (low, middle) if softer else (middle, high)
    return np.stack([cv2.GaussianBlur(image, (0, 0), (low + high) / 2.0) for image in genuine])


def _sharpness(images: list[np.ndarray], masks: list[np.ndarray]) -> float:
    """Median over grey images [H, W] of the mean squared Laplacian within their masks bool [H, W]."""
    values = [np.square(cv2.Laplacian(p, cv2.CV_32F))[mask].mean() for p, mask in zip(images, masks, strict=True) if mask.any()]
    return float(np.median(values))
