"""Leakage between the splits of a benchmark: shared files, source clips and people."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import pandas as pd

CHUNK = 1 << 20  # bytes read at once


@dataclass(frozen=True)
class Leak:
    """Something that is in two splits.

    Parameters
    ----------
    kind : str
        ``content`` (the same bytes under any name), ``source clip`` or ``identity``.
    first, second : str
        The splits.
    count : int
        How many contents, clips or people.
    example : str
        One of them: a path of the first split, a source clip, a person.
    """

    kind: str
    first: str
    second: str
    count: int
    example: str


def content_hashes(table: pd.DataFrame) -> dict[str, str]:
    """Find the SHA-1 of every existing file, by its ``path``; only files of equal size are read, the others get their size.

    Parameters
    ----------
    table : pandas.DataFrame
        A benchmark: ``path``, ``file``.
    """
    from rich.progress import track

    sizes = {str(path): os.path.getsize(file) for path, file in zip(table["path"], table["file"], strict=True) if os.path.isfile(file)}
    files = dict(zip(table["path"].astype(str), table["file"], strict=True))
    often = Counter(sizes.values())
    alike = [path for path, size in sizes.items() if often[size] > 1]
    found = {path: f"size {size}" for path, size in sizes.items()}
    for path in track(alike, "reading", transient=True, disable=len(alike) < 50):
        digest = hashlib.sha1()
        try:
            with open(files[path], "rb") as stream:
                while chunk := stream.read(CHUNK):
                    digest.update(chunk)
        except OSError:
            continue  # reported when the file is scored
        found[path] = digest.hexdigest()
    return found


def duplicates(hashes: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Groups of paths with equal content, each sorted."""
    groups: dict[str, list[str]] = {}
    for path, content in hashes.items():
        groups.setdefault(content, []).append(path)
    return sorted(tuple(sorted(paths)) for paths in groups.values() if len(paths) > 1)


def leaks(table: pd.DataFrame, hashes: Mapping[str, str] | None = None) -> list[Leak]:
    """Find what each pair of splits shares. Rows without a split, a person or a source clip are not compared in that.

    Parameters
    ----------
    table : pandas.DataFrame
        A benchmark: ``path``, ``split``, ``source_clip``, ``identity``.
    hashes : mapping, optional
        Of :func:`content_hashes`; without them contents are not compared.
    """
    kinds = {
        "content": pd.Series([(hashes or {}).get(str(path), "") for path in table["path"]], index=table.index, dtype=object),
        "source clip": table["source_clip"].fillna("").astype(str),
        "identity": table["identity"].fillna("").astype(str),
    }
    splits = table["split"].fillna("").astype(str)
    found = []
    for kind, values in kinds.items():
        sets = {name: set(values[splits == name]) - {""} for name in sorted(set(splits) - {""})}
        for first, second in combinations(sets, 2):
            common = sets[first] & sets[second]
            if common:
                example = min(common)
                if kind == "content":
                    example = str(table["path"][(values == example) & (splits == first)].iloc[0])
                found.append(Leak(kind, first, second, len(common), example))
    return found
