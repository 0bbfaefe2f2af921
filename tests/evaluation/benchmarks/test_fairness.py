from __future__ import annotations

import json
import time

import numpy as np
import pandas as pd
import pytest
from benchmarks import benchmark

from avwitness.evaluation.benchmarks.evaluate import EvaluationSettings, label_rows
from avwitness.evaluation.benchmarks.fairness import ATTRIBUTES, fairness
from avwitness.evaluation.benchmarks.fairness_counts import METRICS, SHARED_FPR
from avwitness.evaluation.benchmarks.fairness_output import cells, sentences
from avwitness.evaluation.benchmarks.protocols import PROTOCOLS
from avwitness.evaluation.benchmarks.score_file import TARGETS
from avwitness.evaluation.document import markdown_table
from avwitness.evaluation.metrics.bootstrap import MIXED, wilson
from avwitness.evaluation.metrics.bootstrap_curves import ranking_intervals
from avwitness.evaluation.metrics.ranking import auc, tpr_at_fpr


def rows_of(labels: list[int] | np.ndarray, scores: list[float] | np.ndarray, people: list[str] | np.ndarray, **attributes) -> pd.DataFrame:
    """Labelled rows of clips with video alone."""
    count = len(labels)
    rows = pd.DataFrame({"identity": people, "source_clip": [f"s{i}" for i in range(count)], **dict.fromkeys(ATTRIBUTES, "")}, dtype=object)
    for name, values in attributes.items():
        rows[name] = np.array(values, dtype=object)
    for target, column in TARGETS.items():
        rows[f"{target}_label"] = np.array(labels, dtype=float) if target == "video" else np.nan
        rows[column] = np.array(scores, dtype=float) if target == "video" else np.nan
    return rows


def crowd(seed: int, groups: int = 2, worse: float = 0.0, people: int = 30, each: int = 20, attribute: str = "gender") -> pd.DataFrame:
    """Clips of people with their own mean scores; genuine ones of the first group score higher by ``worse`` standard deviations."""
    rng = np.random.default_rng(seed)
    who, label = np.arange(people * each) // each, np.arange(people * each) % 2
    group = rng.permutation(np.arange(people) % groups)[who]
    logit = rng.normal(0, 0.7, people)[who] + rng.normal(0, 1, len(who)) + 2.0 * label - 1.0 + worse * ((group == 0) & (label == 0))
    named = np.array([f"group {i}" for i in range(groups)])[group]
    return rows_of(label, 1.0 / (1.0 + np.exp(-logit)), [f"p{i}" for i in who], **{attribute: named})


def only(rows: pd.DataFrame, attribute: str = "gender", n_bootstrap: int = 100, seed: int = 0) -> dict:
    (found,) = [r for r in fairness(rows, n_bootstrap, seed) if (r["stream"], r["attribute"]) == ("video", attribute)]
    return found


def by_hand() -> pd.DataFrame:
    """Ten genuine clips and ten fakes of five women and of five men, and one genuine clip of an unknown person."""
    women = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.2, 0.2, 0.2, 0.2, 0.5, 0.6, 0.7, 0.8, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1]
    men = [0.1] * 9 + [0.7] + [0.9] * 8 + [0.65, 0.4]
    label = ([0] * 10 + [1] * 10) * 2 + [0]
    people = [f"{kind}{i % 5}" for kind in "wm" for i in range(20)] + [""]
    rows = rows_of(label, [*women, *men, 0.99], people, gender=["women"] * 20 + ["men"] * 20 + [""])
    return rows.assign(source_clip=people)


def test_rates_by_hand() -> None:
    found = only(by_hand().iloc[:40])
    men, women = found["groups"]
    assert [(g["group"], g["fakes"], g["genuine"], g["people"], g["coverage"]) for g in (men, women)] == [
        ("men", 10, 10, 5, 1.0),
        ("women", 10, 10, 5, 1.0),
    ]
    assert [women[name][0] for name in ("fpr_fixed", "tpr_fixed")] == [0.2, 0.9]  # a score of 0.5 is classified as fake
    assert [men[name][0] for name in ("fpr_fixed", "tpr_fixed")] == [0.1, 0.9]
    # Of 20 genuine clips one may lie above: the man's at 0.7. The threshold is the next, the woman's at 0.6.
    assert found["threshold"] == 0.6
    assert [women[name][0] for name in ("fpr_shared", "tpr_shared")] == [0.0, 0.7]
    assert [men[name][0] for name in ("fpr_shared", "tpr_shared")] == [0.1, 0.9]
    assert {name: (gap["gap"][0], gap["highest"], gap["lowest"]) for name, gap in found["gaps"].items() if name != "auc"} == {
        "fpr_fixed": (pytest.approx(0.1), "women", "men"),
        "tpr_fixed": (0.0, "women", "men"),
        "fpr_shared": (pytest.approx(0.1), "men", "women"),
        "tpr_shared": (pytest.approx(0.2), "men", "women"),
    }


def test_clips_without_a_group_count_for_the_threshold() -> None:
    rows = by_hand()
    found = only(rows)
    assert (found["clips"], found["unknown"], found["group_names"]) == (41, 1, ["men", "women"])
    assert found["threshold"] == 0.7 and found["units"] == MIXED  # the clip at 0.99 has no identity
    women = rows[rows.gender == "women"]
    assert found["groups"][1]["auc"][0] == pytest.approx(auc(women.p_video.to_numpy(), women.video_label.to_numpy()))


def test_shared_threshold() -> None:
    rows = crowd(3, groups=3)
    found = only(rows)
    labels, scores = rows.video_label.to_numpy(dtype=int), rows.p_video.to_numpy()
    called = scores > found["threshold"]
    assert called[labels == 0].mean() == pytest.approx(SHARED_FPR)
    assert called[labels == 1].mean() == tpr_at_fpr(scores, labels, SHARED_FPR)
    shares = [(group["tpr_shared"][0], group["fakes"]) for group in found["groups"]]
    assert sum(share * number for share, number in shares) == pytest.approx(called[labels == 1].sum())


def test_intervals_agree_with_the_main_table_and_theory() -> None:
    rows = crowd(0, people=200)
    for group in only(rows, n_bootstrap=500)["groups"]:
        own = rows[rows.gender == group["group"]]
        labels, people = own.video_label.to_numpy(dtype=int), own.identity.to_numpy(dtype=str)
        interval = ranking_intervals(own.p_video.to_numpy(), labels, people, 500, 0)["auc"]
        assert group["auc"] == interval.to_list()  # as in the main table
        genuine = own[own.video_label == 0]
        shares = genuine.p_video.ge(0.5).groupby(genuine.identity).mean()
        reach = 1.96 * shares.std() / np.sqrt(len(shares))  # all have equally many clips
        assert group["fpr_fixed"] == pytest.approx([shares.mean(), shares.mean() - reach, shares.mean() + reach], abs=0.012)


def test_an_unfair_detector_is_found() -> None:
    found = only(crowd(0, worse=1.5), n_bootstrap=200)
    gap = found["gaps"]["fpr_fixed"]
    assert (gap["highest"], gap["lowest"]) == ("group 0", "group 1")
    assert gap["gap"][1] > 0.0 and gap["p"] == pytest.approx(1 / 201) and gap["gap"][0] > 2.0 * gap["chance"]
    assert found["gaps"]["auc"]["highest"] == "group 1" and found["gaps"]["auc"]["p"] < 0.05
    assert found["gaps"]["tpr_fixed"]["p"] > 0.05  # the TPR is equal


@pytest.mark.slow
@pytest.mark.parametrize("groups", [2, 4])
def test_equal_groups_have_uniform_p_values(groups: int) -> None:
    found = [only(crowd(seed, groups), n_bootstrap=200, seed=1000 + seed)["gaps"] for seed in range(100)]
    for name in ("auc", "fpr_fixed", "tpr_fixed"):
        p = np.array([gaps[name]["p"] for gaps in found])
        assert 0.4 < p.mean() < 0.65 and (p <= 0.05).mean() <= 0.12 and 0.3 < (p <= 0.5).mean() < 0.7
        value, chance = (np.mean([gaps[name][key] for gaps in found], axis=0) for key in ("gap", "chance"))
        assert value[0] == pytest.approx(chance, rel=0.2)
        if groups == 2:
            assert np.mean([gaps[name]["gap"][1] > 0.0 for gaps in found]) <= 0.15


def test_the_same_seed_gives_the_same_intervals() -> None:
    rows = crowd(5, groups=3)
    assert fairness(rows, 130, 7) == fairness(rows, 130, 7)
    assert only(rows, seed=7)["groups"] != only(rows, seed=8)["groups"]
    assert only(rows.sample(frac=1.0, random_state=0), seed=7)["gaps"].keys() == only(rows, seed=7)["gaps"].keys()


def test_a_group_of_one_person_takes_no_part_in_gaps() -> None:
    rows = crowd(1, groups=2)
    lonely = rows.identity == "p0"
    rows.loc[lonely, "gender"] = "alone"
    found = only(rows)
    alone = found["groups"][0]
    assert (alone["group"], alone["people"], alone["genuine"]) == ("alone", 1, 10)
    alarms = wilson(int((rows[lonely & (rows.video_label == 0)].p_video >= 0.5).sum()), 10)
    assert alone["fpr_fixed"] == [alarms.value, alarms.low, alarms.high]
    assert alone["auc"][1] < alone["auc"][2]
    assert {gap[end] for gap in found["gaps"].values() for end in ("highest", "lowest")} == {"group 0", "group 1"}


def test_groups_with_few_clips_take_no_part_in_gaps() -> None:
    rows = crowd(1, groups=3)
    last = rows.gender.eq("group 2")
    rows.loc[last, "p_video"] = 0.01
    genuine = rows.index[last & rows.video_label.eq(0)]
    rows = rows.drop(genuine.difference(genuine[::12]))
    found = only(rows)
    assert (found["groups"][2]["genuine"], found["groups"][2]["fakes"]) == (9, 100)
    extremes = {name: {gap["highest"], gap["lowest"]} for name, gap in found["gaps"].items()}
    assert extremes["fpr_fixed"] == extremes["auc"] == {"group 0", "group 1"}
    assert "group 2" in extremes["tpr_fixed"]  # which has enough fakes


def test_shares_of_zero_have_an_interval_over_units() -> None:
    rows = crowd(2)
    rows.loc[rows.gender.eq("group 0") & rows.video_label.eq(0), "p_video"] = 0.01
    quiet = only(rows)["groups"][0]
    none = wilson(0, 15)  # people, not their 150 clips
    assert quiet["fpr_fixed"] == [0.0, none.low, none.high]


def test_constant_scores() -> None:
    found = only(crowd(2).assign(p_video=0.3))
    assert [group["auc"] for group in found["groups"]] == [[0.5, 0.5, 0.5]] * 2
    assert found["gaps"]["auc"]["gap"] == [0.0, 0.0, 0.0] and (found["gaps"]["auc"]["chance"], found["gaps"]["auc"]["p"]) == (0.0, 1.0)


def test_source_clips_replace_unknown_identities() -> None:
    found = only(crowd(0, worse=1.5).assign(identity=""))
    assert found["units"] == "source clips" and [group["people"] for group in found["groups"]] == [0, 0]
    assert found["gaps"].keys() == METRICS.keys() and found["gaps"]["fpr_fixed"]["p"] == pytest.approx(1 / 101)


def test_a_single_class_has_no_auc() -> None:
    rows = crowd(2)
    genuine = only(rows[rows.video_label == 0])
    assert set(genuine["gaps"]) == {"fpr_fixed", "fpr_shared"}
    assert all(group["auc"] == group["tpr_fixed"] == [None, None, None] for group in genuine["groups"])
    fakes = only(rows[rows.video_label == 1])
    assert fakes["threshold"] is None and set(fakes["gaps"]) == {"tpr_fixed"}
    assert all(group["tpr_shared"] == [None, None, None] for group in fakes["groups"])


def test_clips_without_a_score_lower_the_coverage() -> None:
    rows = crowd(4, groups=3)
    lost = rows.gender.eq("group 1") & (np.arange(len(rows)) % 20 < 4)
    left = only(rows.assign(p_video=rows.p_video.where(~lost)))
    assert [group["coverage"] for group in left["groups"]] == [1.0, pytest.approx(0.8), 1.0]
    assert left["groups"][1]["genuine"] == 100
    assert left["groups"][1]["tpr_fixed"] == only(rows[~lost])["groups"][1]["tpr_fixed"]
    none = only(rows.assign(p_video=rows.p_video.where(rows.gender.eq("group 1"))))
    assert none["groups"] == [] and none["gaps"] == {} and len(none["group_names"]) == 3
    nothing = only(rows.assign(p_video=np.nan))
    assert nothing["groups"] == [] and nothing["threshold"] is None


def test_people_in_two_groups_are_one_unit() -> None:
    rows = crowd(6)
    rows["language"] = np.where(np.arange(len(rows)) // 2 % 2, "Czech", "Zulu")  # every person speaks both
    found = only(rows, "language")
    assert [group["people"] for group in found["groups"]] == [30, 30]
    gap, czech, zulu = found["gaps"]["tpr_fixed"]["gap"], *(group["tpr_fixed"] for group in found["groups"])
    apart = np.hypot(czech[2] - czech[1], zulu[2] - zulu[1])  # width if the groups were of different people
    assert gap[2] - gap[1] < 0.95 * apart


def test_groups_cross_where_both_attributes_are_known() -> None:
    rows = crowd(7)
    rows["ethnicity"] = np.where(np.arange(len(rows)) // 20 % 3, "north", "south")
    rows.loc[rows.identity == "p4", "ethnicity"] = ""
    found = only(rows, "gender x ethnicity")
    assert found["group_names"] == [f"group {i} x {place}" for i in (0, 1) for place in ("north", "south")]
    assert found["unknown"] == 20 and sum(group["fakes"] for group in found["groups"]) == 290


def test_every_target_has_plain_values() -> None:
    table, scored = benchmark(800)
    rows = label_rows(table, scored.table, EvaluationSettings("made up", "nobody", PROTOCOLS["zero-shot"]))
    found = fairness(rows, 50, 0)
    json.dumps(found, allow_nan=False)
    judged = [(r["stream"], r["attribute"]) for r in found if r["groups"]]
    assert judged == [(target, "gender") for target in TARGETS]
    men = found[0]["groups"][0]
    assert (men["group"], men["fakes"], men["genuine"], men["people"]) == ("men", 200, 200, 20)
    assert list(men)[-len(METRICS) :] == list(METRICS)


def test_the_table_has_groups_gaps_and_chance() -> None:
    found = [{"fold": "whole set", **result} for result in fairness(crowd(0, worse=1.5), 100, 0)]
    header, rows = cells(found)
    assert header[:3] == ("fold", "stream", "group") and header[6:8] == ("AUC", "FPR at 0.5")
    assert [row[2] for row in rows] == ["gender: group 0", "gender: group 1", "gender, gap", "gender, gap by chance"]
    result = only(crowd(0, worse=1.5))
    alarms, gap = result["groups"][0]["fpr_fixed"], result["gaps"]["fpr_fixed"]
    assert rows[0][3:6] == ["150 / 150", "15", "1.000"]
    assert rows[0][7] == f"{alarms[0]:.3f} [{alarms[1]:.3f}, {alarms[2]:.3f}]"
    assert rows[2][7].startswith(f"{gap['gap'][0]:.3f} [") and rows[3][7] == f"{gap['chance']:.3f} (p {gap['p']:.3f})"
    assert len(markdown_table(header, rows)) == 7 and {len(row) for row in rows} == {len(header)}
    one_class = [{"fold": "a", **result} for result in fairness(crowd(0).query("video_label == 0"), 20, 0)]
    assert cells(one_class)[1][2][6] == "-" == cells(one_class)[1][0][6]


def test_sentences() -> None:
    rows = crowd(0)
    rows.loc[rows.identity.isin(["p1", "p2"]), "gender"] = ""
    rows["age"] = "adult"
    rows["language"] = [f"l{i % 9}" for i in range(len(rows))]
    text = sentences([{"fold": fold, **result} for fold in ("fold 1", "fold 2") for result in fairness(rows, 20, 0)])
    assert all(line.startswith("- ") for line in text)
    assert "- gender: group 0 and group 1. Clips without a value, which are in no group: 80 of 1200 (video)." in text
    assert any(line.startswith("- age: adult.") and "nothing is compared" in line for line in text)
    assert any(line.startswith("- language: 9 groups.") for line in text)
    assert "- No clip has a value of ethnicity." in text
    threshold = only(rows)["threshold"]
    assert any(f"fold 1: video {threshold:.3f}; fold 2: video {threshold:.3f}" in line for line in text)
    assert any("resampled identities" in line for line in text) and any(
        "at least 10 such clips of at least 2 people" in line for line in text
    )


def test_sentence_without_attributes() -> None:
    found = [{"fold": "whole set", **result} for result in fairness(rows_of([0, 1] * 20, [0.1, 0.9] * 20, ["p"] * 40), 10, 0)]
    assert len(found) == 5 and not any(result["groups"] or result["group_names"] for result in found)
    assert sentences(found) == ["- Fairness is not evaluated: no clip has a value of gender, ethnicity, age or language."]
    assert cells(found)[1] == [] and sentences([]) == sentences(found)


@pytest.mark.slow
def test_speed_on_two_hundred_thousand_rows() -> None:
    table, scored = benchmark(200_000)
    person = np.arange(200_000) // 400
    table["identity"] = [f"p{i}" for i in person]
    for name, groups in (("gender", 2), ("ethnicity", 5), ("age", 4), ("language", 8)):
        table[name] = np.array([f"{name} {i}" for i in range(groups)])[np.random.default_rng(0).integers(0, groups, 500)][person]
    rows = label_rows(table, scored.table, EvaluationSettings("made up", "nobody", PROTOCOLS["zero-shot"]))
    began = time.process_time()
    found = fairness(rows, 500, 0)
    assert time.process_time() - began < 15.0
    assert len(found) == 15 and all(result["gaps"].keys() == METRICS.keys() for result in found)
