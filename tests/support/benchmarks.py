"""A synthetic benchmark and scores of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import expit

from avwitness.evaluation.benchmarks.score_file import INTERVALS, MatchedScores


def benchmark(count: int, seed: int = 0, power: float = 3.0) -> tuple[pd.DataFrame, MatchedScores]:
    """Clips of 40 people in four categories, and scores that differ by ``power`` standard deviations in either stream."""
    rng = np.random.default_rng(seed)
    number = np.arange(count)
    category = np.array(["RVRA", "RVFA", "FVRA-WL", "FVFA-GAN"])[number % 4]
    labels = {"video": np.isin(category, ["FVRA-WL", "FVFA-GAN"]).astype(int), "audio": np.isin(category, ["RVFA", "FVFA-GAN"]).astype(int)}
    table = pd.DataFrame(
        {
            "path": number.astype(str),
            "identity": [f"p{i}" for i in number // 4 % 40],
            "source_clip": [f"s{i}" for i in number // 4],
            "split": "test",
            "category": category,
            "method": np.where(category == "RVRA", "real", category),
            "language": "",
            "gender": np.where(number // 4 % 2, "women", "men"),
            "ethnicity": "",
            "age": "",
            "has_video": True,
            "has_audio": True,
            **{f"{stream}_label": pd.array(label, dtype="Int8") for stream, label in labels.items()},
            "file_label": pd.array([pd.NA] * count, dtype="Int8"),
            "video_intervals": "",
            "audio_intervals": "",
            "problem": "",
        }
    )
    p = {f"p_{s}": expit(rng.normal(0, 1, count) + power * (label - 0.5)) for s, label in labels.items()}
    scores = pd.DataFrame({"path": number.astype(str), **p, "p_fake": 1.0 - (1.0 - p["p_video"]) * (1.0 - p["p_audio"]), "status": "ok"})
    scores[list(INTERVALS)] = ""
    return table, MatchedScores(scores)
