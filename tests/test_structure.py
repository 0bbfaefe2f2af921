"""Limits on the size of folders and files."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_FILES = 14  # .py files of one folder, its __init__.py among them
MAX_LINES = 400  # of one .py file


@pytest.fixture(scope="module")
def files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z", "*.py"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_folder_holds_too_many_files(files: list[Path]) -> None:
    counts = Counter(file.parent for file in files)
    assert {str(folder.relative_to(ROOT)): n for folder, n in counts.items() if n > MAX_FILES} == {}


def test_no_file_is_too_long(files: list[Path]) -> None:
    lines = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in files}
    assert {name: n for name, n in lines.items() if n > MAX_LINES} == {}
