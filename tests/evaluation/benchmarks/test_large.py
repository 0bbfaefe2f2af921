"""Evaluation of a manifest and a score file of 200,000 rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmarks import benchmark

ROWS = 200_000
SECONDS = 60.0  # of one core
MEMORY = 2 * 1024**3  # bytes


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A benchmark of 2,000 people in groups, and a score file."""
    folder = tmp_path_factory.mktemp("large")
    table, scored = benchmark(ROWS, power=2.0)
    number = np.arange(ROWS)
    paths = [f"set/{i // 2000}/{i}.mp4" for i in number]
    for part in range(0, ROWS, 2000):
        (folder / "set" / str(part // 2000)).mkdir(parents=True)
    for path in paths:
        os.close(os.open(folder / path, os.O_CREAT))
    groups = {
        "identity": [f"p{i}" for i in number // 4 % 2000],
        "language": np.array(["ar", "de", "en", "fr"])[number // 8000 % 4],
        "ethnicity": np.array(["a", "b", "c", "d", "e"])[number // 4 % 5],
    }
    table.drop(columns=["has_video", "has_audio"]).assign(path=paths, **groups).to_csv(folder / "manifest.csv", index=False)
    scored.table.drop(columns="status").assign(path=paths).to_csv(folder / "scores.csv", index=False)
    return folder, folder / "scores.csv"


@pytest.mark.slow
def test_time_and_memory(large: tuple[Path, Path], tmp_path: Path) -> None:
    folder, scores = large
    command = ["evaluate", "--dataset", "csv", "--root", str(folder), "--scores", str(scores), "--out", str(tmp_path / "out")]
    code = f"""
import resource, sys
from avwitness.cli import app
try:
    app({[*command, "--protocol", "zero-shot"]!r})
except SystemExit as end:
    used = resource.getrusage(resource.RUSAGE_SELF)
    # The peak of this process, while ru_maxrss includes that of its parent.
    (peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print("used", end.code, used.ru_utime + used.ru_stime, 1024 * int(peak))
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert "200000 of 200000 rows, coverage 1.000" in done.stdout, done.stderr
    status, seconds, memory = done.stdout.splitlines()[-1].split()[1:]
    assert status == "0"
    assert float(seconds) < SECONDS  # of processor time: other tests may run at the same time
    assert int(memory) < MEMORY, memory
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["setting"]["n_bootstrap"] == 500
    assert {row["attribute"] for row in results["fairness"] if row["groups"]} >= {"gender", "language", "ethnicity"}
    assert 0.85 < pd.read_csv(tmp_path / "out" / "table.csv").auc[0] < 0.95
