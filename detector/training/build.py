"""Training of the dual-label detector on forged sets: what a run is made of, and where it stands on disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ...avsr.model import load_encoder
from ...generators.forge.registry import METHODS
from ..model import DetectorConfig, DualLabelDetector
from .augment import AugmentConfig
from .losses import LossConfig
from .samples import Sample, calibration_split, load_set
from .visual_features import with_visual_features

BUNDLED_READER = "small"  # among avsr/weights
FINISHED = "detector"  # folder of a finished model in its run
WORD_EDITS = tuple(name for name in METHODS if name.startswith("word_"))


@dataclass
class TrainConfig:
    """One training run."""

    seed: int = 0
    backbone: str = BUNDLED_READER  # bundled speech reader, a folder of `avwitness convert` or of a reader, or "" for none
    model: dict[str, Any] = field(default_factory=dict)  # arguments of DetectorConfig; outrank those of the backbone's folder
    frozen: tuple[str, ...] = ("video_front",)  # parts of the backbone that keep their weights
    steps: int = 1000
    looks: int = 3  # augmented versions of every clip that a frozen visual front end looks at, once; 0 lets it look at every step
    frames: int = 30  # frames (1.2 s) of one example
    pairs: dict[str, int] = field(default_factory=lambda: {"both": 6, "audio": 8, "video": 4})
    faces: str = ""  # bundled detector or folder of one whose face branch is taken and kept; "" trains one first, on single faces
    face_steps: int = 0  # steps of that
    face_pairs: int = 16  # forged faces, each beside its genuine one, in one of those steps
    forged_faces: float = 0.5  # share of them that come from forged clips; the others are genuine faces blended on the fly
    face_rate: float = 2e-3  # learning rate of that
    sound_steps: int = 0  # steps after all others, in which the sound branch alone learns
    sound_pairs: int = 16  # forged sounds, each beside its genuine one, in one of those steps
    sound_rate: float = 1e-3  # learning rate of that
    start: str = ""  # bundled detector or folder of one whose weights all of this one's begin with; "" begins on the backbone's
    trainable: tuple[str, ...] = ()  # parts of the detector that learn, all others keeping their weights; () lets all but `frozen` learn
    learning_rate: float = 6e-4
    backbone_rate: float = 0.3  # of the learning rate, for what the backbone already knows
    weight_decay: float = 0.02
    warm_up: float = 0.05  # share of the steps
    checkpoint_every: int = 50  # steps
    threads: int = 1
    exclude_methods: tuple[str, ...] = ()  # methods left out
    rare_methods: tuple[str, ...] = WORD_EDITS  # methods drawn a third as often: there are nine of them, all cuts
    held_out: dict[str, int] = field(default_factory=lambda: {"lrc_ar": 4, "tv_panel": 3, "ted": 3})  # identities kept back
    held_clips: float = 0.1  # share of the clips kept back of corpora with a single identity
    losses: dict[str, float] = field(default_factory=dict)
    augment: dict[str, float] = field(default_factory=dict)

    @property
    def loss_config(self) -> LossConfig:
        """Weights of the losses."""
        return LossConfig(**self.losses)

    @property
    def augment_config(self) -> AugmentConfig:
        """How often augmentations strike."""
        return AugmentConfig(**self.augment)


def build_model(config: TrainConfig) -> DualLabelDetector:
    """A detector that stands on the backbone of a run's configuration, before training.

    Raises
    ------
    FileNotFoundError
        If the backbone's folder does not exist.
    """
    if config.start:
        return DualLabelDetector.from_pretrained(find_detector(config.start), dtype=torch.float32, local_files_only=True)
    model = _on_backbone(config)
    if config.faces and model.face_branch is not None:
        donor = DualLabelDetector.from_pretrained(find_detector(config.faces), dtype=torch.float32, local_files_only=True)
        if donor.face_branch is None:
            raise ValueError(f"{config.faces}: this detector has no face branch that could be taken")
        model.face_branch.load_state_dict(donor.face_branch.state_dict())
    return model


def _on_backbone(config: TrainConfig) -> DualLabelDetector:
    if not config.backbone:
        return DualLabelDetector(DetectorConfig(**config.model))
    encoder = load_encoder(find_encoder(config.backbone))
    described = {
        "backbone": encoder.config.backbone,
        "backbone_options": encoder.config.backbone_options,
        "notice": encoder.config.notice,
    }
    model = DualLabelDetector(DetectorConfig(**{**described, **config.model}))
    model.backbone.load_state_dict(encoder.backbone.state_dict())
    return model


def find_encoder(name: str) -> Path:
    """The folder of a bundled speech reader of that name, or the folder itself.

    Raises
    ------
    FileNotFoundError
        If neither exists.
    """
    return _find(name, Path(__file__).parents[2] / "avsr" / "weights", "speech encoder")


def find_detector(name: str) -> Path:
    """The folder of a bundled detector of that name, or the folder itself; errors as :func:`find_encoder`."""
    return _find(name, Path(__file__).parents[1] / "weights", "detector")


def _find(name: str, bundled: Path, what: str) -> Path:
    for folder in (bundled / name, Path(name)):
        if (folder / "config.json").is_file():
            return folder
    raise FileNotFoundError(f"{name}: no such {what}; name a bundled one or a folder that holds one")


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
