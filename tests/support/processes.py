"""The scoring processes that are running."""

from __future__ import annotations

import os
from pathlib import Path


def scoring_processes(parent: int | None = None) -> list[int]:
    """Process ids of the scoring processes of a process (this one by default), as /proc lists them."""
    pids = []
    for task in Path(f"/proc/{parent or os.getpid()}/task").iterdir():
        try:
            pids += [int(pid) for pid in (task / "children").read_text().split()]
        except OSError:  # the thread ended in between
            continue
    return sorted(pid for pid in pids if "avwitness.detector.inference.worker_process" in _command(pid))


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent to notice does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
