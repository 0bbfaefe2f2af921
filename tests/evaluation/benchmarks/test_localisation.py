from __future__ import annotations

import json
import time
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avwitness.evaluation.benchmarks import localisation
from avwitness.evaluation.benchmarks.localisation import (
    AP_IOUS,
    AR_COUNTS,
    AR_IOUS,
    METRICS,
    localisation_rows,
    localise,
    localised_segments,
)
from avwitness.evaluation.metrics import temporal
from avwitness.evaluation.metrics.bootstrap import draw_weights
from avwitness.evaluation.metrics.temporal import (
    NMS_IOU,
    Proposal,
    Segment,
    average_precision_at_iou,
    average_recall_at,
    merge_segments,
    read_proposals,
    segment_iou,
    suppress_proposals,
)

grid = st.integers(0, 20).map(lambda tick: tick / 4)
segment = st.tuples(grid, st.integers(1, 8)).map(lambda pair: (pair[0], pair[0] + pair[1] / 4))
proposal = st.tuples(segment, st.integers(0, 5)).map(lambda pair: (*pair[0], pair[1] / 5))
clip = st.tuples(st.lists(proposal, max_size=8), st.lists(segment, max_size=3))


def claimed(rng: np.random.Generator, clips: int, each: int) -> tuple[list[np.ndarray], list[list[Segment]]]:
    """Clips, three in four fake, with a few proposals near every segment."""
    proposals, truth = [], []
    for number in range(clips):
        begin, score = rng.uniform(0.0, 8.0, each), rng.random(each)
        end = begin + rng.uniform(0.1, 1.5, each)
        true = [(float(b), float(b) + 1.0) for b in rng.uniform(0.0, 8.0, rng.integers(1, 3))] if number % 4 else []
        for i, span in enumerate(true):
            near = slice(2 * i, 2 * i + 2)
            begin[near], end[near] = np.array(span)[:, None] + rng.normal(0.0, 0.1, (2, 2))
            score[near] += rng.random(2)
        proposals.append(np.stack([begin, end, score], axis=1))
        truth.append(true)
    return proposals, truth


@given(clips=st.lists(clip, min_size=1, max_size=6))
def test_metrics_agree_with_the_plain_functions(clips: list[tuple[list[Proposal], list[Segment]]]) -> None:
    proposals, truth = [said for said, _ in clips], [true for _, true in clips]  # segments may overlap
    found = localise(proposals, truth, np.arange(len(clips)), n_bootstrap=1, seed=0)
    for iou in AP_IOUS:
        assert found[f"ap_at_{iou:g}"][0] == pytest.approx(average_precision_at_iou(proposals, truth, iou), nan_ok=True)
    for count in AR_COUNTS:
        assert found[f"ar_at_{count}"][0] == pytest.approx(average_recall_at(proposals, truth, count, AR_IOUS), nan_ok=True)


def test_intervals_narrow_with_more_units() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for people in (20, 2000):
        begin = rng.uniform(0, 5, people)
        truth = [[(b, b + 1.0)] for b in begin]
        late, score = rng.normal(0, 0.3, people), rng.random(people)
        proposals = [[(begin[i] + late[i], begin[i] + 1.0 + late[i], score[i])] for i in range(people)]
        value, low, high = localise(proposals, truth, np.arange(people), n_bootstrap=200, seed=0)["ap_at_0.5"]
        assert low <= value <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_segments_and_proposals_are_merged() -> None:
    assert merge_segments([(2.0, 3.0), (0.0, 1.0), (0.5, 1.5), (1.5, 1.75)]) == [(0.0, 1.75), (2.0, 3.0)]
    assert suppress_proposals([(0.0, 1.0, 0.5), (0.0, 1.1, 0.9), (3.0, 4.0, 0.2)]).tolist() == [[0.0, 1.1, 0.9], [3.0, 4.0, 0.2]]


@given(st.lists(proposal, max_size=40), st.sampled_from([3, 64]))
def test_non_maximum_suppression(proposals: list[Proposal], rows: int) -> None:
    kept: list[Proposal] = []
    for run in sorted(proposals, key=lambda run: -run[2]):
        if all(segment_iou(run[:2], other[:2]) <= NMS_IOU for other in kept):
            kept.append(run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(temporal, "NMS_BLOCK", rows)
        assert [tuple(run) for run in suppress_proposals(proposals).tolist()] == kept


@pytest.mark.parametrize(
    "cell", ["{}x", "{}", "3", "null", "[[]]", "[[0, 1]]", "[[0, 1, null]]", "[[2, 1, 0.5]]", "[[0, NaN, 1]]", "[[0, 1, 1], [0, 1]]"]
)
def test_invalid_cells_are_refused(cell: str) -> None:
    with pytest.raises(ValueError, match=r"segment|JSON"):
        read_proposals(cell)


def test_too_deep_and_too_large_cells_are_refused() -> None:
    for cell in ("[" * 100_000, f"[[0, 1, {10**400}]]"):
        with pytest.raises(ValueError, match="JSON"):
            read_proposals(cell)


def test_a_cell_is_an_array_of_begin_end_and_score() -> None:
    assert read_proposals("[[0, 1.5, 0.25]]").tolist() == [[0.0, 1.5, 0.25]]
    assert read_proposals("[]").shape == (0, 3)


@pytest.mark.parametrize("proposals", [[[]] * 6, [[(5.0, 6.0, 0.5)]] * 6])
def test_no_match_gives_zero(proposals: list[list[Proposal]]) -> None:
    found = localise(proposals, [[(0.0, 1.0)], [(2.0, 3.0)], [], [], [(0.0, 1.0)], []], np.arange(6), n_bootstrap=20, seed=0)
    assert all(found[name] == [0.0, 0.0, 0.0] for name in METRICS)


def test_undefined_metrics_and_few_units() -> None:
    proposals: list[list[Proposal]] = [[(0.0, 1.0, 0.5)]] * 20
    assert np.isnan(list(localise(proposals, [[]] * 20, np.arange(20), 20, 0).values())).all()
    value, low, high = localise(proposals, [[(0.0, 1.0)]] * 20, np.arange(20) % 4, 20, 0)["ap_at_0.5"]
    assert value == 1.0 and np.isnan([low, high]).all()


def test_thinned_curves_give_the_same_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    proposals, truth = claimed(np.random.default_rng(0), 8000, 6)
    units = np.arange(8000) % 200
    thinned = localise(proposals, truth, units, 60, 0)
    taken: list[int] = []
    by_step = localisation._counts_by_step
    monkeypatch.setattr(localisation, "_counts_by_step", lambda last, *rest: taken.append(len(last)) or by_step(last, *rest))  # type: ignore[func-returns-value]
    monkeypatch.setattr(localisation, "MAX_STEPS", 10**6)
    exact = localise(proposals, truth, units, 60, 0)
    assert taken[0] > 7000  # so that steps were left out above
    for name in METRICS:
        assert thinned[name][0] == exact[name][0] and exact[name][1] < exact[name][0] < exact[name][2]
        assert thinned[name] == pytest.approx(exact[name], abs=1e-4)


def test_weights_are_equivalent_to_resampled_clips() -> None:
    proposals, truth = claimed(np.random.default_rng(1), 60, 6)
    units = np.arange(60) % 12
    rounds = []
    for weights in np.concatenate(list(draw_weights(12, 40, 3)), axis=1).T:
        drawn = [clip for clip in range(60) for _ in range(int(weights[units[clip]]))]
        again = localise([proposals[clip] for clip in drawn], [truth[clip] for clip in drawn], np.arange(len(drawn)), 0, 0)
        rounds.append([again[name][0] for name in METRICS])
    found = localise(proposals, truth, units, 40, 3)
    ends = np.quantile(rounds, (0.025, 0.975), axis=0)
    np.testing.assert_allclose([found[name][1:] for name in METRICS], ends.T, atol=1e-9)


def table_of(cells: list[str], label: float = 1.0) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Rows, benchmark and scores of clips with video alone."""
    rows = pd.DataFrame({"has_video": True, "has_audio": False, "video_label": label, "audio_label": np.nan}, index=range(len(cells)))
    table = pd.DataFrame({"video_intervals": "[[0.0, 1.0]]", "audio_intervals": ""}, index=range(len(cells)))
    return rows, table, pd.DataFrame({"video_intervals": cells, "audio_intervals": "", "file_intervals": ""})


def test_proposals_of_the_file_and_of_its_streams() -> None:
    rows, table, scores = table_of(["[[0, 1, 0.5]]", "[[0, 1, 0.5]]", ""])
    rows["has_audio"], rows["audio_label"] = True, 0.0
    scores["audio_intervals"] = ["[[0, 1.1, 0.9], [4, 5, 0.1]]", "", ""]
    scores["file_intervals"] = ["", "[[2, 3, 0.25]]", ""]
    found = localised_segments(rows, table, scores, complete=True)
    assert found is not None
    proposals, truth = found
    assert [None if runs is None else runs.tolist() for runs in proposals["overall"]] == [
        [[0.0, 1.1, 0.9], [4.0, 5.0, 0.1]],
        [[2.0, 3.0, 0.25]],
        None,
    ]
    assert truth["overall"] == [[(0.0, 1.0)]] * 3 and truth["audio"] == [[]] * 3
    deprived = localised_segments(rows, table, scores, complete=False)
    assert deprived is not None and deprived[0]["overall"][1] is not None
    assert deprived[0]["overall"][1].tolist() == [[0.0, 1.0, 0.5]]
    assert localised_segments(rows, table, scores.assign(**dict.fromkeys(scores, "")), complete=True) is None


def test_memory_with_many_proposals_in_one_clip() -> None:
    long = json.dumps([[i, i + 1, 0.5] for i in range(5000)])
    arguments = table_of([long, *["[[0, 1, 0.5]]"] * 3000])
    tracemalloc.start()
    found = localised_segments(*arguments, complete=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found is not None and found[0]["video"][0] is not None and len(found[0]["video"][0]) == 5000
    assert peak < 50e6  # bytes


@pytest.mark.slow
def test_speed_on_a_large_benchmark() -> None:
    proposals, truth = claimed(np.random.default_rng(0), 5000, 40)
    rows, table, scores = table_of([json.dumps(of.tolist()) for of in proposals])
    table["video_intervals"] = [json.dumps(true) for true in truth]
    begun = time.process_time()
    found = localised_segments(rows, table, scores, complete=True)
    assert found is not None
    video, whole = localisation_rows(*found, np.arange(5000), n_bootstrap=500, seed=0)
    assert time.process_time() - begun < 20.0  # of processor time: other tests may run at the same time
    assert video["clips"] == whole["clips"] == 5000 and video["segments"] == sum(map(len, truth))
    assert 0.3 < video["ap_at_0.5"][1] < video["ap_at_0.5"][0] < video["ap_at_0.5"][2] < 0.9
