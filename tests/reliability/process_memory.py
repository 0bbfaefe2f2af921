"""Memory of a process and all that it started."""

from __future__ import annotations

from pathlib import Path


def descendants(pid: int) -> list[int]:
    """The process and all that it started, directly or not, as /proc lists them."""
    pids = [pid]
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                pids += descendants(int(child))
    except OSError:  # ended in between
        pass
    return pids


def memory(pid: int) -> float:
    """Proportional set size of a process and its descendants, MiB: pages that several share are counted once."""
    total = 0
    for each in descendants(pid):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024
