"""Pretraining of the speech reader in stages: what each stage learns from, and where it stands on disk."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from ..model import AVSRModel, AVSROutput
from .augment import AugmentConfig
from .clusters import acoustic, assign, fit_clusters, heard_by
from .corpus import IGNORED, Batch, Utterance, load_utterances

LAST_PORT, PORTS_BACK = 65_535, 10_000  # of TCP, and how far to step back when a run's ports would lie beyond


@dataclass
class StageConfig:
    """One stage of a pretraining run."""

    name: str
    steps: int
    learning_rate: float
    streams: tuple[str, ...] = ("audio", "video")
    frames: int = 640  # of one batch and process, padding included; rounded to a multiple of the longest example
    letters: float = 1.0  # weight of the CTC objective; 0 leaves it out
    clusters: float = 0.0  # weight of the masked prediction objective; 0 leaves it out
    targets: str = "acoustic"  # features that are clustered: acoustic, or own (those of the stage before)
    count: int = 100  # clusters
    visible: float = 0.5  # weight of frames that were not hidden, in masked prediction
    warm_up: float = 0.08  # share of the steps
    checkpoint_every: int = 100  # steps; the last step must be a multiple
    augment: dict[str, Any] = field(default_factory=dict)  # changes to the run's augmentation


@dataclass
class PretrainConfig:
    """One pretraining run; read from YAML by :func:`load_config`."""

    stages: list[StageConfig]
    model: dict[str, Any] = field(default_factory=dict)  # arguments of AVSRConfig
    seed: int = 0
    threads: int = 2
    weight_decay: float = 0.02
    repeats: dict[str, int] = field(default_factory=dict)  # times that a corpus is seen in one epoch; 1 unless told
    weights: dict[str, float] = field(default_factory=lambda: {"audio": 0.5, "video": 1.0, "joint": 1.0})  # of the heads
    longest: int = 200  # frames of an example
    held_out_speakers: tuple[str, ...] = ()  # training speakers kept back for the curves
    held_out_every: int = 0  # every n-th clip of a corpus with one speaker is kept back for the curves
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        for stage in self.stages:
            if stage.steps % stage.checkpoint_every:
                raise ValueError(
                    f"stage {stage.name}: steps ({stage.steps}) must be a multiple of checkpoint_every ({stage.checkpoint_every})"
                )
            if stage.targets not in ("acoustic", "own"):
                raise ValueError(f"stage {stage.name}: targets must be acoustic or own, not {stage.targets!r}")
            if not stage.letters and not stage.clusters:
                raise ValueError(f"stage {stage.name}: it has no objective; give letters or clusters a weight")


def load_config(path: str | os.PathLike[str]) -> PretrainConfig:
    """Read a pretraining configuration.

    Raises
    ------
    ValueError
        If it names something that a run does not have.
    """
    with open(path) as file:
        values = yaml.safe_load(file) or {}
    try:
        stages = [StageConfig(**{**stage, "learning_rate": float(stage["learning_rate"])}) for stage in values.pop("stages", [])]
        augment = AugmentConfig(**values.pop("augment", {}))
        return PretrainConfig(stages=stages, augment=augment, **values)
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path}: {error}") from None


def split(utterances: list[Utterance], config: PretrainConfig) -> tuple[list[Utterance], list[Utterance]]:
    """Utterances to learn from, and those kept back to draw curves with: neither is a dev or test clip."""
    speakers: dict[str, set[str]] = {}
    for u in utterances:
        speakers.setdefault(u.corpus, set()).add(u.speaker)
    kept: list[Utterance] = []
    held: list[Utterance] = []
    counts = dict.fromkeys(speakers, 0)
    for u in utterances:
        counts[u.corpus] += 1
        alone = len(speakers[u.corpus]) == 1
        back = config.held_out_every and counts[u.corpus] % config.held_out_every == 0 if alone else u.speaker in config.held_out_speakers
        (held if back else kept).append(u)
    return kept, held


def letter_losses(reading: AVSROutput, batch: Batch) -> dict[str, Tensor]:
    """CTC loss per letter of every head that read something."""
    lengths = batch.audio_mask.sum(dim=1)
    losses = {}
    for name, scores in reading.letters.items():
        rate = scores.shape[1] // batch.audio_mask.shape[1]
        losses[name] = F.ctc_loss(scores.transpose(0, 1), batch.letters, lengths * rate, batch.letter_counts, zero_infinity=True)
    return losses


def cluster_losses(reading: AVSROutput, batch: Batch, visible: float) -> dict[str, Tensor]:
    """Cross-entropy of the sound classes, hidden frames at weight 1 and the others at weight ``visible``."""
    audio_hidden, video_hidden = batch.hidden[:, 0], batch.hidden[:, 1]
    kept_audio, kept_video = batch.keep[:, :1], batch.keep[:, 1:]
    hidden = {
        "audio": audio_hidden,
        "video": video_hidden | ~batch.video_mask,
        "joint": (audio_hidden | ~kept_audio) & (video_hidden | ~kept_video | ~batch.video_mask),
    }
    losses = {}
    for name, logits in reading.clusters.items():
        weight = torch.where(hidden[name], 1.0, visible) * (batch.clusters != IGNORED)
        each = F.cross_entropy(logits.float().transpose(1, 2), batch.clusters, ignore_index=IGNORED, reduction="none")
        losses[name] = (each * weight).sum() / weight.sum().clamp_min(1.0)
    return losses


def targets_of(
    stage: StageConfig, seed: int, before: AVSRModel | None, train: list[Utterance], held: list[Utterance], folder: Path
) -> tuple[list[Utterance], list[Utterance]]:
    """Utterances with the sound classes of a stage; the class centres are kept in ``folder``."""
    if not stage.clusters:
        return train, held
    if stage.targets == "own" and before is None:
        raise ValueError(f"stage {stage.name}: targets are 'own', but no stage comes before it")
    features = acoustic if stage.targets == "acoustic" else heard_by(before) if before is not None else acoustic
    file = folder / "centres.npy"
    if file.exists():
        centres = np.load(file)
    else:
        centres = fit_clusters(train, features, stage.count, seed)
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"centres.{os.getpid()}.npy"
        np.save(partial, centres)
        os.replace(partial, file)
    return assign(train, features, centres), assign(held, features, centres)


def pretrain(config: PretrainConfig, table: pd.DataFrame, cache: str | os.PathLike[str], run: str | os.PathLike[str]) -> AVSRModel:
    """Train every stage that is not finished yet; each goes on from its last checkpoint.

    Parameters
    ----------
    table : pandas.DataFrame
        Training rows of a manifest, with transcripts.
    cache : path-like
        Prepared views.
    run : path-like
        Folder of checkpoints, metrics and finished stages. Under ``torchrun`` all processes name the same one.

    Raises
    ------
    FileNotFoundError
        If no clips were prepared.
    """
    run = Path(run)
    if not config.stages:
        raise ValueError("the configuration has no stages")
    for index, stage in enumerate(config.stages):
        if _finished(run, stage).exists():
            continue
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            # torch cannot open a process group twice in one process, nor twice in the store that torchrun keeps:
            # every stage gets a process of its own, and its first one keeps the store.
            child = multiprocessing.get_context("spawn").Process(target=_train_stage_alone, args=(config, index, table, cache, run))
            child.start()
            child.join()
            if child.exitcode:
                raise RuntimeError(f"stage {stage.name} ended with exit code {child.exitcode}; what it says stands above")
        else:
            train_stage(config, index, table, cache, run)
    return AVSRModel.from_pretrained(_finished(run, config.stages[-1]))


def train_stage(config: PretrainConfig, index: int, table: pd.DataFrame, cache: str | os.PathLike[str], run: Path) -> None:
    """Train one stage of a run to its end; the stage before it must be finished."""
    from .libsndfile import load_sndfile

    load_sndfile()
    from .recipe import run_stage

    stage = config.stages[index]
    train, held = split(load_utterances(table, cache), config)
    before = AVSRModel.from_pretrained(_finished(run, config.stages[index - 1])) if index else None
    seen, unseen = targets_of(stage, config.seed, before, train, held, run / stage.name)
    run_stage(stage, config, before, seen, unseen, run / stage.name, _finished(run, stage))


def _train_stage_alone(config: PretrainConfig, index: int, table: pd.DataFrame, cache: str | os.PathLike[str], run: Path) -> None:
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"
    port = int(os.environ["MASTER_PORT"]) + 1 + index
    os.environ["MASTER_PORT"] = str(port if port <= LAST_PORT else port - PORTS_BACK)
    train_stage(config, index, table, cache, run)


def _finished(run: Path, stage: StageConfig) -> Path:
    return run / stage.name / "reader"
