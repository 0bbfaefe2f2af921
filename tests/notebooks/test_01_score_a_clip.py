from __future__ import annotations

from pathlib import Path

import pytest
from kernel import FOLDER, complaints, executed, kinds, read

FILE = FOLDER / "01_score_a_clip.ipynb"


@pytest.mark.slow
def test_it_runs_where_nothing_is_and_leaves_nothing(tmp_path: Path) -> None:
    notebook = executed(FILE, tmp_path)
    assert complaints(notebook) == []
    assert kinds(notebook) == kinds(read(FILE))
    assert not list(tmp_path.iterdir())
