"""Targets, baselines, bootstrap units and intervals."""

from __future__ import annotations

import numpy as np
import pytest

from avwitness.evaluation.metrics.baselines import NO, YES, ScoredRows, baseline_auc, exceeds_baselines
from avwitness.evaluation.metrics.bootstrap import IDENTITIES, MIXED, SOURCE_CLIPS, Interval, bootstrap, bootstrap_units, percent, wilson
from avwitness.evaluation.reports.detection.targets import TARGETS, UNKNOWN, Target, chosen_targets, targets_table


def test_outcomes() -> None:
    assert Target("a", Interval(0.97, 0.95, 0.98), 0.95).outcome == "met by 0.020, within the interval"
    assert Target("a", Interval(0.97, 0.96, 0.98), 0.95).outcome == "met by 0.020"
    assert Target("a", Interval(0.80, 0.70, 0.90), 0.95).outcome == "missed by 0.150"
    assert Target("a", Interval(0.02, 0.0, 0.04), 0.05, at_most=True).outcome == "met by 0.030"
    assert Target("a", Interval(0.50, 0.40, 0.60), 0.05, at_most=True).outcome == "missed by 0.450"
    assert Target("a", UNKNOWN, 0.95).outcome == "not measured"


def test_every_target_has_a_line() -> None:
    lines = targets_table(chosen_targets({"wav2lip mixed": Interval(0.93, 0.9, 0.95)}))
    assert len([line for line in lines if line]) == len(TARGETS) + 2
    assert sum("not measured" in line for line in lines) == len(TARGETS) - 1
    assert "| AUC, Wav2Lip over all speakers | >= 0.92 | 0.930 [0.900, 0.950] | met by 0.010, within the interval |" in lines


def test_exceeds_baselines() -> None:
    assert exceeds_baselines(Interval(0.9, 0.85, 0.95), {"a": 0.8, "b": float("nan")}) == YES
    assert exceeds_baselines(Interval(0.9, 0.85, 0.95), {"a": 0.86}) == NO
    assert exceeds_baselines(Interval(0.55, 0.48, 0.6), {}) == NO  # 0.5 is a baseline, too
    assert exceeds_baselines(UNKNOWN, {}) == "-"
    labels = np.array([0, 0, 1, 1])
    assert baseline_auc(np.array([3.0, 4.0, 1.0, 2.0]), labels) == 1.0
    assert baseline_auc(np.array([3.0, np.nan, 1.0, np.nan]), labels) == 1.0
    assert np.isnan(baseline_auc(np.full(4, np.nan), labels))


def test_bootstrap_units() -> None:
    names, clips = np.array(list("abcde")), np.arange(5)
    assert bootstrap_units(names, clips)[1] == IDENTITIES
    assert bootstrap_units(np.array(list("abcdd")), clips)[1] == SOURCE_CLIPS
    units, name = bootstrap_units(np.array(["a", "b", "c", "d", "e", ""]), np.arange(6))
    assert name == MIXED and units.tolist() == ["a", "b", "c", "d", "e", "clip 5"]


def test_intervals() -> None:
    values = np.random.default_rng(0).normal(size=400)
    fine = bootstrap(lambda rows: float(values[rows].mean()), np.arange(400))
    assert fine.low < fine.value < fine.high and fine.high - fine.low == pytest.approx(4 / 20, rel=0.2)
    assert fine == bootstrap(lambda rows: float(values[rows].mean()), np.arange(400))
    assert np.isnan(bootstrap(lambda rows: 1.0, np.zeros(0)).value)
    none = wilson(0, 20)
    assert (none.value, none.low) == (0.0, 0.0) and none.high == pytest.approx(0.161, abs=1e-3)
    assert percent(wilson(10, 20)) == "50 % [30 %, 70 %]"
    assert percent(wilson(0, 0)) == "-"


def test_rows_without_a_score_are_left_out() -> None:
    order = ScoredRows(np.array([0.1, np.nan, 0.9]), np.array([0, 1, 1]), np.arange(3), np.array(["x"] * 3), {"r": np.arange(3.0)}).scored()
    assert order.counts == "1 / 1"
    assert order.baselines["r"].tolist() == [0.0, 2.0]
    assert order.tpr_at_fpr(0.05, 0).value == 1.0
