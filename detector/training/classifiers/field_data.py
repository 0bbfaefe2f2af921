"""Clips that the classifiers of single streams are fitted to: the field set, and genuine clips of further corpora."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ....datasets.deepfake.field import TABLE, Field
from ....datasets.manifest import read_manifest
from .linear import LinearConfig

FACE_SIZE = "face_px"


@dataclass
class GenuineCorpora:
    """Further genuine clips."""

    seed: int = 0
    genuine_corpora: dict[str, int] = field(default_factory=dict)  # clips by corpus, drawn from its training split


@dataclass
class CorporaConfig(GenuineCorpora, LinearConfig):
    """Settings of the fit, and of the further genuine clips."""


def field_table(root: str | os.PathLike[str], stream: str) -> pd.DataFrame:
    """The clips of the field set one stream of which (``"audio"`` or ``"video"``) is labelled.

    Returns
    -------
    pandas.DataFrame
        Columns of :class:`avwitness.datasets.deepfake.field.Field`, ``label`` (1 is fake), ``page`` and, where the set states it,
        ``face_px`` (height of the face in pixels).
    """
    table = Field().read(Path(root))
    stated = pd.read_csv(Path(root) / TABLE)
    if FACE_SIZE in stated:
        table = table.assign(**{FACE_SIZE: table.path.map(stated.drop_duplicates("path").set_index("path")[FACE_SIZE])})
    table = table[(table.problem == "") & table[f"{stream}_label"].notna() & table[f"has_{stream}"]].reset_index(drop=True)
    return table.assign(label=table[f"{stream}_label"].astype(int), page=table.identity)


def genuine_clips(data: str | os.PathLike[str] | None, stream: str, config: GenuineCorpora) -> pd.DataFrame:
    """Genuine clips of the training split of further corpora, drawn with the seed: ``file``, ``corpus`` and ``speaker``.

    Raises
    ------
    ValueError
        If there is no folder with their manifest.
    """
    if data is None:
        raise ValueError(f"the corpora {', '.join(config.genuine_corpora)} need --data, the folder with their manifest.csv")
    table = read_manifest(data)
    table = table[(table.split == "train") & (table[f"{stream}_label"] == 0)]
    rng = np.random.default_rng(config.seed)
    parts = []
    for corpus, count in sorted(config.genuine_corpora.items()):
        rows = table[table.corpus == corpus]
        parts.append(rows.iloc[np.sort(rng.permutation(len(rows))[:count])])
    return pd.concat(parts, ignore_index=True)[["file", "corpus", "speaker"]]
