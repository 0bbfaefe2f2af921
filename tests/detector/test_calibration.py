from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import expit

from avwitness.detector.calibration import Calibration, StreamCalibration, balanced_weights
from avwitness.detector.reliability import equal_mass_bins, expected_calibration_error, reliability
from avwitness.detector.thresholds import balanced_threshold, fpr_thresholds
from avwitness.evaluation.metrics.ranking import tpr_at_balanced_fpr
from avwitness.evaluation.metrics.reliability_plot import draw_reliability

Clips = tuple[np.ndarray, np.ndarray]


def logistic_clips(count: int = 4000, seed: int = 0) -> Clips:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.0, 2.0, count)
    return logits, (rng.random(count) < expit(1.5 * logits)).astype(int)


def stepped_clips(count: int = 4000, seed: int = 0) -> Clips:
    """Uninformative logits on either side of a step: one fake in five below it, four in five above."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.0, 2.0, count)
    return logits, (rng.random(count) < np.where(logits > 0.0, 0.8, 0.2)).astype(int)


# Mappings


def test_platt_scaling_recovers_probabilities() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0.0, 2.0, 8000)
    labels = (rng.random(8000) < expit(1.5 * logits - 0.5)).astype(int)
    fitted = StreamCalibration.fit(logits, labels, mapping="platt")
    # Classes are weighted alike, which moves the intercept but not the slope.
    assert fitted.slope == pytest.approx(1.5, abs=0.12)
    assert fitted.validated


def test_auto_selects_the_better_mapping() -> None:
    identities = np.arange(4000) // 10
    logistic = StreamCalibration.fit(*logistic_clips(), identities=identities)
    stepped = StreamCalibration.fit(*stepped_clips(), identities=identities)
    assert logistic.mapping == "platt"
    assert stepped.mapping == "isotonic"
    assert 2 <= len(stepped.knots) <= 40
    assert stepped.probability(-2.0) == pytest.approx(0.2, abs=0.05)
    assert stepped.probability(2.0) == pytest.approx(0.8, abs=0.05)
    logits, labels = stepped_clips(seed=1)
    platt = StreamCalibration.fit(*stepped_clips(), mapping="platt")
    assert expected_calibration_error(stepped.probability(logits), labels) < 0.03
    assert expected_calibration_error(platt.probability(logits), labels) > 0.05


def test_few_clips_select_platt() -> None:
    logits, labels = stepped_clips()
    assert StreamCalibration.fit(logits, labels, identities=np.arange(4000) % 4).mapping == "platt"
    assert StreamCalibration.fit(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([0, 0, 1, 1])).mapping == "platt"
    # All fakes are of one identity, so one fold cannot be learned from.
    assert StreamCalibration.fit(logits, labels, identities=np.where(labels == 1, 10, np.arange(4000) % 8)).mapping == "platt"


def test_identities_that_agree_by_chance_do_not_count_as_many_clips() -> None:
    """Twelve speakers with a bias each: clip by clip the isotonic map looks better, on speakers kept back it is not."""
    rng = np.random.default_rng(0)
    identities = np.repeat(np.arange(12), 100)
    logits = np.repeat(rng.normal(0.0, 2.0, 12), 100) + rng.normal(0.0, 0.1, 1200)
    biased = expit(logits + np.repeat(rng.normal(0.0, 2.0, 12), 100))
    labels = (rng.random(1200) < biased).astype(int)
    assert StreamCalibration.fit(logits, labels, identities=identities).mapping == "platt"
    assert StreamCalibration.fit(logits, labels).mapping == "isotonic"


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=20), st.floats(0.1, 5), st.floats(-3, 3))
def test_platt_probabilities_keep_the_order_of_the_logits(logits: list[float], slope: float, intercept: float) -> None:
    p = StreamCalibration(slope, intercept).probability(np.sort(logits))
    assert ((p >= 0.005) & (p <= 0.995)).all()
    assert (np.diff(p) >= 0).all()


@settings(deadline=None, max_examples=12)
@given(st.lists(st.tuples(st.floats(-9, 9), st.integers(0, 1)), min_size=2, max_size=80), st.lists(st.floats(-50, 50), min_size=2))
@example([(-1.0, 0), (-1.0, 0), (-6.0078125, 0)], [0.0, -1.2433699557478917e-169])
def test_isotonic_probabilities_increase_within_their_bounds(rows: list[tuple[float, int]], points: list[float]) -> None:
    logits, labels = np.array([0.0, 0.0, *(r[0] for r in rows)]), np.array([0, 1, *(r[1] for r in rows)])
    fitted = StreamCalibration.fit(logits, labels, mapping="isotonic")
    p = fitted.probability(np.sort(points))
    assert fitted.mapping == "isotonic"
    assert ((p >= 0.005 - 1e-12) & (p <= 0.995 + 1e-12)).all()
    assert (np.diff(p) >= -1e-12).all()  # interpolation rounds
    known = np.array(fitted.knots)
    assert len(known) <= 40
    assert (np.diff(known, axis=0) > 0).all()  # no ties within the clips it was fitted on


def test_classes_and_groups_are_balanced() -> None:
    labels = np.repeat([0, 1, 1], [100, 400, 900])
    groups = np.repeat(["a", "a", "b"], [100, 400, 900])
    weights = balanced_weights(labels, groups)
    assert weights.mean() == pytest.approx(1.0)
    assert weights[labels == 0].sum() == pytest.approx(weights[labels == 1].sum())
    large, small = (weights[(labels == 1) & (groups == g)].sum() for g in ("b", "a"))
    assert large / small == pytest.approx(np.sqrt(900 / 400))


def test_invalid_arguments_raise() -> None:
    with pytest.raises(ValueError, match="genuine and fake"):
        StreamCalibration.fit(np.zeros(4), np.ones(4, int))
    with pytest.raises(ValueError, match="auto, platt, isotonic"):
        StreamCalibration.fit(np.zeros(4), np.arange(4) % 2, mapping="beta")


def test_a_head_at_chance_or_worse_is_not_validated() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    for mapping in ("platt", "isotonic"):
        assert not StreamCalibration.fit(rng.normal(size=400), labels, mapping=mapping).validated
        assert not StreamCalibration.fit(-3.0 * labels + rng.normal(size=400), labels, mapping=mapping).validated


def test_power_is_lower_where_clips_share_few_identities() -> None:
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 200)
    identities = np.arange(400) // 40
    logits = 0.8 * labels + rng.normal(0.0, 1.5, 10)[identities] + rng.normal(0.0, 1.0, 400)
    logits = logits + 1.5 * labels * rng.normal(0.0, 1.0, 10)[identities]  # some identities are easier than others
    alone = StreamCalibration.fit(logits, labels, mapping="platt")
    together = StreamCalibration.fit(logits, labels, identities=identities, mapping="platt")
    assert together.power < alone.power


# Thresholds and band


def test_the_band_keeps_error_rates_in_the_worst_group() -> None:
    rng = np.random.default_rng(0)
    easy, hard = rng.normal(-3.0, 1.0, 400), rng.normal(-1.0, 1.0, 400)
    fakes = rng.normal(1.5, 1.0, 800)
    logits = np.concatenate([easy, hard, fakes])
    labels = np.repeat([0, 0, 1], [400, 400, 800])
    groups = np.concatenate([np.repeat(["easy", "hard"], 400), np.repeat(["easy", "hard"], 400)])
    fitted = StreamCalibration.fit(logits, labels, groups)
    for group in (easy, hard):
        assert (fitted.probability(group) > fitted.fake_above).mean() <= 0.05
        assert (fitted.probability(group) > fitted.thresholds["at_1"]).mean() <= 0.01
    assert (fitted.probability(fakes) < fitted.genuine_below).mean() <= 0.05
    assert fitted.genuine_below <= 0.5 <= fitted.fake_above
    assert fitted.thresholds["at_5"] <= fitted.thresholds["at_1"]


def test_a_rare_method_lowers_the_lower_end_of_the_band() -> None:
    rng = np.random.default_rng(0)
    logits = np.concatenate([rng.normal(-2.0, 1.0, 500), rng.normal(2.0, 1.0, 480), rng.normal(-1.5, 0.5, 20)])
    labels = np.repeat([0, 1], 500)
    methods = np.repeat(["", "common", "rare"], [500, 480, 20])
    pooled = StreamCalibration.fit(logits, labels)
    balanced = StreamCalibration.fit(logits, labels, methods=methods)
    assert balanced.genuine_below < pooled.genuine_below
    p = balanced.probability(logits)
    assert np.mean([(p[methods == f] < balanced.genuine_below).mean() for f in ("common", "rare")]) <= 0.05


grouped = st.lists(st.tuples(st.integers(-40, 40), st.integers(0, 3)), min_size=1, max_size=300)


@given(grouped, st.floats(0.0, 0.5))
def test_balanced_threshold_keeps_its_rate_and_is_the_lowest(rows: list[tuple[int, int]], rate: float) -> None:
    scores, groups = np.array([r[0] for r in rows]) / 10.0, np.array([r[1] for r in rows])
    labels = np.zeros(len(rows), dtype=int)

    def alarms(threshold: float) -> float:
        return float(np.mean([(scores[groups == g] > threshold).mean() for g in np.unique(groups)]))

    threshold = balanced_threshold(scores, labels, groups, rate)
    assert alarms(threshold) <= rate + 1e-6
    lower = scores[scores < threshold]
    assert not len(lower) or alarms(float(lower.max())) > rate


@given(st.lists(st.integers(1, 260), min_size=1, max_size=4), st.integers(0, 2**32 - 1), st.sampled_from([0.02, 10.0]))
def test_thresholds_keep_the_fpr_of_every_group(sizes: list[int], seed: int, step: float) -> None:
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    p = expit(np.round((rng.normal(0.0, 2.0, len(sizes))[groups] + rng.normal(0.0, 1.0, len(groups))) * step) / step)  # with ties
    found = fpr_thresholds(p, groups)
    assert found["at_5"] <= found["at_1"]
    for name, rate, least in (("at_5", 0.05, 20), ("at_1", 0.01, 100)):
        for group, size in enumerate(sizes):
            if size >= least:
                assert (p[groups == group] > found[name]).mean() <= rate
        pool = np.flatnonzero(np.array(sizes) >= 20) if max(sizes) >= 20 else np.arange(len(sizes))
        assert np.mean([(p[groups == g] > found[name]).mean() for g in pool]) <= rate + 1e-6


def test_groups_too_small_for_one_percent_use_the_pooled_quantile() -> None:
    groups = np.repeat(["large", "small", "tiny"], [200, 50, 5])
    p = np.concatenate([np.linspace(0.0, 0.4, 200), np.linspace(0.0, 0.6, 50), np.full(5, 0.9)])
    found = fpr_thresholds(p, groups)
    of_small, of_large = p[groups == "small"], p[groups == "large"]
    assert found["at_5"] == pytest.approx(np.sort(of_small)[-3])
    pooled = balanced_threshold(p, (groups == "tiny").astype(int), groups, 0.01)
    assert found["at_1"] == pytest.approx(pooled)
    assert pooled > np.sort(of_large)[-3]
    assert fpr_thresholds(p[:200], groups[:200])["at_1"] == pytest.approx(np.sort(of_large)[-3])


def test_tpr_at_a_balanced_fpr() -> None:
    scores = np.concatenate([np.arange(100), 100 + np.arange(100), [94.5, 150.5, 190.5, 300.0]])
    labels = np.repeat([0, 0, 1], [100, 100, 4])
    groups = np.concatenate([np.repeat(["easy", "hard"], 100), np.repeat(["easy", "hard"], 2)])
    # One in ten of the hard group alone is one in twenty on the mean over both.
    assert balanced_threshold(scores, labels, groups, 0.05) == 189.0
    assert tpr_at_balanced_fpr(scores, labels, groups, 0.05) == 0.5
    assert np.isnan(tpr_at_balanced_fpr(scores[:200], labels[:200], groups[:200], 0.05))
    with pytest.raises(ValueError, match="genuine"):
        balanced_threshold(scores[200:], labels[200:], groups[200:], 0.05)


# The whole file


def test_labels_and_round_trip() -> None:
    stepped = StreamCalibration.fit(*stepped_clips(600), mapping="isotonic")
    calibration = Calibration(audio=StreamCalibration(genuine_below=0.2, fake_above=0.9), video=stepped, overall={"both": stepped})
    assert [calibration.audio.label(p) for p in (0.1, 0.5, 0.95)] == ["genuine", "inconclusive", "fake"]
    written = json.dumps(calibration.to_dict())
    assert json.loads(written) == calibration.to_dict()
    assert Calibration.from_dict(json.loads(written)) == calibration
    assert Calibration.from_dict({}) == Calibration()
    assert calibration.overall["video"] is stepped


def test_old_weights_still_load() -> None:
    old = {"slope": 1.05, "intercept": 0.53, "genuine_below": 0.29, "fake_above": 0.76, "power": 0.86}
    calibration = Calibration.from_dict({"audio": old, "video": {**old, "slope": 0.79}, "sync": {**old, "power": 0.15}})
    assert calibration.audio == StreamCalibration(1.05, 0.53, 0.29, 0.76, 0.86)
    assert calibration.audio.mapping == "platt"
    assert calibration.audio.thresholds == {}
    assert not calibration.sync.validated
    p_audio, p_video = calibration.audio.probability(1.0), calibration.video.probability(-1.0)
    assert calibration.overall_probability(1.0, -1.0) == pytest.approx(1.0 - (1.0 - p_audio) * (1.0 - p_video))


def test_absent_or_not_validated_streams_are_ignored() -> None:
    calibration = Calibration(audio=StreamCalibration(slope=2.0), video=StreamCalibration(slope=0.5))
    assert calibration.overall_probability(None, None) is None
    assert calibration.overall_probability(1.0, None) == calibration.audio.probability(1.0)
    assert calibration.overall_probability(None, 1.0) == calibration.video.probability(1.0)
    mute = Calibration(audio=StreamCalibration(power=0.5))
    assert mute.overall_probability(9.0, 1.0) == mute.video.probability(1.0)
    assert mute.overall_probability(9.0, None) is None


@given(st.floats(-20, 20), st.floats(-20, 20), st.floats(0, 5))
def test_one_fake_stream_suffices(audio: float, video: float, more: float) -> None:
    calibration = Calibration()
    both = calibration.combined(audio, video)
    most = max(calibration.audio.log_odds(audio), calibration.video.log_odds(video))
    assert most <= both <= most + np.log(2.0) + 1e-9
    assert calibration.combined(audio + more, video) >= both - 1e-9


def test_the_overall_probability_is_calibrated_on_files_with_two_streams() -> None:
    def files(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        fake = rng.random((2, 4000)) < 0.3
        logits = np.where(fake, 1.5, -1.5) + rng.normal(0.0, 1.0, (2, 4000))
        return logits[0], logits[1], fake.any(axis=0).astype(int)

    audio, video, labels = files(0)
    streams = Calibration(audio=StreamCalibration(slope=2.0), video=StreamCalibration(slope=2.0))
    calibration = streams.with_overall(audio, video, labels)
    assert set(calibration.overall) == {"audio", "video", "both"}
    assert calibration.audio == streams.audio
    audio, video, labels = files(1)
    p = np.array([calibration.overall_probability(a, v) for a, v in zip(audio, video, strict=True)])
    assert expected_calibration_error(p, labels, weights=balanced_weights(labels, np.zeros(4000))) < 0.03
    assert Calibration.from_dict(calibration.to_dict()) == calibration


# Reliability


def test_calibration_error_of_calibrated_and_of_shifted_probabilities() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(5000)
    labels = (rng.random(5000) < p).astype(int)
    assert expected_calibration_error(p, labels) < 0.03
    assert expected_calibration_error(np.clip(p + 0.2, 0, 1), labels) > 0.15
    assert expected_calibration_error(np.full(4, 0.75), np.array([1, 0, 1, 1])) == pytest.approx(0.0)
    assert expected_calibration_error(np.full(2, 0.9), np.array([1, 0]), weights=np.array([9.0, 1.0])) == pytest.approx(0.0)
    assert np.isnan(expected_calibration_error(np.zeros(0), np.zeros(0)))


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 1)), max_size=80), st.integers(1, 12))
def test_reliability_covers_every_clip_in_any_order(rows: list[tuple[int, int]], bins: int) -> None:
    p, labels = np.array([r[0] / 20 for r in rows]), np.array([r[1] for r in rows], dtype=int)
    stated, observed, count = reliability(p, labels, bins)
    assert len(stated) <= bins
    assert (count > 0).all()
    assert count.sum() == len(p)
    assert (np.diff(stated) > 0).all()
    assert (stated * count).sum() == pytest.approx(p.sum())
    assert (observed * count).sum() == pytest.approx(labels.sum())
    if len(p):
        assert 0.0 <= expected_calibration_error(p, labels, bins) <= 1.0
        turned = expected_calibration_error(p[::-1], labels[::-1], bins)
        assert turned == pytest.approx(expected_calibration_error(p, labels, bins))


def test_bins_hold_equal_mass_and_split_no_ties() -> None:
    assert np.bincount(equal_mass_bins(np.arange(100.0), 10)).tolist() == [10] * 10
    assert len(np.unique(equal_mass_bins(np.zeros(100), 10))) == 1
    weights = np.repeat([3.0, 1.0], 50)
    assert np.bincount(equal_mass_bins(np.arange(100.0), 2, weights), weights).tolist() == pytest.approx([100.0, 100.0], abs=3.0)


def test_a_reliability_plot_is_a_small_file(tmp_path: Path) -> None:
    file = tmp_path / "reliability.png"
    logits, labels = logistic_clips(500)
    draw_reliability({"audio": (expit(1.5 * logits), labels), "video": (expit(logits), labels)}, file)
    assert file.read_bytes().startswith(b"\x89PNG")
    assert file.stat().st_size < 60_000
