"""Waveforms, forged copies and statistics that the audio classifier is trained on, from a few short files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from avwitness.avsr.whisper.encoder import WhisperEncoderConfig
from avwitness.detector.audio_classifier import AudioClassifier, AudioClassifierConfig
from avwitness.detector.training.classifiers.audio_data import load_audio_samples
from avwitness.detector.training.classifiers.audio_statistics import AudioTrainConfig, clip_statistics, forged_clips, read_waveforms
from avwitness.media.encode import write_media

CONFIG = AudioClassifierConfig(WhisperEncoderConfig(width=32, heads=2, feed_forward=48, layers=1), (1,))


@pytest.fixture(scope="module")
def classifier() -> AudioClassifier:
    torch.manual_seed(0)
    return AudioClassifier(CONFIG).eval()


def voice(path: Path, seed: int = 0, samples: int = 16_000) -> Path:
    waveform = 0.1 * np.random.default_rng(seed).standard_normal(samples).astype(np.float32)
    return write_media(path, waveform=waveform, audio_codec="pcm_s16le")


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no sound")
    waveforms, known, failures = read_waveforms([voice(tmp_path / "a.wav"), voice(tmp_path / "short.wav", samples=1600), broken])
    assert known.tolist() == [True, False, False] and [len(w) for w in waveforms] == [16_000]
    assert len(failures) == 2 and "short.wav" in failures[0] and "broken.wav" in failures[1]


def test_statistics_come_from_the_cache(classifier: AudioClassifier, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    waveforms = [(0.1 * rng.standard_normal(16_000)).astype(np.float16) for _ in range(2)]
    statistics = clip_statistics(waveforms, classifier, tmp_path)
    assert statistics.shape == (2, 96) and np.isfinite(statistics).all()
    done: list[tuple[int, int]] = []
    torch.manual_seed(1)
    again = clip_statistics(waveforms, AudioClassifier(CONFIG).eval(), tmp_path, lambda a, b: done.append((a, b)))
    assert done[-1] == (2, 2) and not np.allclose(again, statistics)  # other weights, so nothing of the cache was taken
    (file, *_) = (tmp_path / next(p for p in tmp_path.iterdir() if len(list(p.iterdir())) == 2)).glob("*.npz")
    np.savez(file, statistics=np.zeros(96, np.float32))
    assert (clip_statistics(waveforms, classifier, tmp_path) == 0).all(axis=1).sum() <= 1
    assert np.array_equal(clip_statistics(waveforms[::-1], AudioClassifier(CONFIG).eval(), tmp_path / "x").shape, (2, 96))


def test_forged_clips_are_kept_by_voice(tmp_path: Path) -> None:
    file, short = voice(tmp_path / "voice.wav"), voice(tmp_path / "short.wav", samples=1600)
    config = AudioTrainConfig(voices=("griffin_lim", "lpc"), voices_per_clip=2)
    forged, sources = forged_clips([file, short], config, tmp_path / "cache")
    assert [len(w) for w in forged] == [16_000, 16_000] and sources.tolist() == [0, 0] and not np.allclose(forged[0], forged[1])
    kept = sorted((tmp_path / "cache").glob("*/*.npz"))
    assert len(kept) == 2
    np.savez(kept[0], waveform=np.zeros(5, np.float16))
    assert sorted(len(w) for w in forged_clips([file], config, tmp_path / "cache")[0]) == [5, 16_000]
    with pytest.raises(ValueError, match="no such voice"):
        forged_clips([file], AudioTrainConfig(voices=("theremin",)), tmp_path / "cache")


def test_clips_of_all_kinds_are_in_one_order(classifier: AudioClassifier, tmp_path: Path) -> None:
    field = tmp_path / "field"
    (field / "audio").mkdir(parents=True)
    rows = ["path,page,split,video_label,audio_label,kind,method,source_clip,language"]
    for number, label in enumerate((0, 1, 0)):
        voice(field / "audio" / f"{number}.wav", seed=number)
        rows.append(f"audio/{number}.wav,page{number},train,,{label},{'tts' if label else ''},m,s,en")
    (field / "manifest.csv").write_text("\n".join(rows) + "\n")
    config = AudioTrainConfig(voices=("griffin_lim",), voices_per_clip=1, forged_weight=0.5)
    clips = load_audio_samples(field, None, classifier, config, tmp_path / "cache")
    assert clips.samples.labels.tolist() == [0, 1, 0, 1, 1] and clips.samples.scored.tolist() == [True] * 3 + [False] * 2
    assert clips.samples.pages.tolist() == ["page0", "page1", "page2", "page0", "page2"]  # a copy has the page of its source
    assert clips.samples.weights.tolist() == [1, 1, 1, 0.5, 0.5] and len(clips.waveforms) == 5 and not clips.failures
    with pytest.raises(ValueError, match="no clip of the split test"):
        load_audio_samples(field, None, classifier, config, tmp_path / "cache", split="test")
    with torch.inference_mode():
        expected = classifier.statistics(torch.from_numpy(clips.waveforms[3].astype(np.float32))[None])[0].numpy()
    assert np.allclose(clips.samples.statistics[3], expected, atol=1e-5)
    with pytest.raises(ValueError, match="need --data"):
        load_audio_samples(field, None, classifier, AudioTrainConfig(genuine_corpora={"grid": 1}), tmp_path / "cache")
