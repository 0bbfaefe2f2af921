from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avwitness.evaluation.auditing.statistics import bandwidth, level, mouth_blur, spectral_slope
from avwitness.evaluation.metrics.bootstrap import Interval, bootstrap
from avwitness.evaluation.metrics.ranking import auc, eer


def test_perfect_constant_and_inverted_scores() -> None:
    labels = np.repeat([0, 1], 50)
    assert auc(labels.astype(float), labels) == 1.0
    assert auc(-labels.astype(float), labels) == 0.0
    assert auc(np.zeros(100), labels) == 0.5
    assert eer(labels.astype(float), labels) == 0.0
    assert np.isnan(auc(np.zeros(3), np.ones(3, int)))
    assert np.isnan(eer(np.zeros(3), np.ones(3, int)))


@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 1)), min_size=4, max_size=60))
def test_auc_counts_pairs(rows: list[tuple[float, int]]) -> None:
    scores, labels = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    fakes, genuine = scores[labels == 1], scores[labels == 0]
    if len(fakes) and len(genuine):
        pairs = (fakes[:, None] > genuine).mean() + 0.5 * (fakes[:, None] == genuine).mean()
        assert auc(scores, labels) == pytest.approx(pairs)


def test_bootstrap_is_seeded_and_wider_for_fewer_units() -> None:
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 200)
    scores = labels + rng.normal(0, 1.0, 400)

    def interval(units: np.ndarray, seed: int = 0) -> Interval:
        return bootstrap(lambda rows: auc(scores[rows], labels[rows]), units, seed)

    fine, again, coarse = (interval(units) for units in (np.arange(400), np.arange(400), np.arange(400) // 40))
    assert fine == again
    assert fine.low < fine.value < fine.high
    assert coarse.low <= coarse.value <= coarse.high
    assert interval(np.arange(400), seed=1) != fine
    assert np.isnan(interval(np.arange(400) // 100).low)  # four units are too few


def test_baselines_on_known_signals() -> None:
    rng = np.random.default_rng(0)
    white = rng.standard_normal(16_000).astype(np.float32) * 0.1
    dull = np.convolve(white, np.ones(8) / 8, mode="same")
    assert spectral_slope(dull) < spectral_slope(white) - 1.0
    assert bandwidth(dull) < bandwidth(white)
    assert level(0.1 * white) == pytest.approx(level(white) - 20.0, abs=0.01)
    sharp = rng.integers(0, 255, (5, 96, 96)).astype(np.uint8)
    soft = (sharp // 4 + 96).astype(np.uint8)
    assert mouth_blur(soft, np.ones(5, bool)) > mouth_blur(sharp, np.ones(5, bool))
    assert np.isnan(mouth_blur(sharp, np.zeros(5, bool)))
    assert np.isnan(bandwidth(np.zeros(0)))
