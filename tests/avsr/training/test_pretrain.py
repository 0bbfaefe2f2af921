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
from avwitness.avsr.model import AVSRConfig, AVSRModel
from avwitness.avsr.training.config import load_config
from avwitness.avsr.training.corpus import load_utterances
from avwitness.avsr.training.losses import cluster_losses, letter_losses
from avwitness.avsr.training.pretrain import pretrain, split
from avwitness.avsr.transcriber import Transcriber
from safetensors.torch import load_file
from speech import TINY_READER, toy_corpus

SCRIPTS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("toy")
    table = toy_corpus(folder / "cache")
    table.drop(columns="file").to_csv(folder / "manifest.csv", index=False)
    (folder / "tiny.yaml").write_text(TINY_READER)
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


def test_a_run_leaves_weights_card_letters_and_curves(finished: Path) -> None:
    card = json.loads((finished / "out" / "card.json").read_text())
    assert card["seed"] == 3
    assert card["data"]["training_clips"] == {"toy": 14}
    assert card["data"]["clips_kept_back"] == {"toy": 6}
    assert card["data"]["training_speakers"] == {"toy": 2}
    assert (finished / "out" / "model.safetensors").stat().st_size < 2_000_000
    assert {tensor.dtype for tensor in load_file(finished / "out" / "model.safetensors").values()} <= {torch.float16, torch.int64}
    curves = pd.read_csv(finished / "out" / "curves.csv")
    assert set(curves.stage) == {"hear", "read"}
    assert curves[curves.stage == "read"].cer_video.notna().any()
    recognizer = Transcriber.load(finished / "out", device="cpu")
    assert recognizer.language is not None


def test_a_killed_run_ends_where_an_uninterrupted_one_does(finished: Path) -> None:
    run = finished / "killed"
    process = subprocess.Popen(
        command(finished, run, finished / "out_killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        until = time.monotonic() + 300
        while not (run / "read" / "checkpoints" / "step_2").exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        assert process.poll() is None, "the run ended before it could be killed"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (run / "read" / "reader").exists()
    done = subprocess.run(command(finished, run, finished / "out_killed"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Resuming from step" in " ".join((done.stdout + done.stderr).split())
    whole, resumed = (load_file(finished / name / "model.safetensors") for name in ("out", "out_killed"))
    assert whole.keys() == resumed.keys()
    for name, weight in whole.items():
        assert torch.equal(weight, resumed[name]), name


def test_two_processes_train_one_reader(finished: Path) -> None:
    whole = command(finished, finished / "two", finished / "out_two")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    launch = [str(SCRIPTS / "torchrun"), "--standalone", "--nproc-per-node", "2", "--no-python", "--", *whole]
    done = subprocess.run(launch, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Running on 2 process(es)" in " ".join((done.stdout + done.stderr).split())
    two, one = (load_file(finished / name / "model.safetensors") for name in ("out_two", "out"))
    assert two.keys() == one.keys()
    assert any(not torch.equal(two[name], one[name]) for name in two)  # twice the data in every step


def test_both_losses_fall(corpus: pd.DataFrame, tmp_path: Path) -> None:
    folder = corpus.attrs["folder"]
    text = TINY_READER.replace("steps: 4, ", "steps: 100, ").replace("steps: 6, ", "steps: 2, ").replace("1.0e-3", "4.0e-3")
    text = text.replace("frames: 120", "frames: 480").replace("count: 8, checkpoint_every: 2", "count: 8, checkpoint_every: 20", 1)
    (tmp_path / "long.yaml").write_text(text + "augment: {noise: 0.0, babble: 0.0, audio_spans: 0.1, bands: 0}\n")
    pretrain(load_config(tmp_path / "long.yaml"), corpus[corpus.split == "train"], folder / "cache", tmp_path / "run")
    curve = [json.loads(line) for line in (tmp_path / "run" / "hear" / "metrics" / "train.jsonl").read_text().splitlines()]
    assert curve[-1]["letters_audio"] < 0.3 * curve[0]["letters_audio"]
    assert curve[-1]["clusters_audio"] < 0.95 * np.log(8)  # better than any guess that does not listen


def test_av_hubert_is_pretrained_by_the_same_command(corpus: pd.DataFrame, tmp_path: Path) -> None:
    begin, end = TINY_READER.index("model:"), TINY_READER.index("longest:")
    stage = "stages:\n  - {name: both, steps: 2, frames: 60, learning_rate: 1.0e-3, clusters: 1.0, count: 8, checkpoint_every: 2}\n"
    model = "model: {backbone: av_hubert, backbone_options: {size: tiny}}\n"
    text = TINY_READER[:begin] + model + TINY_READER[end : TINY_READER.index("stages:")] + stage
    (tmp_path / "av_hubert.yaml").write_text(text)
    folder = corpus.attrs["folder"]
    reader = pretrain(load_config(tmp_path / "av_hubert.yaml"), corpus[corpus.split == "train"], folder / "cache", tmp_path / "run")
    assert reader.config.backbone == "av_hubert"
    assert not torch.allclose(reader.backbone.fusion.weight, AVSRModel(reader.config).backbone.fusion.weight)


def test_clips_kept_back_are_none_that_are_learned_from(corpus: pd.DataFrame) -> None:
    config = load_config(corpus.attrs["folder"] / "tiny.yaml")
    train, held = split(load_utterances(corpus, corpus.attrs["folder"] / "cache"), config)
    assert {u.speaker for u in held} == {"s2"}
    assert not {u.path for u in train} & {u.path for u in held}
    assert len(train) + len(held) == len(corpus)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("steps: 4", "steps: 5"), "multiple"),
        (("targets: own", "targets: dreams"), "dreams"),
        (("clusters: 0.5,", "clusters: 0, letters: 0,"), "no objective"),
        (("threads: 1", "thread: 1"), "thread"),
        (("count: 8,", "counts: 8,"), "counts"),
    ],
)
def test_a_wrong_configuration_is_refused_by_name(change: tuple[str, str], message: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(TINY_READER.replace(*change, 1))
    with pytest.raises(ValueError, match=message):
        load_config(tmp_path / "wrong.yaml")


def test_losses_fall_when_the_reader_is_right_and_padding_counts_for_nothing(corpus: pd.DataFrame) -> None:
    from avwitness.avsr.training.corpus import collate, plain_example

    utterances = load_utterances(corpus.head(3), corpus.attrs["folder"] / "cache")
    batch = collate([plain_example(u) for u in utterances])
    options = {"width": 32, "heads": 2, "feed_forward": 48, "visual_widths": (8, 8, 16, 16)}
    torch.manual_seed(0)
    reader = AVSRModel(AVSRConfig(backbone_options=options, clusters=5)).eval()
    batch.clusters = torch.from_numpy(np.random.default_rng(0).integers(0, 5, batch.clusters.shape))
    with torch.no_grad():
        reading = reader(batch.audio, batch.video, batch.audio_mask, batch.video_mask)
        assert set(letter_losses(reading, batch)) == {"audio", "video", "joint"}
        before = cluster_losses(reading, batch, visible=1.0)
        for logits in reading.clusters.values():
            logits.scatter_(2, batch.clusters[..., None], 20.0)
        after = cluster_losses(reading, batch, visible=1.0)
        assert all(after[name] < 1e-3 < before[name] for name in before)
        batch.clusters[:] = -100
        assert all(loss == 0.0 for loss in cluster_losses(reading, batch, visible=1.0).values())
