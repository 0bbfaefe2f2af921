"""Training of the dual-label detector on forged sets: the stages of a run and their folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...checkpoints import find_weights
from ..model import DualLabelDetector
from .config import BranchSchedule, TrainConfig
from .samples import Sample, calibration_split, load_set
from .visual_features import with_visual_features

FINISHED = "detector"  # folder of a finished model in its run
FACE_STAGE, SOUND_STAGE = "face_branch", "sound_branch"  # folders of the stages of single branches in a run


def load_sets(
    folders: Sequence[str | os.PathLike[str]], cache: str | os.PathLike[str], config: TrainConfig, workers: int, split: str | None = "train"
) -> tuple[list[Sample], list[Sample]]:
    """Samples of forged sets, for training and for calibration; no identity is in both."""
    data, model = config.data, config.model
    samples = [sample for folder in folders for sample in load_set(folder, cache, workers, split)]
    if model.backbone and data.visual_variants and "video_front" in model.frozen:
        samples = with_visual_features(samples, find_weights("avsr", model.backbone), data.visual_variants, cache, workers)
    held = calibration_split(samples, data.calibration_identities, data.calibration_share)
    train = [sample for sample, kept in zip(samples, held, strict=True) if not kept]
    return train, [sample for sample, kept in zip(samples, held, strict=True) if kept]


def train(config: TrainConfig, samples: Sequence[Sample], run: str | os.PathLike[str]) -> DualLabelDetector:
    """Train to the last step; resumes from the last checkpoint in ``run``.

    Up to three stages, as the configuration asks for: the face branch alone, on single faces; the whole detector, with that
    face branch frozen; the sound branch alone, all else frozen, which costs about half as much a step.

    Parameters
    ----------
    samples : sequence of Sample
        Training samples.
    run : path-like
        Folder of checkpoints, metrics and the finished model, outside the repository. Under ``torchrun`` all processes
        name the same one.

    Raises
    ------
    ValueError
        If there is no fake with a paired real clip.
    """
    run = Path(run)
    schedule, model = config.schedule, config.model
    if schedule.face_branch.steps and not model.face_branch_from:
        faces = _train_stage(_branch_config(config, schedule.face_branch, "faces"), samples, run / FACE_STAGE)
        model = replace(model, face_branch_from=str(faces))
        config = replace(config, model=model)
    finished = _train_stage(config, samples, run)
    if schedule.sound_branch.steps and not model.trainable:
        alone = _branch_config(config, schedule.sound_branch, "audio")
        alone = replace(alone, model=replace(model, init_from=str(finished), trainable=("sound_branch",)))
        finished = _train_stage(alone, samples, run / SOUND_STAGE)
    return DualLabelDetector.from_pretrained(finished).eval()


def _branch_config(config: TrainConfig, branch: BranchSchedule, pairs: str) -> TrainConfig:
    """The configuration of a stage of its own, on pairs of one pass (or ``faces``)."""
    return replace(
        config,
        data=replace(config.data, pairs={pairs: branch.pairs}),
        schedule=replace(config.schedule, steps=branch.steps),
        optim=replace(config.optim, learning_rate=branch.learning_rate),
    )


def _train_stage(config: TrainConfig, samples: Sequence[Sample], run: Path) -> Path:
    """Train one stage to its end; the folder of the finished model."""
    finished = run / FINISHED
    if not finished.exists():
        from ...avsr.training.libsndfile import load_sndfile

        load_sndfile()
        from .recipe import run_training

        run_training(config, samples, run, finished)
    return finished
