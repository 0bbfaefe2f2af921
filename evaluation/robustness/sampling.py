"""Random choices of a robustness run: the clips, and the voices that are mixed into each."""

from __future__ import annotations

import numpy as np
import pandas as pd

MAX_VOICES = 6  # per clip
BALANCED_COLUMNS = ("category", "video_label", "audio_label", "file_label")  # whose combinations are sampled evenly


def sample_clips(table: pd.DataFrame, limit: int | None, seed: int) -> pd.DataFrame:
    """A random sample of rows, balanced over :data:`BALANCED_COLUMNS`, in the order of the table."""
    kinds = table.groupby(list(BALANCED_COLUMNS), dropna=False).ngroup().to_numpy()
    chosen = _balanced_order(kinds, np.random.default_rng(seed))[:limit]
    return table.iloc[np.sort(chosen)].reset_index(drop=True)


def sample_voices(clips: pd.DataFrame, table: pd.DataFrame, seed: int) -> list[tuple[str, ...]]:
    """For every clip, up to :data:`MAX_VOICES` files with genuine audio of other identities, of as many identities as possible.

    A clip without an identity gets none, since the voices could be of the same person.
    """
    genuine = table[(table["audio_label"] == 0).fillna(False) & table["has_audio"].astype(bool) & (table["identity"] != "")]
    files, people = genuine["file"].map(str).to_numpy(), genuine["identity"].to_numpy(dtype=str)
    found = []
    for content, identity, has_audio in zip(clips["content"], clips["identity"], clips["has_audio"], strict=True):
        others = np.flatnonzero(people != identity) if identity and has_audio else np.zeros(0, dtype=int)
        rng = np.random.default_rng([seed, int(content[:16], 16)])  # of the clip alone, so that other clips do not change the choice
        chosen = others[_balanced_order(people[others], rng)[:MAX_VOICES]]
        found.append(tuple(files[chosen].tolist()))
    return found


def _balanced_order(kinds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random order int [N] in which the kinds alternate as long as there are rows of each."""
    order = rng.permutation(len(kinds))
    turn = pd.Series(order).groupby(kinds[order]).cumcount().to_numpy()
    return order[np.argsort(turn, kind="stable")]
