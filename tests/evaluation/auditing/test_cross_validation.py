from __future__ import annotations

import numpy as np
import pytest
from audited import rows

from avwitness.evaluation.auditing.cross_validation import make_folds, probe_auc
from avwitness.evaluation.auditing.results import Probe, is_leak
from avwitness.evaluation.metrics.bootstrap import Interval


def auc_of(x: np.ndarray, labels: np.ndarray, people: np.ndarray, seed: int = 0) -> Interval:
    return probe_auc(x.reshape(len(labels), -1), labels, make_folds(people, labels, seed), people, seed)


@pytest.mark.slow
def test_noise_is_no_leak() -> None:
    labels, people = rows(2000, 50)
    found = [auc_of(np.random.default_rng(seed).normal(size=(2000, 2)), labels, people, seed) for seed in range(10)]
    assert np.mean([auc.value for auc in found]) == pytest.approx(0.5, abs=0.01)
    assert sum(is_leak(auc) for auc in found) <= 1  # one in forty intervals lies above 0.5 by chance
    assert max(auc.value for auc in found) < 0.55


@pytest.mark.slow
def test_noise_is_not_inverted_by_unbalanced_folds() -> None:
    # Every person has one class and another number of clips, so no folds are balanced.
    rng = np.random.default_rng(0)
    sizes = rng.integers(5, 60, 14)
    people = np.repeat(np.arange(14), sizes)
    labels = people % 2
    values = [auc_of(rng.normal(size=len(people)), labels, people, seed).value for seed in range(12)]
    assert np.mean(values) == pytest.approx(0.5, abs=0.03)


@pytest.mark.slow
def test_non_monotonic_relations_are_found() -> None:
    rng = np.random.default_rng(0)
    labels, people = rows(400, 40)
    ring = np.where(labels == 1, rng.choice([-1, 1], 400) * rng.uniform(1.0, 2.0, 400), rng.uniform(-1.2, 1.2, 400))
    comb = np.where(labels == 1, rng.integers(0, 8, 400) / 4, rng.uniform(0, 2, 400))
    missing = np.where(labels == 1, np.nan, rng.normal(size=400))
    for x, least in ((ring, 0.85), (comb, 0.6), (missing, 0.99)):
        auc = auc_of(x, labels, people)
        assert auc.value > least
        assert auc.low > 0.5


@pytest.mark.slow
def test_identities_are_no_shortcut() -> None:
    # Each person has a pitch of their own and is one class: a classifier could recognise people of its training data.
    rng = np.random.default_rng(1)
    people = np.repeat(np.arange(40), 10)
    labels = people % 2
    pitch = rng.uniform(0, 1, 40)[people] + 0.001 * rng.normal(size=400)
    known = probe_auc(pitch[:, None], labels, np.arange(400) % 5, people)
    held_out = auc_of(pitch, labels, people)
    assert known.value > 0.8
    assert held_out.value < 0.6
    for fold in range(5):
        folds = make_folds(people, labels)
        assert not set(people[folds == fold]) & set(people[folds != fold])


def test_constant_and_missing_numbers() -> None:
    labels, people = rows(100, 20)
    assert auc_of(np.ones(100), labels, people) == Interval(0.5, 0.5, 0.5)
    assert probe_auc(np.zeros((100, 0)), labels, make_folds(people, labels), people).value == 0.5
    nothing = Probe("x", auc_of(np.full(100, np.nan), labels, people))
    assert nothing.verdict == "absent"
    assert not nothing.leak
