"""The tables on the sync network, from networks and recordings with a known answer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from avwitness.detector.training.synchronisation.config import SyncTrainConfig
from avwitness.evaluation.reports.synchronisation import fusion_lines, variants


def table(gain: float, clips: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    label = np.arange(clips) % 2
    return pd.DataFrame(
        {
            "label": label,
            "page": [f"page{n // 10}" for n in range(clips)],
            "source_clip": [f"source{n // 2}" for n in range(clips)],
            "split": np.where(np.arange(clips) < clips // 2, "train", "val"),
            "face": rng.standard_normal(clips) + label,
            "sync": rng.standard_normal(clips) + gain * label,
        }
    )


def cell(lines: list[str], name: str) -> float:
    row = next(line for line in lines if line.startswith(f"| {name} "))
    return float(row.split("|")[2].split()[0])


@pytest.mark.slow
def test_a_statistic_that_tells_fakes_adds_to_the_face_model_and_noise_does_not() -> None:
    helpful, useless = fusion_lines(table(1.5), 0), fusion_lines(table(0.0), 0)
    assert cell(helpful, "both") > cell(helpful, "face model") + 0.05
    assert abs(cell(useless, "both") - cell(useless, "face model")) < 0.03
    assert "200 fakes" not in helpful[0] and "100 fakes" in helpful[0]


def test_every_variant_differs_from_the_first_in_one_thing() -> None:
    config = SyncTrainConfig(network={"layer": 2}, genuine_corpora={"grid": 4})
    (first, one, longer), *others = variants(config, originals=True)
    assert first == "one round" and one.rounds == 1 and longer
    changed = [sum(getattr(settings, name) != value for name, value in vars(one).items()) + (not whole) for _, settings, whole in others]
    assert changed == [1] * 4 and len({name for name, _, _ in others}) == 4
    assert len(list(variants(config, originals=False))) == 4
