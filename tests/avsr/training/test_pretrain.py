from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from speech import TINY_CONFIG, toy_corpus

from avwitness.avsr.model import AVSRConfig, AVSRModel
from avwitness.avsr.training.config import load_config
from avwitness.avsr.training.corpus import load_utterances
from avwitness.avsr.training.losses import ctc_losses, masked_prediction_losses
from avwitness.avsr.training.pretrain import pretrain, split
from avwitness.avsr.transcriber import Transcriber

SCRIPTS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("toy")
    table = toy_corpus(folder / "cache")
    table.drop(columns="file").to_csv(folder / "manifest.csv", index=False)
    (folder / "tiny.yaml").write_text(TINY_CONFIG)
    table.attrs["folder"] = folder
    return table


def command(folder: Path, run: Path, out: Path) -> list[str]:
    return [
        *(str(SCRIPTS / "avwitness"), "train", "avsr", "--config", str(folder / "tiny.yaml"), "--data", str(folder)),
        *("--cache", str(folder / "cache"), "--run", str(run), "--out", str(out)),
    ]


@pytest.fixture(scope="module")
def finished(corpus: pd.DataFrame) -> Path:
    """A run that nothing interrupted."""
    folder = corpus.attrs["folder"]
    done = subprocess.run(command(folder, folder / "whole", folder / "out"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return Path(folder)


@pytest.mark.slow
def test_a_run_writes_weights_card_language_model_and_curves(finished: Path) -> None:
    card = json.loads((finished / "out" / "card.json").read_text())
    assert card["seed"] == 3
    assert card["data"]["training_clips"] == {"toy": 14}
    assert card["data"]["held_out_clips"] == {"toy": 6}
    assert card["data"]["training_speakers"] == {"toy": 2}
    assert (finished / "out" / "model.safetensors").stat().st_size < 2_000_000
    assert {tensor.dtype for tensor in load_file(finished / "out" / "model.safetensors").values()} <= {torch.float16, torch.int64}
    curves = pd.read_csv(finished / "out" / "curves.csv")
    assert set(curves.stage) == {"audio", "audio_visual"}
    assert curves[curves.stage == "audio_visual"].cer_video.notna().any()
    transcriber = Transcriber.load(finished / "out", device="cpu")
    assert transcriber.language is not None


@pytest.mark.slow
def test_a_killed_run_ends_where_an_uninterrupted_one_does(finished: Path) -> None:
    run = finished / "killed"
    process = subprocess.Popen(
        command(finished, run, finished / "out_killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        until = time.monotonic() + 300
        while not (run / "audio_visual" / "checkpoints" / "step_2").exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        assert process.poll() is None, "the run ended before it could be killed"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (run / "audio_visual" / "model").exists()
    done = subprocess.run(command(finished, run, finished / "out_killed"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Resuming from step" in " ".join((done.stdout + done.stderr).split())
    whole, resumed = (load_file(finished / name / "model.safetensors") for name in ("out", "out_killed"))
    assert whole.keys() == resumed.keys()
    for name, weight in whole.items():
        assert torch.equal(weight, resumed[name]), name


@pytest.mark.slow
def test_two_processes_train_one_model(finished: Path) -> None:
    whole = command(finished, finished / "two", finished / "out_two")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    launch = [str(SCRIPTS / "torchrun"), "--standalone", "--nproc-per-node", "2", "--no-python", "--", *whole]
    done = subprocess.run(launch, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Running on 2 process(es)" in " ".join((done.stdout + done.stderr).split())
    two, one = (load_file(finished / name / "model.safetensors") for name in ("out_two", "out"))
    assert two.keys() == one.keys()
    assert any(not torch.equal(two[name], one[name]) for name in two)  # twice the data in every step


@pytest.mark.slow
def test_both_losses_fall(corpus: pd.DataFrame, tmp_path: Path) -> None:
    folder = corpus.attrs["folder"]
    text = TINY_CONFIG.replace("steps: 4, ", "steps: 100, ").replace("steps: 6, ", "steps: 2, ").replace("1.0e-3", "4.0e-3")
    text = text.replace("frames: 120", "frames: 480").replace("checkpoint_every: 2}", "checkpoint_every: 20}", 1)
    (tmp_path / "long.yaml").write_text(text + "augment: {noise: 0.0, babble: 0.0, audio_spans: 0.1, max_bands: 0}\n")
    pretrain(load_config(tmp_path / "long.yaml"), corpus[corpus.split == "train"], folder / "cache", tmp_path / "run")
    curve = [json.loads(line) for line in (tmp_path / "run" / "audio" / "metrics" / "train.jsonl").read_text().splitlines()]
    assert curve[-1]["ctc_audio"] < 0.3 * curve[0]["ctc_audio"]
    assert curve[-1]["masked_prediction_audio"] < 0.95 * np.log(8)  # better than a guess without audio


@pytest.mark.slow
def test_av_hubert_is_pretrained_by_the_same_command(corpus: pd.DataFrame, tmp_path: Path) -> None:
    begin, end = TINY_CONFIG.index("model:"), TINY_CONFIG.index("max_frames:")
    stage = "stages:\n  - {name: both, steps: 2, frames: 60, learning_rate: 1.0e-3, masked_prediction: 1.0, checkpoint_every: 2}\n"
    settings = "model: {backbone: av_hubert, backbone_options: {size: tiny}}\n"
    text = TINY_CONFIG[:begin] + settings + TINY_CONFIG[end : TINY_CONFIG.index("stages:")] + stage
    (tmp_path / "av_hubert.yaml").write_text(text)
    folder = corpus.attrs["folder"]
    model = pretrain(load_config(tmp_path / "av_hubert.yaml"), corpus[corpus.split == "train"], folder / "cache", tmp_path / "run")
    assert model.config.backbone == "av_hubert"
    assert not torch.allclose(model.backbone.fusion.weight, AVSRModel(model.config).backbone.fusion.weight)


def test_held_out_clips_are_not_trained_on(corpus: pd.DataFrame) -> None:
    config = load_config(corpus.attrs["folder"] / "tiny.yaml")
    train, held = split(load_utterances(corpus, corpus.attrs["folder"] / "cache"), config)
    assert {u.speaker for u in held} == {"s2"}
    assert not {u.path for u in train} & {u.path for u in held}
    assert len(train) + len(held) == len(corpus)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("steps: 4", "steps: 5"), "multiple"),
        (("targets: encoder", "targets: dreams"), "dreams"),
        (("masked_prediction: 0.5,", "masked_prediction: 0, ctc: 0,"), "no loss"),
        (("threads: 1", "thread: 1"), "unknown settings thread;"),
        (("n_clusters: 8,", "clusters: 8,"), r"stages\[0\]\.clusters is now masked_prediction"),
        (("n_clusters: 8,", "n_cluster: 8,"), r"unknown settings stages\[0\]\.n_cluster;"),
        (("n_clusters: 8,", "augment: {bands: 1},"), r"stage audio: augment: .*bands is now augment\.max_bands"),
        (("learning_rate: 1.0e-3, ", ""), r"stages\[0\]: learning_rate must be given"),
    ],
)
def test_a_wrong_configuration_is_refused_by_name(change: tuple[str, str], message: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(TINY_CONFIG.replace(*change, 1))
    with pytest.raises(ValueError, match=message):
        load_config(tmp_path / "wrong.yaml")


def test_losses_are_small_for_right_outputs_and_ignore_padding(corpus: pd.DataFrame) -> None:
    from avwitness.avsr.training.corpus import collate, plain_sample

    utterances = load_utterances(corpus.head(3), corpus.attrs["folder"] / "cache")
    batch = collate([plain_sample(u) for u in utterances])
    options = {"width": 32, "heads": 2, "feed_forward": 48, "visual_widths": (8, 8, 16, 16)}
    torch.manual_seed(0)
    model = AVSRModel(AVSRConfig(backbone_options=options, clusters=5)).eval()
    batch.clusters = torch.from_numpy(np.random.default_rng(0).integers(0, 5, batch.clusters.shape))
    with torch.no_grad():
        output = model(batch.audio, batch.video, batch.audio_mask, batch.video_mask)
        assert set(ctc_losses(output, batch)) == {"audio", "video", "joint"}
        before = masked_prediction_losses(output, batch, unmasked_weight=1.0)
        for logits in output.clusters.values():
            logits.scatter_(2, batch.clusters[..., None], 20.0)
        after = masked_prediction_losses(output, batch, unmasked_weight=1.0)
        assert all(after[name] < 1e-3 < before[name] for name in before)
        batch.clusters[:] = -100
        assert all(loss == 0.0 for loss in masked_prediction_losses(output, batch, unmasked_weight=1.0).values())
