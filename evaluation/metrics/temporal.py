"""Temporal localisation: segments from frame probabilities, and average precision and recall of proposed segments."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from ...media.clip import FRAME_RATE

SMOOTHING = 5  # frames of the median filter
PROPOSAL_THRESHOLDS = tuple(np.round(np.arange(0.1, 0.95, 0.1), 2))  # probabilities at which runs of frames become proposals
NMS_IOU = 0.6  # intersection over union above which the lower-ranked of two proposals is dropped
NMS_BLOCK = 64  # proposals that are compared with all others of their clip at once
IOUS = (0.5, 0.75, 0.95)  # of AV-Deepfake1M (Cai et al., 2024) and LAV-DF (Cai et al., 2022)

Segment = tuple[float, float]  # begin and end in seconds
Proposal = tuple[float, float, float]  # begin and end in seconds, score
Proposals = np.ndarray | Sequence[Proposal]  # of a clip: float [P, 3], or tuples


def segments_above(probabilities: np.ndarray, threshold: float) -> list[Proposal]:
    """Connected runs of frames above a threshold.

    Parameters
    ----------
    probabilities : float [T]
        Of frames at 25 Hz; smoothed here by a median over 5 of them.
    threshold : float

    Returns
    -------
    list of (float, float, float)
        Begin and end in seconds, and the mean smoothed probability between them, by time.
    """
    from scipy.ndimage import median_filter

    if not len(probabilities):
        return []
    smooth = median_filter(np.asarray(probabilities, dtype=np.float64), SMOOTHING, mode="nearest")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], smooth > threshold, [False]]).astype(int)))
    return [(a / FRAME_RATE, b / FRAME_RATE, float(smooth[a:b].mean())) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def propose_segments(probabilities: np.ndarray, thresholds: Sequence[float] = PROPOSAL_THRESHOLDS) -> list[Proposal]:
    """Runs of frames at every threshold by falling score, after non-maximum suppression."""
    found = sorted((run for threshold in thresholds for run in segments_above(probabilities, threshold)), key=lambda run: -run[2])
    kept: list[Proposal] = []
    for run in found:
        if all(segment_iou(run[:2], other[:2]) <= NMS_IOU for other in kept):
            kept.append(run)
    return kept


def segment_iou(a: Segment, b: Segment) -> float:
    """Intersection over union of two segments."""
    common = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    union = (a[1] - a[0]) + (b[1] - b[0]) - common
    return common / union if union > 0.0 else 0.0


def pairwise_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of arrays of segments whose last axis begins with begin and end; the other axes broadcast."""
    common = np.maximum(np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0]), 0.0)
    union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0.0)


def proposal_array(proposals: Proposals) -> np.ndarray:
    """Proposals as float [P, 3].

    Raises
    ------
    ValueError
        If they have another shape.
    """
    found = np.asarray(proposals, dtype=float)
    if found.shape == (0,):
        return found.reshape(0, 3)
    if found.ndim != 2 or found.shape[1] != 3:
        raise ValueError(f"proposals are [begin, end, score], not of shape {found.shape}")
    return found


def read_proposals(cell: str) -> np.ndarray:
    """Parse a cell of a score file, JSON ``[[begin, end, score], ...]`` in seconds, as float [P, 3].

    Raises
    ------
    ValueError
        If it is anything else.
    """
    try:
        found = proposal_array(json.loads(cell))
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise ValueError(f"is no JSON list of [begin, end, score]: {cell[:80]}") from None
    if not np.isfinite(found).all() or (found[:, 1] < found[:, 0]).any():
        raise ValueError(f"a segment ends before it begins, or holds no number: {cell[:80]}")
    return found


def merge_segments(segments: Sequence[Segment]) -> list[Segment]:
    """Segments by time, with those that overlap or touch merged."""
    found: list[Segment] = []
    for begin, end in sorted(segments):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def suppress_proposals(proposals: Proposals) -> np.ndarray:
    """Proposals [P, 3] by falling score, after non-maximum suppression at :data:`NMS_IOU`."""
    ranked = proposal_array(proposals)
    ranked = ranked[np.argsort(-ranked[:, 2], kind="stable")]
    kept = [True] * len(ranked)
    for begin in range(0, len(ranked), NMS_BLOCK):
        better, other = np.nonzero(pairwise_iou(ranked[begin : begin + NMS_BLOCK, None], ranked[begin:]) > NMS_IOU)
        # Pairs are sorted by the better proposal, the best first, so whether that one is kept is already known.
        for i, j in zip((better + begin).tolist(), (other + begin).tolist(), strict=True):
            if i < j and kept[i]:
                kept[j] = False
    return ranked[kept]


def match_proposals(proposals: Sequence[Proposal], truth: Sequence[Segment], iou: float) -> list[tuple[float, bool]]:
    """Score of every proposal of one clip by falling score, and whether it is a true positive.

    A true positive overlaps a true segment by ``iou`` that no better proposal has matched.
    """
    free = list(truth)
    found = []
    for begin, end, score in sorted(proposals, key=lambda proposal: -proposal[2]):
        best = max(free, key=lambda segment: segment_iou((begin, end), segment), default=None)
        matched = best is not None and segment_iou((begin, end), best) >= iou - 1e-9
        if matched and best is not None:
            free.remove(best)
        found.append((score, matched))
    return found


def average_precision_at_iou(
    proposals: Sequence[Sequence[Proposal]], truth: Sequence[Sequence[Segment]], iou: float, from_first: bool = False
) -> float:
    """Average precision of proposals, those of all clips ranked together.

    Precision is made monotonic in recall before it is integrated, as in the ActivityNet evaluation that AV-Deepfake1M and LAV-DF use.
    Equal scores are one step of the curve, so that the result does not depend on their order.

    Parameters
    ----------
    proposals : sequence of sequences of (begin, end, score)
        Of every clip.
    truth : sequence of sequences of (begin, end)
        Of the same clips; genuine ones have none.
    iou : float
        See :func:`match_proposals`.
    from_first : bool
        Let the curve begin at the best proposal instead of at a recall of 0, so that the best proposal's own match is not counted.
        The reference implementation of AV-Deepfake1M (package ``avdeepfake1m`` 0.0.4) does this, as observed by running it; with this
        option the results agree to float32. The result is lower by at most one part in as many as there are segments.

    Returns
    -------
    float
        In [0, 1]; NaN where nothing is fake.
    """
    matched = [match_proposals(of_clip, true, iou) for of_clip, true in zip(proposals, truth, strict=True)]
    return interpolated_average_precision([pair for clip in matched for pair in clip], sum(len(true) for true in truth), from_first)


def average_recall_at(
    proposals: Sequence[Sequence[Proposal]], truth: Sequence[Sequence[Segment]], count: int, ious: Sequence[float] = IOUS
) -> float:
    """Recall of all true segments by the best ``count`` proposals of each clip, mean over ``ious``; NaN where nothing is fake."""
    total = sum(len(true) for true in truth)
    if total == 0:
        return float("nan")
    best = [sorted(of_clip, key=lambda proposal: -proposal[2])[:count] for of_clip in proposals]
    found = [sum(tp for of_clip, true in zip(best, truth, strict=True) for _, tp in match_proposals(of_clip, true, iou)) for iou in ious]
    return float(np.mean(found)) / total


def interpolated_average_precision(matched: Sequence[tuple[float, bool]], n_segments: int, from_first: bool = False) -> float:
    """Average precision of scores with their outcome (true positive or not), where ``n_segments`` true segments exist."""
    if n_segments == 0:
        return float("nan")
    if not matched:
        return 0.0
    scores, correct = np.array([score for score, _ in matched]), np.array([tp for _, tp in matched])
    order = np.argsort(-scores, kind="stable")
    scores, true_positives = scores[order], np.cumsum(correct[order])
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # of every run of equal scores
    recall = true_positives[last] / n_segments
    precision = np.maximum.accumulate((true_positives[last] / (last + 1))[::-1])[::-1]
    steps = np.diff(recall) if from_first else np.diff(recall, prepend=0.0)
    return float((steps * precision[len(precision) - len(steps) :]).sum())
