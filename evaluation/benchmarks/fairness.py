"""Fairness: metrics of groups of people at thresholds that all groups share, and the gaps between groups with permutation tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..metrics.bootstrap import MIN_UNITS, Interval, bootstrap_units, draw_weights, percentile_interval, wilson
from ..metrics.bootstrap_curves import ranking_intervals
from ..metrics.ranking import auc
from .fairness_counts import (
    METRICS,
    GroupedClips,
    TargetScores,
    encode,
    group_clips,
    metrics_of_counts,
    target_scores,
)
from .score_file import TARGETS

ATTRIBUTES = ("gender", "ethnicity", "age", "language")
CROSSED = ("gender", "ethnicity")  # whose combinations are groups, too
CROSS = " x "  # between the names of a combination
MIN_CLIPS = 10  # scored clips of a class that a group needs to take part in a gap
MIN_PEOPLE = 2  # of whom those clips must be
BLOCK_SIZE = 100  # draws in memory at once


def fairness(rows: pd.DataFrame, n_bootstrap: int, seed: int) -> list[dict[str, Any]]:
    """Metrics of every group of people, and the gaps between groups.

    Parameters
    ----------
    rows : pandas.DataFrame
        One fold, as :func:`avwitness.evaluation.benchmarks.evaluate.label_rows` makes it: ``identity``, ``source_clip``, labels and
        scores of video, audio and the whole file, and :data:`ATTRIBUTES`, empty where they are not known.
    n_bootstrap : int
        Bootstrap draws, and as many permutations; at least 1.
    seed : int

    Returns
    -------
    list of dict
        Plain JSON values. One for each target that has labels and each attribute, the combinations of :data:`CROSSED` included:

        ``stream``, ``attribute``
            The target, and the attribute that defines the groups.
        ``clips``, ``unknown``
            Clips with a label, and how many of them have no value of the attribute. Those are in no group.
        ``group_names``
        ``threshold``
            The shared one, above which a clip is classified as fake: at most 5 % of *all* genuine clips of the target exceed it, those
            without a group included; ``None`` where none was scored. It is the same in all draws.
        ``units``
            Name of the bootstrap units of the gaps and shares: identities, or source clips.
        ``groups``
            Where at least two groups have scored clips, a dict for each: ``group``; ``fakes`` and ``genuine``, clips with a label;
            ``people``, known identities; ``coverage``, the share that was scored; and :data:`METRICS` as ``[value, low, high]``.
        ``gaps``
            By metric, where two groups have enough clips: ``gap`` as ``[value, low, high]``, ``highest`` and ``lowest`` group,
            ``chance`` and ``p``.

    Notes
    -----
    ``fpr`` and ``tpr`` are the shares of genuine and of fake clips that are classified as fake, at 0.5 (``fixed``) and at the shared
    threshold. Only scored clips count.

    Intervals are at 95 %. That of a group's AUC is the one of the main table: over the bootstrap units of the group's own clips. FPR and
    TPR have percentile intervals of one bootstrap of the units of all groups. Where a class of a group has fewer than 5 units, they have
    Wilson's interval over clips instead, which holds for these people only. A share of 0 or 1, which no draw can change, has Wilson's
    interval over units, as if each had one clip.

    A gap is the largest value minus the smallest among the groups that have at least 10 scored clips of the class in question (of both
    classes for an AUC) from at least 2 people. Its interval is that of the difference between the two groups that are the extremes in
    the data, so it may reach below zero. As these were selected for being extreme, with more than two equal groups the interval excludes
    zero far more often than 5 % of the time; use ``p`` there.

    The gap itself is biased upwards, the more so the smaller and the more numerous the groups: Lum, Zhang and Bower, *De-biasing "bias"
    measurement*, FAccT 2022. Hence ``chance``, the mean gap where the groups are permuted among people, and ``p``, the share of
    permutations (the original one included) whose gap is at least as large: Phipson and Smyth, *Permutation p-values should
    never be zero*, Statistical Applications in Genetics and Molecular Biology 9, 2010. A person in several groups, such as languages,
    is permuted once for each, which makes ``chance`` and ``p`` larger rather than smaller. The null hypothesis is that groups and scores
    are independent, which is stronger than equal metrics: DiCiccio et al., *Evaluating fairness using permutation tests*, KDD 2020.

    In the draws and permutations, though not in the values themselves, the AUC of a gap is computed on at most 200 levels of score
    that hold equally many clips.
    """
    attributes = _attributes(rows)
    found = []
    for stream, column in TARGETS.items():
        labels = rows[f"{stream}_label"].to_numpy(dtype=float)
        known = ~np.isnan(labels)
        if known.any():
            target = target_scores(rows[known], labels[known] == 1, rows[column].to_numpy(dtype=float)[known])
            for name, values in attributes.items():
                found.append({"stream": stream, "attribute": name, **_by_attribute(target, values[known], n_bootstrap, seed)})
    return found


def _attributes(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Group of every clip as text, empty where it is not known, by attribute."""
    found = {name: rows[name].to_numpy(dtype=object) for name in ATTRIBUTES}
    first, second = (found[name] for name in CROSSED)
    return found | {CROSS.join(CROSSED): np.where((first != "") & (second != ""), first + CROSS + second, "")}


def _by_attribute(target: TargetScores, values: np.ndarray, n_bootstrap: int, seed: int) -> dict[str, Any]:
    """Groups and gaps of one target by one attribute, whose values [N] are text."""
    codes, names = encode(values)
    found: dict[str, Any] = {
        "clips": len(codes),
        "unknown": int((codes < 0).sum()),
        "group_names": [str(name) for name in names],
        "threshold": target.threshold,
        "units": target.unit_name,
        "groups": [],
        "gaps": {},
    }
    clips = group_clips(target, codes[target.scored], len(names))
    if len(np.unique(clips.groups)) < 2:
        return found
    value, draws = _values(clips), _bootstrap(clips, n_bootstrap, seed)
    intervals = _intervals(clips, value, draws, n_bootstrap, seed)
    for code, name in enumerate(found["group_names"]):
        metrics = {metric: intervals[metric][code].to_list() for metric in METRICS}
        found["groups"].append({"group": name, **_counts(target, codes == code), **metrics})
    for metric, gap in _gaps(clips, value, draws, n_bootstrap, seed).items():
        found["gaps"][metric] = gap | {end: found["group_names"][gap[end]] for end in ("highest", "lowest")}
    return found


def _counts(target: TargetScores, inside: np.ndarray) -> dict[str, Any]:
    fake, identities = target.labels[inside], target.identities[inside]
    return {
        "fakes": int(fake.sum()),
        "genuine": int((~fake).sum()),
        "people": len(np.unique(identities[identities >= 0])),
        "coverage": float(target.scored[inside].mean()),
    }


def _values(clips: GroupedClips) -> dict[str, np.ndarray]:
    """:data:`METRICS` by group, [G]."""
    cells = clips.groups * 2 * clips.n_levels + clips.cells
    counts = np.bincount(cells, minlength=clips.n_groups * 2 * clips.n_levels).reshape(clips.n_groups, 2, clips.n_levels, 1)
    value = {name: metric[:, 0] for name, metric in metrics_of_counts(counts, clips.cuts).items()}
    for code in np.unique(clips.groups):
        own = clips.groups == code
        value["auc"][code] = auc(clips.scores[own], clips.fake[own])
    return value


def _bootstrap(clips: GroupedClips, n_bootstrap: int, seed: int) -> dict[str, np.ndarray]:
    """:data:`METRICS` by group and bootstrap draw, [G, R]; NaN where a draw holds nothing of a group."""
    from scipy.sparse import csr_array

    n_units = int(clips.units.max()) + 1
    cells = clips.groups * 2 * clips.n_levels + clips.cells
    by_unit = csr_array((np.ones(len(cells)), (cells, clips.units)), shape=(clips.n_groups * 2 * clips.n_levels, n_units))
    blocks = [
        metrics_of_counts((by_unit @ weights).reshape(clips.n_groups, 2, clips.n_levels, -1), clips.cuts)
        for weights in draw_weights(n_units, n_bootstrap, seed, BLOCK_SIZE)
    ]
    return {name: np.concatenate([block[name] for block in blocks], axis=1) for name in METRICS}


def _intervals(
    clips: GroupedClips, value: Mapping[str, np.ndarray], draws: Mapping[str, np.ndarray], n_bootstrap: int, seed: int
) -> dict[str, list[Interval]]:
    """Interval of every metric and group."""
    n_units, n_clips = clips.n_distinct(clips.units), clips.n_clips
    found: dict[str, list[Interval]] = {"auc": [_auc_interval(clips, code, n_bootstrap, seed) for code in range(clips.n_groups)]}
    for name, classes in METRICS.items():
        if name == "auc":
            continue
        found[name] = []
        for code, share in enumerate(value[name]):
            units, count = int(n_units[code, classes].min()), int(n_clips[code, classes].min())
            if np.isnan(share):
                interval = Interval()
            elif units < MIN_UNITS:
                interval = wilson(round(share * count), count)
            elif share in (0.0, 1.0):
                interval = wilson(round(share * units), units)
            else:
                interval = Interval(float(share), *percentile_interval(draws[name][code], units))
            found[name].append(interval)
    return found


def _auc_interval(clips: GroupedClips, code: int, n_bootstrap: int, seed: int) -> Interval:
    """AUC of one group with the interval that the main table gives for the same clips."""
    own = clips.groups == code
    units, _ = bootstrap_units(clips.identity_names[own], clips.source_names[own])
    return ranking_intervals(clips.scores[own], clips.fake[own], units, n_bootstrap, seed)["auc"]


def _gaps(
    clips: GroupedClips, value: Mapping[str, np.ndarray], draws: Mapping[str, np.ndarray], n_bootstrap: int, seed: int
) -> dict[str, Any]:
    """Gap by metric; the extreme groups as codes."""
    enough = (clips.n_clips >= MIN_CLIPS) & (clips.n_distinct(clips.people) >= MIN_PEOPLE)
    n_units = int(clips.units.max()) + 1
    permuted = _permuted_gaps(clips, n_bootstrap, seed)
    found = {}
    for name, classes in METRICS.items():
        eligible = np.flatnonzero(enough[:, classes].all(axis=1) & ~np.isnan(value[name]))
        if len(eligible) > 1:
            rising = eligible[np.argsort(value[name][eligible], kind="stable")]
            lowest, highest = int(rising[0]), int(rising[-1])
            ends = percentile_interval(draws[name][highest] - draws[name][lowest], n_units)
            chance = permuted[name][1:][~np.isnan(permuted[name][1:])]
            as_large = (chance >= permuted[name][0] - 1e-9).sum()
            found[name] = {
                "gap": Interval(float(value[name][highest] - value[name][lowest]), *ends).to_list(),
                "highest": highest,
                "lowest": lowest,
                "chance": float(chance.mean()) if len(chance) else None,
                "p": float((1 + as_large) / (1 + len(chance))),
            }
    return found


def _permuted_gaps(clips: GroupedClips, n_permutations: int, seed: int) -> dict[str, np.ndarray]:
    """Gap by metric and permutation of groups among people, [1 + R]; the first is that of the original groups.

    Every permutation applies the same rule on which groups take part; NaN where fewer than two do.
    """
    from scipy.sparse import csr_array

    members, member = np.unique(clips.people * clips.n_groups + clips.groups, return_inverse=True)  # pairs of a person and a group
    own = members % clips.n_groups
    pairs = np.unique(clips.fake * len(members) + member)  # of a class and a member that has clips of it
    rows = np.concatenate([clips.cells, 2 * clips.n_levels + pairs // len(members)])  # clips, followed by members by class
    columns = np.concatenate([member, pairs % len(members)])
    by_member = csr_array((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=(2 * clips.n_levels + 2, len(members)))
    blocks = []
    for groups in _permutations(own, n_permutations, seed):
        counts = np.stack([by_member @ (groups == code).astype(np.float32) for code in range(clips.n_groups)])
        by_level, people = counts[:, :-2].reshape(clips.n_groups, 2, clips.n_levels, -1).astype(float), counts[:, -2:]
        enough = (by_level.sum(axis=2) >= MIN_CLIPS) & (people >= MIN_PEOPLE)
        metrics = metrics_of_counts(by_level, clips.cuts)
        blocks.append({name: _range(metrics[name], enough[:, classes].all(axis=1)) for name, classes in METRICS.items()})
    return {name: np.concatenate([block[name] for block in blocks]) for name in METRICS}


def _permutations(groups: np.ndarray, n_permutations: int, seed: int) -> Iterator[np.ndarray]:
    """Groups [P] in their original order, then permuted; [P, at most BLOCK_SIZE] at a time."""
    rng = np.random.default_rng(seed)
    small = groups.astype(np.int16)
    yield small[:, None]
    for begin in range(0, n_permutations, BLOCK_SIZE):
        rows = np.tile(small, (min(BLOCK_SIZE, n_permutations - begin), 1))
        yield np.ascontiguousarray(rng.permuted(rows, axis=1).T)


def _range(values: np.ndarray, eligible: np.ndarray) -> np.ndarray:
    """Largest minus smallest value [R] of the eligible groups [G, R]; NaN where those are fewer than two."""
    eligible = eligible & ~np.isnan(values)
    two = eligible.sum(axis=0) > 1
    largest, smallest = np.where(eligible, values, -np.inf).max(axis=0), np.where(eligible, values, np.inf).min(axis=0)
    return np.where(two, np.where(two, largest, 0.0) - np.where(two, smallest, 0.0), np.nan)
