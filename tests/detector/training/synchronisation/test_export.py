"""A sync network is trained with fairseq2, calibrated on pages that it did not see, and becomes part of a detector."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_detector import clip, tiny

from avwitness.avsr.sync_network import SyncNetwork, SyncNetworkConfig
from avwitness.avsr.whisper.encoder import WhisperAudioEncoder, WhisperEncoderConfig
from avwitness.detector.audio_classifier import with_encoder
from avwitness.detector.inference.detector import load
from avwitness.detector.model import DetectorConfig, DualLabelDetector
from avwitness.detector.training.classifiers.export import with_classifier
from avwitness.detector.training.predict import predict
from avwitness.detector.training.synchronisation.config import SyncTrainConfig
from avwitness.detector.training.synchronisation.export import SyncData, export_sync, train_and_validate, validated_table
from avwitness.detector.training.synchronisation.recordings import Recording

NETWORK = {"layer": 1, "audio_width": 8, "hidden": 32, "width": 16, "dropout": 0.0}
CONFIG = SyncTrainConfig(network=NETWORK, steps=60, rounds=2, batch=6, frames=50, folds=2, learning_rate=5e-3, checkpoint_every=30)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    encoder = WhisperAudioEncoder(WhisperEncoderConfig(width=8, heads=2, feed_forward=16, layers=1))
    with_classifier(tiny(), with_encoder(encoder, (1,))).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.mark.slow
def test_training_finds_the_lags_and_the_detector_gets_the_network(
    recordings: list[Recording], synthetic_recording: Callable[..., Recording], base: Path, tmp_path: Path
) -> None:
    late = [synthetic_recording(f"late{n}#0", f"page{n % 8}", 150, 50 + n, 2) for n in range(8)]
    hooked: list[tuple[int, int]] = []
    trained = train_and_validate(
        SyncData(recordings, [*recordings, *late], []), CONFIG, tmp_path / "run", lambda a, b: hooked.append((a, b))
    )
    assert hooked == [(1, 2), (2, 2)]
    assert sorted(r.name for _, held in trained.folds for r in held) == sorted(r.name for r in recordings)
    table = validated_table(trained.folds, 2.0, 0)
    in_sync = table[table.kind == "in sync"].statistic
    assert table[table.kind != "in sync"].statistic.median() > in_sync.median() + 2.0
    again = train_and_validate(SyncData(recordings, recordings, []), CONFIG, tmp_path / "run")  # finished runs are kept
    assert all(torch.equal(a, b) for a, b in zip(trained.network.parameters(), again.network.parameters(), strict=True))

    out = export_sync(trained, base, CONFIG, tmp_path / "out", "the command")
    card = json.loads((out / "card.json").read_text())["sync_network"]
    assert card["command"] == "the command" and card["data"]["recordings"] == len(recordings) + len(late)
    detector = load(out, device="cpu")
    assert detector.model.sync_network is not None and detector.model.sync_head is None and detector.calibration.sync.validated


def test_the_network_compares_only_where_both_streams_are_there(base: Path) -> None:
    model = DualLabelDetector.from_pretrained(base)
    config = DetectorConfig.from_dict(model.config.to_dict() | {"sync_network": NETWORK})
    detector = DualLabelDetector(config).eval()
    lips = np.random.default_rng(0).uniform(30, 60, (40, 40, 2)).astype(np.float32)
    both = replace(clip(0, 40), lips=lips)
    table = predict(detector, [both, replace(both, waveform=None), replace(both, mouth=None, usable=None, face=None)])
    assert table.offset.notna().tolist() == [True, False, False]


def test_a_sync_network_needs_an_audio_classifier() -> None:
    with pytest.raises(ValueError, match="needs an audio classifier"):
        tiny(sync_network=NETWORK)
    assert SyncNetwork(SyncNetworkConfig(**NETWORK)).config.width == 16
