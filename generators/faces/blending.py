"""Face forgery by blending, on aligned grey crops and on colour frames: self-blending, mouth replacement, local blur.

The functions take images uint8 [T, H, W] or [T, H, W, 3] with the outline [T, N, 2], in pixels, of the region to forge
(lips, lower face or face). They return images of the same shape and the blending weight alpha of the new pixels,
float32 [T, H, W] in [0, 1]. Random quantities in pixels scale with the width of the outline. Genuine crops are blurred as
often as forged ones (:func:`local_blur`), so that softness does not reveal the label.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

OutlinedImages = tuple[np.ndarray, np.ndarray]  # images and outline of one clip
BlendedImages = tuple[np.ndarray, np.ndarray]  # images and alpha
REFERENCE_WIDTH = 45.0  # pixels: the usual width of the lips in a mouth crop, for which the ranges below are given


def relative_width(outline: np.ndarray) -> float:
    """Median width of an outline [T, N, 2], as a multiple of :data:`REFERENCE_WIDTH`."""
    return float(np.median(np.ptp(outline[..., 0], axis=1))) / REFERENCE_WIDTH


@dataclass(frozen=True)
class Region:
    """A soft mask around an outline, with the same parameters in every frame of a clip."""

    spread: np.ndarray  # [2] enlargement of the outline in x and y
    shift: np.ndarray  # [2] pixels
    feather: float  # pixels, standard deviation of the soft edge

    @classmethod
    def draw(
        cls, rng: np.random.Generator, unit: float = 1.0, low: tuple[float, float] = (1.1, 1.4), high: tuple[float, float] = (1.9, 3.2)
    ) -> Region:
        """Draw a region; the default ranges of the enlargement in x and y are for the outline of lips."""
        return cls(rng.uniform(low, high), unit * rng.uniform(-3.0, 3.0, 2), unit * rng.uniform(0.6, 3.5))

    def mask(self, outline: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """The mask float32 [H, W] in [0, 1] for the outline [N, 2] of one frame; ``size`` is (H, W)."""
        middle = outline.mean(axis=0)
        points = (outline - middle) * self.spread + middle + self.shift
        hull = cv2.convexHull(points.astype(np.float32)).round().astype(np.int32)
        mask = np.zeros(size, dtype=np.float32)
        cv2.fillConvexPoly(mask, hull, 1.0)
        return cv2.GaussianBlur(mask, (0, 0), self.feather)


def _channelwise(mask: np.ndarray, image: np.ndarray) -> np.ndarray:
    """A mask [H, W] with a channel axis if the image has one."""
    return mask if image.ndim == 2 else mask[..., None]


def self_blend(
    clip: OutlinedImages,
    donor: OutlinedImages,
    rng: np.random.Generator,
    region: Region | None = None,
    either_side: bool = True,
    strength: float = 1.0,
) -> BlendedImages:
    """Blend a clip with a slightly altered copy of itself: the boundary artefacts of a face swap without another face.

    The alteration (tone, sharpness, a small similarity transform) is applied inside the region or, if ``either_side``,
    with equal probability outside it; ``strength`` in [0, 1] scales it.

    Source: Shiraishi and Yamasaki, *Detecting deepfakes with self-blended images*, CVPR 2022.
    """
    images, outline = clip
    unit = relative_width(outline)
    region = region or Region.draw(rng, unit)
    ratio = rng.choice([0.5, 0.75, 1.0, 1.0])
    channels = () if images.ndim == 3 else (3,)
    gain, bias = rng.uniform(0.78, 1.25) ** strength, strength * rng.uniform(-22.0, 22.0)
    tint = rng.uniform(-4.0, 4.0, channels)  # grey levels added to single channels
    sharpness = rng.uniform(-1.0, 1.2)  # negative blurs, positive sharpens
    angle, zoom, shift = strength * rng.uniform(-6.0, 6.0), rng.uniform(0.9, 1.1) ** strength, strength * unit * rng.uniform(-4.0, 4.0, 2)
    jitter = unit * rng.choice([0.0, 0.4])  # pixels, standard deviation of a random shift in every frame
    swapped = rng.random() < 0.5 and either_side
    out, alpha = np.empty_like(images), np.empty(images.shape[:3], dtype=np.float32)
    for index, (image, points) in enumerate(zip(images, outline, strict=True)):
        height, width = image.shape[:2]
        x, y = points.mean(axis=0)
        matrix = cv2.getRotationMatrix2D((float(x), float(y)), angle, zoom)
        matrix[:, 2] += shift + jitter * rng.standard_normal(2)
        warped = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        changed = warped.astype(np.float32) * gain + bias + tint
        soft = cv2.GaussianBlur(changed, (0, 0), 1.0)
        changed = changed + sharpness * (changed - soft)
        mask = region.mask(points, (height, width))
        inside, outside = (image, changed) if swapped else (changed, image)
        weight = _channelwise(ratio * mask, image)
        out[index] = np.clip(weight * inside + (1.0 - weight) * outside, 0, 255)
        alpha[index] = mask
    return out, alpha


def replace_mouth(
    clip: OutlinedImages, donor: OutlinedImages, rng: np.random.Generator, region: Region | None = None, start: int | None = None
) -> BlendedImages:
    """Replace the mouth by that of another time or clip: outlines aligned, tones matched, edges feathered.

    Parameters
    ----------
    start : int, optional
        First frame of the donor; random if not given.
    """
    images, outline = clip
    donor_images, donor_outline = donor
    unit = relative_width(outline)
    region = region or Region.draw(rng, unit)
    start = int(rng.integers(len(donor_images))) if start is None else start
    scale = unit / max(relative_width(donor_outline), 1e-6)
    out, alpha = np.empty_like(images), np.empty(images.shape[:3], dtype=np.float32)
    for index, (image, points) in enumerate(zip(images, outline, strict=True)):
        height, width = image.shape[:2]
        # A donor shorter than the clip is played forwards and backwards, so that the mouth does not jump.
        step = (start + index) % max(2 * len(donor_images) - 2, 1)
        step = min(step, 2 * len(donor_images) - 2 - step) if len(donor_images) > 1 else 0
        source = donor_outline[step]
        fit = np.ptp(points[:, 0]) / max(float(np.ptp(source[:, 0])), 1.0)
        zoom = float(np.clip(fit, 0.8 * scale, 1.25 * scale))
        offset = points.mean(axis=0) - zoom * source.mean(axis=0)
        matrix = np.array([[zoom, 0.0, offset[0]], [0.0, zoom, offset[1]]])
        warped = cv2.warpAffine(donor_images[step], matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        mask = region.mask(points, (height, width))
        weight = _channelwise(mask, image)
        out[index] = np.clip(weight * match_tones(warped, image, mask) + (1.0 - weight) * image, 0, 255)
        alpha[index] = mask
    return out, alpha


def blending_boundary(alpha: np.ndarray) -> np.ndarray:
    """Blending boundary (face X-ray) uint8 of alpha float32: 255 where it is 0.5, 0 where it is 0 or 1.

    Source: Li et al., *Face X-ray for more general face forgery detection*, CVPR 2020.
    """
    return (255.0 * 4.0 * alpha * (1.0 - alpha)).astype(np.uint8)


def match_tones(source: np.ndarray, target: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Match mean and standard deviation of ``source`` to those of ``target`` under the mask [H, W], per channel; float32."""
    weight = _channelwise(mask, source) / max(float(mask.sum()), 1e-6)
    a, b = source.astype(np.float32), target.astype(np.float32)
    means = [(x * weight).sum(axis=(0, 1)) for x in (a, b)]
    spreads = [np.sqrt((np.square(x - m) * weight).sum(axis=(0, 1))) for x, m in zip((a, b), means, strict=True)]
    return (a - means[0]) * np.clip(spreads[1] / np.maximum(spreads[0], 1.0), 0.7, 1.4) + means[1]


def local_blur(clip: OutlinedImages, rng: np.random.Generator, region: Region | None = None) -> np.ndarray:
    """Blur the outlined region alone, as phones smooth genuine faces, so that blur does not reveal the label."""
    images, outline = clip
    region, blur = region or Region.draw(rng, relative_width(outline)), rng.uniform(0.4, 1.4)
    out = np.empty_like(images)
    for index, (image, points) in enumerate(zip(images, outline, strict=True)):
        weight = _channelwise(region.mask(points, image.shape[:2]), image)
        out[index] = np.clip(weight * cv2.GaussianBlur(image, (0, 0), blur).astype(np.float32) + (1.0 - weight) * image, 0, 255)
    return out


def jpeg_compressed(crop: np.ndarray, quality: int) -> np.ndarray:
    """A grey image uint8 [H, W] after JPEG compression at a quality from 1 to 100."""
    coded = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE))


BLENDING_METHODS: dict[str, Callable[[OutlinedImages, OutlinedImages, np.random.Generator], BlendedImages]] = {
    "self_blend": self_blend,
    "replace_mouth": replace_mouth,
}
