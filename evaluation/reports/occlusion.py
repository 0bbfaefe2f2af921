"""Where a video classifier looks: the change of its logit when a part of the portrait is covered."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch

from ...detector.video_classifier import VideoClassifier

CELLS = 7  # of a map's side
COVERED = 2  # cells of the covered square's side, so that neighbouring squares overlap
FACE_CELLS = 2 / 3 * CELLS  # side of the box around the landmarks, which portraits hold in their middle
REGIONS = ("forehead and eyes", "mouth and chin", "around the face")


def occlusion_map(classifier: VideoClassifier, portraits: np.ndarray) -> np.ndarray:
    """Fall of a clip's logit when each part of its portraits is covered with their mean colour: float [7, 7].

    Parameters
    ----------
    classifier : VideoClassifier
    portraits : uint8 [N, S, S, 3]

    Notes
    -----
    Source: Zeiler and Fergus, *Visualizing and understanding convolutional networks*, ECCV 2014. The value of a cell is the mean over
    the squares that cover it.
    """
    side = portraits.shape[1]
    edges = np.linspace(0, side, CELLS + 1).round().astype(int)
    colour = portraits.mean(axis=(1, 2), keepdims=True).round().astype(np.uint8)
    total, count = np.zeros((CELLS, CELLS)), np.zeros((CELLS, CELLS))
    with torch.inference_mode():
        whole = float(classifier(torch.from_numpy(portraits)[None])[0])
        for row in range(1 - COVERED, CELLS):
            for column in range(1 - COVERED, CELLS):
                down, across = (slice(max(0, place), place + COVERED) for place in (row, column))
                shown = portraits.copy()
                top, left = edges[down.start], edges[across.start]
                bottom, right = (edges[min(CELLS, part.stop)] for part in (down, across))
                shown[:, top:bottom, left:right] = colour
                fall = whole - float(classifier(torch.from_numpy(shown)[None])[0])
                total[down, across] += fall
                count[down, across] += 1
    return total / count


def region_shares(maps: np.ndarray) -> np.ndarray:
    """Share of the absolute values of maps [N, 7, 7] that lies in each of :data:`REGIONS`, relative to the region's area: float [3]."""
    center = np.arange(CELLS) + 0.5 - CELLS / 2.0
    inside = np.abs(center) <= FACE_CELLS / 2.0
    face = inside[:, None] & inside[None]
    lower = (center > 0)[:, None] & face
    weight = np.abs(maps).mean(axis=0)
    regions = (face & ~lower, lower, ~face)
    return np.array([weight[region].mean() for region in regions]) / weight.mean()


def draw_maps(maps: Sequence[np.ndarray], titles: Sequence[str], path: str | os.PathLike[str], columns: int = 10) -> None:
    """Draw maps [7, 7] without the images, which may not be shown; a square marks the box around the landmarks.

    Parameters
    ----------
    maps, titles
        One title for each map.
    path : path-like
        PNG to write.
    columns : int
        Maps in a row.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    rows = -(-len(maps) // columns)
    figure = Figure(figsize=(1.35 * columns, 1.65 * rows + 0.5), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    limit = max(float(np.abs(values).max()) for values in maps)
    image = None
    for axis in axes:
        axis.axis("off")
    for axis, values, title in zip(axes, maps, titles, strict=False):
        image = axis.imshow(values, cmap="coolwarm", vmin=-limit, vmax=limit)
        corner = (CELLS - FACE_CELLS) / 2.0 - 0.5
        axis.add_patch(Rectangle((corner, corner), FACE_CELLS, FACE_CELLS, fill=False, linewidth=0.8))
        axis.set_title(title, fontsize=7)
    if image is not None:
        figure.colorbar(image, ax=list(axes), shrink=0.7, label="fall of the logit")
    figure.savefig(path, dpi=100)
