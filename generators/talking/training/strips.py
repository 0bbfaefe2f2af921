"""Strips of sample images that are written during training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor


def write_strip(file: Path, rows: Sequence[Tensor]) -> Path:
    """Write batches of images [B, 3, H, W] in [0, 1] as rows of one image file; its suffix sets the format."""
    lines = [np.concatenate(list(row.detach().clamp(0.0, 1.0).permute(0, 2, 3, 1).numpy()), axis=1) for row in rows]
    image = (np.concatenate(lines) * 255.0).round().astype(np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return file
