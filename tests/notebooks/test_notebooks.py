"""What is kept of the notebooks, without running them."""

from __future__ import annotations

from pathlib import Path

import pytest
from kernel import FOLDER, MOST_BYTES, checksum, complaints, read
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def test_each_has_a_test_that_runs_it() -> None:
    tests = {file.stem.removeprefix("test_") for file in Path(__file__).parent.glob("test_[0-9]*.py")}
    assert tests == {file.stem for file in NOTEBOOKS} != set()


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_what_is_kept_is_small_and_what_its_sources_printed(file: Path) -> None:
    notebook = read(file)
    assert complaints(notebook) == []
    assert file.stat().st_size < MOST_BYTES
    assert notebook.cells[0].cell_type == "markdown" and "minute" in notebook.cells[0].source  # how long it takes
    assert notebook.metadata.kernelspec.name == "python3"


def test_what_is_wrong_with_a_notebook_is_said() -> None:
    path = "/" + "tmp/x.mp4"
    outputs = [new_output("stream", name="stderr", text="a warning"), new_output("stream", name="stdout", text=f"wrote {path}")]
    notebook = new_notebook(cells=[new_markdown_cell("one"), new_code_cell("2", execution_count=3, outputs=outputs)])
    notebook.metadata.avwitness = {"executed": checksum(notebook)}
    assert complaints(notebook) == [
        "its cells were not executed once each and in order",
        "cell 3 complains: a warning",
        f"it names {path}, a path of one machine",
    ]
    notebook.cells[1].update(execution_count=1, outputs=[new_output("execute_result", data={"image/png": path})])
    assert complaints(notebook) == []
    notebook.cells[0].source = "another"
    assert complaints(notebook) == ["its sources are not those that printed what it shows; run `make notebooks`"]
