from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from avwitness.media.clip import MediaError
from avwitness.media.parallel import AHEAD, WorkerDied, make_files, run_parallel

# Functions of the standard library, which a spawned process can import.
SLEEP, RAISE = time.sleep, signal.raise_signal
run_forked = partial(run_parallel, start="fork")


def outcome(future: object) -> object:
    error = future.exception()  # type: ignore[attr-defined]
    return type(error) if error is not None else future.result()  # type: ignore[attr-defined]


@pytest.mark.parametrize("start", ["spawn", "fork"])
def test_a_crash_costs_one_call_alone(start: str) -> None:
    numbers = [0, 0, signal.SIGKILL, 0, 0, signal.SIGKILL, 0]
    calls = run_parallel(RAISE, [(int(number),) for number in numbers], 2, ordered=True, start=start)  # type: ignore[arg-type]
    done = [(arguments, outcome(future)) for arguments, future in calls]
    assert [arguments for arguments, _ in done] == [(int(number),) for number in numbers]
    assert [result for _, result in done] == [WorkerDied if number else None for number in numbers]


def test_errors_are_raised_where_results_are_taken() -> None:
    done = {arguments: outcome(future) for arguments, future in run_forked(int, [("1",), ("one",), ("2",)], 2)}
    assert done == {("1",): 1, ("one",): ValueError, ("2",): 2}
    assert list(run_forked(int, [], 2)) == []


def test_results_come_as_they_finish_or_in_order() -> None:
    long, short = (2.0,), (0.0,)
    assert [arguments for arguments, _ in run_forked(SLEEP, [long, short], 2)] == [short, long]
    assert [arguments for arguments, _ in run_forked(SLEEP, [(0.2,), short], 2, ordered=True)] == [(0.2,), short]


def test_calls_are_taken_a_few_at_a_time() -> None:
    taken: list[int] = []
    calls = ((taken.append(number) or number,) for number in range(20))  # type: ignore[func-returns-value]
    with closing(run_forked(abs, calls, 1, ordered=True)) as done:
        for number, _ in enumerate(done):
            assert len(taken) <= number + AHEAD


def test_workers_have_one_thread_and_end_with_their_parent(tmp_path: Path) -> None:
    program = (
        "import multiprocessing, os, time\n"
        "from avwitness.media.parallel import run_parallel\n"
        "if __name__ == '__main__':\n"
        "    done = run_parallel(os.getenv, [('OMP_NUM_THREADS',)] * 9, 2)\n"
        "    assert next(done)[1].result() == '1'\n"
        "    print(*(child.pid for child in multiprocessing.active_children()), flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-P", "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    children = [int(pid) for pid in parent.stdout.readline().split()]
    assert children
    parent.kill()
    parent.wait()
    until = time.monotonic() + 20.0
    while any(runs(pid) for pid in children):
        assert time.monotonic() < until
        time.sleep(0.1)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def write_number(source: str, target: Path, offset: int) -> None:
    failures: dict[str, Callable] = {
        "damaged": lambda: MediaError("damaged", "cannot be read"),
        "bad": lambda: ValueError("bad: is no number"),
        "strange": lambda: ZeroDivisionError("strange"),
    }
    if source in failures:
        raise failures[source]()
    if source == "deadly":
        os._exit(1)
    target.write_text(str(int(source) + offset))


def test_files_are_made_once_and_failures_are_told(tmp_path: Path) -> None:
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (31, 31), 5.0)  # starts threads, which a fork does not have
    jobs = [(name, tmp_path / "new" / name, 1) for name in ("1", "bad", "damaged", "deadly", "strange", "2")]
    told = sorted(make_files(jobs, write_number, workers=2))
    assert told[0].endswith("deadly: the process that should make it died, perhaps for want of memory")
    assert told[1:] == ["ZeroDivisionError: strange", "bad: is no number", "damaged: cannot be read"]
    times = {file: file.stat().st_mtime_ns for file in (tmp_path / "new").iterdir()}
    assert sorted(file.name for file in times) == ["1", "2"]
    assert make_files([jobs[0], jobs[-1]], write_number, workers=1) == []
    assert times == {file: file.stat().st_mtime_ns for file in (tmp_path / "new").iterdir()}
    assert (tmp_path / "new" / "2").read_text() == "3"
