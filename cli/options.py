"""Arguments that several commands share: files to score, and a benchmark on disk."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd

VIDEO_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp", ".ogv"}
AUDIO_SUFFIXES = {".wav", ".mp3", ".flac", ".ogg", ".opus", ".oga", ".m4a", ".aac", ".wma"}
TELEPHONE_SUFFIXES = {".g722", ".gsm"}

Root = Annotated[Path, typer.Option(help="Folder of the benchmark as it was published; of csv, the manifest or its folder.")]
Dataset = Annotated[str, typer.Option(help="Name of the benchmark, or auto; `avwitness datasets` lists them.")]
Split = Annotated[str | None, typer.Option(help="Take the rows of this split only.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, ...")]
Bootstrap = Annotated[int, typer.Option("--bootstrap", min=1, help="Number of bootstrap samples.")]
Rounds = Annotated[int | None, typer.Option("--rounds", min=1, hidden=True)]  # --bootstrap in version 0.1
Workers = Annotated[int, typer.Option(min=1, help="Number of processes.")]
CPU_COUNT = os.cpu_count() or 1


def expand(inputs: list[str]) -> list[str]:
    """The files that arguments name: media below directories (sorted), matches of patterns; what does not exist is kept and reported.

    Raises
    ------
    typer.BadParameter
        If a directory or a pattern holds nothing to score.
    """
    paths: list[str] = []
    for item in inputs:
        if os.path.isdir(item):
            found = sorted(str(p) for p in Path(item).rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES | AUDIO_SUFFIXES and p.is_file())
        elif not os.path.exists(item) and glob.has_magic(item):
            found = sorted(p for p in glob.glob(item, recursive=True) if os.path.isfile(p))
        else:
            found = [item]
        if not found:
            raise typer.BadParameter(f"{item}: nothing there that could be scored")
        paths += found
    return list(dict.fromkeys(paths))


def read_root(root: Path, dataset: str, split: str | None) -> tuple[str, pd.DataFrame]:
    """The name that tables give a benchmark, and its rows.

    Raises
    ------
    typer.BadParameter
        If there is none, or it cannot be read.
    """
    from ..datasets.registry import display_name, read_benchmark, recognise

    try:
        name = recognise(root) if dataset == "auto" else dataset
        return display_name(name, root), read_benchmark(name, root, split)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
