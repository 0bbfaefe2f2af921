from __future__ import annotations

import time

import numpy as np
import pytest
from avwitness.evaluation.benchmarks.localisation import COUNTS, PRECISION_AT, RECALL_AT, best_of, joined, localise, read_proposals
from avwitness.evaluation.intervals import Proposal, Segment, average_precision_at_iou, average_recall_at
from hypothesis import given
from hypothesis import strategies as st

grid = st.integers(0, 20).map(lambda tick: tick / 4)
stretch = st.tuples(grid, st.integers(1, 8)).map(lambda pair: (pair[0], pair[0] + pair[1] / 4))
proposal = st.tuples(stretch, st.integers(0, 5)).map(lambda pair: (*pair[0], pair[1] / 5))
clip = st.tuples(st.lists(proposal, max_size=8), st.lists(stretch, max_size=3))


@given(clips=st.lists(clip, min_size=1, max_size=6))
def test_figures_are_those_of_the_plain_functions(clips: list[tuple[list[Proposal], list[Segment]]]) -> None:
    proposals, truth = [said for said, _ in clips], [joined(true) for _, true in clips]
    found = localise(proposals, truth, np.arange(len(clips)), rounds=1, seed=0)
    for iou in PRECISION_AT:
        assert found[f"ap_at_{iou:g}"][0] == pytest.approx(average_precision_at_iou(proposals, truth, iou), nan_ok=True)
    for count in COUNTS:
        assert found[f"ar_at_{count}"][0] == pytest.approx(average_recall_at(proposals, truth, count, RECALL_AT), nan_ok=True)


def test_intervals_hold_the_value_and_narrow_with_people() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for people in (20, 2000):
        begin = rng.uniform(0, 5, people)
        truth = [[(b, b + 1.0)] for b in begin]
        late, score = rng.normal(0, 0.3, people), rng.random(people)
        proposals = [[(begin[i] + late[i], begin[i] + 1.0 + late[i], score[i])] for i in range(people)]
        value, low, high = localise(proposals, truth, np.arange(people), rounds=200, seed=0)["ap_at_0.5"]
        assert low <= value <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_whole_files_join_what_their_streams_hold() -> None:
    assert joined([(2.0, 3.0), (0.0, 1.0), (0.5, 1.5), (1.5, 1.75)]) == [(0.0, 1.75), (2.0, 3.0)]
    assert best_of([(0.0, 1.0, 0.5), (0.0, 1.1, 0.9), (3.0, 4.0, 0.2)]) == [(0.0, 1.1, 0.9), (3.0, 4.0, 0.2)]


@pytest.mark.parametrize("cell", ["{}x", "[[0, 1]]", "[[0, 1, null]]", "[[2, 1, 0.5]]", "[[0, NaN, 1]]", "3"])
def test_a_cell_that_holds_no_stretches_is_refused(cell: str) -> None:
    with pytest.raises(ValueError, match=r"stretch|JSON"):
        read_proposals(cell)
    assert read_proposals("[[0, 1.5, 0.25]]") == [(0.0, 1.5, 0.25)] and read_proposals("[]") == []


def test_a_large_benchmark_takes_seconds() -> None:
    rng = np.random.default_rng(0)
    proposals, truth = [], []
    for _ in range(5000):
        begin = rng.uniform(0, 8, 50)
        end, score = begin + rng.uniform(0.1, 1.0, 50), rng.random(50)
        proposals.append([(begin[i], end[i], score[i]) for i in range(50)])
        truth.append([(float(b), float(b) + 0.5) for b in rng.uniform(0, 8, 2)])
    begun = time.monotonic()
    localise(proposals, truth, np.arange(5000) // 10, rounds=50, seed=0)
    assert time.monotonic() - begun < 60.0
