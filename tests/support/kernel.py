"""The notebooks, executed in one way by their tests and by ``make notebooks``, which keeps what they print."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).parents[2] / "notebooks"
VERSION = 4  # of the notebook format
SECONDS = 600  # that a cell may take on a busy machine
MOST_BYTES = 400_000  # of a notebook with its pictures
KEPT = "avwitness"  # key of a notebook's metadata, under which lies the checksum of the sources that printed what it shows
MACHINE = re.compile(r"/(?:work|root|home|tmp)\b\S*")  # paths that say where a notebook was executed


def read(file: Path) -> NotebookNode:
    """A notebook as it lies on disk."""
    return nbformat.read(file, as_version=VERSION)


def executed(file: Path, folder: Path) -> NotebookNode:
    """Run a notebook from its first cell to its last, in a folder and in a kernel of this environment.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        Of the first cell that fails.
    """
    notebook = read(file)
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        coalesce_streams=True,
        record_timing=False,
        # What native libraries log to the terminal is no output of a cell.
        extra_arguments=["--IPKernelApp.capture_fd_output=False"],
        resources={"metadata": {"path": str(folder)}},
    )
    # A reader's kernel does not have what the Makefile exports.
    client.execute(env={name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"})
    notebook.metadata[KEPT] = {"executed": checksum(notebook)}
    notebook.metadata.language_info = {"name": "python"}  # not its version here
    return notebook


def checksum(notebook: NotebookNode) -> str:
    """Of kinds and sources of all cells, whatever they print."""
    return hashlib.sha256(json.dumps([[cell.cell_type, cell.source] for cell in notebook.cells]).encode()).hexdigest()


def complaints(notebook: NotebookNode) -> list[str]:
    """Sentences on what should not be in an executed notebook, or is missing from it; none if it is as it should be."""
    found = []
    if notebook.metadata.get(KEPT) != {"executed": checksum(notebook)}:
        found.append("its sources are not those that printed what it shows; run `make notebooks`")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        found.append("its cells were not executed once each and in order")
    if not any(cell.outputs for cell in code):
        found.append("nothing in it shows anything")
    for cell in code:
        for output in cell.outputs:
            if output.output_type == "error" or output.get("name") == "stderr":
                found.append(f"cell {cell.execution_count} complains: {''.join(output.get('text', output.get('evalue', '')))}")
    texts = [cell.source for cell in notebook.cells] + [text for cell in code for text in printed(cell)]
    return found + [f"it names {path}, a path of one machine" for text in texts for path in MACHINE.findall(text)]


def printed(cell: NotebookNode) -> Iterator[str]:
    """All text that a cell shows; pictures are none."""
    for output in cell.outputs:
        if output.output_type == "stream":
            yield output.text
        for kind, data in output.get("data", {}).items():
            if kind.startswith("text/"):
                yield data


def kinds(notebook: NotebookNode) -> list[list[str]]:
    """What each cell shows, by kind: names of streams and MIME types."""
    shown: list[list[str]] = []
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        shown.append(sorted({kind for output in outputs for kind in output.get("data", [output.get("name", output.output_type)])}))
    return shown


def main(files: list[Path]) -> None:
    """Execute notebooks in temporary folders and keep what they print."""
    for file in files:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(executed(file, Path(folder)), file)
        print(file.name)


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb")))
