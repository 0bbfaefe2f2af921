"""Head crops and their pasting: one fixed square around the head for a whole clip, so that motion within it is head motion."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ....media.face.landmarks import OVAL

HEAD_SIZE = 96  # pixels, side of a head crop
BOX_SCALE = 1.75  # side of the square, in heights of the face oval
BOX_RISE = 0.1  # offset of the centre of the square above that of the oval, in heights of the oval: more room for hair than for the neck
OVAL_PERCENTILES = (5.0, 95.0)  # percentiles of the extent of the oval over a clip; in rare poses the head may touch the edge
FEATHER_SHARE = 0.12  # width of the soft edge of a pasted head, as a share of the side


@dataclass(frozen=True)
class Box:
    """A square in a frame: left and upper edge and side in pixels; it may extend beyond the frame."""

    left: float
    top: float
    side: float

    def transform(self, side: int = HEAD_SIZE) -> np.ndarray:
        """Affine map float64 [2, 3] from pixels of the frame to pixels of a crop."""
        scale = side / self.side
        # OpenCV's coordinates are those of pixel centres, hence the half pixels.
        return np.array([[scale, 0.0, (0.5 - self.left) * scale - 0.5], [0.0, scale, (0.5 - self.top) * scale - 0.5]])

    def to_unit(self, points: np.ndarray) -> np.ndarray:
        """Points [..., 2 or 3] of the frame in units of the crop: -1 to 1 from edge to edge; depth at the same scale."""
        out = np.array(points, dtype=np.float32)
        out[..., :2] -= np.array((self.left + self.side / 2, self.top + self.side / 2), dtype=np.float32)
        return out / np.float32(self.side / 2)

    def from_unit(self, points: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`to_unit`."""
        out = np.array(points, dtype=np.float32) * np.float32(self.side / 2)
        out[..., :2] += np.array((self.left + self.side / 2, self.top + self.side / 2), dtype=np.float32)
        return out


def head_box(landmarks: np.ndarray) -> Box:
    """The square around the head of a clip.

    Parameters
    ----------
    landmarks : float [T, 478, 2 or 3]
        In pixels, of the frames with a tracked face.
    """
    oval = landmarks[:, list(OVAL), :2]
    low, high = np.percentile(oval.min(axis=1), OVAL_PERCENTILES[0], axis=0), np.percentile(oval.max(axis=1), OVAL_PERCENTILES[1], axis=0)
    height = float(np.median(np.ptp(oval[..., 1], axis=1)))
    # Larger if the head moves.
    side = max(BOX_SCALE * height, BOX_SCALE * height + 0.5 * (float(max(high - low)) - height))
    x, y = (low + high) / 2.0
    return Box(float(x) - side / 2, float(y) - BOX_RISE * height - side / 2, side)


def crop_heads(frames: np.ndarray, box: Box, side: int = HEAD_SIZE) -> np.ndarray:
    """Head crops uint8 [T, side, side, 3] of frames uint8 [T, H, W, 3]; blurred before downsampling."""
    transform = box.transform(side)
    scale = side / box.side
    out = np.empty((len(frames), side, side, 3), dtype=np.uint8)
    for index, frame in enumerate(frames):
        image = cv2.GaussianBlur(frame, (0, 0), 0.35 / scale) if scale < 0.7 else frame
        out[index] = cv2.warpAffine(image, transform, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return out


def feather_mask(side: int) -> np.ndarray:
    """A mask float32 [side, side]: 1 inside, fading to 0 at the edge of the square."""
    away = np.minimum(np.arange(side) + 0.5, side - 0.5 - np.arange(side)) / (FEATHER_SHARE * side)
    ramp = np.clip(away, 0.0, 1.0)
    smooth = ramp * ramp * (3.0 - 2.0 * ramp)
    return np.minimum(smooth[:, None], smooth[None, :]).astype(np.float32)


def paste_heads(heads: np.ndarray, frames: np.ndarray, box: Box, masks: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Paste head crops into frames, resized, under a soft mask.

    Parameters
    ----------
    heads : uint8 [T, S, S, 3]
    frames : uint8 [T, H, W, 3]
    box : Box
        Position of the heads in the frames.
    masks : float32 [T, S, S], optional
        Weight of the head crop in every pixel; :func:`feather_mask` by default.

    Returns
    -------
    pasted : uint8 [T, H, W, 3]
    alpha : float32 [T, H, W]
        Weight of the new pixels.
    """
    side, (height, width) = heads.shape[1], frames.shape[1:3]
    transform = box.transform(side)
    out, alpha = frames.copy(), np.zeros(frames.shape[:3], dtype=np.float32)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    plain = feather_mask(side)
    for index, head in enumerate(heads):
        mask = plain if masks is None else np.minimum(masks[index], plain)
        # Replicated borders: with black ones, cubic interpolation would draw a dark line at the edge.
        back = cv2.warpAffine(head.astype(np.float32), transform, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        weight = cv2.warpAffine(mask, transform, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        mixed = weight[..., None] * back + (1.0 - weight[..., None]) * frames[index]
        out[index], alpha[index] = np.clip(mixed, 0, 255).round().astype(np.uint8), weight
    return out, alpha
