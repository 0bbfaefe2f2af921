"""Temporal localisation on a benchmark: average precision and recall of proposed segments, with bootstrap intervals."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ...media.clip import STREAMS
from ..metrics.bootstrap import MIN_UNITS, draw_weights, percentile_interval
from ..metrics.bootstrap_curves import MAX_STEPS
from ..metrics.temporal import Proposals, Segment, merge_segments, pairwise_iou, proposal_array, read_proposals, suppress_proposals
from .score_file import TARGETS

AP_IOUS = (0.5, 0.75, 0.9, 0.95)  # overlaps of AV-Deepfake1M++; those of LAV-DF are among them
AR_COUNTS = (100, 50, 30, 20, 10, 5)  # proposals per clip, of both
AR_IOUS = tuple(float(x) for x in np.round(np.arange(0.5, 1.0, 0.05), 2))  # overlaps to average over; AP_IOUS are among them
METRICS = (*(f"ap_at_{iou:g}" for iou in AP_IOUS), *(f"ar_at_{count}" for count in AR_COUNTS))
IOU_TOLERANCE = 1e-9  # for rounding errors of an overlap
CLIPS_AT_ONCE = 1000  # that are matched together

#: Proposals (float [P, 3]) and true segments of every clip, by target; ``None`` for a clip where they are not known.
Localised = tuple[dict[str, list[np.ndarray | None]], dict[str, list[list[Segment] | None]]]


def localise(
    proposals: Sequence[Proposals], truth: Sequence[Sequence[Segment]], units: np.ndarray, n_bootstrap: int, seed: int
) -> dict[str, list[float]]:
    """:data:`METRICS`, each ``[value, low, high]`` with a 95 % interval over resampled units.

    Parameters
    ----------
    proposals : sequence of float [P, 3]
        Begin, end (seconds) and score of the proposals of every clip.
    truth : sequence of sequences of (begin, end)
        Of the same clips; genuine ones have none.
    units : array [N]
        Bootstrap unit of each clip.

    Returns
    -------
    dict
        NaN where nothing is fake; no interval (NaN) with fewer than :data:`avwitness.evaluation.metrics.bootstrap.MIN_UNITS` units.

    Notes
    -----
    Average precision is defined as in :func:`avwitness.evaluation.metrics.temporal.average_precision_at_iou`, average recall as in
    :func:`avwitness.evaluation.metrics.temporal.average_recall_at`, over overlaps from 0.5 to 0.95. With more than
    :data:`avwitness.evaluation.metrics.bootstrap_curves.MAX_STEPS` different scores of true positives, the curves of the bootstrap draws
    have that many steps; the difference that this makes to the value is added to the ends of its interval. Sources: Cai et al.,
    *Do you really mean that?* (LAV-DF), DICTA 2022; Cai et al., *AV-Deepfake1M*, ACM MM 2024.
    """
    names, codes = np.unique(units, return_inverse=True)
    segments = np.bincount(codes, weights=[len(true) for true in truth], minlength=len(names))  # true ones of each unit
    if not segments.any():
        return {name: [float("nan")] * 3 for name in METRICS}
    scores, rank, matched = _match_all(proposals, truth)
    owner = np.repeat(codes, [len(of_clip) for of_clip in proposals])  # unit of every proposal
    # Recall depends on the number of matches of each unit alone: by count of proposals, summed over all overlaps.
    matches = matched.sum(axis=1)
    recalled = np.stack([np.bincount(owner, weights=matches * (rank < count), minlength=len(names)) for count in AR_COUNTS])

    order = np.argsort(-scores, kind="stable")
    owner, last = owner[order], _steps(scores[order], matches[order] > 0)
    by_iou = [matched[order, AR_IOUS.index(iou)] for iou in AP_IOUS]
    true_positives = np.stack([np.cumsum(column)[last] for column in by_iou])
    value = _metrics(true_positives[..., None], last[:, None] + 1.0, recalled.sum(axis=1)[:, None], segments.sum()[None])[:, 0]

    thinned = last[np.linspace(0, len(last) - 1, min(MAX_STEPS, len(last))).round().astype(int)]
    all_counts, *tp_counts = (_counts_by_step(thinned, owner, of, len(names)) for of in (np.ones(len(owner), dtype=bool), *by_iou))

    def weighted(weights: np.ndarray) -> np.ndarray:
        positives = np.stack([np.cumsum(counts @ weights, axis=0) for counts in tp_counts])
        return _metrics(positives, np.cumsum(all_counts @ weights, axis=0), recalled @ weights, segments @ weights)

    shift = value - weighted(np.ones((len(names), 1)))[:, 0]
    ends = _intervals(weighted, len(names), n_bootstrap, seed)
    return {name: [float(value[i]), *(end + float(shift[i]) for end in ends[i])] for i, name in enumerate(METRICS)}


def _intervals(weighted: Callable[[np.ndarray], np.ndarray], n_units: int, n_bootstrap: int, seed: int) -> list[tuple[float, float]]:
    """Ends of the interval of each of :data:`METRICS`, computed by a function of weights [U, B] as [M, B]."""
    draws = draw_weights(n_units, n_bootstrap if n_units >= MIN_UNITS else 0, seed)
    values = np.concatenate([np.zeros((len(METRICS), 0)), *(weighted(weights) for weights in draws)], axis=1)
    return [percentile_interval(row, n_units) for row in values]


def _metrics(true_positives: np.ndarray, n_proposals: np.ndarray, recalled: np.ndarray, n_segments: np.ndarray) -> np.ndarray:
    """:data:`METRICS` [M, B] for B weightings; NaN where nothing is fake.

    Parameters
    ----------
    true_positives : float [I, K, B]
        Matched proposals down to every step of the curve, by :data:`AP_IOUS`.
    n_proposals : float [K, B]
        All proposals down to that step.
    recalled : float [C, B]
        Matched segments by :data:`AR_COUNTS`, sums over :data:`AR_IOUS`.
    n_segments : float [B]
        True segments.
    """
    precision = true_positives / np.maximum(n_proposals, 1.0)
    monotonic = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    areas = (np.diff(true_positives, axis=1, prepend=0.0) * monotonic).sum(axis=1)
    known = n_segments > 0.0
    return np.where(known, np.concatenate([areas, recalled / len(AR_IOUS)]) / np.where(known, n_segments, 1.0), np.nan)


def _steps(ranked: np.ndarray, matched: np.ndarray) -> np.ndarray:
    """Last indices [K] of the runs of equal scores [P] that hold a true positive [P]; other runs add no area to a curve."""
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    return np.unique(last[np.searchsorted(last, np.flatnonzero(matched))])


def _counts_by_step(last: np.ndarray, owner: np.ndarray, counted: np.ndarray, n_units: int) -> Any:
    """Number of the counted proposals (bool [P]) by step of the curve and unit, sparse [K, U]."""
    from scipy.sparse import csr_array

    step = np.repeat(np.arange(len(last)), np.diff(last, prepend=-1))
    which = np.flatnonzero(counted[: len(step)])
    return csr_array((np.ones(len(which)), (step[which], owner[which])), shape=(len(last), n_units))


def _match_all(proposals: Sequence[Proposals], truth: Sequence[Sequence[Segment]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score, rank in the clip and match (bool [P, AR_IOUS]) of all proposals, clip by clip and by falling score."""
    parts = [slice(begin, begin + CLIPS_AT_ONCE) for begin in range(0, len(proposals), CLIPS_AT_ONCE)]
    scores, ranks, matched = zip(*(_match(proposals[part], truth[part]) for part in parts), strict=True)
    return np.concatenate(scores), np.concatenate(ranks), np.concatenate(matched)


def _match(proposals: Sequence[Proposals], truth: Sequence[Sequence[Segment]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    arrays = [proposal_array(of_clip) for of_clip in proposals]
    counts = np.array([len(of_clip) for of_clip in arrays])
    clip, runs = np.repeat(np.arange(len(counts)), counts), np.concatenate(arrays)
    runs = runs[np.lexsort((-runs[:, 2], clip))]
    rank = np.arange(len(runs)) - (np.cumsum(counts) - counts)[clip]
    matched = np.zeros((len(runs), len(AR_IOUS)), dtype=bool)
    run, segment, overlaps = _pairs(runs, clip, truth)
    for column, iou in enumerate(AR_IOUS):
        near = overlaps >= iou - IOU_TOLERANCE
        matched[_greedy(run[near], segment[near]), column] = True
    return runs[:, 2], rank, matched


def _pairs(runs: np.ndarray, clip: np.ndarray, truth: Sequence[Sequence[Segment]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of a proposal and a true segment of its clip with at least the smallest of :data:`AR_IOUS`: indices of both, and overlaps.

    In the order of the proposals, and for each of them by falling overlap.
    """
    spans = np.array([span for true in truth for span in true], dtype=float).reshape(-1, 2)
    lengths = np.array([len(true) for true in truth])
    each = lengths[clip]
    run = np.repeat(np.arange(len(runs)), each)
    segment = np.arange(len(run)) - (np.cumsum(each) - each)[run] + (np.cumsum(lengths) - lengths)[clip[run]]
    overlaps = pairwise_iou(runs[run], spans[segment])
    near = overlaps >= AR_IOUS[0] - IOU_TOLERANCE
    run, segment, overlaps = run[near], segment[near], overlaps[near]
    order = np.lexsort((-overlaps, run))
    return run[order], segment[order], overlaps[order]


def _greedy(run: np.ndarray, segment: np.ndarray) -> list[int]:
    """Proposals that match a segment which no better proposal has matched, of pairs in the order of :func:`_pairs`."""
    matched: set[int] = set()
    taken: set[int] = set()
    for i, j in zip(run.tolist(), segment.tolist(), strict=True):
        if i not in matched and j not in taken:
            matched.add(i)
            taken.add(j)
    return list(matched)


def localised_segments(rows: pd.DataFrame, table: pd.DataFrame, scores: pd.DataFrame, complete: bool) -> Localised | None:
    """Proposals and true segments of every row, by target (``video``, ``audio``, ``overall``).

    Parameters
    ----------
    rows : pandas.DataFrame
        Labels of the streams that are left: ``has_video``, ``has_audio`` and the labels of both.
    table : pandas.DataFrame
        The benchmark: ``video_intervals`` and ``audio_intervals``, JSON.
    scores : pandas.DataFrame
        :data:`avwitness.evaluation.benchmarks.score_file.INTERVALS`.
    complete : bool
        Whether no stream was removed, so that proposals for the whole file are valid.

    Returns
    -------
    (dict, dict) or None
        ``None`` for a clip without proposals, or whose segments are not known: a fake without intervals, or an unknown label. ``None``
        altogether where the benchmark holds no intervals or the scores no proposals.
    """
    proposed = {stream: scores[f"{stream}_intervals"].tolist() for stream in (*STREAMS, "file")}
    given = {stream: table[f"{stream}_intervals"].tolist() for stream in STREAMS}
    if not any(map(any, proposed.values())) or not any(map(any, given.values())):  # any cell that is not empty
        return None
    proposals: dict[str, list[np.ndarray | None]] = {target: [] for target in TARGETS}
    truth: dict[str, list[list[Segment] | None]] = {target: [] for target in TARGETS}
    has = {stream: rows[f"has_{stream}"].to_numpy(dtype=bool) for stream in STREAMS}
    labels = {stream: rows[f"{stream}_label"].to_numpy(dtype=float) for stream in STREAMS}
    for i in range(len(rows)):
        present = [stream for stream in STREAMS if has[stream][i]]
        for stream in STREAMS:
            known = stream in present and (labels[stream][i] == 0 or (labels[stream][i] == 1 and given[stream][i] != ""))
            truth[stream].append([(begin, end) for begin, end in json.loads(given[stream][i] or "[]")] if known else None)
            cell = proposed[stream][i]
            proposals[stream].append(read_proposals(cell) if stream in present and cell else None)
        true = [truth[stream][i] for stream in present]
        truth["overall"].append(None if None in true else merge_segments([span for spans in true for span in spans or []]))
        of_streams = [runs for stream in present if (runs := proposals[stream][i]) is not None]
        cell = proposed["file"][i] if complete else ""
        pooled = suppress_proposals(np.concatenate(of_streams)) if of_streams else None
        proposals["overall"].append(read_proposals(cell) if cell else pooled)
    return proposals, truth


def localisation_rows(
    proposals: Mapping[str, Sequence[Proposals | None]],
    truth: Mapping[str, Sequence[Sequence[Segment] | None]],
    units: np.ndarray,
    n_bootstrap: int,
    seed: int,
) -> list[dict[str, Any]]:
    """One row of metrics for each target, over the clips whose true segments and proposals are known.

    Parameters
    ----------
    proposals, truth : mapping of str to sequence
        By target (``video``, ``audio``, ``overall``), for every clip; ``None`` where they are not known.
    """
    found = []
    for target, known in truth.items():
        pairs = enumerate(zip(proposals[target], known, strict=True))
        both = [(i, runs, true) for i, (runs, true) in pairs if runs is not None and true is not None]
        n_segments = sum(len(true) for _, _, true in both)
        if not n_segments:
            continue
        n_known = sum(true is not None for true in known)
        row: dict[str, Any] = {"stream": target, "clips": len(both), "segments": n_segments, "coverage": len(both) / n_known}
        indices, of_clips, true_segments = (list(column) for column in zip(*both, strict=True))
        found.append(row | localise(of_clips, true_segments, units[indices], n_bootstrap, seed))
    return found
