"""Speed of the detector on dev clips, and its size."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd

from ....checkpoints import find_weights, weight_files
from ....detector.inference.detector import Detector
from ...bench import measure_speed
from ...document import markdown_table

N_FILES = 20  # dev clips that are timed
MEBIBYTE = 1024 * 1024  # bytes


def speed_section(dev: pd.DataFrame, detector: Detector, model: str | os.PathLike[str]) -> list[str]:
    """Speed of every stage in multiples of real time, on dev clips spaced evenly in the manifest; parameters; size on disk."""
    files = [os.fspath(dev["file"].iloc[i]) for i in np.unique(np.linspace(0, len(dev) - 1, min(N_FILES, len(dev))).astype(int))]
    table = measure_speed(files, os.fspath(model))
    columns = [list(column.cells) for column in table.columns]
    size = sum(file.stat().st_size for file in weight_files(find_weights("detector", model))) / MEBIBYTE
    parameters = sum(p.numel() for p in detector.model.parameters()) / 1e6
    return [
        "## Speed and size",
        "",
        f"{table.title}; dev clips, without start-up. A stage at 10 x real time takes 0.1 s for a second of media.",
        "",
        *markdown_table(("stage", "x real time"), list(zip(columns[0], columns[1], strict=True))),
        f"{parameters:.2f} M parameters; {size:.1f} MiB of weights on disk.",
        "",
    ]
