"""Settings of a pretraining run and of its stages."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import yaml

from .augment import AugmentConfig


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
