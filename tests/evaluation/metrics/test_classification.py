from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as sk

from avwitness.evaluation.metrics.classification import calibration_error, multi_label_metrics, threshold_metrics
from avwitness.evaluation.metrics.ranking import auc, average_precision, delong, tpr_at_fpr

rows = st.lists(st.tuples(st.sampled_from((0.0, 0.1, 0.3, 0.5, 0.50001, 0.9, 1.0)), st.integers(0, 1)), min_size=4, max_size=60)


def arrays(drawn: list[tuple[float, int]]) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = (np.array(column) for column in zip(*drawn, strict=True))
    assume(0 < labels.sum() < len(labels))
    return scores, labels


@given(rows)
def test_metrics_agree_with_scikit_learn(drawn: list[tuple[float, int]]) -> None:
    scores, labels = arrays(drawn)
    said = (scores >= 0.5).astype(int)
    assert auc(scores, labels) == pytest.approx(sk.roc_auc_score(labels, scores))
    assert average_precision(scores, labels) == pytest.approx(sk.average_precision_score(labels, scores))
    found = threshold_metrics(scores, labels)
    assert found.accuracy == pytest.approx(sk.accuracy_score(labels, said))
    assert found.balanced_accuracy == pytest.approx(sk.balanced_accuracy_score(labels, said))
    assert found.f1 == pytest.approx(sk.f1_score(labels, said, zero_division=0.0))
    assert found.recall == pytest.approx(sk.recall_score(labels, said))


@given(rows, st.sampled_from((0.01, 0.05, 0.3)))
def test_tpr_at_fpr_is_the_largest_within_the_fpr(drawn: list[tuple[float, int]], rate: float) -> None:
    scores, labels = arrays(drawn)
    alarms, hits, _ = sk.roc_curve(labels, scores, drop_intermediate=False)
    assert tpr_at_fpr(scores, labels, rate) == pytest.approx(hits[alarms <= rate + 1e-12].max())


def test_single_class_has_no_metrics() -> None:
    scores = np.array([0.2, 0.8])
    assert np.isnan(average_precision(scores, np.ones(2))) and np.isnan(tpr_at_fpr(scores, np.zeros(2), 0.05))
    assert threshold_metrics(scores, np.zeros(2)).accuracy == 0.5 and np.isnan(threshold_metrics(scores, np.zeros(2)).recall)
    assert np.isnan(calibration_error(np.array([-1.0, 2.0]), np.array([0, 1])))


@given(st.integers(0, 1000))
def test_multi_label_metrics_agree_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, scores = rng.integers(0, 2, (40, 2)).astype(float), rng.random((40, 2))
    names = ("video", "audio")
    found = multi_label_metrics({n: scores[:, i] for i, n in enumerate(names)}, {n: truth[:, i] for i, n in enumerate(names)})
    said = (scores >= 0.5).astype(int)
    for average, (p, r) in {"micro": (found.op, found.or_), "macro": (found.cp, found.cr)}.items():
        assert p == pytest.approx(sk.precision_score(truth, said, average=average, zero_division=0.0))
        assert r == pytest.approx(sk.recall_score(truth, said, average=average))
    assert found.of1 == pytest.approx(sk.f1_score(truth, said, average="micro"))
    assert found.cf1 == pytest.approx(2 * found.cp * found.cr / (found.cp + found.cr))


def test_unknown_labels_are_left_out() -> None:
    labels = {"video": np.array([1.0, 0.0, np.nan]), "audio": np.array([1.0, np.nan, np.nan])}
    scores = {"video": np.array([0.9, 0.1, 0.9]), "audio": np.array([np.nan, 0.9, 0.9])}
    found = multi_label_metrics(scores, labels)
    assert (found.op, found.or_) == (1.0, 1.0)


def test_delong_agrees_with_a_bootstrap() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 300)
    common = labels + rng.normal(0, 1, 600)
    first, second = common + rng.normal(0, 0.4, 600), common + rng.normal(0, 1.2, 600)
    found = delong(first, second, labels)
    assert found.first == pytest.approx(auc(first, labels)) and found.second == pytest.approx(auc(second, labels))
    gaps = []
    for _ in range(600):
        drawn = np.concatenate([rng.integers(0, 300, 300), 300 + rng.integers(0, 300, 300)])
        gaps.append(auc(first[drawn], labels[drawn]) - auc(second[drawn], labels[drawn]))
    assert found.error == pytest.approx(np.std(gaps), rel=0.15)
    assert found.p < 0.01
    assert delong(first, first, labels).p == 1.0
    with pytest.raises(ValueError, match="two fakes"):
        delong(first[:301], second[:301], labels[:301])


def test_p_values_of_equal_detectors_are_uniform() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 60)
    values = [delong(labels + rng.normal(0, 1, 120), labels + rng.normal(0, 1, 120), labels).p for _ in range(400)]
    assert 0.02 < np.mean(np.array(values) < 0.05) < 0.09
