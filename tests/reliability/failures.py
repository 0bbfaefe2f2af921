"""Runs of ``avwitness score`` that are struck: workers, decoders or the whole run killed, and a disk that fills up."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from batch import COMMAND, SAMPLES, read_rows
from batch_files import write_batch
from process_memory import descendants
from processes import is_running, scoring_processes

PATIENCE = 20.0  # seconds in which processes of a killed run must have ended
JITTER = 0.1  # seconds by which a strike may come later
DISK = 32  # KiB of the disk that fills up


@dataclass
class Struck:
    """What a series of struck runs left.

    Parameters
    ----------
    event : str
        What happened.
    files : int
    strikes : int
        How often.
    first_rows : int
        Rows after the first run.
    first_errors : int
        Rows with errors among them that come from the event, not from a broken file.
    rows : int
        Rows after the last run, which was not struck.
    lost, doubled, errors : int
        Files without a row, files with more than one, and intact files with an error, after the last run.
    left : int
        Processes of struck runs that still ran :data:`PATIENCE` seconds later.
    """

    event: str
    files: int
    strikes: int
    first_rows: int
    first_errors: int
    rows: int
    lost: int
    doubled: int
    errors: int
    left: int


@contextlib.contextmanager
def _batch(count: int, seed: int) -> Iterator[tuple[Path, Path, set[str]]]:
    """A temporary folder with a batch, the file for its rows, and the paths of its broken files."""
    with tempfile.TemporaryDirectory(prefix="struck-") as name:
        folder = Path(name)
        yield folder, folder / "rows.jsonl", {str(f.path) for f in write_batch(folder, count, SAMPLES, seed) if f.broken}


def _start(folder: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [*COMMAND, str(folder / "inputs"), "--out", str(out), "--workers", "2", *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _count(out: Path) -> int:
    return out.read_bytes().count(b"\n") if out.exists() else 0


def _wait_for_rows(process: subprocess.Popen[bytes], out: Path, target: float) -> None:
    while process.poll() is None and _count(out) < target:
        time.sleep(0.02)


def _decoders(pid: int) -> list[int]:
    """The processes that decode media for the workers of a run."""
    workers = scoring_processes(pid)
    return [child for worker in workers for child in descendants(worker)[1:]]


def _left(pids: list[int]) -> int:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and any(map(is_running, pids)):
        time.sleep(0.1)
    return sum(map(is_running, pids))


def kill_children(count: int, kind: str, strikes: int, seed: int = 0) -> Struck:
    """Kill a worker, or a process that decodes for one, again and again during a run; then resume it.

    Parameters
    ----------
    count : int
        Number of files.
    kind : {"worker", "decoder"}
    strikes : int
    seed : int
    """
    rng = np.random.default_rng(seed)
    find = scoring_processes if kind == "worker" else _decoders
    done = 0
    with _batch(count, seed) as (folder, out, broken):
        process = _start(folder, out)
        while done < strikes and process.poll() is None:
            _wait_for_rows(process, out, (done + 1) / (strikes + 2) * count)
            time.sleep(float(rng.uniform(0, JITTER)))
            pids = find(process.pid) if process.poll() is None else []
            if pids:
                os.kill(pids[int(rng.integers(len(pids)))], signal.SIGKILL)
                done += 1
        process.wait()
        rows = read_rows(out)
        errors = sum(row["status"] == "error" and row["path"] not in broken for row in rows)
        _start(folder, out, "--resume").wait()
        return _outcome(f"kill -9 of a {kind}", count, done, len(rows), errors, out, broken, 0)


def kill_run(count: int, strikes: int, seed: int = 0) -> Struck:
    """Kill the whole run again and again, and resume it each time."""
    rng = np.random.default_rng(seed)
    done = left = first = 0
    with _batch(count, seed) as (folder, out, broken):
        process = _start(folder, out)
        while done < strikes and process.poll() is None:
            _wait_for_rows(process, out, (done + 1) / (strikes + 2) * count)
            time.sleep(float(rng.uniform(0, JITTER)))
            pids = descendants(process.pid)[1:]
            process.kill()
            process.wait()
            done += 1
            first = first or _count(out)
            left += _left(pids)
            process = _start(folder, out, "--resume")
        process.wait()
        return _outcome("kill -9 of the run", count, done, first, 0, out, broken, left)


def fill_disk(count: int, seed: int = 0) -> Struck:
    """Let the disk of the rows fill up in the middle of a run, then make room and resume it.

    Raises
    ------
    RuntimeError
        If this system lets no user mount a small disk.
    """
    with _batch(count, seed) as (folder, out, broken):
        disk = folder / "disk"
        disk.mkdir()
        score = f"{' '.join(COMMAND)} {folder}/inputs --out {disk}/rows.jsonl --workers 2"
        script = f"mount -t tmpfs -o size={DISK}k tmpfs {disk} || exit 99; {score}; code=$?; cp {disk}/rows.jsonl* {folder}; exit $code"
        done = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script], capture_output=True, text=True)
        if done.returncode == 99 or not out.exists():
            raise RuntimeError(f"no disk of {DISK} KiB could be mounted: {done.stderr.strip()[-300:]}")
        assert "No space left on device" in done.stderr, done.stderr
        first = len(read_rows(out))
        _start(folder, out, "--resume").wait()
        return _outcome("the disk fills up", count, 1, first, 0, out, broken, 0)


def _outcome(event: str, count: int, strikes: int, first_rows: int, first_errors: int, out: Path, broken: set[str], left: int) -> Struck:
    rows = read_rows(out)
    times = Counter(row["path"] for row in rows)
    errors = sum(row["status"] == "error" and row["path"] not in broken for row in rows)
    doubled = sum(number > 1 for number in times.values())
    return Struck(event, count, strikes, first_rows, first_errors, len(rows), count - len(times), doubled, errors, left)
