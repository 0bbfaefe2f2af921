"""Landmarks and features of files, computed once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from avwitness.avsr.whisper.encoder import WhisperAudioEncoder, WhisperEncoderConfig
from avwitness.detector.training.synchronisation import recordings as module
from avwitness.detector.training.synchronisation.recordings import ORIGINALS, field_recordings, load_recordings

SAMPLES = Path(__file__).parents[4] / "samples"


@pytest.fixture(scope="module")
def encoder() -> WhisperAudioEncoder:
    torch.manual_seed(0)
    return WhisperAudioEncoder(WhisperEncoderConfig(width=8, heads=2, feed_forward=16, layers=1)).eval()


@pytest.mark.slow
def test_files_are_read_once_and_bad_ones_are_named(encoder: WhisperAudioEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    files, hooked = [SAMPLES / "font.mp4", broken], list[tuple[int, int]]()
    found, failures = load_recordings(files, ["a", "b"], encoder, 1, tmp_path / "cache", lambda a, b: hooked.append((a, b)))
    (recording,) = found[0]
    assert recording.page == "a" and recording.frames == len(recording.lips) == len(recording.features) // 2 > 100
    assert recording.lips.shape[1:] == (40, 2) and recording.features.shape[1] == 8 and recording.n_faces == 1
    assert found[1] == [] and len(failures) == 1 and "broken.mp4" in failures[0] and hooked == [(1, 2), (2, 2)]

    def refuse(*_: object) -> None:
        raise AssertionError("was read again")

    monkeypatch.setattr(module, "_arrays", refuse)
    again, _ = load_recordings([files[0]], ["a"], encoder, 1, tmp_path / "cache")
    assert np.array_equal(again[0][0].lips, recording.lips)
    with pytest.raises(AssertionError, match="read again"):  # another layer is another cache
        load_recordings([files[0]], ["a"], encoder, 0, tmp_path / "cache")


@pytest.mark.slow
def test_originals_take_the_place_of_clips(encoder: WhisperAudioEncoder, tmp_path: Path) -> None:
    shutil.copy(SAMPLES / "opt.mp4", tmp_path / "whole.mp4")
    pd.DataFrame({"path": ["clips/one.mp4"], "file": ["whole.mp4"]}).to_csv(tmp_path / ORIGINALS, index=False)
    table = pd.DataFrame(
        {"file": [SAMPLES / "font.mp4", SAMPLES / "osm-net.mp4"], "path": ["clips/one.mp4", "clips/two.mp4"], "page": ["a", "b"]}
    )
    clips, _ = field_recordings(table, encoder, 1, tmp_path / "cache")
    assert [Path(r.name.split("#")[0]).name for r in clips] == ["font.mp4", "osm-net.mp4"]
    longer, failures = field_recordings(table, encoder, 1, tmp_path / "cache", tmp_path)
    assert [Path(r.name.split("#")[0]).name for r in longer] == ["whole.mp4", "osm-net.mp4"] and not failures
    assert [r.page for r in longer] == ["a", "b"]
