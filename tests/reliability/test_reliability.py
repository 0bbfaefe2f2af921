"""Small versions of what ``make reliability`` measures."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from batch import BatchRun, run_batch
from batch_files import BatchFile, write_batch
from failures import Struck, fill_disk, kill_children, kill_run

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
SAMPLES = Path(__file__).parents[2] / "samples"
TRIES = 5  # runs of one test


@pytest.mark.slow
def test_the_batch_holds_every_kind(tmp_path: Path) -> None:
    files = write_batch(tmp_path, 200, SAMPLES)
    assert [file.path for file in files] == sorted((tmp_path / "inputs").iterdir())
    kinds = {file.kind for file in files if file.broken}
    assert len(kinds) >= 10 and {file.kind for file in files if not file.broken} == {"wav", "flac", "mp3", "ogg", "m4a", "mp4"}
    assert 0.04 < sum(file.broken for file in files) / len(files) < 0.12


def test_growth_compares_late_with_early_memory() -> None:
    files = [BatchFile(Path(str(i)), "wav", False) for i in range(100)]
    curve = [(float(i), 100.0 if i < 50 else 150.0, i) for i in range(100)]
    assert BatchRun(files, [], 0, 1.0, curve).growth == pytest.approx(1.5)
    assert not BatchRun(files, [{"path": "1"}], 0, 1.0, curve).in_order


@pytest.mark.slow
def test_one_row_for_each_file_of_a_batch() -> None:
    run = run_batch(40)
    assert run.in_order and run.exit_code == 1
    assert [row["status"] for row in run.rows] == ["error" if file.broken else "ok" for file in run.files]


def strike_in_time(strike: Callable[[int], Struck], in_time: Callable[[Struck], bool]) -> Struck:
    """The first of a few runs, with different seeds, that was struck before its end; no run may lose anything.

    Rows are written in order: while one worker is slow with a file, the other may finish all later ones, and a single wait for
    some rows then ends with all of them.
    """
    for seed in range(TRIES):
        struck = strike(seed)
        assert (struck.rows, struck.lost, struck.doubled, struck.errors, struck.left) == (30, 0, 0, 0, 0)
        if in_time(struck):
            return struck
    raise AssertionError(f"none of {TRIES} runs was struck before its end")


@pytest.mark.slow
def test_a_killed_worker_loses_nothing() -> None:
    struck = strike_in_time(lambda seed: kill_children(30, "worker", 1, seed), lambda struck: struck.strikes == 1)
    assert struck.first_rows == 30 and struck.first_errors <= 1


@pytest.mark.slow
def test_a_killed_run_is_resumed_without_loss() -> None:
    struck = strike_in_time(lambda seed: kill_run(30, 1, seed), lambda struck: struck.strikes == 1 and struck.first_rows < 30)
    assert struck.first_rows > 0


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_a_full_disk_loses_nothing() -> None:
    try:
        struck = fill_disk(50)
    except RuntimeError as error:
        pytest.skip(str(error))
    assert 0 < struck.first_rows < struck.rows == 50
    assert (struck.lost, struck.doubled, struck.errors) == (0, 0, 0)
