"""Training of the dual-label detector on forged sets: stages of a run and their folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..model import DualLabelDetector
from .build import find_encoder
from .config import TrainConfig
from .samples import Sample, calibration_split, load_set
from .visual_features import with_visual_features

FINISHED = "detector"  # folder of a finished model in its run


def load_sets(
    folders: Sequence[str | os.PathLike[str]], cache: str | os.PathLike[str], config: TrainConfig, workers: int, split: str | None = "train"
) -> tuple[list[Sample], list[Sample]]:
    """The clips of forged sets: those to train on, and those of identities kept back to calibrate on."""
    samples = [sample for folder in folders for sample in load_set(folder, cache, workers, split)]
    if config.backbone and config.looks and "video_front" in config.frozen:
        samples = with_visual_features(samples, find_encoder(config.backbone), config.looks, cache, workers)
    held = calibration_split(samples, config.held_out, config.held_clips)
    train = [sample for sample, kept in zip(samples, held, strict=True) if not kept]
    return train, [sample for sample, kept in zip(samples, held, strict=True) if kept]


def train(config: TrainConfig, samples: Sequence[Sample], run: str | os.PathLike[str]) -> DualLabelDetector:
    """Train to the last step; goes on from the last checkpoint in ``run``.

    The face branch comes first, on single faces, where the configuration asks for it; the rest is trained around it. The sound
    branch may go on learning when the rest has ended, which costs about half as much a step.

    Parameters
    ----------
    samples : sequence of Sample
        Of identities that are trained on.
    run : path-like
        Folder of checkpoints, metrics and the finished model, outside the repository. Under ``torchrun`` all processes
        name the same one.

    Raises
    ------
    ValueError
        If there is no fake, or no genuine clip to set beside it.
    """
    run = Path(run)
    if config.face_steps and not config.faces:
        alone = replace(config, pairs={"faces": config.face_pairs}, steps=config.face_steps, learning_rate=config.face_rate, face_steps=0)
        _stage(alone, samples, run / "faces")
        config = replace(config, faces=str(run / "faces" / FINISHED), face_steps=0)
    finished = _stage(config, samples, run)
    if config.sound_steps and not config.trainable:
        alone = replace(
            config,
            start=str(finished),
            trainable=("sound_branch",),
            pairs={"audio": config.sound_pairs},
            steps=config.sound_steps,
            learning_rate=config.sound_rate,
        )
        finished = _stage(alone, samples, run / "sound")
    return DualLabelDetector.from_pretrained(finished).eval()


def _stage(config: TrainConfig, samples: Sequence[Sample], run: Path) -> Path:
    """Train one configuration to its end; the folder of the finished model."""
    finished = run / FINISHED
    if not finished.exists():
        from ...avsr.training.libsndfile import load_sndfile

        load_sndfile()
        from .recipe import run_training

        run_training(config, samples, run, finished)
    return finished
