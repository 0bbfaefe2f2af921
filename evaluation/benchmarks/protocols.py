"""Evaluation protocols: the train and test splits of a benchmark that papers use, by name; removal of streams."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

TEST_SHARE = 0.3  # of random and identity-disjoint splits
FOLDS = 5
VALIDATION_SPLITS = ("val", "dev")  # used for testing where the labels of the test split are not published
LABELS = ("video_label", "audio_label", "overall_label")
#: Categories of FakeAVCeleb that papers leave out one by one; the others (FVRA-FS, FVRA-GAN) are only used for training.
FAKEAVCELEB_CATEGORIES = ("RVFA", "FVRA-WL", "FVFA-FS", "FVFA-GAN", "FVFA-WL")
GENUINE = "RVRA"  # category of clips that are genuine in both streams
MISSING_SHARE = 0.3  # of the clips from which a stream is removed at random
MISSING = ("none", "video", "audio", "random")  # which stream is removed: none, one of them, or either in 30 % of the clips


@dataclass(frozen=True)
class Fold:
    """One split of a benchmark into train and test.

    Parameters
    ----------
    name : str
    train, test : int [N]
        Row indices. ``train`` is empty where nothing is trained (a whole set, an official test split alone).
    """

    name: str
    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Protocol:
    """A named way to split a benchmark.

    Parameters
    ----------
    name : str
    text : str
        One sentence: the split and who uses it.
    disjoint : bool
        Whether no identity is in both train and test.
    split : callable
        Yields the folds of a table with ``path``, ``identity``, ``source_clip``, ``category``, ``split``, the labels, and a seed.
    """

    name: str
    text: str
    disjoint: bool
    split: Callable[[pd.DataFrame, int], Iterator[Fold]]

    def folds(self, table: pd.DataFrame, seed: int = 0) -> list[Fold]:
        """All folds.

        Raises
        ------
        ValueError
            If the table lacks a column that the protocol needs, or no row would be tested.
        """
        found = [fold for fold in self.split(table.reset_index(drop=True), seed) if len(fold.test)]
        if not found:
            raise ValueError(f"protocol {self.name}: no row would be tested")
        return found


def _random(table: pd.DataFrame, seed: int) -> Iterator[Fold]:
    order = np.argsort(_hash_numbers(table["path"].astype(str), seed))
    cut = round((1.0 - TEST_SHARE) * len(table))
    yield Fold("random", np.sort(order[:cut]), np.sort(order[cut:]))


def _identity(table: pd.DataFrame, seed: int) -> Iterator[Fold]:
    groups = _groups(table)
    names = _shuffled(groups, seed)
    tested = np.isin(groups, names[round((1.0 - TEST_SHARE) * len(names)) :])
    yield Fold("identity-disjoint", np.flatnonzero(~tested), np.flatnonzero(tested))


def _subjects(table: pd.DataFrame, seed: int) -> Iterator[Fold]:
    groups = _groups(table)
    names = _shuffled(groups, seed)
    if len(names) < FOLDS:
        raise ValueError(f"protocol subject-5-fold: {len(names)} people are too few for {FOLDS} folds")
    for index, part in enumerate(np.array_split(names, FOLDS)):
        tested = np.isin(groups, part)
        yield Fold(f"fold {index + 1}", np.flatnonzero(~tested), np.flatnonzero(tested))


def _categories(table: pd.DataFrame, seed: int) -> Iterator[Fold]:
    """Each category of fakes is tested with genuine clips of people that are not in the training rows."""
    category = table["category"].to_numpy(dtype=str)
    genuine = category == GENUINE
    held_out = sorted(set(category[~genuine]) - {""})
    if set(FAKEAVCELEB_CATEGORIES) <= set(held_out):
        held_out = sorted(FAKEAVCELEB_CATEGORIES)
    if not genuine.any() or not held_out:
        raise ValueError(f"protocol leave-one-category-out: the rows need categories, {GENUINE} and others")
    (split,) = _identity(table, seed)
    unseen = np.zeros(len(table), dtype=bool)
    unseen[split.test] = True
    for name in held_out:
        of_it = category == name
        yield Fold(f"without {name}", np.flatnonzero(~of_it & ~unseen & (category != "")), np.flatnonzero((of_it | genuine) & unseen))


def _whole(table: pd.DataFrame, seed: int) -> Iterator[Fold]:
    yield Fold("whole set", np.zeros(0, dtype=int), np.arange(len(table)))


def _official(table: pd.DataFrame, seed: int) -> Iterator[Fold]:
    """The official test split; the official validation split where the labels of the test split are not published."""
    split = table["split"].to_numpy(dtype=str)
    labels = [name for name in LABELS if name in table]
    known = table[labels].notna().any(axis=1).to_numpy(dtype=bool) if labels else np.ones(len(table), dtype=bool)
    train = np.flatnonzero(split == "train")
    if (known & (split == "test")).any():
        yield Fold("official test", train, np.flatnonzero(split == "test"))
        return
    for name in VALIDATION_SPLITS:
        if (known & (split == name)).any():
            yield Fold(f"official {name}", train, np.flatnonzero(split == name))
            return
    raise ValueError(
        f"protocol official: no labelled row has the split test, {' or '.join(VALIDATION_SPLITS)}; take another protocol, or zero-shot"
    )


def _hash_numbers(names: Iterable[str], seed: int) -> np.ndarray:
    """A pseudorandom number for each name that depends on the name and the seed alone, so that other rows do not change the split."""
    return np.array([int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8], "big") for name in names], dtype=np.uint64)


def _shuffled(groups: np.ndarray, seed: int) -> np.ndarray:
    """All distinct names in an order that depends on the seed."""
    names = np.unique(groups)
    return np.asarray(names[np.argsort(_hash_numbers(names.tolist(), seed))])


def _groups(table: pd.DataFrame) -> np.ndarray:
    """Group of each row that no split may divide: its identity, or its source clip where the identity is unknown."""
    identity = table["identity"].fillna("").astype(str)
    return np.asarray(identity.where(identity != "", "clip " + table["source_clip"].fillna("").astype(str)).to_numpy(dtype=str))


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "random",
            "70 % of the clips at random for training and 30 % for testing, as in many papers on FakeAVCeleb; identities are in both",
            False,
            _random,
        ),
        Protocol("identity-disjoint", "70 % of the identities for training and 30 % for testing", True, _identity),
        Protocol(
            "leave-one-category-out",
            "each category of fakes is tested by a detector trained without it, on unseen identities",
            True,
            _categories,
        ),
        Protocol("subject-5-fold", "five folds of identities, each tested once", True, _subjects),
        Protocol("zero-shot", "every clip is tested, nothing is trained", True, _whole),
        Protocol("official", "the official test split, or val where the labels of test are not published", False, _official),
    )
}
DEFAULT = "identity-disjoint"


def missing_streams(table: pd.DataFrame, missing: str, seed: int) -> dict[str, np.ndarray]:
    """Which streams each row keeps, bool [N] by stream.

    Parameters
    ----------
    missing : str
        One of :data:`MISSING`. The only stream of a clip is never removed.
    """
    has = {stream: table[f"has_{stream}"].to_numpy(dtype=bool).copy() for stream in ("video", "audio")}
    both = has["video"] & has["audio"]
    if missing in has:
        has[missing] &= ~both
    elif missing == "random":
        uniform = [_hash_numbers(table["path"].astype(str), seed + turn) / 2.0**64 for turn in (1, 2)]
        removed, which = both & (uniform[0] < MISSING_SHARE), uniform[1] < 0.5
        has["video"] &= ~(removed & which)
        has["audio"] &= ~(removed & ~which)
    elif missing != "none":
        raise ValueError(f"missing {missing!r} is none of {', '.join(MISSING)}")
    return has
