"""Readers of all benchmarks by name, and the functions that find and read one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from .av_folder import AVFolder
from .benchmark import Reader
from .deepfake.asvspoof import Asvspoof2019La, Asvspoof2021La
from .deepfake.av_deepfake1m import AVDeepfake1M, AVDeepfake1MPlusPlus
from .deepfake.celeb_df import CelebDF
from .deepfake.deepspeak import DeepSpeak
from .deepfake.dfdc import DFDC
from .deepfake.faceforensics import FaceForensics
from .deepfake.fakeavceleb import FakeAVCeleb
from .deepfake.field import Field
from .deepfake.kodf import KoDF
from .deepfake.lavdf import LavDF
from .deepfake.polyglotfake import PolyGlotFake
from .generic_csv import GenericCsv
from .genuine.grid import Grid
from .genuine.lrs import Lrs2, Lrs3
from .genuine.vico_reader import Vico
from .genuine.voxceleb2 import VoxCeleb2

READERS: dict[str, Reader] = {
    reader.name: reader
    for reader in (
        GenericCsv(),
        AVFolder(),
        FakeAVCeleb(),
        LavDF(),
        AVDeepfake1M(),
        AVDeepfake1MPlusPlus(),
        DFDC(),
        FaceForensics(),
        CelebDF(),
        KoDF(),
        DeepSpeak(),
        PolyGlotFake(),
        Field(),
        Asvspoof2019La(),
        Asvspoof2021La(),
        VoxCeleb2(),
        Lrs2(),
        Lrs3(),
        Grid(),
        Vico(),
    )
}


GENERIC = ("csv", "av_folder")  # layouts that are not of one benchmark; tried last


def recognise(root: str | os.PathLike[str]) -> str:
    """The name of the benchmark in a folder.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If no reader recognises it, or several do.
    """
    root = Path(root)
    if not root.exists():
        raise FileNotFoundError(f"{root}: no such folder; name the one that the benchmark was unpacked into")
    found = [name for name, reader in READERS.items() if name not in GENERIC and root.is_dir() and reader.recognises(root)]
    found = found or [name for name in GENERIC if READERS[name].recognises(root)][:1]
    if len(found) != 1:
        if root.is_file():
            raise ValueError(f"{root}: is a file; name the folder of a benchmark, or a table that ends in .csv or .parquet")
        guess = f"could be {' or '.join(found)}" if found else "is no benchmark that can be read"
        raise ValueError(f"{root}: {guess}; name it with --dataset, `avwitness datasets` lists them")
    return found[0]


def display_name(name: str, root: str | os.PathLike[str]) -> str:
    """The name of a benchmark in tables; for generic layouts with the name of the folder."""
    return f"{name}:{Path(root).resolve().stem}" if name in GENERIC else name


def read_benchmark(name: str, root: str | os.PathLike[str], split: str | None = None) -> pd.DataFrame:
    """Read a benchmark.

    Parameters
    ----------
    name : str
        Of :data:`READERS`.
    root : path-like
    split : str, optional
        Keep the rows of this split only.

    Returns
    -------
    pandas.DataFrame
        See :func:`avwitness.datasets.benchmark.tabulate`. Where a benchmark names no categories, they follow from the labels:
        ``RVRA``, ``FVRA`` and so on, ``R`` genuine and ``F`` fake, a stream that is absent left out.

    Raises
    ------
    FileNotFoundError
        If the folder or one of its tables is absent.
    ValueError
        If there is no such benchmark or split, or a table cannot be read.
    """
    if name not in READERS:
        raise ValueError(f"benchmark {name!r} is none of {', '.join(READERS)}")
    table = READERS[name].read(Path(root))
    if split is not None:
        if split not in set(table["split"]):
            raise ValueError(f"{root}: no row has the split {split}; there are {', '.join(sorted(set(table['split']) - {''})) or 'none'}")
        table = table[table["split"] == split].reset_index(drop=True)
    return table.assign(category=np.where(table["category"] == "", categories(table), table["category"]))


def categories(table: pd.DataFrame) -> np.ndarray:
    """Categories [N] from the labels; empty where the label of a stream is not known."""
    found, known = np.full(len(table), "", dtype=object), np.ones(len(table), dtype=bool)
    for stream, sign in (("video", "V"), ("audio", "A")):
        label, there = table[f"{stream}_label"], table[f"has_{stream}"].to_numpy(dtype=bool)
        fake = label.eq(1).fillna(False).to_numpy(dtype=bool)
        known &= ~there | label.notna().to_numpy(dtype=bool)
        found = found + np.where(there, np.where(fake, f"F{sign}", f"R{sign}"), "")
    return np.where(known, found, "")
