from __future__ import annotations

import numpy as np
import pytest
from avwitness.detector.calibration import Calibration, StreamCalibration, sync_statistic
from hypothesis import given
from hypothesis import strategies as st


def test_platt_scaling_recovers_probabilities() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0.0, 2.0, 8000)
    labels = (rng.random(8000) < 1.0 / (1.0 + np.exp(-(1.5 * logits - 0.5)))).astype(int)
    fitted = StreamCalibration.fit(logits, labels)
    # Classes are weighted alike, which moves the intercept but not the slope.
    assert fitted.slope == pytest.approx(1.5, abs=0.12)
    assert fitted.proven


def test_a_head_at_chance_or_worse_is_not_proven() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    assert not StreamCalibration.fit(rng.normal(size=400), labels).proven
    assert not StreamCalibration.fit(-3.0 * labels + rng.normal(size=400), labels).proven


def test_the_band_keeps_error_rates_and_listens_to_the_worst_group() -> None:
    rng = np.random.default_rng(0)
    easy, hard = rng.normal(-3.0, 1.0, 400), rng.normal(-1.0, 1.0, 400)
    fakes = rng.normal(1.5, 1.0, 800)
    logits = np.concatenate([easy, hard, fakes])
    labels = np.repeat([0, 0, 1], [400, 400, 800])
    groups = np.concatenate([np.repeat(["easy", "hard"], 400), np.repeat(["easy", "hard"], 400)])
    fitted = StreamCalibration.fit(logits, labels, groups)
    for group in (easy, hard):
        assert (fitted.probability(group) > fitted.fake_above).mean() <= 0.055
    assert (fitted.probability(fakes) < fitted.genuine_below).mean() <= 0.055


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=20), st.floats(0.1, 5), st.floats(-3, 3))
def test_probabilities_keep_the_order_of_the_logits(logits: list[float], slope: float, intercept: float) -> None:
    p = StreamCalibration(slope, intercept).probability(np.sort(logits))
    assert ((p >= 0) & (p <= 1)).all()
    assert (np.diff(p) >= 0).all()


def test_labels_and_round_trip() -> None:
    calibration = Calibration(audio=StreamCalibration(genuine_below=0.2, fake_above=0.9))
    assert [calibration.audio.label(p) for p in (0.1, 0.5, 0.95)] == ["genuine", "inconclusive", "fake"]
    assert Calibration.from_dict(calibration.to_dict()) == calibration
    assert Calibration.from_dict({}) == Calibration()


def test_one_class_cannot_be_calibrated() -> None:
    with pytest.raises(ValueError, match="genuine and fake"):
        StreamCalibration.fit(np.zeros(4), np.ones(4, int))


def test_sync_statistic_prefers_a_peak_in_the_middle() -> None:
    rng = np.random.default_rng(0)
    flat = 0.05 * rng.standard_normal(31)
    peaked, shifted = flat.copy(), flat.copy()
    peaked[15] += 1.0
    shifted[2] += 1.0
    assert sync_statistic(peaked) < sync_statistic(flat) < sync_statistic(shifted) + 1.0
