"""Faces that were tampered with by cutting and blending, on aligned grey crops as well as on frames in colour.

Each takes pictures uint8 [T, H, W] or [T, H, W, 3] with an outline [T, N, 2] in pixels of what is to be forged (the lips,
the lower face, the face) and returns pictures of the same shape, with how much of every pixel is new, float32 [T, H, W]
in [0, 1]. Everything drawn in pixels scales with the width of the outline. What a forgery does to sharpness is done to
genuine crops as often (:func:`local_blur`), so that softness is no label.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

OutlinedImages = tuple[np.ndarray, np.ndarray]  # pictures and outline of one clip
BlendedImages = tuple[np.ndarray, np.ndarray]  # pictures and how much of every pixel is new
WIDTH = 45.0  # pixels: the usual width of the lips in a mouth crop, for which the ranges below were chosen


def relative_width(outline: np.ndarray) -> float:
    """How much wider than :data:`WIDTH` an outline [T, N, 2] is."""
    return float(np.median(np.ptp(outline[..., 0], axis=1))) / WIDTH


@dataclass(frozen=True)
class Region:
    """A soft region around an outline that keeps its shape over a clip."""

    spread: np.ndarray  # [2] enlargement of the outline in x and y
    shift: np.ndarray  # [2] pixels
    feather: float  # pixels, standard deviation of the soft edge

    @classmethod
    def draw(
        cls, rng: np.random.Generator, unit: float = 1.0, low: tuple[float, float] = (1.1, 1.4), high: tuple[float, float] = (1.9, 3.2)
    ) -> Region:
        """By default, for the outline of lips."""
        return cls(rng.uniform(low, high), unit * rng.uniform(-3.0, 3.0, 2), unit * rng.uniform(0.6, 3.5))

    def mask(self, outline: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """float32 [H, W] in [0, 1] for one frame's outline [N, 2]; ``size`` is (H, W)."""
        middle = outline.mean(axis=0)
        points = (outline - middle) * self.spread + middle + self.shift
        hull = cv2.convexHull(points.astype(np.float32)).round().astype(np.int32)
        mask = np.zeros(size, dtype=np.float32)
        cv2.fillConvexPoly(mask, hull, 1.0)
        return cv2.GaussianBlur(mask, (0, 0), self.feather)


def _wide(mask: np.ndarray, image: np.ndarray) -> np.ndarray:
    """A mask [H, W] that multiplies a picture, grey or in colour."""
    return mask if image.ndim == 2 else mask[..., None]


def self_blend(
    clip: OutlinedImages,
    donor: OutlinedImages,
    rng: np.random.Generator,
    region: Region | None = None,
    either_side: bool = True,
    strength: float = 1.0,
) -> BlendedImages:
    """Blend a clip with a slightly changed version of itself: only the seams of forging, none of its content.

    The change (tone, sharpness, a small similarity) falls on the inside or, if ``either_side``, with equal chance on the
    outside; ``strength`` in [0, 1] scales all of it.

    Source: Shiraishi and Yamasaki, *Detecting deepfakes with self-blended images*, CVPR 2022.
    """
    images, outline = clip
    unit = relative_width(outline)
    region = region or Region.draw(rng, unit)
    ratio = rng.choice([0.5, 0.75, 1.0, 1.0])
    colours = () if images.ndim == 3 else (3,)
    gain, bias = rng.uniform(0.78, 1.25) ** strength, strength * rng.uniform(-22.0, 22.0)
    tint = rng.uniform(-4.0, 4.0, colours)  # levels by which single colours move
    sharpness = rng.uniform(-1.0, 1.2)  # below zero blurs, above sharpens
    turn, zoom, move = strength * rng.uniform(-6.0, 6.0), rng.uniform(0.9, 1.1) ** strength, strength * unit * rng.uniform(-4.0, 4.0, 2)
    tremble = unit * rng.choice([0.0, 0.4])  # pixels by which the inside moves from frame to frame
    swapped = rng.random() < 0.5 and either_side
    out, share = np.empty_like(images), np.empty(images.shape[:3], dtype=np.float32)
    for index, (image, points) in enumerate(zip(images, outline, strict=True)):
        height, width = image.shape[:2]
        x, y = points.mean(axis=0)
        matrix = cv2.getRotationMatrix2D((float(x), float(y)), turn, zoom)
        matrix[:, 2] += move + tremble * rng.standard_normal(2)
        moved = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        changed = moved.astype(np.float32) * gain + bias + tint
        soft = cv2.GaussianBlur(changed, (0, 0), 1.0)
        changed = changed + sharpness * (changed - soft)
        mask = region.mask(points, (height, width))
        inside, outside = (image, changed) if swapped else (changed, image)
        weight = _wide(ratio * mask, image)
        out[index] = np.clip(weight * inside + (1.0 - weight) * outside, 0, 255)
        share[index] = mask
    return out, share


def replace_mouth(
    clip: OutlinedImages, donor: OutlinedImages, rng: np.random.Generator, region: Region | None = None, start: int | None = None
) -> BlendedImages:
    """Put the mouth of another moment or another clip into this face: outlines fitted, tones matched, edges feathered.

    Parameters
    ----------
    start : int, optional
        The donor's frame that comes first; drawn otherwise.
    """
    images, outline = clip
    donor_pictures, donor_outline = donor
    unit = relative_width(outline)
    region = region or Region.draw(rng, unit)
    start = int(rng.integers(len(donor_pictures))) if start is None else start
    scale = unit / max(relative_width(donor_outline), 1e-6)
    out, share = np.empty_like(images), np.empty(images.shape[:3], dtype=np.float32)
    for index, (image, points) in enumerate(zip(images, outline, strict=True)):
        height, width = image.shape[:2]
        # A donor shorter than the clip is played back and forth, so that the mouth never jumps.
        step = (start + index) % max(2 * len(donor_pictures) - 2, 1)
        step = min(step, 2 * len(donor_pictures) - 2 - step) if len(donor_pictures) > 1 else 0
        source = donor_outline[step]
        fit = np.ptp(points[:, 0]) / max(float(np.ptp(source[:, 0])), 1.0)
        zoom = float(np.clip(fit, 0.8 * scale, 1.25 * scale))
        offset = points.mean(axis=0) - zoom * source.mean(axis=0)
        matrix = np.array([[zoom, 0.0, offset[0]], [0.0, zoom, offset[1]]])
        moved = cv2.warpAffine(donor_pictures[step], matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        mask = region.mask(points, (height, width))
        weight = _wide(mask, image)
        out[index] = np.clip(weight * match_tones(moved, image, mask) + (1.0 - weight) * image, 0, 255)
        share[index] = mask
    return out, share


def seams(share: np.ndarray) -> np.ndarray:
    """The seams of a forgery uint8: 255 where old and new are mixed half and half, 0 where all is of one piece.

    Source: Li et al., *Face X-ray for more general face forgery detection*, CVPR 2020.
    """
    return (255.0 * 4.0 * share * (1.0 - share)).astype(np.uint8)


def match_tones(source: np.ndarray, target: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Give ``source`` the mean and spread that ``target`` has under the mask [H, W], colour by colour; float32."""
    weight = _wide(mask, source) / max(float(mask.sum()), 1e-6)
    a, b = source.astype(np.float32), target.astype(np.float32)
    means = [(x * weight).sum(axis=(0, 1)) for x in (a, b)]
    spreads = [np.sqrt((np.square(x - m) * weight).sum(axis=(0, 1))) for x, m in zip((a, b), means, strict=True)]
    return (a - means[0]) * np.clip(spreads[1] / np.maximum(spreads[0], 1.0), 0.7, 1.4) + means[1]


def local_blur(clip: OutlinedImages, rng: np.random.Generator, region: Region | None = None) -> np.ndarray:
    """Soften the outlined part alone: what phones do to genuine faces, and what makes blur useless as a clue."""
    images, outline = clip
    region, blur = region or Region.draw(rng, relative_width(outline)), rng.uniform(0.4, 1.4)
    out = np.empty_like(images)
    for index, (image, points) in enumerate(zip(images, outline, strict=True)):
        weight = _wide(region.mask(points, image.shape[:2]), image)
        out[index] = np.clip(weight * cv2.GaussianBlur(image, (0, 0), blur).astype(np.float32) + (1.0 - weight) * image, 0, 255)
    return out


def jpeg_compressed(crop: np.ndarray, quality: int) -> np.ndarray:
    """A grey picture after JPEG compression at a quality of 1 to 100."""
    coded = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE))


FACES: dict[str, Callable[[OutlinedImages, OutlinedImages, np.random.Generator], BlendedImages]] = {
    "self_blend": self_blend,
    "replace_mouth": replace_mouth,
}
