"""Settings of a pretraining run and of its stages."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from ...settings import build_settings, read_settings
from .augment import AugmentConfig

TARGETS = ("acoustic", "encoder")


@dataclass
class StageConfig:
    """One stage of a pretraining run."""

    name: str
    steps: int
    learning_rate: float
    streams: tuple[str, ...] = ("audio", "video")
    frames: int = 640  # of one batch and process, padding included; rounded to a multiple of the longest sample
    ctc: float = 1.0  # weight of the CTC loss; 0 leaves it out
    masked_prediction: float = 0.0  # weight of the masked prediction loss; 0 leaves it out
    targets: str = "acoustic"  # features that are clustered: acoustic, or encoder (those of the audio encoder after the previous stage)
    n_clusters: int = 100
    unmasked_weight: float = 0.5  # of frames that are not masked, in masked prediction
    warm_up: float = 0.08  # share of the steps
    checkpoint_every: int = 100  # steps; the last step must be a multiple
    augment: dict[str, Any] = field(default_factory=dict)  # changes to the run's augmentation

    RENAMED: ClassVar[Mapping[str, str]] = {  # settings of version 0.1
        "letters": "ctc",
        "clusters": "masked_prediction",
        "count": "n_clusters",
        "visible": "unmasked_weight",
    }


@dataclass
class PretrainConfig:
    """One pretraining run; read from YAML by :func:`load_config`."""

    stages: list[StageConfig] = field(default_factory=list)
    model: dict[str, Any] = field(default_factory=dict)  # arguments of AVSRConfig
    seed: int = 0
    threads: int = 2
    weight_decay: float = 0.02
    corpus_repeats: dict[str, int] = field(default_factory=dict)  # occurrences of a corpus in one epoch; 1 unless given
    head_weights: dict[str, float] = field(default_factory=lambda: {"audio": 0.5, "video": 1.0, "joint": 1.0})  # of the losses
    max_frames: int = 200  # of a sample
    held_out_speakers: tuple[str, ...] = ()  # training speakers kept for the validation curves
    held_out_every: int = 0  # every n-th clip of a corpus with one speaker is kept for the validation curves
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    RENAMED: ClassVar[Mapping[str, str]] = {  # settings of version 0.1
        "repeats": "corpus_repeats",
        "weights": "head_weights",
        "longest": "max_frames",
    }

    def __post_init__(self) -> None:
        for stage in self.stages:
            if stage.steps % stage.checkpoint_every:
                raise ValueError(
                    f"stage {stage.name}: steps ({stage.steps}) must be a multiple of checkpoint_every ({stage.checkpoint_every})"
                )
            if stage.targets not in TARGETS:
                raise ValueError(f"stage {stage.name}: targets must be {' or '.join(TARGETS)}, not {stage.targets!r}")
            if not stage.ctc and not stage.masked_prediction:
                raise ValueError(f"stage {stage.name}: it has no loss; give ctc or masked_prediction a weight")
            try:
                self.stage_augment(stage)
            except ValueError as error:
                raise ValueError(f"stage {stage.name}: augment: {error}") from None

    def stage_augment(self, stage: StageConfig) -> AugmentConfig:
        """The run's augmentation with the changes of a stage."""
        return build_settings(AugmentConfig, {**asdict(self.augment), **stage.augment})


def load_config(path: str | os.PathLike[str]) -> PretrainConfig:
    """Read a pretraining configuration; errors as :func:`avwitness.settings.read_settings`."""
    return read_settings(path, PretrainConfig)
