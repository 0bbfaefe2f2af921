"""Comparisons within speakers and quality, and groups from file names of wild clips."""

from __future__ import annotations

import numpy as np
import pytest

from avwitness.evaluation.metrics.ranking import auc
from avwitness.evaluation.reports.detection.matched import matched_shares, mean_within, nearest_genuine
from avwitness.evaluation.reports.detection.wild_clips import speaker_of, video_of


def test_mean_within_does_not_reward_speaker_identification() -> None:
    people = np.repeat(["a", "b", "c", ""], [4, 4, 2, 2])
    labels = np.array([0, 0, 1, 1, 0, 1, 1, 1, 1, 1, 0, 1])
    scores = np.array([0, 1, 2, 3, 10, 9, 11, 12, 20, 21, 5, 6], dtype=float)
    assert mean_within(auc, scores, labels, people) == pytest.approx((1.0 + 2 / 3) / 2)  # c has only fakes, and the last speaker is unknown
    assert np.isnan(mean_within(auc, scores[8:10], labels[8:10], people[8:10]))


def test_matching_by_quality() -> None:
    genuine = np.array([[0.0, 0.0], [0.1, 0.0], [5.0, 300.0], [5.1, 300.0]])
    matches = nearest_genuine(np.array([[0.04, 1.0], [5.2, 299.0]]), genuine, 2)
    assert [sorted(row) for row in matches.tolist()] == [[0, 1], [2, 3]]
    assert nearest_genuine(np.zeros((1, 2)), genuine[:1]).shape == (1, 1)
    shares = matched_shares(np.array([0.5, 0.5]), np.array([0.1, 0.5, 0.9, 0.9]), matches)
    assert shares.tolist() == [0.75, 0.0]


@pytest.mark.parametrize(
    ("path", "who"),
    [
        ("wild/wav2lip_quiz/org__lipreading_missing_words__good_afternoon.nicole1.mp4", "nicole"),
        ("wild/wav2lip_quiz/bucket_nicole_budget_indiantts_1334_2202_783_1_wav2lip_gan.mp4", "nicole"),
        ("wild/wav2lip_quiz/lipread_words__elisha_allegations.mp4", "elisha"),
        ("wild/wav2lip_quiz/lipread_sentences__lets_get_dessert.mp4", "jen"),
        ("wild/wav2lip_quiz/lipread_missing__here_is_your_bill.mp4", "sheri"),
        ("wild/wav2lip_quiz/lipread_sentences__something_else.mp4", ""),
        ("wild/hdtf/examples__ref_video__WDA_KatieHill_000.mp4", ""),
    ],
)
def test_speaker_of(path: str, who: str) -> None:
    assert speaker_of(path) == who


def test_video_of() -> None:
    assert (
        video_of("wild/lip2speech/10001_gt.mp4") == video_of("wild/lip2speech/10001_pred.mp4") != video_of("wild/lip2speech/10002_gt.mp4")
    )
    assert video_of("wild/mcgurk/Ba_Da.mp4") == video_of("wild/mcgurk/Ba_Ba.mp4") != video_of("wild/mcgurk/Da_Ba.mp4")
    assert video_of("wild/hdtf/a_b.mp4") == "wild/hdtf/a_b.mp4"
