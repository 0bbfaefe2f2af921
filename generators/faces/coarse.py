"""Forged faces as published generators leave them, softer than their surroundings, and genuine clips that are as soft.

Most forgeries here are matched to the sharpness of their source, or softness would be all that a detector learns. Yet those
that are met outside are soft: a painted face has fewer pixels than the picture it is pasted into. So a share of a training set
is left like that, and each of these forgeries is paired with its genuine clip blurred *as a whole* until the same part of it
is as soft: what tells them apart is that a part is softer than the rest, and how the face is painted, never how soft it is.
"""

from __future__ import annotations

import cv2
import numpy as np

NATIVE = (0.35, 1.0)  # least and most pixels that a generator paints, of those of the picture, on a side
BOX = 0.4  # share of forgeries that are pasted with the box around them
FEATHER = (0.6, 3.0)  # pixels, standard deviation of the box's soft edge
PAINTED = 0.05  # weight above which a pixel lies in the box
ENLARGED = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
CHANGED = 2  # levels by which a pixel must differ for it to be forged
MOST_BLUR = 6.0  # pixels, standard deviation
SAMPLES = 8  # frames of a clip that are measured
ROUNDS = 8  # of halving the interval in which the blur lies


def reduce_resolution(forged: np.ndarray, weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Let the forged part of pictures be one that was painted in fewer pixels and enlarged.

    Parameters
    ----------
    forged : uint8 [T, H, W, 3]
    weight : float32 [T, H, W]
        1 where the forgery is, 0 where the picture is genuine.

    Returns
    -------
    uint8 [T, H, W, 3]
        In some clips a box around the forgery is given back by the generator, too, as those do that paint a rectangle.
    """
    height, width = forged.shape[1:3]
    factor, enlarge = rng.uniform(*NATIVE), ENLARGED[int(rng.integers(len(ENLARGED)))]
    box, feather = rng.random() < BOX, rng.uniform(*FEATHER)
    size = (max(8, round(factor * width)), max(8, round(factor * height)))
    out = forged.copy()
    for index, (image, part) in enumerate(zip(forged, weight, strict=True)):
        soft = cv2.resize(cv2.resize(image, size, interpolation=cv2.INTER_AREA), (width, height), interpolation=enlarge)
        share = (_box(part, feather) if box else part)[..., None]
        out[index] = np.clip(share * soft.astype(np.float32) + (1.0 - share) * image, 0, 255).round().astype(np.uint8)
    return out


def _box(weight: np.ndarray, feather: float) -> np.ndarray:
    """The box around what is painted [H, W], softly edged inside itself."""
    y, x = np.nonzero(weight > PAINTED)
    box = np.zeros_like(weight)
    if len(y):
        room = round(feather)
        box[y.min() + room : y.max() + 1 - room, x.min() + room : x.max() + 1 - room] = 1.0
    return cv2.GaussianBlur(box, (0, 0), feather)


def blur_to_match(genuine: np.ndarray, forged: np.ndarray) -> np.ndarray:
    """Genuine pictures uint8 [T, H, W, 3] blurred as a whole, until they are as soft as a forgery where that was painted.

    A forgery that is not softer leaves them as they are.
    """
    sample = np.unique(np.linspace(0, len(genuine) - 1, SAMPLES).round().astype(int))
    parts = [np.abs(genuine[i].astype(np.int16) - forged[i]).max(axis=2) > CHANGED for i in sample]
    if not any(part.any() for part in parts):
        return genuine
    grey = [cv2.cvtColor(genuine[i], cv2.COLOR_RGB2GRAY) for i in sample]
    want = _sharpness([cv2.cvtColor(forged[i], cv2.COLOR_RGB2GRAY) for i in sample], parts)
    if _sharpness(grey, parts) <= want:
        return genuine
    low, high = 0.0, MOST_BLUR
    for _ in range(ROUNDS):
        middle = (low + high) / 2.0
        softer = _sharpness([cv2.GaussianBlur(image, (0, 0), middle) for image in grey], parts) < want
        low, high = (low, middle) if softer else (middle, high)
    return np.stack([cv2.GaussianBlur(image, (0, 0), (low + high) / 2.0) for image in genuine])


def _sharpness(images: list[np.ndarray], parts: list[np.ndarray]) -> float:
    """Mean square of the Laplacian of grey pictures [H, W] where their ``parts`` are."""
    found = [np.square(cv2.Laplacian(p, cv2.CV_32F))[part].mean() for p, part in zip(images, parts, strict=True) if part.any()]
    return float(np.median(found))
