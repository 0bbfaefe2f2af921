"""The options that name a benchmark, and what they lead to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd

Root = Annotated[Path, typer.Option(help="Folder of the benchmark as it was published; of csv, the manifest or its folder.")]
Dataset = Annotated[str, typer.Option(help="Name of the benchmark, or auto; `avwitness datasets` lists them.")]
Split = Annotated[str | None, typer.Option(help="Take the rows of this split alone.")]


def benchmark_at(root: Path, dataset: str, split: str | None) -> tuple[str, pd.DataFrame]:
    """What tables call the benchmark, and its rows.

    Raises
    ------
    typer.BadParameter
        If there is none, or it cannot be read.
    """
    from ..datasets.registry import called, read_benchmark, recognise

    try:
        name = recognise(root) if dataset == "auto" else dataset
        return called(name, root), read_benchmark(name, root, split)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
