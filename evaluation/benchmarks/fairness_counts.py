"""Counts behind fairness: scored clips by group, class and score level, and the metrics that follow from such counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..metrics.bootstrap import bootstrap_units
from ..metrics.classification import THRESHOLD
from ..metrics.ranking import threshold_at_fpr

SHARED_FPR = 0.05  # share of all genuine clips above the shared threshold
MAX_LEVELS = 200  # score levels that an AUC distinguishes in bootstrap draws and permutations
METRICS = {  # and the classes that each depends on: 0 genuine, 1 fake
    "auc": (0, 1),
    "fpr_fixed": (0,),
    "tpr_fixed": (1,),
    "fpr_shared": (0,),
    "tpr_shared": (1,),
}
FIXED_THRESHOLD_METRICS = ("fpr_fixed", "tpr_fixed")


@dataclass(frozen=True)
class TargetScores:
    """Labels and scores of one target: arrays [N] of the clips with a label, arrays [M] of those that also have a score.

    Parameters
    ----------
    labels, scored : bool [N]
        Whether fake; whether scored.
    identities : int [N]
        -1 where unknown.
    fake : int [M]
    scores : float [M]
    identity_names, source_names : str [M]
        Identity, empty where unknown, and source clip.
    units, people : int [M]
        Bootstrap unit; identity, or source clip where the identity is unknown, to which group names are permuted.
    unit_name : str
    levels : int [M]
        Index of the score level, rising; there are ``n_levels``.
    cuts : dict of str to int
        First level that is classified as fake, by threshold (``fixed``, ``shared``).
    threshold : float or None
        The shared one.
    """

    labels: np.ndarray
    scored: np.ndarray
    identities: np.ndarray
    fake: np.ndarray
    scores: np.ndarray
    identity_names: np.ndarray
    source_names: np.ndarray
    units: np.ndarray
    people: np.ndarray
    unit_name: str
    levels: np.ndarray
    n_levels: int
    cuts: dict[str, int]
    threshold: float | None


def target_scores(rows: pd.DataFrame, labels: np.ndarray, scores: np.ndarray) -> TargetScores:
    """Collect the rows of one target; labels bool [N] are all known, scores float [N] may be NaN."""
    scored = ~np.isnan(scores)
    identity, source = rows["identity"].to_numpy(dtype=str), rows["source_clip"].to_numpy(dtype=str)
    identities = encode(identity)[0]
    sources = pd.factorize(source)[0]
    units, unit_name = bootstrap_units(identity[scored], source[scored])
    fake, scores = labels[scored], scores[scored]
    threshold = threshold_at_fpr(scores[~fake], SHARED_FPR) if (~fake).any() else None
    # A clip is classified as fake if it lies above the shared threshold, or at or above the fixed one.
    bounds = {"fixed": THRESHOLD} | ({} if threshold is None else {"shared": float(np.nextafter(threshold, np.inf))})
    edges = np.union1d(_level_edges(scores), list(bounds.values()))
    return TargetScores(
        labels=labels,
        scored=scored,
        identities=identities,
        fake=fake.astype(int),
        scores=scores,
        identity_names=identity[scored],
        source_names=source[scored],
        units=pd.factorize(units)[0],
        people=np.where(identities >= 0, identities, len(labels) + sources)[scored],
        unit_name=unit_name,
        levels=np.searchsorted(edges, scores, side="right"),
        n_levels=len(edges) + 1,
        cuts={name: int(np.searchsorted(edges, bound)) + 1 for name, bound in bounds.items()},
        threshold=threshold,
    )


def encode(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes int [N] of text in alphabetical order, -1 where it is empty, and the text of each code."""
    codes, names = pd.factorize(values, sort=True)
    empty = int(len(names) > 0 and names[0] == "")  # the empty string sorts first
    return codes - empty, names[empty:]


def _level_edges(scores: np.ndarray) -> np.ndarray:
    """All distinct scores, or :data:`MAX_LEVELS` quantiles where there are more."""
    distinct = np.unique(scores)
    if len(distinct) <= MAX_LEVELS:
        return distinct
    return np.unique(np.quantile(scores, np.linspace(0.0, 1.0, MAX_LEVELS), method="inverted_cdf"))


@dataclass(frozen=True)
class GroupedClips:
    """Scored clips [K] whose group is known; for the fields see :class:`TargetScores`.

    Parameters
    ----------
    groups : int [K]
    n_groups : int
        G; some groups may have no clip.
    """

    groups: np.ndarray
    n_groups: int
    fake: np.ndarray
    scores: np.ndarray
    identity_names: np.ndarray
    source_names: np.ndarray
    units: np.ndarray
    people: np.ndarray
    levels: np.ndarray
    n_levels: int
    cuts: dict[str, int]

    @property
    def cells(self) -> np.ndarray:
        """Class and level as one index [K]."""
        return self.fake * self.n_levels + self.levels

    @property
    def n_clips(self) -> np.ndarray:
        """Clips by group and class, int [G, 2]."""
        return np.bincount(self.groups * 2 + self.fake, minlength=self.n_groups * 2).reshape(-1, 2)

    def n_distinct(self, owners: np.ndarray) -> np.ndarray:
        """Number of distinct owners (units, people) by group and class, int [G, 2]."""
        pairs = np.unique((self.groups * 2 + self.fake) * (owners.max(initial=0) + 1) + owners)
        return np.bincount(pairs // (owners.max(initial=0) + 1), minlength=self.n_groups * 2).reshape(-1, 2)


def group_clips(target: TargetScores, groups: np.ndarray, n_groups: int) -> GroupedClips:
    """The scored clips whose group int [M] is known (not -1)."""
    known = groups >= 0
    return GroupedClips(
        groups=groups[known],
        n_groups=n_groups,
        fake=target.fake[known],
        scores=target.scores[known],
        identity_names=target.identity_names[known],
        source_names=target.source_names[known],
        units=pd.factorize(target.units[known])[0],
        people=pd.factorize(target.people[known])[0],
        levels=target.levels[known],
        n_levels=target.n_levels,
        cuts=target.cuts,
    )


def metrics_of_counts(counts: np.ndarray, cuts: Mapping[str, int]) -> dict[str, np.ndarray]:
    """:data:`METRICS` by group and draw, [G, R], from numbers of clips by group, class, level and draw, [G, 2, L, R]."""
    genuine, fakes = counts[:, 0], counts[:, 1]
    n_genuine, n_fakes = genuine.sum(axis=1), fakes.sum(axis=1)
    below = np.cumsum(genuine, axis=1) - genuine / 2.0
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {"auc": (fakes * below).sum(axis=1) / (n_fakes * n_genuine)}
        for name, cut in cuts.items():
            found[f"fpr_{name}"] = genuine[:, cut:].sum(axis=1) / n_genuine
            found[f"tpr_{name}"] = fakes[:, cut:].sum(axis=1) / n_fakes
    return {name: found.get(name, np.full(found["auc"].shape, np.nan)) for name in METRICS}
