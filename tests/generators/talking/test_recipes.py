"""Training recipes: from a table of clips to weights with a card, and from a ViCo folder to a listener."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from avwitness.datasets.genuine.vico import is_vico, read_vico, vico_clips
from avwitness.generators.methods.source import Source
from avwitness.generators.recipes import RECIPES, Settings, train_network
from avwitness.generators.talking.models.base import WINDOW
from avwitness.generators.talking.models.registry import HEADS, IDENTITY, RENDERER
from avwitness.generators.talking.training.motion_training import HeadTraining, ListenerTraining
from avwitness.generators.talking.training.renderer_training import STRIPS, RendererTraining
from avwitness.generators.training import CHECKPOINT
from avwitness.generators.weights import weights_missing_reason
from avwitness.media.encode import write_media

SHORT = 1.0 / 60.0  # minutes
TINY = {"keypoint_detector": 8, "flow": (8, 16, 16), "decoder": (8, 16, 16), "blocks": 1}


@pytest.fixture(scope="module")
def table(followed: dict[str, Source], people: Path) -> pd.DataFrame:
    rows = [(s.path, people / s.path, s.identity, "people", s.transcript) for s in followed.values()]
    made = pd.DataFrame(rows, columns=["path", "file", "identity", "corpus", "transcript"])
    return made.assign(split="train", video_label=0, audio_label=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        (RENDERER, RendererTraining(minutes=SHORT, batch=2, model=TINY, strip_every=1)),
        ("font", HeadTraining(minutes=SHORT, batch=2)),
    ],
)
def test_a_recipe_trains_writes_a_card_and_goes_on(
    name: str, settings: Settings, table: pd.DataFrame, people: Path, tmp_path: Path
) -> None:
    if name != RENDERER and (why := weights_missing_reason(RENDERER)):
        pytest.skip(why)
    run, out = tmp_path / "run", tmp_path / name
    assert train_network(name, settings, table, people / "tracks", run, out, 1) == out
    card = json.loads((out / "card.json").read_text())
    assert card["name"] == name and card["about"] == RECIPES[name].about and card["data"]["clips"] == {"people": 6}
    assert (run / CHECKPOINT).exists() and list((run / STRIPS).glob("*.jpg"))
    before = (out / "model.safetensors").read_bytes()
    train_network(name, settings, table, people / "tracks", run, out, 1)  # its time is spent
    assert (out / "model.safetensors").read_bytes() == before


def test_every_head_has_a_recipe() -> None:
    assert set(HEADS) | {RENDERER, IDENTITY} <= set(RECIPES)


@pytest.mark.slow
def test_a_listener_is_trained_on_a_vico_folder(followed: dict[str, Source], tmp_path: Path) -> None:
    if why := weights_missing_reason(RENDERER) or weights_missing_reason(IDENTITY):
        pytest.skip(why)
    root = tmp_path / "vico"
    for folder in ("videos", "audios"):
        (root / folder).mkdir(parents=True)
    for name in ("collins-1", "hopper-1"):
        source = followed[name]
        assert source.frames is not None and source.waveform is not None
        write_media(root / "videos" / f"{name}.mp4", source.frames[: WINDOW + 6])
        write_media(root / "audios" / f"{name}.wav", None, source.waveform, audio_codec="pcm_s16le")
    (root / "RLD_data.csv").write_text(
        "attitude,audio,listener,speaker,listener_id,speaker_id,data_split\n"
        "positive,hopper-1,collins-1,hopper-1,1,2,train\n"
        "negative,collins-1,gone,collins-1,3,1,train\n"
    )
    assert is_vico(root) and not is_vico(tmp_path)
    dyads = read_vico(root)
    assert list(dyads.problem != "") == [False, True]
    dyads = dyads[dyads.problem == ""]
    clips = vico_clips(dyads)
    assert list(clips.identity) == ["1", "2"] and clips.audio_label.isna().all()
    settings = ListenerTraining(minutes=4 * SHORT, batch=2, rendering_batch=1, rendering_after=0.5)
    out = train_network("mfr-net", settings, clips, tmp_path / "cache", tmp_path / "run", tmp_path / "mfr-net", 1, dyads)
    card = json.loads((out / "card.json").read_text())
    assert card["data"]["clips"] == {"vico": 2} and card["dyads"].startswith("recorded")
    curves = pd.read_csv(out / "curves.csv") if (out / "curves.csv").exists() else pd.DataFrame()
    assert curves.empty or np.isfinite(curves.to_numpy()).all()
