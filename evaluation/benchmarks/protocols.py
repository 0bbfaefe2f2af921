"""Which rows of a benchmark are tested on, and which a detector may have learned from: the splits that papers use, by name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

TEST_SHARE = 0.3  # of random and identity-disjoint splits
FOLDS = 5
HELD_OUT = ("val", "dev")  # splits that are tested on where the labels of the test split are not published
LABELS = ("video_label", "audio_label", "overall_label")
#: Of FakeAVCeleb, as papers leave them out one by one; what else it holds (FVRA-FS, FVRA-GAN) is only trained on there.
PUBLISHED = ("RVFA", "FVRA-WL", "FVFA-FS", "FVFA-GAN", "FVFA-WL")
GENUINE = "RVRA"  # category of what is genuine in both streams
LOST = 0.3  # share of clips that lose a stream where streams are randomly missing
MISSING = ("none", "video", "audio", "random")  # which stream is taken away: none, one of them, or either in 30 % of the clips


@dataclass(frozen=True)
class Fold:
    """One division of a benchmark.

    Parameters
    ----------
    name : str
    train, test : int [N]
        Numbers of rows. What nothing is learned for (a whole set, an official test split alone) has an empty ``train``.
    """

    name: str
    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Protocol:
    """A named way to divide a benchmark.

    Parameters
    ----------
    name : str
    text : str
        What it does and who uses it, one sentence.
    disjoint : bool
        Whether no identity is in both train and test.
    divide : callable
        Of a table with ``path``, ``identity``, ``source_clip``, ``category``, ``split``, the labels, and a seed.
    """

    name: str
    text: str
    disjoint: bool
    divide: Callable[[pd.DataFrame, int], Iterator[Fold]]

    def folds(self, table: pd.DataFrame, seed: int = 0) -> list[Fold]:
        """All divisions.

        Raises
        ------
        ValueError
            If the table lacks what the protocol goes by, or nothing would be tested on.
        """
        found = [fold for fold in self.divide(table.reset_index(drop=True), seed) if len(fold.test)]
        if not found:
            raise ValueError(f"protocol {self.name}: no row would be tested on")
        return found


def _random(table: pd.DataFrame, seed: int) -> Iterator[Fold]:
    order = np.argsort(_drawn(table["path"].astype(str), seed))
    cut = round((1.0 - TEST_SHARE) * len(table))
    yield Fold("random", np.sort(order[:cut]), np.sort(order[cut:]))


def _identity(table: pd.DataFrame, seed: int) -> Iterator[Fold]:
    groups = _people(table)
    names = _dealt(groups, seed)
    tested = np.isin(groups, names[round((1.0 - TEST_SHARE) * len(names)) :])
    yield Fold("identity-disjoint", np.flatnonzero(~tested), np.flatnonzero(tested))


def _subjects(table: pd.DataFrame, seed: int) -> Iterator[Fold]:
    groups = _people(table)
    names = _dealt(groups, seed)
    if len(names) < FOLDS:
        raise ValueError(f"protocol subject-5-fold: {len(names)} people are too few for {FOLDS} folds")
    for number, part in enumerate(np.array_split(names, FOLDS)):
        tested = np.isin(groups, part)
        yield Fold(f"fold {number + 1}", np.flatnonzero(~tested), np.flatnonzero(tested))


def _categories(table: pd.DataFrame, seed: int) -> Iterator[Fold]:
    """Every category of fakes is tested on beside genuine clips of people that were not trained on."""
    category = table["category"].to_numpy(dtype=str)
    genuine = category == GENUINE
    left = sorted(set(category[~genuine]) - {""})
    if set(PUBLISHED) <= set(left):
        left = sorted(PUBLISHED)
    if not genuine.any() or not left:
        raise ValueError(f"protocol leave-one-category-out: the rows need categories, {GENUINE} and others")
    (split,) = _identity(table, seed)
    unseen = np.zeros(len(table), dtype=bool)
    unseen[split.test] = True
    for name in left:
        of_it = category == name
        yield Fold(f"without {name}", np.flatnonzero(~of_it & ~unseen & (category != "")), np.flatnonzero((of_it | genuine) & unseen))


def _whole(table: pd.DataFrame, seed: int) -> Iterator[Fold]:
    yield Fold("whole set", np.zeros(0, dtype=int), np.arange(len(table)))


def _official(table: pd.DataFrame, seed: int) -> Iterator[Fold]:
    """The makers' test split; where they publish no labels of it, the split that they validate on."""
    split = table["split"].to_numpy(dtype=str)
    labels = [name for name in LABELS if name in table]
    known = table[labels].notna().any(axis=1).to_numpy(dtype=bool) if labels else np.ones(len(table), dtype=bool)
    train = np.flatnonzero(split == "train")
    if (known & (split == "test")).any():
        yield Fold("official test", train, np.flatnonzero(split == "test"))
        return
    for name in HELD_OUT:
        if (known & (split == name)).any():
            yield Fold(f"official {name}", train, np.flatnonzero(split == name))
            return
    raise ValueError(f"protocol official: no labelled row has the split test, {' or '.join(HELD_OUT)}; take another protocol, or zero-shot")


def _drawn(names: Iterable[str], seed: int) -> np.ndarray:
    """A number for each name that depends on it and the seed alone, so that a row more or less does not deal all others anew."""
    return np.array([int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8], "big") for name in names], dtype=np.uint64)


def _dealt(groups: np.ndarray, seed: int) -> np.ndarray:
    """All names that occur, in an order drawn by the seed."""
    names = np.unique(groups)
    return np.asarray(names[np.argsort(_drawn(names.tolist(), seed))])


def _people(table: pd.DataFrame) -> np.ndarray:
    """Who must stay together: an identity, else the source clip where nobody is named."""
    identity = table["identity"].fillna("").astype(str)
    return np.asarray(identity.where(identity != "", "clip " + table["source_clip"].fillna("").astype(str)).to_numpy(dtype=str))


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "random",
            "70 % of the clips at random to train on and 30 % to test on, as many papers on FakeAVCeleb; people are in both",
            False,
            _random,
        ),
        Protocol("identity-disjoint", "70 % of the people to train on and 30 % to test on", True, _identity),
        Protocol(
            "leave-one-category-out",
            "every category of fakes is tested on by a detector that never saw it, beside unseen people",
            True,
            _categories,
        ),
        Protocol("subject-5-fold", "five folds of people, each tested on once", True, _subjects),
        Protocol("zero-shot", "every clip is tested on and none trained on", True, _whole),
        Protocol("official", "the split test of the benchmark's own makers, or val where they keep the labels of test", False, _official),
    )
}
DEFAULT = "identity-disjoint"


def missing_streams(table: pd.DataFrame, missing: str, seed: int) -> dict[str, np.ndarray]:
    """Which rows keep which stream, bool [N] each.

    Parameters
    ----------
    missing : str
        One of :data:`MISSING`. A clip never loses its only stream.
    """
    has = {stream: table[f"has_{stream}"].to_numpy(dtype=bool).copy() for stream in ("video", "audio")}
    both = has["video"] & has["audio"]
    if missing in has:
        has[missing] &= ~both
    elif missing == "random":
        drawn = [_drawn(table["path"].astype(str), seed + turn) / 2.0**64 for turn in (1, 2)]
        hit, which = both & (drawn[0] < LOST), drawn[1] < 0.5
        has["video"] &= ~(hit & which)
        has["audio"] &= ~(hit & ~which)
    elif missing != "none":
        raise ValueError(f"missing {missing!r} is none of {', '.join(MISSING)}")
    return has
