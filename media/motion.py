"""Whether a video moves, or shows a still image or a slideshow."""

from __future__ import annotations

import cv2
import numpy as np

MOTION_STEP = 5  # frames (0.2 s) from one compared frame to the next
MOTION_GRID = 24  # blocks along either side of a frame
MIN_CHANGE = 4.0  # grey values; a block whose mean changes by less does not move (codecs change still images by 0.3 to 3.8)
MIN_MOVING = 0.15  # share of steps that must move; a slideshow of 3 s for each image moves in 7 % of them
MIN_STEPS = 2  # compared steps below which nothing is concluded


class Motion:
    """Counts the steps of a video in which any block of the image changes.

    Attributes
    ----------
    steps, moving : int
        Compared steps of 0.2 s, and those in which at least one block changed.
    """

    def __init__(self) -> None:
        self.steps = self.moving = 0
        self._count = 0
        self._frame: np.ndarray | None = None
        self._blocks: np.ndarray | None = None

    def add(self, frame: np.ndarray) -> None:
        """Add the next frame, uint8 [H, W, 3], at 25 Hz."""
        self._count += 1
        if (self._count - 1) % MOTION_STEP:
            return
        if frame is self._frame:
            self.steps += 1
            return
        blocks = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32), (MOTION_GRID,) * 2, interpolation=cv2.INTER_AREA)
        if self._blocks is not None:
            self.steps += 1
            self.moving += bool(np.abs(blocks - self._blocks).max() > MIN_CHANGE)
        self._frame, self._blocks = frame, blocks

    @property
    def still(self) -> bool:
        """Whether the video is a still image or a slideshow."""
        return self.steps >= MIN_STEPS and self.moving < MIN_MOVING * self.steps
