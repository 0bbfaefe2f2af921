from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from audited import PAIRS

from avwitness.datasets.manifest import read_labels
from avwitness.evaluation.auditing import measuring as reading
from avwitness.evaluation.auditing.audit import CACHE_NAME, audit


@pytest.mark.slow
def test_cached_statistics_are_used(clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = read_labels(clean)
    steps: list[tuple[str, int, int]] = []
    first = audit(table, cache=tmp_path, on_step=lambda *step: steps.append(step))
    assert ("reading clips", 2 * PAIRS, 2 * PAIRS) in steps
    assert steps[-1][0] == "probing audio"
    assert steps[-1][1] == steps[-1][2]
    lines = (tmp_path / CACHE_NAME).read_text().splitlines()
    (tmp_path / CACHE_NAME).write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:40])  # interrupted while writing
    read: list[Path] = []
    real = reading.measure_file
    monkeypatch.setattr(reading, "measure_file", lambda file: (read.append(file), real(file))[1])
    assert str(audit(table, cache=tmp_path)) == str(first)  # compared as text, since NaN is not equal to itself
    assert len(read) == 1
    assert str(audit(table, cache=tmp_path)) == str(first)
    assert len(read) == 1
    os.utime(table.file[0])
    audit(table, cache=tmp_path)
    assert read[1:] == [table.file[0]]


def test_a_file_that_crashes_its_process_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    # Signals for the worker process instead of files: 9 kills it, 0 has no effect.
    monkeypatch.setattr(reading, "_measure_or_error", signal.raise_signal)
    found = dict(reading._measured([0, 9], 2))  # type: ignore[list-item]
    assert found[0] is None  # type: ignore[index]
    assert "died" in str(found[9])  # type: ignore[index]
