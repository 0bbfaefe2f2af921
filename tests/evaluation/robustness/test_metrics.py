from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avwitness.evaluation.metrics.bootstrap_curves import auc_difference
from avwitness.evaluation.metrics.ranking import auc
from avwitness.evaluation.robustness.metrics import condition_metrics

ROUNDS = 60


def rows(labels: np.ndarray, scores: np.ndarray, people: int = 20) -> pd.DataFrame:
    """Clips with audio alone: labels and scores of the audio and of the whole file."""
    count = len(labels)
    return pd.DataFrame(
        {
            "path": [f"{n}.wav" for n in range(count)],
            "identity": [f"p{n // 2 % people}" for n in range(count)],
            "source_clip": [f"s{n // 2}" for n in range(count)],
            "video_label": np.nan,
            "audio_label": labels.astype(float),
            "overall_label": labels.astype(float),
            "p_video": np.nan,
            "p_audio": scores,
            "p_fake": scores,
        }
    )


def made_up(power: float, seed: int = 0, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    return labels, 1.0 / (1.0 + np.exp(-(rng.normal(size=count) + power * (labels - 0.5))))


def audio(part: pd.DataFrame, control: pd.DataFrame) -> dict[str, Any]:
    found = {row["target"]: row for row in condition_metrics(part, control, ROUNDS, 0)}
    assert list(found) == ["audio", "overall"]  # a stream without labels is left out
    return found["audio"]


def test_metrics_of_a_condition() -> None:
    labels, scores = made_up(2.0)
    _, before = made_up(3.0)
    found = audio(rows(labels, scores), rows(labels, before))
    value, low, high = found["auc"]
    assert value == pytest.approx(auc(scores, labels)) and low < value < high
    assert found["change"][0] == pytest.approx(auc(scores, labels) - auc(before, labels))
    assert found["tpr"] == pytest.approx((scores[labels == 1] >= 0.5).mean())
    assert found["fpr"] == pytest.approx((scores[labels == 0] >= 0.5).mean())
    assert found["balanced_accuracy"] == pytest.approx((found["tpr"] + 1.0 - found["fpr"]) / 2.0)
    assert (found["fakes"], found["genuine"], found["shared"], found["coverage"], found["units"]) == (100, 100, 200, 1.0, "identities")


def test_missing_scores_lower_the_coverage() -> None:
    labels, scores = made_up(2.0)
    lost = np.arange(200) < 50
    whole = rows(labels, scores)
    found = audio(rows(labels, np.where(lost, np.nan, scores)), whole)
    assert found["coverage"] == 0.75 and found["fakes"] == 100
    assert found["auc"][0] == pytest.approx(auc(scores[~lost], labels[~lost])) != pytest.approx(auc(scores, labels))
    assert found["shared"] == 150 and found["change"] == [0.0, 0.0, 0.0]  # the control is computed on the same clips
    found = audio(whole, rows(labels, np.where(lost, np.nan, scores)))
    assert found["coverage"] == 1.0 and found["shared"] == 150 and found["change"] == [0.0, 0.0, 0.0]


def test_only_the_clips_of_a_condition_are_compared_with_the_control() -> None:
    labels, scores = made_up(2.0)
    whole = rows(labels, scores)
    part = whole[whole.index % 4 < 2]
    found = audio(part[::-1], whole)
    assert found["shared"] == 100 and found["change"][0] == 0.0


def test_paired_draws_detect_a_change_where_intervals_overlap() -> None:
    labels, scores = made_up(1.5)
    weaker = scores - 0.05 * labels + 0.01 * np.random.default_rng(1).normal(size=200)
    now, then = audio(rows(labels, weaker), rows(labels, scores)), audio(rows(labels, scores), rows(labels, scores))
    assert now["auc"][2] > then["auc"][1]
    assert now["change"][2] < 0.0


def test_undefined_metrics_are_none() -> None:
    labels, scores = made_up(2.0)
    nothing = audio(rows(labels, np.full(200, np.nan)), rows(labels, scores))
    assert nothing["coverage"] == 0.0 and nothing["auc"] == nothing["change"] == [None] * 3
    assert nothing["tpr"] is nothing["fpr"] is nothing["balanced_accuracy"] is None
    fakes = rows(labels, scores)[labels == 1]
    found = audio(fakes, fakes)
    assert found["auc"] == found["change"] == [None] * 3 and found["fpr"] is None and found["tpr"] > 0.5


@given(st.integers(0, 1000), st.integers(10, 30))  # five units or more: fewer have no interval
def test_auc_difference_is_antisymmetric(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    labels, units = np.arange(count) % 2, np.arange(count) // 2
    one, other = rng.random(count), rng.random(count).round(1)
    forth, back = (auc_difference(a, b, labels, units, 20, seed) for a, b in ((one, other), (other, one)))
    assert forth.value == pytest.approx(-back.value) and (forth.low, forth.high) == pytest.approx((-back.high, -back.low))
    assert auc_difference(one, 2.0 * one, labels, units, 20, seed).high == 0.0
