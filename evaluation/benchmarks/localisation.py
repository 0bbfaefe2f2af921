"""When a clip is fake, over a whole benchmark: average precision and recall of stretches of time, with intervals over people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..curves_by_weight import draws
from ..intervals import OVERLAP, Proposal, Segment, overlap

STREAMS = ("video", "audio")
PRECISION_AT = (0.5, 0.75, 0.9, 0.95)  # overlaps of AV-Deepfake1M++; those of LAV-DF are among them
COUNTS = (100, 50, 30, 20, 10, 5)  # proposals for a clip, of both
RECALL_AT = tuple(float(x) for x in np.round(np.arange(0.5, 1.0, 0.05), 2))  # overlaps over which recall is averaged
FIGURES = (*(f"ap_at_{iou:g}" for iou in PRECISION_AT), *(f"ar_at_{count}" for count in COUNTS))

#: Proposals and truth of every clip, by target; ``None`` for a clip of which that is not known.
Stretches = tuple[dict[str, list[list[Proposal] | None]], dict[str, list[list[Segment] | None]]]


def read_proposals(cell: str) -> list[Proposal]:
    """Stretches of a score file's cell, JSON ``[[begin, end, score], ...]`` in seconds.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    try:
        found = [(float(begin), float(end), float(score)) for begin, end, score in json.loads(cell)]
    except (TypeError, ValueError):
        raise ValueError(f"is no JSON list of [begin, end, score]: {cell[:80]}") from None
    if not np.isfinite(np.array(found, dtype=float).ravel()).all() or any(end < begin for begin, end, _ in found):
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


def best_of(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Proposals of several streams as those of the whole file: without what all but repeats a better one."""
    kept: list[Proposal] = []
    for run in sorted(proposals, key=lambda run: -run[2]):
        if all(overlap(run[:2], other[:2]) <= OVERLAP for other in kept):
            kept.append(run)
    return kept


def localise(
    proposals: Sequence[Sequence[Proposal]], truth: Sequence[Sequence[Segment]], units: np.ndarray, rounds: int, seed: int
) -> dict[str, list[float]]:
    """:data:`FIGURES`, each ``[value, low, high]`` with a 95 % interval over resampled units.

    Parameters
    ----------
    proposals : sequence of sequences of (begin, end, score)
        Of every clip; seconds.
    truth : sequence of sequences of (begin, end)
        Of the same clips; genuine ones have none.
    units : array [N]
        What a bootstrap draws as one.

    Returns
    -------
    dict
        NaN where nothing is fake.

    Notes
    -----
    Average precision is as :func:`avwitness.evaluation.intervals.average_precision_at_iou` has it, average recall as
    :func:`avwitness.evaluation.intervals.average_recall_at`, over overlaps from 0.5 to 0.95. Sources: Cai et al., *Do you really mean
    that?* (LAV-DF), DICTA 2022; Cai et al., *AV-Deepfake1M*, ACM MM 2024.
    """
    names, codes = np.unique(units, return_inverse=True)
    scores, owner, place, hit = _matched(proposals, truth, codes)
    truths = np.bincount(codes, weights=[len(true) for true in truth], minlength=len(names))
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1) if len(order) else np.zeros(0, dtype=int)
    # Of clips drawn by units only what is found of each unit matters, per count of proposals, mean over overlaps.
    recalled = [
        np.bincount(owner, weights=(np.mean([hit[iou] for iou in RECALL_AT], axis=0) * (place < count)), minlength=len(names))
        for count in COUNTS
    ]

    def figures(weights: np.ndarray) -> list[float]:
        total = float(truths @ weights)
        if total <= 0.0:
            return [float("nan")] * len(FIGURES)
        each = weights[owner[order]]
        claimed = np.maximum(np.cumsum(each)[last], 1e-12)
        precise = [_area(np.cumsum(each * hit[iou][order])[last], claimed, total) for iou in PRECISION_AT]
        return [*precise, *(float(found @ weights) / total for found in recalled)]

    value = figures(np.ones(len(names)))
    drawn = np.array([figures(weights) for weights in draws(len(names), rounds, seed)])
    told = drawn[~np.isnan(drawn[:, 0])]
    ends = np.quantile(told, (0.025, 0.975), axis=0) if len(told) else np.full((2, len(FIGURES)), np.nan)
    return {name: [value[i], float(ends[0, i]), float(ends[1, i])] for i, name in enumerate(FIGURES)}


def _area(found: np.ndarray, claimed: np.ndarray, total: float) -> float:
    """Area under precision over recall, precision made to fall with recall first."""
    if not len(found):
        return 0.0
    precision = np.maximum.accumulate((found / claimed)[::-1])[::-1]
    return float((np.diff(found / total, prepend=0.0) * precision).sum())


def _matched(
    proposals: Sequence[Sequence[Proposal]], truth: Sequence[Sequence[Segment]], codes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[float, np.ndarray]]:
    """Score, unit and rank within its clip of every proposal [P], and for every overlap whether it finds a stretch [P]."""
    counts = np.array([len(of_clip) for of_clip in proposals], dtype=int)
    begins = np.concatenate([[0], np.cumsum(counts)])
    scores, place = np.zeros(begins[-1]), np.zeros(begins[-1], dtype=int)
    hit = {iou: np.zeros(begins[-1], dtype=bool) for iou in sorted({*PRECISION_AT, *RECALL_AT})}
    for begin, of_clip, true in zip(begins, proposals, truth, strict=False):
        if not of_clip:
            continue
        ranked = np.array(sorted(of_clip, key=lambda proposal: -proposal[2]))
        inside = slice(begin, begin + len(ranked))
        scores[inside], place[inside] = ranked[:, 2], np.arange(len(ranked))
        if true:
            overlaps = _overlaps(ranked, np.array(true))
            for iou, found in hit.items():
                found[inside] = _greedy(overlaps, iou)
    return scores, np.repeat(codes, counts), place, hit


def _overlaps(ranked: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Intersection over union [P, T] of proposals [P, 3] and stretches [T, 2]."""
    common = np.minimum(ranked[:, None, 1], true[:, 1]) - np.maximum(ranked[:, None, 0], true[:, 0])
    common = np.maximum(common, 0.0)
    union = (ranked[:, 1] - ranked[:, 0])[:, None] + (true[:, 1] - true[:, 0]) - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0.0)


def _greedy(overlaps: np.ndarray, iou: float) -> np.ndarray:
    """Which proposals, the best first, find a stretch that no better one has found."""
    found, free = np.zeros(len(overlaps), dtype=bool), np.ones(overlaps.shape[1], dtype=bool)
    for number in np.flatnonzero(overlaps.max(axis=1) >= iou - 1e-9):  # no other can find any
        best = int(np.argmax(np.where(free, overlaps[number], -1.0)))
        if free[best] and overlaps[number, best] >= iou - 1e-9:
            found[number], free[best] = True, False
    return found


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
    said = {stream: scores[f"{stream}_intervals"].to_numpy(dtype=str) for stream in (*STREAMS, "file")}
    given = {stream: table[f"{stream}_intervals"].to_numpy(dtype=str) for stream in STREAMS}
    if not any((cells != "").any() for cells in said.values()) or not any((cells != "").any() for cells in given.values()):
        return None
    proposals: dict[str, list[list[Proposal] | None]] = {target: [] for target in (*STREAMS, "overall")}
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
        ours = [run for stream in left for run in proposals[stream][i] or []]
        spoken = any(proposals[stream][i] is not None for stream in left)
        stated = said["file"][i] if whole else ""
        proposals["overall"].append(read_proposals(stated) if stated else best_of(ours) if spoken else None)
    return proposals, truth


def localised_rows(
    proposals: Mapping[str, Sequence[Sequence[Proposal] | None]],
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
        both = [i for i, (said, true) in enumerate(zip(proposals[target], known, strict=True)) if said is not None and true is not None]
        if not any(known[i] for i in both):
            continue
        ours, true = [proposals[target][i] or [] for i in both], [known[i] or [] for i in both]
        asked = sum(true is not None for true in known)
        row: dict[str, Any] = {"stream": target, "clips": len(both), "stretches": sum(map(len, true)), "coverage": len(both) / asked}
        found.append(row | localise(ours, true, units[both], rounds, seed))
    return found
