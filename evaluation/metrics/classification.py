"""Metrics of scores at a threshold: accuracy, precision, recall and F1 of one label and of several; the calibration error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...detector.reliability import expected_calibration_error

THRESHOLD = 0.5  # probability; a clip with at least this score is classified as fake
NAN = float("nan")


@dataclass(frozen=True)
class ThresholdMetrics:
    """Metrics at a threshold; each in [0, 1], NaN where it is not defined."""

    accuracy: float = NAN
    balanced_accuracy: float = NAN
    precision: float = NAN
    recall: float = NAN
    f1: float = NAN


def threshold_metrics(scores: np.ndarray, labels: np.ndarray, threshold: float = THRESHOLD) -> ThresholdMetrics:
    """Accuracy, precision, recall and F1 where clips with at least the threshold are classified as fake.

    Parameters
    ----------
    scores : float [N]
    labels : int [N]
        1 is fake.
    """
    from sklearn.metrics import balanced_accuracy_score, precision_recall_fscore_support

    truth, predicted = np.asarray(labels) == 1, np.asarray(scores) >= threshold
    if not len(truth):
        return ThresholdMetrics()
    balanced = float(balanced_accuracy_score(truth, predicted)) if len(np.unique(truth)) == 2 else NAN
    figures = precision_recall_fscore_support(truth, predicted, average="binary", zero_division=np.nan)[:3]
    return ThresholdMetrics(float((truth == predicted).mean()), balanced, *map(float, figures))


def calibration_error(scores: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error of probabilities; NaN where a score is no probability, or there is none."""
    inside = len(scores) > 0 and float(np.min(scores)) >= 0.0 and float(np.max(scores)) <= 1.0
    return float(expected_calibration_error(scores, labels)) if inside else NAN


@dataclass(frozen=True)
class MultiLabelMetrics:
    """Overall (micro) and per-class (macro) precision, recall and F1 of several labels of each clip.

    Notes
    -----
    Source: Wang et al., *CNN-RNN: a unified framework for multi-label image classification*, CVPR 2016. ``cf1`` is the
    harmonic mean of ``cp`` and ``cr``. A class without a positive prediction has the precision 0; a class without fakes, whose
    recall is not defined, is left out of all metrics.
    """

    op: float = NAN
    or_: float = NAN
    of1: float = NAN
    cp: float = NAN
    cr: float = NAN
    cf1: float = NAN


def multi_label_metrics(
    scores: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], threshold: float = THRESHOLD
) -> MultiLabelMetrics:
    """Metrics over the labels of all streams.

    Parameters
    ----------
    scores, labels : mapping of str to array [N]
        By stream; a row whose label or score is NaN is left out for that stream.
    """
    from sklearn.metrics import precision_recall_fscore_support

    parts = []
    for stream, truth in labels.items():
        known = ~np.isnan(truth) & ~np.isnan(scores[stream])
        fake, predicted = truth[known] == 1, scores[stream][known] >= threshold
        if fake.any():
            parts.append((fake, predicted))
    if not parts:
        return MultiLabelMetrics()
    pooled = (np.concatenate(column) for column in zip(*parts, strict=True))
    overall = precision_recall_fscore_support(*pooled, average="binary", zero_division=np.nan)[:3]
    by_class = [precision_recall_fscore_support(*part, average="binary", zero_division=0.0)[:2] for part in parts]
    precision, recall = (float(x) for x in np.mean(by_class, axis=0))
    f1 = 2.0 * precision * recall / (precision + recall) if precision + recall > 0.0 else 0.0
    op, or_, of1 = map(float, overall)
    return MultiLabelMetrics(op, or_, of1, precision, recall, f1)
