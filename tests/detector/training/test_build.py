"""Training on a miniature forged set: interrupted and resumed runs, frozen parts, stages, two processes, settings."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
import torch
from makers import Talk
from safetensors.torch import load_file

from avwitness.avsr.backbones.av_hubert import AVHubert
from avwitness.avsr.model import EncoderConfig, SpeechEncoder
from avwitness.avsr.training.libsndfile import load_sndfile
from avwitness.detector.inference.detector import load
from avwitness.detector.model import DetectorConfig, DualLabelDetector
from avwitness.detector.training.augment import AugmentConfig
from avwitness.detector.training.build import build_model
from avwitness.detector.training.config import DETECTOR_OPTIONS, BranchSchedule, ModelConfig, TrainConfig
from avwitness.detector.training.losses import LossConfig
from avwitness.detector.training.samples import Sample
from avwitness.detector.training.train import load_sets, train
from avwitness.media.encode import write_media
from avwitness.settings import build_settings, merge_settings, read_settings

ROOT = Path(__file__).parents[3]
SCRIPTS = Path(sys.executable).parent


def config(encoder_folder: Path, **changes: Any) -> TrainConfig:
    """A tiny run on a speech encoder; ``changes`` are groups of settings."""
    small = {
        "model": {"backbone": str(encoder_folder)},
        "data": {
            "visual_variants": 0,
            "frames": 20,
            "pairs": {"both": 1, "audio": 1, "video": 1, "faces": 1},
            "calibration_identities": {"people": 1},
        },
        "optim": {"learning_rate": 1e-2},
        "schedule": {"steps": 4, "checkpoint_every": 2},
    }
    return build_settings(TrainConfig, merge_settings(TrainConfig, small, changes))


def start(settings: TrainConfig) -> dict[str, torch.Tensor]:
    """The weights at the start of a run."""
    torch.manual_seed(settings.seed)
    return build_model(settings.model).state_dict()


@pytest.fixture(scope="module")
def whole(encoder_folder: Path, samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> DualLabelDetector:
    """The model of a run that was not interrupted."""
    return train(config(encoder_folder), samples, tmp_path_factory.mktemp("whole"))


@pytest.mark.slow
def test_frozen_parts_keep_their_weights_and_all_others_are_trained(whole: DualLabelDetector, encoder_folder: Path) -> None:
    before, after = start(config(encoder_folder)), whole.state_dict()
    assert before.keys() == after.keys()
    for name, value in after.items():
        if "video_front" in name:  # the running statistics of its norms too
            assert torch.equal(value, before[name]), name
    moved = {name for name, value in after.items() if value.is_floating_point() and not torch.equal(value, before[name])}
    for part in ("backbone.audio", "backbone.video_projection", "backbone.joint", "audio_head", "video_head", "count_token"):
        assert any(name.startswith(part) for name in moved), part
    for branch in ("sound_branch", "face_branch"):
        assert any(name.startswith(branch) and "running_mean" in name for name in moved), branch
    assert not any(name.startswith("sync_head") for name in moved)  # it is fitted at the end, not trained
    assert whole.config.notice == "A notice."


@pytest.mark.slow
def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(
    whole: DualLabelDetector, encoder_folder: Path, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_sndfile()  # before anything of fairseq2 is imported
    from avwitness.detector.training import recipe

    calls: list[int] = []
    process_batch = recipe.DetectorTrainUnit.process_batch

    def interrupt(self: object, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("interrupted")
        return process_batch(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(recipe.DetectorTrainUnit, "process_batch", interrupt)
        with pytest.raises(RuntimeError, match="interrupted"):
            train(config(encoder_folder), samples, tmp_path)
    assert (tmp_path / "checkpoints" / "step_2").exists() and not (tmp_path / "detector").exists()
    resumed: list[int] = []

    def counted(self: object, *arguments: Any) -> Any:
        resumed.append(1)
        return process_batch(self, *arguments)

    monkeypatch.setattr(recipe.DetectorTrainUnit, "process_batch", counted)
    again = train(config(encoder_folder), samples, tmp_path)
    assert len(resumed) == 2
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    train(config(encoder_folder), samples, tmp_path)  # finished: no step is repeated
    assert len(resumed) == 2


@pytest.mark.slow
def test_the_losses_fall(encoder_folder: Path, samples: list[Sample], tmp_path: Path) -> None:
    """Without augmentation, on the same few clips again and again."""
    probabilities = {name.name for name in fields(AugmentConfig)} - {"min_size", "reverberation", "high_pass", "clipping"}
    schedule = {"steps": 40, "checkpoint_every": 10}
    settings = config(encoder_folder, schedule=schedule, data={"pairs": {"audio": 4}}, augment=dict.fromkeys(probabilities, 0.0))
    train(settings, samples, tmp_path)
    curve = [json.loads(line) for line in (tmp_path / "metrics" / "train.jsonl").read_text().splitlines()]
    assert {"audio_audio", "audio_audio_artefacts", "audio_count"} <= set(curve[0])
    assert curve[-1]["audio_audio"] < 0.8 * curve[0]["audio_audio"]


@pytest.mark.slow
def test_a_set_without_fakes_is_refused(encoder_folder: Path, samples: list[Sample], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no fake"):
        train(config(encoder_folder, data={"pairs": {"both": 1, "audio": 1}}), [s for s in samples if s.genuine], tmp_path)


@pytest.mark.slow
def test_the_face_branch_is_trained_first_and_then_frozen(encoder_folder: Path, samples: list[Sample], tmp_path: Path) -> None:
    settings = config(encoder_folder, schedule={"steps": 2, "face_branch": {"steps": 2, "pairs": 2}}, data={"pairs": {"both": 1}})
    before = start(settings)
    model = train(settings, samples, tmp_path)
    alone = DualLabelDetector.from_pretrained(tmp_path / "face_branch" / "detector").state_dict()
    changed = 0
    for name, value in model.state_dict().items():
        if name.startswith("face_branch"):
            assert torch.equal(value, alone[name]), name
            changed += not torch.equal(value, before[name])
        elif name.startswith(("backbone", "audio_head", "video_head")):
            assert torch.equal(alone[name], before[name]), name  # single faces train nothing else
    assert changed > 10


@pytest.mark.slow
def test_the_sound_branch_is_trained_last_with_all_else_frozen(encoder_folder: Path, samples: list[Sample], tmp_path: Path) -> None:
    settings = config(encoder_folder, schedule={"steps": 2, "sound_branch": {"steps": 2, "pairs": 2}}, data={"pairs": {"both": 1}})
    model = train(settings, samples, tmp_path)
    before = DualLabelDetector.from_pretrained(tmp_path / "detector").state_dict()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert len(moved) > 10 and {name.split(".")[0] for name in moved} == {"sound_branch"}


@pytest.mark.slow
def test_av_hubert_becomes_a_detector_by_its_configuration(samples: list[Sample], tmp_path: Path) -> None:
    torch.manual_seed(0)
    SpeechEncoder(EncoderConfig("av_hubert", {"size": "tiny"}, "Not to be sold.")).save_pretrained(tmp_path / "encoder")
    settings = config(tmp_path / "encoder", model={"frozen": []}, schedule={"steps": 2}, data={"pairs": {"both": 1}})
    before = start(settings)
    model = train(settings, samples, tmp_path / "run")
    assert isinstance(model.backbone, AVHubert)
    assert model.backbone.audio_features == 104 and model.backbone.extract_audio_features(samples[0].waveform[:6400] / 32768.0).shape == (
        10,
        104,
    )  # type: ignore[index]
    assert model.config.notice == "Not to be sold."
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert {"backbone.audio_projection.weight", "backbone.video_projection.weight", "backbone.video_front.stem.0.weight"} <= moved


@pytest.mark.slow
def test_two_processes_train_one_detector_by_the_command(
    encoder_folder: Path, forged_set: Path, views_cache: Path, samples: list[Sample], talk: Talk, tmp_path: Path
) -> None:
    (tmp_path / "tiny.yaml").write_text(
        f"model: {{backbone: {encoder_folder}}}\noptim: {{learning_rate: 1e-2}}\nschedule: {{steps: 2, checkpoint_every: 2}}\n"
        "data: {visual_variants: 0, frames: 20, pairs: {both: 1, audio: 1, faces: 1}, calibration_identities: {people: 1}}\n"
    )
    command = [str(SCRIPTS / "avwitness"), "train", "detector", "--config", str(tmp_path / "tiny.yaml"), "--forged", str(forged_set)]
    command += ["--cache", str(views_cache), "--run", str(tmp_path / "run"), "--out", str(tmp_path / "weights"), "--workers", "1"]
    launch = [str(SCRIPTS / "torchrun"), "--standalone", "--nproc-per-node", "2", "--no-python", "--", *command]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(launch, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Running on 2 process(es)" in " ".join((done.stdout + done.stderr).split())
    two = load_file(tmp_path / "run" / "detector" / "model.safetensors")
    before = start(config(encoder_folder))
    for name, value in two.items():
        if "video_front" in name:
            assert torch.equal(value, before[name]), name
    training, held = load_sets([forged_set], views_cache, config(encoder_folder), 1)
    alone = train(read_settings(tmp_path / "tiny.yaml", TrainConfig), training, tmp_path / "alone").state_dict()
    assert two.keys() == alone.keys()
    assert any(not torch.equal(two[name], alone[name]) for name in two)  # twice the data in every step
    card = json.loads((tmp_path / "weights" / "card.json").read_text())
    assert card["data"]["training"]["clips"] == {"people": len(training)}
    assert card["data"]["calibration"]["clips"] == {"people": len(held)}
    assert card["notice"] == "A notice."
    verdict = load(tmp_path / "weights", device="cpu").score(write_media(tmp_path / "talk.mp4", talk.frames[:40], talk.waveform[:25_600]))
    assert verdict.status in ("ok", "inconclusive")  # two steps may leave every head not_validated
    assert verdict.model is not None and verdict.model.name == "weights"


@pytest.mark.slow
def test_calibration_identities_are_not_trained_on(
    encoder_folder: Path, forged_set: Path, views_cache: Path, samples: list[Sample]
) -> None:
    training, held = load_sets([forged_set], views_cache, config(encoder_folder), 1)
    assert {s.identity for s in held} == {"collins"} and {s.identity for s in training} == {"hopper"}
    assert len(training) + len(held) == len(samples)


def test_configurations_are_read_and_unknown_names_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("schedule: {steps: 5, face_branch: {steps: 3}}\nloss: {count: 0.5}\n")
    read = read_settings(file, TrainConfig)
    assert read.schedule.steps == 5 and read.loss.count == 0.5
    assert read.schedule.face_branch == BranchSchedule(steps=3, learning_rate=2e-3)  # the defaults of this branch, not of any branch
    assert build_settings(TrainConfig, json.loads(json.dumps(asdict(read)))) == read
    file.write_text("schedule: {stairs: 5}\n")
    with pytest.raises(ValueError, match=r"c\.yaml: unknown settings schedule\.stairs; there are schedule\.checkpoint_every"):
        read_settings(file, TrainConfig)
    for shipped in (ROOT / "configs").glob("detector_*.yaml"):
        read_settings(shipped, TrainConfig)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        build_model(ModelConfig(backbone="nowhere"))


def test_flat_settings_of_version_0_1_are_refused_with_their_new_names(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("learning_rate: 1.0e-3\nlooks: 3\nface_steps: 2\n")
    message = "face_steps is now schedule.face_branch.steps; learning_rate is now optim.learning_rate; looks is now data.visual_variants"
    with pytest.raises(ValueError, match=message):
        read_settings(tmp_path / "old.yaml", TrainConfig)
    defaults = asdict(TrainConfig())
    for kind in (TrainConfig, ModelConfig, LossConfig, AugmentConfig):
        for path in kind.RENAMED.values():
            group: Any = defaults
            for name in path.split("."):
                if name in DETECTOR_OPTIONS:
                    assert name in inspect.signature(DetectorConfig).parameters
                else:
                    group = group[name]  # every new name exists
