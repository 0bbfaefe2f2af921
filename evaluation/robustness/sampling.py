"""What a seed draws of a benchmark: the clips, and the voices that talk over each."""

from __future__ import annotations

import numpy as np
import pandas as pd

VOICES = 6  # at most, that talk over a clip
KINDS = ("category", "video_label", "audio_label", "file_label")  # what a sample is balanced over


def sample(table: pd.DataFrame, limit: int | None, seed: int) -> pd.DataFrame:
    """Rows drawn at random, as evenly as they come from all :data:`KINDS`, in the order of the table."""
    kinds = table.groupby(list(KINDS), dropna=False).ngroup().to_numpy()
    chosen = _spread(kinds, np.random.default_rng(seed))[:limit]
    return table.iloc[np.sort(chosen)].reset_index(drop=True)


def voices(clips: pd.DataFrame, table: pd.DataFrame, seed: int) -> list[tuple[str, ...]]:
    """For every clip, files of a benchmark with the genuine sound of other people: up to :data:`VOICES`, of as many people as there are.

    A clip of nobody in particular gets none: whoever is heard may be the same.
    """
    genuine = table[(table["audio_label"] == 0).fillna(False) & table["has_audio"].astype(bool) & (table["identity"] != "")]
    files, people = genuine["file"].map(str).to_numpy(), genuine["identity"].to_numpy(dtype=str)
    found = []
    for content, identity, heard in zip(clips["content"], clips["identity"], clips["has_audio"], strict=True):
        others = np.flatnonzero(people != identity) if identity and heard else np.zeros(0, dtype=int)
        rng = np.random.default_rng([seed, int(content[:16], 16)])  # a clip's own, whatever other clips there are
        drawn = others[_spread(people[others], rng)[:VOICES]]
        found.append(tuple(files[drawn].tolist()))
    return found


def _spread(kinds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random order int [N] in which the kinds take turns, for as long as there are any of each."""
    order = rng.permutation(len(kinds))
    turn = pd.Series(order).groupby(kinds[order]).cumcount().to_numpy()
    return order[np.argsort(turn, kind="stable")]
