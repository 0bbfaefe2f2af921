from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from benchmarks import benchmark
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from avwitness.evaluation.benchmarks.evaluate import MEAN, EvaluationSettings, evaluate, split_folds
from avwitness.evaluation.benchmarks.protocols import PROTOCOLS
from avwitness.evaluation.benchmarks.score_file import MatchedScores, match_scores
from avwitness.evaluation.metrics import bootstrap_curves as curves_by_weight
from avwitness.evaluation.metrics.bootstrap import bootstrap
from avwitness.evaluation.metrics.bootstrap_curves import ranking_intervals, ranking_metrics, sort_scores
from avwitness.evaluation.metrics.ranking import auc, eer

WHOLE = PROTOCOLS["zero-shot"]


def row_of(found: dict, stream: str, group: str = "all") -> dict:
    (row,) = [row for row in found["results"] if (row["stream"], row["group"]) == (stream, group)]
    return row


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1)), min_size=4, max_size=50))
def test_weighted_metrics_agree_with_repeated_rows(drawn: list[tuple[int, int]]) -> None:
    scores, labels = (np.array(column) for column in zip(*drawn, strict=True))
    assume(0 < labels.sum() < len(labels))
    order = sort_scores(scores.astype(float), labels, np.arange(len(labels)))
    found = ranking_metrics(order)
    assert found["auc"] == pytest.approx(auc(scores, labels))
    assert found["ap"] == pytest.approx(average_precision_score(labels, scores))
    twice = np.repeat(np.arange(len(labels)), np.arange(len(labels)) % 3)
    assume(0 < labels[twice].sum() < len(twice))
    weighed = ranking_metrics(order, (np.arange(len(labels)) % 3).astype(float))
    assert weighed["auc"] == pytest.approx(auc(scores[twice], labels[twice]))
    assert weighed["ap"] == pytest.approx(average_precision_score(labels[twice], scores[twice]))


def test_weighted_and_row_bootstrap_agree() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 500)
    scores = labels + rng.normal(0, 1, 500)
    order = sort_scores(scores, labels, np.arange(500) // 5)
    assert ranking_metrics(order)["eer"] == pytest.approx(eer(scores, labels), abs=0.005)
    found = ranking_intervals(scores, labels, np.arange(500) // 5, 100, 0)
    assert all(found[name].low <= found[name].value <= found[name].high for name in found)
    assert found == ranking_intervals(scores, labels, np.arange(500) // 5, 100, 0)
    for name, metric in {"auc": auc, "eer": eer}.items():  # the same draws as those of a bootstrap over rows
        plain = bootstrap(lambda rows, metric=metric: metric(scores[rows], labels[rows]), np.arange(500) // 5, 0, 100)
        assert (found[name].low, found[name].high) == pytest.approx((plain.low, plain.high), abs=1e-9 if name == "auc" else 0.005)


def test_thinned_curves_give_the_same_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    labels, units = rng.integers(0, 2, 20_000), rng.integers(0, 100, 20_000)
    scores = labels + rng.normal(0, 1, 20_000) + rng.normal(0, 0.5, 100)[units]
    thinned = ranking_intervals(scores, labels, units, 60, 0)
    monkeypatch.setattr(curves_by_weight, "MAX_STEPS", 10**6)
    for name, exact in ranking_intervals(scores, labels, units, 60, 0).items():
        assert thinned[name].value == exact.value
        assert (thinned[name].low, thinned[name].high) == pytest.approx((exact.low, exact.high), abs=5e-4)


def test_metrics_by_stream_category_method_and_group() -> None:
    table, scored = benchmark(800)
    found, tested = evaluate(table, scored, EvaluationSettings("made up", "nobody", WHOLE, n_bootstrap=50))
    assert len(tested) == 800 and set(tested.fold) == {"whole set"} and tested.overall_label.sum() == 600
    json.dumps(found)
    assert row_of(found, "video")["fakes"] == row_of(found, "video")["genuine"] == 400
    assert row_of(found, "overall")["fakes"] == 600
    expected = auc(scored.table.p_video.to_numpy(), table.video_label.to_numpy(dtype=int))
    assert row_of(found, "video")["auc"][0] == pytest.approx(expected)
    wav2lip = [row for row in found["results"] if row["by"] == "category" and row["group"] == "FVRA-WL" and row["stream"] == "video"]
    assert [(row["fakes"], row["genuine"]) for row in wav2lip] == [(200, 400)]
    assert not [r for r in found["results"] if r["group"] == "RVFA" and r["stream"] == "video"]  # its video is genuine
    women = row_of(found, "audio", "women")
    assert (women["fakes"], women["genuine"], women["units"]) == (200, 200, "identities")
    assert found["rows"] == {
        "listed": 800, "valid": 800, "tested": 800, "shared_identities": None, "without_identity": 0, "failed": 0, "coverage": 1.0,
        "problems": {}, "notes": [],
    }  # fmt: skip
    assert 0.5 < found["multi_label"][0]["of1"] < 1.0


def test_scores_of_failed_rows_are_ignored() -> None:
    table, scored = benchmark(400)
    scored.table.loc[:99, "status"] = "Error: out of memory"
    scored.table.loc[100:149, ["p_video", "p_audio", "p_fake"]] = np.nan  # with the status ok
    scored.table.loc[150:199, "status"] = "SUCCESS"
    said = match_scores(scored.table, table.assign(file=table.path))
    found, _ = evaluate(table, said, EvaluationSettings("made up", "nobody", WHOLE, n_bootstrap=20))
    assert found["rows"]["failed"] == 150 and found["rows"]["coverage"] == pytest.approx(250 / 400)
    assert row_of(found, "audio")["coverage"] == pytest.approx(250 / 400)


def test_file_scores_without_removed_streams_are_kept() -> None:
    table, scored = benchmark(800)
    scored.table["p_fake"] = (table.category != "RVRA").astype(float)  # perfect scores of the whole file
    table["file_label"] = scored.table.p_fake.astype("Int8")
    table[["video_label", "audio_label"]] = pd.NA
    whole, _ = evaluate(table, scored, EvaluationSettings("made up", "nobody", WHOLE, n_bootstrap=20))
    assert row_of(whole, "overall")["auc"][0] == 1.0
    _, tested = evaluate(table, scored, EvaluationSettings("made up", "nobody", WHOLE, "random", n_bootstrap=20))
    cut = tested.p_fake != scored.table.p_fake
    assert 0.2 < cut.mean() < 0.4
    assert tested.overall_label[~cut].notna().all() and (tested.overall_label[cut & (table.file_label == 0)] == 0).all()
    assert tested.overall_label[cut & (table.file_label == 1)].isna().all()  # the fake stream may have been removed


def test_uncalibrated_scores_have_no_metrics_at_half() -> None:
    table, scored = benchmark(400)
    scored.table["p_video"] = 3.0 + 8.0 * scored.table["p_video"]
    found, _ = evaluate(table, scored, EvaluationSettings("made up", "nobody", WHOLE, n_bootstrap=20))
    video, audio = row_of(found, "video"), row_of(found, "audio")
    assert video["auc"][0] > 0.9 and video["accuracy"] is None and video["ece"] is None and audio["accuracy"] > 0.8
    assert "video: scores are not probabilities, so there are no metrics at 0.5" in found["rows"]["notes"]
    even = [group["tpr_fixed"] for row in found["fairness"] if row["stream"] == "video" for group in row["groups"]]
    assert even and all(values == [None] * 3 for values in even)


def test_several_folds_have_a_mean() -> None:
    table, scored = benchmark(800)
    found, _ = evaluate(table, scored, EvaluationSettings("made up", "nobody", PROTOCOLS["subject-5-fold"], n_bootstrap=20))
    folds = [row["auc"][0] for row in found["results"] if row["stream"] == "video" and row["group"] == "all"]
    assert len(folds) == 6 and folds[5] == pytest.approx(np.mean(folds[:5]))
    (mean,) = [row for row in found["results"] if row["fold"] == MEAN and row["stream"] == "video"]
    assert mean["fakes"] == 400 and mean["auc"][1] is None and mean["units"] == "5 folds"


def test_folds_of_a_table() -> None:
    table, _ = benchmark(800)
    table.loc[:3, "problem"] = "the file is missing"
    setting = EvaluationSettings("made up", "nobody", PROTOCOLS["subject-5-fold"])
    parts = split_folds(table, setting)
    assert list(parts) == [f"fold {n}" for n in range(1, 6)] and (parts.iloc[:4] == "").all(axis=None)
    assert ((parts.iloc[4:] == "test").sum(axis=1) == 1).all() and ((parts.iloc[4:] == "train").sum(axis=1) == 4).all()
    fewer = split_folds(table[table.identity != "p7"].reset_index(drop=True), replace(setting, protocol=PROTOCOLS["identity-disjoint"]))
    all_of_them = split_folds(table, replace(setting, protocol=PROTOCOLS["identity-disjoint"]))[(table.identity != "p7").to_numpy()]
    assert (fewer.to_numpy() != all_of_them.to_numpy()).mean() < 0.06  # without one person, the split of the others is the same


def test_bootstrap_units_of_few_and_unnamed_identities() -> None:
    table, scored = benchmark(16)
    found, _ = evaluate(table, scored, EvaluationSettings("made up", "nobody", WHOLE, n_bootstrap=20))
    assert row_of(found, "video")["auc"][1:] == [None, None]
    table, scored = benchmark(800)
    table.loc[0, "identity"] = ""
    found, _ = evaluate(table, scored, EvaluationSettings("made up", "nobody", WHOLE, n_bootstrap=20))
    assert row_of(found, "video")["units"] == "identities, source clips where unnamed" and found["rows"]["without_identity"] == 1


def test_problems_and_failures_are_counted() -> None:
    table, scored = benchmark(200)
    table.loc[:9, "problem"] = "the file is missing"
    scored.table.loc[10:19, ["p_video", "p_audio", "p_fake"]] = np.nan
    scored.table.loc[10:19, "status"] = "error"
    found, _ = evaluate(table, MatchedScores(scored.table, ("a note",)), EvaluationSettings("made up", "nobody", WHOLE, n_bootstrap=20))
    assert found["rows"]["problems"] == {"the file is missing": 10} and found["rows"]["failed"] == 10
    assert found["rows"]["coverage"] == pytest.approx(180 / 190) and found["rows"]["notes"] == ["a note"]
    overall = row_of(found, "overall")
    assert overall["fakes"] + overall["genuine"] == 190 and overall["coverage"] == pytest.approx(180 / 190)
    with pytest.raises(ValueError, match="no row is without a problem"):
        evaluate(table.assign(problem="x"), scored, EvaluationSettings("made up", "nobody", WHOLE))


def test_removed_streams_do_not_count() -> None:
    table, scored = benchmark(400)
    found, _ = evaluate(table, scored, EvaluationSettings("made up", "nobody", WHOLE, missing="video", n_bootstrap=20))
    assert {row["stream"] for row in found["results"]} == {"audio", "overall"}
    assert row_of(found, "overall")["auc"] == row_of(found, "audio")["auc"]  # only audio is left
    some, _ = evaluate(table, scored, EvaluationSettings("made up", "nobody", WHOLE, missing="random", n_bootstrap=20))
    assert 300 < row_of(some, "video")["fakes"] + row_of(some, "video")["genuine"] < 400


def test_a_file_with_an_unknown_label_is_not_genuine() -> None:
    table, scored = benchmark(80)
    table["audio_label"] = pd.array([pd.NA] * 80, dtype="Int8")
    found, _ = evaluate(table, scored, EvaluationSettings("made up", "nobody", WHOLE, n_bootstrap=20))
    overall = row_of(found, "overall")
    assert (overall["fakes"], overall["genuine"]) == (40, 0) and overall["auc"] == [None, None, None]


def test_file_label_is_used_without_stream_labels() -> None:
    table, scored = benchmark(80)
    whole = table.video_label.eq(1) | table.audio_label.eq(1)
    unknown = pd.array([pd.NA] * 80, dtype="Int8")
    table = table.assign(file_label=whole.astype("Int8"), video_label=unknown, audio_label=unknown)
    found, _ = evaluate(table, scored, EvaluationSettings("made up", "nobody", WHOLE, n_bootstrap=20))
    assert {row["stream"] for row in found["results"]} == {"overall"}
    assert (row_of(found, "overall")["fakes"], row_of(found, "overall")["genuine"]) == (60, 20)
