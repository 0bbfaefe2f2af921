"""What a user names on the command line, as files."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import typer

VIDEO_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp", ".ogv"}
AUDIO_SUFFIXES = {".wav", ".mp3", ".flac", ".ogg", ".opus", ".oga", ".m4a", ".aac", ".wma"}
TELEPHONE_SUFFIXES = {".g722", ".gsm"}


def expand(inputs: list[str]) -> list[str]:
    """Files for files, their media for directories (sorted, whole tree), matches for patterns; what does not exist is kept and reported.

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
