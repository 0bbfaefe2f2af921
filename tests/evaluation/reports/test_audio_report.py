"""The section on the audio classifier, on samples that are made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from avwitness.detector.training.classifiers.audio_statistics import AudioTrainConfig
from avwitness.detector.training.classifiers.linear import PageSamples
from avwitness.evaluation.reports.audio import BASELINES, write_audio
from avwitness.evaluation.reports.page_figures import figures, fpr_lines, pair_share

WIDTH = 4


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    pages, clips = 14, 8
    labels = np.tile(np.arange(clips) % 2, pages)
    number = np.arange(pages * clips)
    return pd.DataFrame(
        {
            "path": [f"audio/{n}.flac" for n in number],
            "file": [f"/absent/{n}.flac" for n in number],
            "label": labels,
            "page": [f"page{n // clips}" for n in number],
            "split": np.where(number // clips < 10, "train", "val"),
            "source_clip": [f"source{n // 2}" for n in number],
            "category": np.where(labels == 1, "tts", "genuine"),
            "language": "en",
        }
    )


def test_pairs_are_of_one_source() -> None:
    scores, labels, sources = np.array([3.0, 1.0, 0.5, 1.0, 9.0]), np.array([1, 0, 1, 0, 1]), np.array(["a", "a", "b", "b", ""])
    assert pair_share(scores, labels, sources) == 0.5
    assert np.isnan(pair_share(scores, labels, np.array(["", "", "c", "d", "e"])))


def test_figures_leave_out_what_has_no_score(table: pd.DataFrame) -> None:
    scores = table.label.to_numpy(dtype=float)
    assert [interval.value for interval in figures(scores, table, 0)] == [1.0, 1.0, 1.0]
    scores[table.split == "val"] = np.nan
    assert figures(scores, table, 0)[0].value == 1.0


@pytest.mark.slow
def test_the_section_has_every_table(table: pd.DataFrame, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    statistics = rng.standard_normal((len(table), 3 * 2 * WIDTH)).astype(np.float32)
    statistics[:, 2 * WIDTH] += 3.0 * table.label  # in layer 1
    more = PageSamples.of(statistics[:6] + 1.0, np.ones(6, dtype=int), table.page[:6].to_numpy(), 0.2, scored=False)
    samples = PageSamples.of(statistics, table.label.to_numpy(), table.page.to_numpy()).with_more(more)
    pd.DataFrame({name: rng.standard_normal(len(table)) for name in BASELINES}).to_csv(tmp_path / "audio-baselines.csv", index=False)
    out = tmp_path / "RESULTS.md"
    before = pd.Series(rng.standard_normal(len(table)), index=table.path)
    write_audio(table, samples, WIDTH, AudioTrainConfig(layers=(1, 2), penalty=1.0), tmp_path, out, before)
    text = out.read_text()
    for heading in ("## Audio classifier", "### Ranking", "### By kind and language", "### Learning curve", "### FPR of genuine pages"):
        assert heading in text
    rows = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in text.splitlines() if line.startswith("| ")}
    auc = {name: float(cell.split()[0]) for name, cell in rows.items() if cell[:2] in ("0.", "1.")}
    assert auc["cross-validation, train"] > 0.9 and auc["val, fitted on train"] > 0.9
    assert auc["the same, layer 1 alone"] > 0.9 > 0.7 > auc["the same, layer 0 alone"]
    assert abs(auc["version 0.1, all"] - 0.5) < 0.2 and "baseline: level, better direction, all" in auc


def test_fpr_of_every_page_with_enough_clips(table: pd.DataFrame) -> None:
    logits = np.where(table.page == "page0", 5.0, 0.0)
    text = "\n".join(fpr_lines(logits, pd.concat([table, table]).reset_index(drop=True).iloc[: len(table)], 1.0))
    assert "FPR" in text and "page0" not in text  # four genuine clips are too few for a row
    large = pd.concat([table, table], ignore_index=True)
    assert "| page0 | 8 | 100 % |" in "\n".join(fpr_lines(np.tile(logits, 2), large, 1.0))
