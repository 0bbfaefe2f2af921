"""Tables of experiments from synthetic scores."""

import numpy as np
import pandas as pd
import pytest

from avwitness.detector.training.experiments import ExperimentConfig, runs_of
from avwitness.evaluation.reports.experiments import ablation_tables, across_seeds, left_out_table, scores_of


def predictions(variant: str, seed: int, power: float, case: str = "both", method: str = "self_blend") -> pd.DataFrame:
    """120 clips of 60 sources, the first of each forged in video or audio; fake and genuine differ by ``power`` standard deviations."""
    rng = np.random.default_rng((seed, len(variant)))
    rows = []
    for source in range(60):
        for fake in (1.0, 0.0):
            video, audio = (fake, 0.0) if source % 2 else (0.0, fake)
            rows.append(
                {
                    "path": f"{source}-{fake}",
                    "source": str(source),
                    "video_label": video,
                    "audio_label": audio,
                    "video_method": method if video else "genuine",
                    "audio_method": "world_copy" if audio else "genuine",
                    "video": rng.normal() + power * video,
                    "audio": rng.normal() + power * audio,
                    "spectral slope": -source % 7 - 10.0 * audio,
                    "bandwidth": 4000.0,
                    "level": np.nan if source % 3 else -20.0,
                    "mouth blur": rng.normal() + video,
                }
            )
    table = pd.DataFrame(rows).assign(variant=variant, seed=seed, case=case)
    return table.assign(**{f"{s}_{part}": table[s] for s in ("video", "audio") for part in ("speech", "artefacts")})


def test_differences_between_variants() -> None:
    good = pd.concat([predictions("a", seed, 4.0) for seed in (0, 1)])
    other = pd.concat([predictions("bb", seed, 4.0) for seed in (0, 1)])
    poor = pd.concat([predictions("ccc", seed, 0.0) for seed in (0, 1)])
    assert across_seeds(good, "video").value > 0.97
    gap = across_seeds(good, "video", poor)
    assert gap.low > 0.2
    even = across_seeds(good, "video", other)
    assert even.low <= 0.0 <= even.high or abs(even.value) < 0.02


def test_either_stream_makes_a_clip_fake() -> None:
    table = predictions("a", 0, 6.0)
    scores, labels = scores_of(table, "any")
    assert labels.sum() == 60
    assert scores[labels == 1].mean() > scores[labels == 0].mean() + 3.0


def test_rows_without_a_score_are_left_out() -> None:
    table = predictions("a", 0, 5.0)
    table.loc[::3, "video"] = np.nan
    assert across_seeds(table, "video").value > 0.9


def test_ablation_tables() -> None:
    config = ExperimentConfig(base={"schedule": {"steps": 5}}, seeds=(0,), variants={"pretrained, dual": {}, "audio alone": {}})
    table = pd.concat([predictions("pretrained, dual", 0, 3.0), predictions("audio alone", 0, 3.0, case="audio")])
    text = "\n".join(ablation_tables(table, config))
    assert "| pretrained, dual |" in text
    assert "| audio alone | - | - | - |" in text
    assert "| baseline: spectral slope | 0.7" in text  # half of the fakes have genuine audio
    assert "| 1.000 | - | 1.000 | - |" in text  # the orientation is corrected, and video tasks have no audio baseline
    assert "| baseline: bandwidth | 0.500 | 0.500 | - | 0.500 | - |" in text
    assert ablation_tables(table.head(0), config) == []


def test_left_out_table() -> None:
    config = ExperimentConfig(excluded_methods={"nothing": [], "blends": ["self_blend"]})
    table = pd.concat([predictions("without nothing", 0, 5.0), predictions("without blends", 0, 0.0)])
    lines = left_out_table(table, config)
    (row,) = [line for line in lines if line.startswith("| self_blend")]
    unseen, seen = (float(cell.split()[0]) for cell in row.split("|")[3:5])
    assert unseen < 0.75 < seen
    assert row.rstrip().endswith("(mouth blur) |")


def test_order_of_runs() -> None:
    config = ExperimentConfig(
        base={"schedule": {"steps": 7}},
        seeds=(0, 1),
        variants={"x": {}, "y": {"schedule": {"steps": 9}}},
        excluded_methods={"z": ["lpc"]},
        excluded_base={"schedule": {"steps": 3}},
    )
    found = runs_of(config)
    assert [(v.name, v.seed) for v in found] == [("x", 0), ("y", 0), ("x", 1), ("y", 1), ("without z", 0)]
    assert found[1].config.schedule.steps == 9
    assert found[-1].config.data.exclude_methods == ("lpc",)
    with pytest.raises(ValueError, match="nonsense"):
        runs_of(ExperimentConfig(variants={"x": {"nonsense": 1}}))
