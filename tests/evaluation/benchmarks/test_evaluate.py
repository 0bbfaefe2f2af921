from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from avwitness.evaluation import curves_by_weight
from avwitness.evaluation.benchmarks.evaluate import Setting, evaluate
from avwitness.evaluation.benchmarks.protocols import PROTOCOLS
from avwitness.evaluation.benchmarks.score_file import Scored
from avwitness.evaluation.curves_by_weight import intervals, ordered, ranked_figures
from avwitness.evaluation.metrics import auc, eer
from benchmarks import benchmark
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

WHOLE = PROTOCOLS["zero-shot"]


def row_of(found: dict, stream: str, group: str = "all") -> dict:
    (row,) = [row for row in found["results"] if (row["stream"], row["group"]) == (stream, group)]
    return row


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1)), min_size=4, max_size=50))
def test_weights_of_one_give_the_plain_figures(drawn: list[tuple[int, int]]) -> None:
    scores, labels = (np.array(column) for column in zip(*drawn, strict=True))
    assume(0 < labels.sum() < len(labels))
    order = ordered(scores.astype(float), labels, np.arange(len(labels)))
    found = ranked_figures(order)
    assert found["auc"] == pytest.approx(auc(scores, labels))
    assert found["ap"] == pytest.approx(average_precision_score(labels, scores))
    twice = np.repeat(np.arange(len(labels)), np.arange(len(labels)) % 3)
    assume(0 < labels[twice].sum() < len(twice))
    weighed = ranked_figures(order, (np.arange(len(labels)) % 3).astype(float))
    assert weighed["auc"] == pytest.approx(auc(scores[twice], labels[twice]))
    assert weighed["ap"] == pytest.approx(average_precision_score(labels[twice], scores[twice]))


def test_equal_error_rate_is_that_of_the_other_tables() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 500)
    scores = labels + rng.normal(0, 1, 500)
    order = ordered(scores, labels, np.arange(500) // 5)
    assert ranked_figures(order)["eer"] == pytest.approx(eer(scores, labels), abs=0.005)
    found = intervals(order, 100, 0)
    assert all(found[name].low <= found[name].value <= found[name].high for name in found)
    assert found == intervals(order, 100, 0)


def test_many_different_scores_make_no_other_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    labels, units = rng.integers(0, 2, 20_000), rng.integers(0, 100, 20_000)
    order = ordered(labels + rng.normal(0, 1, 20_000) + rng.normal(0, 0.5, 100)[units], labels, units)
    thinned = intervals(order, 60, 0)
    monkeypatch.setattr(curves_by_weight, "STEPS", 10**6)
    for name, exact in intervals(order, 60, 0).items():
        assert thinned[name].value == exact.value
        assert (thinned[name].low, thinned[name].high) == pytest.approx((exact.low, exact.high), abs=5e-4)


def test_figures_come_by_stream_category_method_and_group() -> None:
    table, scored = benchmark(800)
    found, tested = evaluate(table, scored, Setting("made up", "nobody", WHOLE, rounds=50))
    assert len(tested) == 800 and set(tested.fold) == {"whole set"} and tested.overall_label.sum() == 600
    json.dumps(found)
    assert row_of(found, "video")["fakes"] == row_of(found, "video")["genuine"] == 400
    assert row_of(found, "overall")["fakes"] == 600
    expected = auc(scored.table.p_video.to_numpy(), table.video_label.to_numpy(dtype=int))
    assert row_of(found, "video")["auc"][0] == pytest.approx(expected)
    wav2lip = [row for row in found["results"] if row["by"] == "category" and row["group"] == "FVRA-WL" and row["stream"] == "video"]
    assert [(row["fakes"], row["genuine"]) for row in wav2lip] == [(200, 400)]
    assert not [r for r in found["results"] if r["group"] == "RVFA" and r["stream"] == "video"]  # its picture is genuine
    women = row_of(found, "audio", "women")
    assert (women["fakes"], women["genuine"], women["units"]) == (200, 200, "identities")
    assert found["rows"] == {"listed": 800, "sound": 800, "failed": 0, "coverage": 1.0, "problems": {}, "notes": []}
    assert 0.5 < found["multi_label"][0]["of1"] < 1.0


def test_problems_and_failures_are_counted_and_not_judged() -> None:
    table, scored = benchmark(200)
    table.loc[:9, "problem"] = "the file is missing"
    scored.table.loc[10:19, ["p_video", "p_audio", "p_fake"]] = np.nan
    scored.table.loc[10:19, "status"] = "error"
    found, _ = evaluate(table, Scored(scored.table, ("a note",)), Setting("made up", "nobody", WHOLE, rounds=20))
    assert found["rows"]["problems"] == {"the file is missing": 10} and found["rows"]["failed"] == 10
    assert found["rows"]["coverage"] == pytest.approx(180 / 190) and found["rows"]["notes"] == ["a note"]
    overall = row_of(found, "overall")
    assert overall["fakes"] + overall["genuine"] == 190 and overall["coverage"] == pytest.approx(180 / 190)
    with pytest.raises(ValueError, match="no row is without a problem"):
        evaluate(table.assign(problem="x"), scored, Setting("made up", "nobody", WHOLE))


def test_a_stream_that_is_taken_away_says_nothing_of_the_file() -> None:
    table, scored = benchmark(400)
    found, _ = evaluate(table, scored, Setting("made up", "nobody", WHOLE, missing="video", rounds=20))
    assert {row["stream"] for row in found["results"]} == {"audio", "overall"}
    assert row_of(found, "overall")["auc"] == row_of(found, "audio")["auc"]  # all that is left is the sound
    some, _ = evaluate(table, scored, Setting("made up", "nobody", WHOLE, missing="random", rounds=20))
    assert 300 < row_of(some, "video")["fakes"] + row_of(some, "video")["genuine"] < 400


def test_a_stream_of_unknown_label_makes_no_file_genuine() -> None:
    table, scored = benchmark(80)
    table["audio_label"] = pd.array([pd.NA] * 80, dtype="Int8")
    found, _ = evaluate(table, scored, Setting("made up", "nobody", WHOLE, rounds=20))
    overall = row_of(found, "overall")
    assert (overall["fakes"], overall["genuine"]) == (40, 0) and overall["auc"] == [None, None, None]


def test_a_label_of_the_whole_file_counts_where_its_streams_are_not_known() -> None:
    table, scored = benchmark(80)
    whole = table.video_label.eq(1) | table.audio_label.eq(1)
    unknown = pd.array([pd.NA] * 80, dtype="Int8")
    table = table.assign(file_label=whole.astype("Int8"), video_label=unknown, audio_label=unknown)
    found, _ = evaluate(table, scored, Setting("made up", "nobody", WHOLE, rounds=20))
    assert {row["stream"] for row in found["results"]} == {"overall"}
    assert (row_of(found, "overall")["fakes"], row_of(found, "overall")["genuine"]) == (60, 20)
