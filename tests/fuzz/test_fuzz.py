from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from containers import write_containers
from fuzz import OUTCOMES, mutate, run_cases

COUNT = 300


def test_a_seed_gives_the_same_files(tmp_path: Path) -> None:
    whole = write_containers(tmp_path)
    assert len(whole) >= 25
    files = [mutate(number, 3, whole) for number in range(60)]
    assert files == [mutate(number, 3, whole) for number in range(60)]
    assert len({data for *_, data in files}) > 55


@pytest.mark.slow
def test_damaged_files_are_decoded_or_refused() -> None:
    cases = list(run_cases(COUNT))
    counts = Counter(case.outcome for case in cases)
    assert set(counts) <= set(OUTCOMES) and counts.total() == COUNT
    assert [case for case in cases if case.outcome not in ("decoded", "refused")] == []
