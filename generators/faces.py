"""Mouths that were tampered with: forgeries made on aligned crops, where a training loop can afford them.

Each takes crops uint8 [T, 96, 96] with lip landmarks [T, 40, 2] in pixels of the crop and returns crops of the same
shape, with the seams of the forgery uint8 [T, 96, 96]: 255 where old and new are mixed half and half, 0 where all is of
one piece (Li et al., *Face X-ray for more general face forgery detection*, CVPR 2020). What a forgery does to sharpness
is done to genuine crops as often (:func:`local_blur`), so that softness is no label.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ..media.face import LIPS_OUTER

Mouth = tuple[np.ndarray, np.ndarray]  # crops and lips of one clip
Forged = tuple[np.ndarray, np.ndarray]  # crops and seams
OUTER = len(LIPS_OUTER)  # the first lip landmarks are the outer contour


@dataclass(frozen=True)
class _Region:
    """A soft region around the lips that keeps its shape over a clip."""

    spread: np.ndarray  # [2] enlargement of the lip contour in x and y
    shift: np.ndarray  # [2] pixels
    feather: float  # pixels, standard deviation of the soft edge

    @classmethod
    def draw(cls, rng: np.random.Generator) -> _Region:
        return cls(rng.uniform((1.1, 1.4), (1.9, 3.2)), rng.uniform(-3.0, 3.0, 2), rng.uniform(0.6, 3.5))

    def mask(self, lips: np.ndarray, side: int) -> np.ndarray:
        """float32 [side, side] in [0, 1] for one frame's lips [40, 2]."""
        contour = lips[:OUTER]
        middle = contour.mean(axis=0)
        points = (contour - middle) * self.spread + middle + self.shift
        hull = cv2.convexHull(points.astype(np.float32)).round().astype(np.int32)
        mask = np.zeros((side, side), dtype=np.float32)
        cv2.fillConvexPoly(mask, hull, 1.0)
        return cv2.GaussianBlur(mask, (0, 0), self.feather)


def self_blend(mouth: Mouth, donor: Mouth, rng: np.random.Generator) -> Forged:
    """Blend a clip with a slightly changed version of itself: only the seams of forging, none of its content.

    The change (tone, sharpness, a small similarity) falls on the inside or the outside with equal chance.

    Source: Shiraishi and Yamasaki, *Detecting deepfakes with self-blended images*, CVPR 2022.
    """
    crops, lips = mouth
    side = crops.shape[-1]
    region = _Region.draw(rng)
    ratio = rng.choice([0.5, 0.75, 1.0, 1.0])
    gain, bias = rng.uniform(0.78, 1.25), rng.uniform(-22.0, 22.0)
    sharpness = rng.uniform(-1.0, 1.2)  # below zero blurs, above sharpens
    turn, zoom, move = rng.uniform(-6.0, 6.0), rng.uniform(0.9, 1.1), rng.uniform(-4.0, 4.0, 2)
    tremble = rng.choice([0.0, 0.4])  # pixels by which the inside moves from frame to frame
    swapped = rng.random() < 0.5
    out, seams = np.empty_like(crops), np.empty_like(crops)
    for index, (crop, points) in enumerate(zip(crops, lips, strict=True)):
        matrix = cv2.getRotationMatrix2D((side / 2, side / 2), turn, zoom)
        matrix[:, 2] += move + tremble * rng.standard_normal(2)
        moved = cv2.warpAffine(crop, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        changed = moved.astype(np.float32) * gain + bias
        soft = cv2.GaussianBlur(changed, (0, 0), 1.0)
        changed = changed + sharpness * (changed - soft)
        mask = region.mask(points, side) * ratio
        inside, outside = (crop, changed) if swapped else (changed, crop)
        out[index] = np.clip(mask * inside + (1.0 - mask) * outside, 0, 255)
        seams[index] = _seam(mask / ratio)
    return out, seams


def replace_mouth(mouth: Mouth, donor: Mouth, rng: np.random.Generator) -> Forged:
    """Put the mouth of another moment or another clip into this face: lips fitted, tones matched, edges feathered."""
    crops, lips = mouth
    donor_crops, donor_lips = donor
    side = crops.shape[-1]
    region = _Region.draw(rng)
    start = int(rng.integers(len(donor_crops)))
    out, seams = np.empty_like(crops), np.empty_like(crops)
    for index, (crop, points) in enumerate(zip(crops, lips, strict=True)):
        # A donor shorter than the clip is played back and forth, so that the mouth never jumps.
        step = (start + index) % max(2 * len(donor_crops) - 2, 1)
        step = min(step, 2 * len(donor_crops) - 2 - step) if len(donor_crops) > 1 else 0
        source = donor_lips[step]
        width = np.ptp(points[:OUTER, 0]) / max(float(np.ptp(source[:OUTER, 0])), 1.0)
        zoom = float(np.clip(width, 0.8, 1.25))
        offset = points.mean(axis=0) - zoom * source.mean(axis=0)
        matrix = np.array([[zoom, 0.0, offset[0]], [0.0, zoom, offset[1]]])
        moved = cv2.warpAffine(donor_crops[step], matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        mask = region.mask(points, side)
        out[index] = np.clip(mask * _match_tones(moved, crop, mask) + (1.0 - mask) * crop, 0, 255)
        seams[index] = _seam(mask)
    return out, seams


def _seam(mask: np.ndarray) -> np.ndarray:
    return (255.0 * 4.0 * mask * (1.0 - mask)).astype(np.uint8)


def _match_tones(source: np.ndarray, target: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Give ``source`` the mean and spread that ``target`` has under the mask."""
    weight = mask / max(float(mask.sum()), 1e-6)
    values = source.astype(np.float32)
    means = [float((x * weight).sum()) for x in (values, target)]
    spreads = [float(np.sqrt((np.square(x - m) * weight).sum())) for x, m in zip((values, target), means, strict=True)]
    return (values - means[0]) * float(np.clip(spreads[1] / max(spreads[0], 1.0), 0.7, 1.4)) + means[1]


def local_blur(mouth: Mouth, rng: np.random.Generator) -> np.ndarray:
    """Soften the mouth alone: what phones do to genuine faces, and what makes blur useless as a clue."""
    crops, lips = mouth
    region, blur = _Region.draw(rng), rng.uniform(0.4, 1.4)
    out = np.empty_like(crops)
    for index, (crop, points) in enumerate(zip(crops, lips, strict=True)):
        mask = region.mask(points, crop.shape[-1])
        out[index] = np.clip(mask * cv2.GaussianBlur(crop, (0, 0), blur).astype(np.float32) + (1.0 - mask) * crop, 0, 255)
    return out


def recompressed(crop: np.ndarray, quality: int) -> np.ndarray:
    """A grey picture after JPEG compression at a quality of 1 to 100."""
    coded = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE))


FACES: dict[str, Callable[[Mouth, Mouth, np.random.Generator], Forged]] = {
    "self_blend": self_blend,
    "replace_mouth": replace_mouth,
}
