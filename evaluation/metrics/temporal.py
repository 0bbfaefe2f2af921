"""When a stream is fake: from frame probabilities to stretches of time, and how well those meet the truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...media.clip import FRAME_RATE

SMOOTHING = 5  # frames of the median filter
LEVELS = tuple(np.round(np.arange(0.1, 0.95, 0.1), 2))  # probabilities at which runs are cut out
OVERLAP = 0.6  # intersection over union above which the lower-ranked of two proposals is dropped
IOUS = (0.5, 0.75, 0.95)  # of AV-Deepfake1M (Cai et al., 2024) and LAV-DF (Cai et al., 2022)

Segment = tuple[float, float]  # begin and end in seconds
Proposal = tuple[float, float, float]  # begin and end in seconds, score


def segments(probabilities: np.ndarray, threshold: float) -> list[Proposal]:
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


def propose(probabilities: np.ndarray, thresholds: Sequence[float] = LEVELS) -> list[Proposal]:
    """Runs at every threshold, the best first, without those that all but repeat a better one."""
    found = sorted((run for level in thresholds for run in segments(probabilities, level)), key=lambda run: -run[2])
    kept: list[Proposal] = []
    for run in found:
        if all(overlap(run[:2], other[:2]) <= OVERLAP for other in kept):
            kept.append(run)
    return kept


def overlap(a: Segment, b: Segment) -> float:
    """Intersection over union of two stretches of time."""
    common = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    union = (a[1] - a[0]) + (b[1] - b[0]) - common
    return common / union if union > 0.0 else 0.0


def hits(proposals: Sequence[Proposal], truth: Sequence[Segment], iou: float) -> list[tuple[float, bool]]:
    """Score of every proposal of one clip, and whether it finds a stretch that no better one has found, the best first."""
    free = list(truth)
    found = []
    for begin, end, score in sorted(proposals, key=lambda proposal: -proposal[2]):
        best = max(free, key=lambda stretch: overlap((begin, end), stretch), default=None)
        hit = best is not None and overlap((begin, end), best) >= iou - 1e-9
        if hit and best is not None:
            free.remove(best)
        found.append((score, hit))
    return found


def average_precision_at_iou(
    proposals: Sequence[Sequence[Proposal]], truth: Sequence[Sequence[Segment]], iou: float, from_first: bool = False
) -> float:
    """Average precision of proposals, those of all clips ranked together.

    A proposal is right if it overlaps a true stretch by ``iou`` that no better proposal has taken. Precision is made to
    fall with recall before it is integrated, as in the ActivityNet evaluation that AV-Deepfake1M and LAV-DF use. Equal
    scores are one step of the curve, so that no order among them can help.

    Parameters
    ----------
    proposals : sequence of sequences of (begin, end, score)
        Of every clip.
    truth : sequence of sequences of (begin, end)
        Of the same clips; genuine ones have none.
    from_first : bool
        Let the curve begin at the best proposal instead of at a recall of 0, so that what this one finds does not count. So does
        the reference implementation of AV-Deepfake1M (package ``avdeepfake1m`` 0.0.4, seen by running it), whose figures this gives
        to float32. It loses at most one part in as many as there are stretches.

    Returns
    -------
    float
        In [0, 1]; NaN where nothing is fake.
    """
    judged = [hits(of_clip, true, iou) for of_clip, true in zip(proposals, truth, strict=True)]
    return precision_of([hit for clip in judged for hit in clip], sum(len(true) for true in truth), from_first)


def average_recall_at(
    proposals: Sequence[Sequence[Proposal]], truth: Sequence[Sequence[Segment]], count: int, ious: Sequence[float] = IOUS
) -> float:
    """Share of all true stretches that the best ``count`` proposals of each clip find, mean over overlaps; NaN where nothing is fake."""
    total = sum(len(true) for true in truth)
    if total == 0:
        return float("nan")
    best = [sorted(of_clip, key=lambda proposal: -proposal[2])[:count] for of_clip in proposals]
    found = [sum(hit for of_clip, true in zip(best, truth, strict=True) for _, hit in hits(of_clip, true, iou)) for iou in ious]
    return float(np.mean(found)) / total


def precision_of(judged: Sequence[tuple[float, bool]], truths: int, from_first: bool = False) -> float:
    """Interpolated average precision of scores that are hits or not, among ``truths`` stretches to be found."""
    if truths == 0:
        return float("nan")
    if not judged:
        return 0.0
    scores, right = np.array([score for score, _ in judged]), np.array([hit for _, hit in judged])
    order = np.argsort(-scores, kind="stable")
    scores, found = scores[order], np.cumsum(right[order])
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # of every run of equal scores
    recall = found[last] / truths
    precision = np.maximum.accumulate((found[last] / (last + 1))[::-1])[::-1]
    steps = np.diff(recall) if from_first else np.diff(recall, prepend=0.0)
    return float((steps * precision[len(precision) - len(steps) :]).sum())
