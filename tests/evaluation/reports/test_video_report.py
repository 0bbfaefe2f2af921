from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from avwitness.detector.training.classifiers.linear import PageSamples
from avwitness.detector.training.classifiers.video_data import BASELINES, VideoTrainConfig
from avwitness.evaluation.reports.video import fit_on_train, write_video

PAGES, CLIPS = 16, 8


@pytest.mark.slow
def test_the_section_has_every_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    number = np.arange(PAGES * CLIPS)
    labels = number % 2
    table = pd.DataFrame(
        {
            "label": labels,
            "page": [f"page{n // CLIPS}" for n in number],
            "split": np.where(number // CLIPS < 11, "train", "val"),
            "source_clip": [f"source{n // 2}" for n in number],
            "category": np.where(labels == 0, "genuine", np.where(number // 2 % 2, "swap", "lipsync")),
            "method": np.where(labels == 1, "generator", ""),
            "face_px": rng.uniform(60, 250, len(number)),
            **{name: rng.standard_normal(len(number)) for name in BASELINES},
        }
    )
    statistics = rng.standard_normal((len(table), 30)).astype(np.float32)
    statistics[:, 25] += 3.0 * labels
    more = PageSamples.of(statistics[:6], np.zeros(6, dtype=int), np.full(6, "corpus"), scored=False)
    samples = PageSamples.of(statistics, labels, table.page.to_numpy()).with_more(more)
    out = tmp_path / "RESULTS.md"
    config = VideoTrainConfig(penalty=1.0)
    write_video(
        table,
        samples,
        fit_on_train(table, samples, config),
        [("patches of layer 7", 20), ("class token of layer 8", 10)],
        config,
        out,
        "tiny",
        3,
        [("a variant", statistics[:, 25])],
        ["### More"],
    )
    text = out.read_text()
    headings = (
        "Ranking",
        "Ablations",
        "By kind, method and size of the face",
        "Kinds that were not trained on",
        "Learning curve",
        "Coverage",
        "FPR of genuine pages",
    )
    assert "## Video classifier of `tiny`" in text and "<!-- video-tiny: begin -->" in text
    for heading in headings:
        assert f"### {heading}" in text
    unseen = text.split("### Kinds that were not trained on")[1].split("###")[0]
    assert [line.split("|")[2].strip() for line in unseen.splitlines() if line.startswith("| kind")] == ["lipsync", "swap"]
    assert "cannot be read: 3" in text
    rows = {
        line.split("|")[1].strip(): line.split("|")[2].strip()
        for line in text.split("### By kind")[0].splitlines()
        if line.startswith("| ")
    }
    auc = {name: float(cell.split()[0]) for name, cell in rows.items() if cell[:2] in ("0.", "1.")}
    assert auc["cross-validation, train"] > 0.85 and auc["val, fitted on train"] > 0.85
    assert auc["a variant"] > 0.85 and "### More" in text and "(90, 130]" in text
    assert auc["the same, class token of layer 8 alone"] > 0.85 > 0.7 > auc["the same, patches of layer 7 alone"]
