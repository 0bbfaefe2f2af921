"""A batch of many files, some of them broken, by ``avwitness score``: rows, their order, and memory over time."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from batch_files import BatchFile, write_batch
from process_memory import memory

SAMPLES = Path(__file__).parents[2] / "samples"
EVERY = 5.0  # seconds between two looks at the memory
COMMAND = (str(Path(sys.executable).with_name("avwitness")), "score")


@dataclass
class BatchRun:
    """What a run of the batch left.

    Parameters
    ----------
    files : list of BatchFile
        In the order of their names.
    rows : list of dict
        Of the file of rows, in their order.
    exit_code : int
    seconds : float
    curve : list of (float, float, int)
        Seconds from the start, MiB of memory of all processes, and rows written.
    """

    files: list[BatchFile]
    rows: list[dict[str, Any]]
    exit_code: int
    seconds: float
    curve: list[tuple[float, float, int]] = field(default_factory=list)

    @property
    def in_order(self) -> bool:
        """Whether there is one row for each file, in the order of the files."""
        return [row["path"] for row in self.rows] == [str(file.path) for file in self.files]

    @property
    def outcomes(self) -> dict[tuple[str, bool], Counter[str]]:
        """Number of rows of each status, by kind and whether files of that kind are broken."""
        counts: dict[tuple[str, bool], Counter[str]] = {}
        for file, row in zip(self.files, self.rows, strict=True):
            counts.setdefault((file.kind, file.broken), Counter())[row["status"]] += 1
        return counts

    @property
    def growth(self) -> float:
        """Median memory of the last fifth of the files over that of the second fifth; the first one loads the models."""
        rows = np.array([point[2] for point in self.curve]) / max(1, len(self.files))
        values = np.array([point[1] for point in self.curve])
        second, last = values[(rows >= 0.2) & (rows < 0.4)], values[(rows >= 0.8) & (rows < 1)]
        return float(np.median(last) / np.median(second)) if len(second) and len(last) else float("nan")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def run_batch(count: int, workers: int = 2, seed: int = 0, options: Sequence[str] = ()) -> BatchRun:
    """Write the files to a temporary folder, score the folder, and look at the memory every :data:`EVERY` seconds."""
    with tempfile.TemporaryDirectory(prefix="batch-") as name:
        folder = Path(name)
        files = write_batch(folder, count, SAMPLES, seed)
        out = folder / "rows.jsonl"
        begun = time.monotonic()
        curve = []
        command = [*COMMAND, str(folder / "inputs"), "--out", str(out), "--workers", str(workers), *options]
        with (folder / "messages").open("wb") as messages, subprocess.Popen(command, stdout=messages, stderr=messages) as process:
            while process.poll() is None:
                rows = out.read_bytes().count(b"\n") if out.exists() else 0
                curve.append((time.monotonic() - begun, memory(process.pid), rows))
                try:
                    process.wait(EVERY)
                except subprocess.TimeoutExpired:
                    continue
        return BatchRun(files, read_rows(out), process.returncode, time.monotonic() - begun, curve)


def plot_memory(run: BatchRun, path: Path) -> None:
    """Memory over the number of rows written."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot([rows for *_, rows in run.curve], [mib / 1024 for _, mib, _ in run.curve], linewidth=1)
    axes.set(xlabel="files scored", ylabel="memory of all processes (GiB)", ylim=(0, None))
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
