"""The section on the audio classifier, on samples that are made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from avwitness.avsr.whisper.encoder import WhisperAudioEncoder, WhisperEncoderConfig
from avwitness.detector.calibration import StreamCalibration
from avwitness.detector.training.classifiers.audio_data import AudioSamples
from avwitness.detector.training.classifiers.audio_statistics import AudioTrainConfig
from avwitness.detector.training.classifiers.fine_tuning import FineTuning
from avwitness.detector.training.classifiers.linear import PageSamples
from avwitness.evaluation.reports import audio
from avwitness.evaluation.reports.audio import BASELINES, write_audio
from avwitness.evaluation.reports.page_figures import coverage_lines, figures, fpr_lines, pair_share


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
            "method": np.where(labels == 1, "vits", ""),
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
def test_the_section_has_every_table(table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    encoder = WhisperAudioEncoder(WhisperEncoderConfig(width=32, heads=2, feed_forward=48, layers=2))
    statistics = rng.standard_normal((len(table), 3 * 3 * 32)).astype(np.float32)
    statistics[:, 3 * 32 : 3 * 32 + 4] += 3.0 * table.label.to_numpy()[:, None]  # in layer 1
    corpus = PageSamples.of(statistics[:12], np.tile([0, 1], 6), np.full(12, "corpus"), 0.5, scored=False)
    samples = PageSamples.of(statistics, table.label.to_numpy(), table.page.to_numpy()).with_more(corpus)
    waveforms = [(0.1 * rng.standard_normal(8000)).astype(np.float16) for _ in range(len(samples.labels))]
    baselines = pd.DataFrame({name: rng.standard_normal(len(table)) for name in BASELINES})
    baselines.assign(**{"band limit": 3000.0}).to_csv(tmp_path / "audio-baselines.csv", index=False)
    monkeypatch.setattr(audio, "SCRATCH", FineTuning(epochs=1, seconds=0.5))
    out = tmp_path / "RESULTS.md"
    before = pd.Series(rng.standard_normal(len(table)), index=table.path)
    config = AudioTrainConfig(layers=(1, 2), penalty=0.01)
    write_audio(AudioSamples(table, samples, waveforms, []), encoder, config, tmp_path, out, before)
    text = out.read_text()
    headings = ("Ranking", "Ablations", "By kind, language, band limit and method", "Learning curve", "Coverage", "FPR of genuine pages")
    assert "## Audio classifier" in text and all(f"### {heading}" in text for heading in headings)
    rows = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in text.splitlines() if line.startswith("| ")}
    auc = {name: float(cell.split()[0]) for name, cell in rows.items() if cell[:2] in ("0.", "1.")}
    assert auc["cross-validation, train"] > 0.9 and auc["val, trained on train"] > 0.9
    assert auc["the same, layer 1 alone"] > 0.9 > 0.7 > auc["the same, layer 0 alone"]
    assert abs(auc["the same, encoder from scratch"] - 0.5) < 0.3  # the waveforms are noise
    assert abs(auc["the detector before, train and val"] - 0.5) < 0.2 and "baseline: level, better direction, train and val" in auc
    assert "| kind | tts |" in text and "| band limit in Hz, genuine ones of it too | (0.0, 4000.0] |" in text


def test_the_surest_recordings_are_wrong_least_often(table: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal(len(table)) + 1.5 * table.label.to_numpy()
    text = coverage_lines(logits, table, StreamCalibration(1.0, -0.75, 0.4, 0.6), 0)
    risk = {line.split("|")[1].strip(): float(line.split("|")[3].split()[0]) for line in text if "% |" in line}
    assert risk["25 %"] < risk["50 %"] < risk["100 %"]


def test_fpr_of_every_page_with_enough_clips(table: pd.DataFrame) -> None:
    logits = np.where(table.page == "page0", 5.0, 0.0)
    text = "\n".join(fpr_lines(logits, pd.concat([table, table]).reset_index(drop=True).iloc[: len(table)], 1.0))
    assert "FPR" in text and "page0" not in text  # four genuine clips are too few for a row
    large = pd.concat([table, table], ignore_index=True)
    assert "| page0 | 8 | 100 % |" in "\n".join(fpr_lines(np.tile(logits, 2), large, 1.0))
