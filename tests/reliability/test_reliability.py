"""Small versions of what ``make reliability`` measures."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from batch import BatchRun, run_batch
from batch_files import BatchFile, write_batch
from failures import fill_disk, kill_children, kill_run

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
SAMPLES = Path(__file__).parents[2] / "samples"


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


@pytest.mark.slow
def test_a_killed_worker_loses_nothing() -> None:
    struck = kill_children(30, "worker", 1)
    assert struck.strikes == 1 and struck.first_rows == struck.rows == 30
    assert struck.first_errors <= 1
    assert (struck.lost, struck.doubled, struck.errors) == (0, 0, 0)


@pytest.mark.slow
def test_a_killed_run_is_resumed_without_loss() -> None:
    struck = kill_run(30, 1)
    assert struck.strikes == 1 and 0 < struck.first_rows < struck.rows == 30
    assert (struck.lost, struck.doubled, struck.errors, struck.left) == (0, 0, 0, 0)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_a_full_disk_loses_nothing() -> None:
    try:
        struck = fill_disk(50)
    except RuntimeError as error:
        pytest.skip(str(error))
    assert 0 < struck.first_rows < struck.rows == 50
    assert (struck.lost, struck.doubled, struck.errors) == (0, 0, 0)
