"""When a clip is fake, over a whole benchmark: average precision and recall of stretches of time, with intervals over people."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..metrics.bootstrap_curves import BATCH, LEAST, STEPS, draws
from ..metrics.temporal import OVERLAP, Proposal, Segment

STREAMS = ("video", "audio")
PRECISION_AT = (0.5, 0.75, 0.9, 0.95)  # overlaps of AV-Deepfake1M++; those of LAV-DF are among them
COUNTS = (100, 50, 30, 20, 10, 5)  # proposals for a clip, of both
RECALL_AT = tuple(float(x) for x in np.round(np.arange(0.5, 1.0, 0.05), 2))  # overlaps, to average over; PRECISION_AT are among them
FIGURES = (*(f"ap_at_{iou:g}" for iou in PRECISION_AT), *(f"ar_at_{count}" for count in COUNTS))
SLACK = 1e-9  # of an overlap, for what rounding takes from it
CLIPS = 1000  # matched at once
ROWS = 64  # proposals that are compared with all others of their clip at once

Proposals = np.ndarray | Sequence[Proposal]  # of a clip: float [P, 3], or tuples
#: Proposals (float [P, 3]) and truth of every clip, by target; ``None`` for a clip of which that is not known.
Stretches = tuple[dict[str, list[np.ndarray | None]], dict[str, list[list[Segment] | None]]]


def read_proposals(cell: str) -> np.ndarray:
    """Stretches of a score file's cell, JSON ``[[begin, end, score], ...]`` in seconds, as float [P, 3].

    Raises
    ------
    ValueError
        If it is anything else.
    """
    try:
        found = _runs(json.loads(cell))
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise ValueError(f"is no JSON list of [begin, end, score]: {cell[:80]}") from None
    if not np.isfinite(found).all() or (found[:, 1] < found[:, 0]).any():
        raise ValueError(f"a stretch ends before it begins, or holds no number: {cell[:80]}")
    return found


def joined(stretches: Sequence[Segment]) -> list[Segment]:
    """Stretches of time of several streams as those of the whole file: what overlaps or touches is one."""
    found: list[Segment] = []
    for begin, end in sorted(stretches):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def best_of(proposals: Proposals) -> np.ndarray:
    """Proposals [P, 3] of several streams as those of the whole file, the best first: without what all but repeats a better one."""
    ranked = _runs(proposals)
    ranked = ranked[np.argsort(-ranked[:, 2], kind="stable")]
    kept = [True] * len(ranked)
    for begin in range(0, len(ranked), ROWS):
        better, other = np.nonzero(_overlaps(ranked[begin : begin + ROWS, None], ranked[begin:]) > OVERLAP)
        # Pairs come by the better one, the best first, so whether that one is kept is settled.
        for i, j in zip((better + begin).tolist(), (other + begin).tolist(), strict=True):
            if i < j and kept[i]:
                kept[j] = False
    return ranked[kept]


def localise(
    proposals: Sequence[Proposals], truth: Sequence[Sequence[Segment]], units: np.ndarray, rounds: int, seed: int
) -> dict[str, list[float]]:
    """:data:`FIGURES`, each ``[value, low, high]`` with a 95 % interval over resampled units.

    Parameters
    ----------
    proposals : sequence of float [P, 3]
        Begin, end, score of those of every clip; seconds.
    truth : sequence of sequences of (begin, end)
        Of the same clips; genuine ones have none.
    units : array [N]
        What a bootstrap draws as one.

    Returns
    -------
    dict
        NaN where nothing is fake; no interval (NaN) of less than :data:`avwitness.evaluation.metrics.bootstrap_curves.LEAST` units.

    Notes
    -----
    Average precision is as :func:`avwitness.evaluation.metrics.temporal.average_precision_at_iou` has it, average recall as
    :func:`avwitness.evaluation.metrics.temporal.average_recall_at`, over overlaps from 0.5 to 0.95. Where stretches are found at more than
    :data:`avwitness.evaluation.metrics.bootstrap_curves.STEPS` different scores, the curves of the bootstrap have that many steps; what the
    value itself loses by that is given back to the ends of its interval. Sources: Cai et al., *Do you really mean that?* (LAV-DF),
    DICTA 2022; Cai et al., *AV-Deepfake1M*, ACM MM 2024.
    """
    names, codes = np.unique(units, return_inverse=True)
    truths = np.bincount(codes, weights=[len(true) for true in truth], minlength=len(names))
    if not truths.any():
        return {name: [float("nan")] * 3 for name in FIGURES}
    scores, place, hit = _judged(proposals, truth)
    owner = np.repeat(codes, [len(runs) for runs in proposals])  # unit of every proposal
    # Of clips drawn by units only what is found of each unit matters, per count of proposals, over all overlaps.
    times = hit.sum(axis=1)
    recalled = np.stack([np.bincount(owner, weights=times * (place < count), minlength=len(names)) for count in COUNTS])

    order = np.argsort(-scores, kind="stable")
    owner, last = owner[order], _steps(scores[order], times[order] > 0)
    hits = [hit[order, RECALL_AT.index(iou)] for iou in PRECISION_AT]
    found = np.stack([np.cumsum(of)[last] for of in hits])
    value = _figures(found[..., None], last[:, None] + 1.0, recalled.sum(axis=1)[:, None], truths.sum()[None])[:, 0]

    thin = last[np.linspace(0, len(last) - 1, min(STEPS, len(last))).round().astype(int)]
    claims, *finds = (_by_step(thin, owner, of, len(names)) for of in (np.ones(len(owner), dtype=bool), *hits))

    def weighed(weights: np.ndarray) -> np.ndarray:
        found = np.stack([np.cumsum(of @ weights, axis=0) for of in finds])
        return _figures(found, np.cumsum(claims @ weights, axis=0), recalled @ weights, truths @ weights)

    coarse = weighed(np.ones((len(names), 1)))[:, 0]
    low, high = _ends(weighed, len(names), rounds, seed) + value - coarse
    return {name: [float(value[i]), float(low[i]), float(high[i])] for i, name in enumerate(FIGURES)}


def _ends(weighed: Callable[[np.ndarray], np.ndarray], units: int, rounds: int, seed: int) -> np.ndarray:
    """Ends [2, F] of what weights [U, B] make of :data:`FIGURES` [F, B]."""
    drawing, drawn = draws(units, rounds if units >= LEAST else 0, seed), [np.zeros((len(FIGURES), 0))]
    while weights := list(itertools.islice(drawing, BATCH)):
        drawn.append(weighed(np.stack(weights, axis=1)))
    together = np.concatenate(drawn, axis=1)
    told = together[:, ~np.isnan(together[0])]  # something fake was drawn
    return np.quantile(told, (0.025, 0.975), axis=1) if told.size else np.full((2, len(FIGURES)), np.nan)


def _figures(found: np.ndarray, claimed: np.ndarray, recalled: np.ndarray, total: np.ndarray) -> np.ndarray:
    """:data:`FIGURES` [F, B] of B weighings; NaN where nothing is fake.

    Parameters
    ----------
    found : float [I, K, B]
        Stretches that proposals down to every step of the curve find, by :data:`PRECISION_AT`.
    claimed : float [K, B]
        How many proposals those are.
    recalled : float [C, B]
        Stretches found by :data:`COUNTS`, sums over :data:`RECALL_AT`.
    total : float [B]
        True stretches.
    """
    precision = found / np.maximum(claimed, 1.0)
    falling = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    areas = (np.diff(found, axis=1, prepend=0.0) * falling).sum(axis=1)
    known = total > 0.0
    return np.where(known, np.concatenate([areas, recalled / len(RECALL_AT)]) / np.where(known, total, 1.0), np.nan)


def _steps(ranked: np.ndarray, finds: np.ndarray) -> np.ndarray:
    """Last places [K] of those runs of equal scores [P] in which something is found [P]; the others add no area to a curve."""
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    return np.unique(last[np.searchsorted(last, np.flatnonzero(finds))])


def _by_step(last: np.ndarray, owner: np.ndarray, counted: np.ndarray, units: int) -> Any:
    """Those proposals of every unit that are counted (bool [P]) at every step of the curve, sparse [K, U]."""
    from scipy.sparse import csr_array

    step = np.repeat(np.arange(len(last)), np.diff(last, prepend=-1))
    which = np.flatnonzero(counted[: len(step)])
    return csr_array((np.ones(len(which)), (step[which], owner[which])), shape=(len(last), units))


def _judged(proposals: Sequence[Proposals], truth: Sequence[Sequence[Segment]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of all proposals, clip by clip and the best first: score, place in the clip, whether it finds a stretch (bool [P, RECALL_AT])."""
    parts = [slice(begin, begin + CLIPS) for begin in range(0, len(proposals), CLIPS)]
    scores, places, hits = zip(*(_matched(proposals[part], truth[part]) for part in parts), strict=True)
    return np.concatenate(scores), np.concatenate(places), np.concatenate(hits)


def _matched(proposals: Sequence[Proposals], truth: Sequence[Sequence[Segment]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    each = [_runs(of_clip) for of_clip in proposals]
    counts = np.array([len(runs) for runs in each])
    clip, runs = np.repeat(np.arange(len(counts)), counts), np.concatenate(each)
    runs = runs[np.lexsort((-runs[:, 2], clip))]
    place = np.arange(len(runs)) - (np.cumsum(counts) - counts)[clip]
    hit = np.zeros((len(runs), len(RECALL_AT)), dtype=bool)
    run, stretch, overlaps = _pairs(runs, clip, truth)
    for column, iou in enumerate(RECALL_AT):
        near = overlaps >= iou - SLACK
        hit[_greedy(run[near], stretch[near]), column] = True
    return runs[:, 2], place, hit


def _pairs(runs: np.ndarray, clip: np.ndarray, truth: Sequence[Sequence[Segment]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Proposals and stretches of a clip that one of :data:`RECALL_AT` lets meet: numbers of both, and overlaps.

    In the order of the proposals, and for each of them the nearest stretch first.
    """
    spans = np.array([span for true in truth for span in true], dtype=float).reshape(-1, 2)
    lengths = np.array([len(true) for true in truth])
    each = lengths[clip]
    run = np.repeat(np.arange(len(runs)), each)
    stretch = np.arange(len(run)) - (np.cumsum(each) - each)[run] + (np.cumsum(lengths) - lengths)[clip[run]]
    overlaps = _overlaps(runs[run], spans[stretch])
    near = overlaps >= RECALL_AT[0] - SLACK
    run, stretch, overlaps = run[near], stretch[near], overlaps[near]
    order = np.lexsort((-overlaps, run))
    return run[order], stretch[order], overlaps[order]


def _greedy(run: np.ndarray, stretch: np.ndarray) -> list[int]:
    """Proposals that find a stretch which no better one has found, of pairs in the order of :func:`_pairs`."""
    finders: set[int] = set()
    taken: set[int] = set()
    for i, j in zip(run.tolist(), stretch.tolist(), strict=True):
        if i not in finders and j not in taken:
            finders.add(i)
            taken.add(j)
    return list(finders)


def _runs(proposals: Proposals) -> np.ndarray:
    """Begin, end, score as float [P, 3]."""
    found = np.asarray(proposals, dtype=float)
    if found.shape == (0,):
        return found.reshape(0, 3)
    if found.ndim != 2 or found.shape[1] != 3:
        raise ValueError(f"proposals are [begin, end, score], not of shape {found.shape}")
    return found


def _overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of stretches whose last axis begins with begin and end."""
    common = np.maximum(np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0]), 0.0)
    union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0.0)


def stretches_of(rows: pd.DataFrame, table: pd.DataFrame, scores: pd.DataFrame, whole: bool) -> Stretches | None:
    """Proposals and truth of every row, by target (``video``, ``audio``, ``overall``).

    Parameters
    ----------
    rows : pandas.DataFrame
        What is left of each clip: ``has_video``, ``has_audio`` and the labels of both.
    table : pandas.DataFrame
        The benchmark: ``video_intervals`` and ``audio_intervals``, JSON.
    scores : pandas.DataFrame
        :data:`.score_file.INTERVALS`.
    whole : bool
        Whether no stream was taken away, so that stretches given for the file may speak for it.

    Returns
    -------
    (dict, dict) or None
        ``None`` for a clip of which that is not known: fakes without intervals, labels unknown, clips without proposals; and in
        place of it all where the benchmark holds no intervals or the scores no proposals.
    """
    said = {stream: scores[f"{stream}_intervals"].tolist() for stream in (*STREAMS, "file")}
    given = {stream: table[f"{stream}_intervals"].tolist() for stream in STREAMS}
    if not any(map(any, said.values())) or not any(map(any, given.values())):  # any cell that is not empty
        return None
    proposals: dict[str, list[np.ndarray | None]] = {target: [] for target in (*STREAMS, "overall")}
    truth: dict[str, list[list[Segment] | None]] = {target: [] for target in (*STREAMS, "overall")}
    has = {stream: rows[f"has_{stream}"].to_numpy(dtype=bool) for stream in STREAMS}
    labels = {stream: rows[f"{stream}_label"].to_numpy(dtype=float) for stream in STREAMS}
    for i in range(len(rows)):
        left = [stream for stream in STREAMS if has[stream][i]]
        for stream in STREAMS:
            known = stream in left and (labels[stream][i] == 0 or (labels[stream][i] == 1 and given[stream][i] != ""))
            truth[stream].append([(begin, end) for begin, end in json.loads(given[stream][i] or "[]")] if known else None)
            proposals[stream].append(read_proposals(said[stream][i]) if stream in left and said[stream][i] else None)
        true = [truth[stream][i] for stream in left]
        truth["overall"].append(None if None in true else joined([span for spans in true for span in spans or []]))
        ours = [runs for stream in left if (runs := proposals[stream][i]) is not None]
        stated = said["file"][i] if whole else ""
        proposals["overall"].append(read_proposals(stated) if stated else best_of(np.concatenate(ours)) if ours else None)
    return proposals, truth


def localised_rows(
    proposals: Mapping[str, Sequence[Proposals | None]],
    truth: Mapping[str, Sequence[Sequence[Segment] | None]],
    units: np.ndarray,
    rounds: int,
    seed: int,
) -> list[dict[str, Any]]:
    """One row of figures for each target of which truth and proposals are known, over the clips of which both are.

    Parameters
    ----------
    proposals, truth : mapping of str to sequence
        By target (``video``, ``audio``, ``overall``), for every clip; ``None`` where that is not known.
    """
    found = []
    for target, known in truth.items():
        pairs = enumerate(zip(proposals[target], known, strict=True))
        both = [(i, said, true) for i, (said, true) in pairs if said is not None and true is not None]
        stretches = sum(len(true) for _, _, true in both)
        if not stretches:
            continue
        asked = sum(true is not None for true in known)
        row: dict[str, Any] = {"stream": target, "clips": len(both), "stretches": stretches, "coverage": len(both) / asked}
        places, ours, truths = (list(column) for column in zip(*both, strict=True))
        found.append(row | localise(ours, truths, units[places], rounds, seed))
    return found
