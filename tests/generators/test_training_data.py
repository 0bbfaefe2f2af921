"""Training data of the generators: genuine rows of several manifests, and the decoded speech of clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from avwitness.generators.forge.plan import origins
from avwitness.generators.methods.source import Source
from avwitness.generators.training_data import SPEECH_PREFIX, TrainingData, read_genuine


def test_manifests_are_joined_and_a_fake_video_may_have_genuine_speech(tmp_path: Path) -> None:
    rows = [("a", 0, 0), ("b", 1, 0), ("c", 0, 1), ("d", None, 0), ("e", 0, None)]
    table = pd.DataFrame(rows, columns=["path", "video_label", "audio_label"]).assign(split="train")
    for name, more in (("first", {"corpus": "grid"}), ("second", {})):
        (tmp_path / name).mkdir()
        table.assign(**more).to_csv(tmp_path / name / "manifest.csv", index=False)
    both = [tmp_path / "first", tmp_path / "second" / "manifest.csv"]
    heard = read_genuine(both, "train", ("audio",))
    assert list(heard.path) == 2 * ["a", "b", "d"]
    assert list(heard.corpus) == 3 * ["grid"] + 3 * ["second"]
    assert list(read_genuine(both, "train").path) == 2 * ["a", "d", "e"]


def test_speech_is_decoded_once_and_without_faces(followed: dict[str, Source], people: Path, tmp_path: Path) -> None:
    rows = [(s.path, people / s.path, s.identity, "people", s.transcript) for s in followed.values()]
    table = pd.DataFrame(rows, columns=["path", "file", "identity", "corpus", "transcript"])
    clips = origins(table.assign(split="train", video_label=0, audio_label=0))
    data = TrainingData([*clips, *clips], tmp_path, 1)
    (failure,) = data.decode_speech()
    assert "hopper-silent" in failure
    speech = data.speech()
    assert len(speech) == sum(source.waveform is not None for source in followed.values()) == len(list(tmp_path.glob(f"{SPEECH_PREFIX}*")))
    assert all(waveform.dtype == np.float32 and len(waveform) > 16_000 for waveform in speech)
    assert data.faces() == [] and data.tracked_speech() == []
