"""Face swapping by landmarks: piecewise affine warp, colour transfer, Poisson blending (Perez et al., SIGGRAPH 2003)."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from ...media.face.geometry import mean_face
from ...media.face.landmarks import LIPS_INNER, LIPS_OUTER, OVAL

EYES = (33, 160, 158, 133, 153, 144, 263, 387, 385, 362, 380, 373)
BROWS = (70, 63, 105, 66, 107, 300, 293, 334, 296, 336)
NOSE = (6, 197, 195, 5, 4, 1, 2, 98, 327, 48, 278)
CHEEKS = (50, 280, 205, 425, 187, 411)
POINTS = tuple(dict.fromkeys(OVAL + EYES + BROWS + NOSE + CHEEKS + LIPS_OUTER + LIPS_INNER))


@lru_cache(maxsize=1)
def triangles() -> np.ndarray:
    """Delaunay triangles int [M, 3] over :data:`POINTS` of the mean face."""
    from scipy.spatial import Delaunay

    return Delaunay(mean_face()[list(POINTS), :2]).simplices


def warp_face(image: np.ndarray, source: np.ndarray, target: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Warp a face so that its landmarks lie on target landmarks, by one affine map for every Delaunay triangle.

    Parameters
    ----------
    image : uint8 [H, W, 3]
    source, target : float [478, 2]
        Landmarks in pixels, of the image and of the result.
    size : (int, int)
        Height and width of the result.

    Returns
    -------
    warped : uint8 [h, w, 3]
    inside : bool [h, w]
        Mask of the warped face.
    """
    height, width = size
    a, b = (points[list(POINTS)].astype(np.float64) for points in (source, target))
    corners = triangles()
    ids = np.full((height, width), -1, dtype=np.int32)
    for number, corner in enumerate(corners):
        shape = b[corner].round().astype(np.int32)
        cv2.polylines(ids, [shape], True, number, 2)  # so that no pixel falls between two triangles
        cv2.fillConvexPoly(ids, shape, number)
    inside = ids >= 0
    y, x = np.nonzero(inside)
    # One affine map for every target triangle, all solved at once.
    homogeneous = np.concatenate([b[corners], np.ones((len(corners), 3, 1))], axis=2)
    flat = np.abs(np.linalg.det(homogeneous)) < 1e-3
    homogeneous[flat] = np.eye(3)
    affine = np.linalg.solve(homogeneous, a[corners])  # [M, 3, 2]
    places = np.einsum("nk,nkd->nd", np.stack([x, y, np.ones_like(x)], axis=1).astype(np.float64), affine[ids[y, x]])
    maps = np.zeros((2, height, width), dtype=np.float32)
    maps[:, y, x] = places.T
    return cv2.remap(image, maps[0], maps[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), inside


def swap_face(
    frames: np.ndarray, landmarks: np.ndarray, donor_frames: np.ndarray, donor_landmarks: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Replace the face in ``frames`` by the donor's; the inside of the mouth is kept, so that the speech stays visible.

    Parameters
    ----------
    frames : uint8 [T, H, W, 3]
    landmarks : float [T, 478, 2]
        Pixels.
    donor_frames, donor_landmarks
        Of the other person, any number of frames; the frame with the most similar head pose is used.

    Returns
    -------
    forged : uint8 [T, H, W, 3]
    weight : float32 [T, H, W]
        Alpha: the weight of the donor's pixels.
    """
    likeness = _shape(donor_landmarks) - np.median(_shape(landmarks), axis=0)
    chosen = int(np.argmin(np.square(likeness).sum(axis=(1, 2))))
    donor, donor_points = donor_frames[chosen], donor_landmarks[chosen]
    shrink, feather = rng.uniform(0.0, 0.04), rng.uniform(0.012, 0.035)  # of the face's width
    seamless = rng.random() < 0.7  # Poisson blending, else a feathered edge
    forged, weights = frames.copy(), np.zeros(frames.shape[:3], dtype=np.float32)
    for index, (frame, points) in enumerate(zip(frames, landmarks, strict=True)):
        height, width = frame.shape[:2]
        face = float(np.ptp(points[list(OVAL), 0]))
        warped, inside = warp_face(donor, donor_points, points, (height, width))
        mask = np.zeros((height, width), dtype=np.uint8)
        cv2.fillConvexPoly(mask, cv2.convexHull(points[list(OVAL)].round().astype(np.int32)), 255)
        mask[~inside] = 0
        sigma = max(0.8, feather * face)
        # Eroded, so that the soft edge ends within the warped face.
        mask = cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=max(1, round(shrink * face)))
        mouth = np.zeros_like(mask)
        cv2.fillPoly(mouth, [points[list(LIPS_INNER)].round().astype(np.int32)], 255)
        if not mask.any():
            continue
        fitted = _match_colours(warped, frame, mask)
        if seamless:
            left, top, wide, high = cv2.boundingRect(mask)
            # OpenCV clears the mask that it is given, hence the copy.
            fitted = cv2.seamlessClone(fitted, frame, mask.copy(), (left + wide // 2, top + high // 2), cv2.NORMAL_CLONE)
        core = cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=round(2.0 * sigma))
        soft = cv2.GaussianBlur(core.astype(np.float32) / 255.0, (0, 0), sigma)
        soft = soft * (1.0 - cv2.GaussianBlur(mouth.astype(np.float32) / 255.0, (0, 0), 1.0))
        mixed = soft[..., None] * fitted + (1.0 - soft[..., None]) * frame
        forged[index], weights[index] = np.clip(mixed, 0, 255).round().astype(np.uint8), soft
    return forged, weights


def _shape(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks [T, N, 2] normalised for position and size."""
    points = landmarks[:, list(POINTS), :2]
    points = points - points.mean(axis=1, keepdims=True)
    return points / np.sqrt(np.square(points).sum(axis=(1, 2), keepdims=True) + 1e-9)


def _match_colours(source: np.ndarray, target: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Match mean and standard deviation of the colours to the target in L*a*b* (Reinhard et al., *Color transfer between images*, 2001)."""
    a, b = (cv2.cvtColor(x, cv2.COLOR_RGB2LAB).astype(np.float32) for x in (source, target))
    chosen = mask > 0
    for channel in range(3):
        source_values, target_values = a[..., channel][chosen], b[..., channel][chosen]
        gain = float(np.clip(target_values.std() / max(float(source_values.std()), 1.0), 0.6, 1.6))
        a[..., channel] = (a[..., channel] - source_values.mean()) * gain + target_values.mean()
    return cv2.cvtColor(np.clip(a, 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB)
