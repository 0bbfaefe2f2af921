"""Segments from frame probabilities, and average precision and recall of proposals."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avwitness.evaluation.metrics.temporal import average_precision_at_iou, average_recall_at, propose_segments, segment_iou, segments_above

SPANS = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 5)), min_size=1, max_size=4).map(
    # Segments of whole seconds that do not touch.
    lambda parts: [(float(a), float(b)) for a, b in _one_after_another(parts)]
)


def _one_after_another(parts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    at, found = 0, []
    for gap, length in parts:
        at += gap + 1
        found.append((at, at + length))
        at += length
    return found


def test_runs_of_frames_become_seconds() -> None:
    p = np.zeros(100)
    p[25:50] = 0.8
    p[70] = 1.0  # a single frame is removed by the median filter
    assert segments_above(p, 0.5) == [(1.0, 2.0, pytest.approx(0.8))]
    assert segments_above(p, 0.9) == []
    assert segments_above(np.zeros(0), 0.5) == []
    assert segments_above(np.ones(10), 0.5) == [(0.0, 0.4, 1.0)]


def test_proposals_do_not_overlap() -> None:
    p = np.full(100, 0.05)
    p[20:80] = 0.35
    p[40:60] = 0.95
    assert [(a, b) for a, b, _ in propose_segments(p)] == [(1.6, 2.4), (0.8, 3.2)]


def test_segment_iou() -> None:
    assert segment_iou((0.0, 2.0), (1.0, 3.0)) == pytest.approx(1 / 3)
    assert segment_iou((0.0, 1.0), (2.0, 3.0)) == 0.0
    assert segment_iou((1.0, 1.0), (1.0, 1.0)) == 0.0


def test_average_precision_by_hand() -> None:
    truth = [[(0.0, 1.0), (2.0, 3.0)], []]
    # True, false (in the genuine clip), true positive: precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1.
    proposals = [[(0.0, 1.0, 0.9), (2.0, 3.0, 0.5)], [(0.0, 1.0, 0.7)]]
    assert average_precision_at_iou(proposals, truth, 0.5) == pytest.approx(0.5 * 1.0 + 0.5 * 2 / 3)
    # A second proposal of a matched segment is a false positive.
    assert average_precision_at_iou([[(0.0, 1.0, 0.9), (0.0, 1.0, 0.8)], []], truth, 0.5) == pytest.approx(0.5)
    # Equal scores are one step, so their order does not matter.
    tied = [[(0.0, 1.0, 0.5), (2.0, 3.0, 0.5)], [(0.0, 1.0, 0.5)]]
    assert average_precision_at_iou(tied, truth, 0.5) == pytest.approx(2 / 3)
    assert average_precision_at_iou([[], []], truth, 0.5) == 0.0
    assert np.isnan(average_precision_at_iou([[(0.0, 1.0, 0.5)]], [[]], 0.5))


@given(st.lists(SPANS, min_size=1, max_size=4), st.floats(0.01, 1.0), st.sampled_from([0.5, 0.75, 0.95]))
def test_average_precision_of_perfect_and_shifted_proposals(truth: list[list[tuple[float, float]]], score: float, iou: float) -> None:
    perfect = [[(a, b, score) for a, b in clip] for clip in truth]
    assert average_precision_at_iou(perfect, truth, iou) == pytest.approx(1.0)
    shifted = [[(a + 1000.0, b + 1000.0, score) for a, b in clip] for clip in truth]
    assert average_precision_at_iou(shifted, truth, iou) == 0.0


@given(st.lists(st.floats(0.0, 1.0), max_size=80), st.floats(0.0, 1.0))
def test_segments_are_disjoint_ordered_and_above_the_threshold(p: list[float], threshold: float) -> None:
    found = segments_above(np.array(p), threshold)
    assert all(begin < end and score > threshold for begin, end, score in found)
    assert all(before[1] < after[0] for before, after in pairwise(found))


def test_curve_from_the_first_proposal() -> None:
    proposals, truth = [[(0.0, 1.0, 0.9), (2.0, 3.0, 0.8)]], [[(0.0, 1.0), (2.0, 3.0)]]
    assert average_precision_at_iou(proposals, truth, 0.5) == 1.0
    assert average_precision_at_iou(proposals, truth, 0.5, from_first=True) == 0.5


def test_recall_counts_the_best_proposals_of_each_clip() -> None:
    proposals = [[(5.0, 6.0, 0.9), (0.0, 1.0, 0.5)], [(0.0, 1.0, 0.2)]]
    truth = [[(0.0, 1.0)], [(0.0, 0.8), (2.0, 3.0)]]
    assert average_recall_at(proposals, truth, 1, (0.5,)) == pytest.approx(1 / 3)
    assert average_recall_at(proposals, truth, 2, (0.5, 0.95)) == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert np.isnan(average_recall_at([[]], [[]], 1))
