"""Settings of a detector's training run, in groups: data, model, loss, optim, schedule, augment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ...generators.forge.registry import METHODS
from .augment import AugmentConfig
from .losses import LossConfig

BUNDLED_ENCODER = "small"  # among avsr/weights
WORD_EDITS = tuple(name for name in METHODS if name.startswith("word_"))
DETECTOR_OPTIONS = ("artefacts", "labels", "backbone_options")  # arguments of DetectorConfig that a run sets most often


@dataclass
class DataConfig:
    """Which samples are drawn, how many and how long."""

    frames: int = 30  # frames at 25 Hz (1.2 s) of one training window
    pairs: dict[str, int] = field(default_factory=lambda: {"both": 6, "audio": 8, "video": 4})  # fake and real clip, by pass, in a batch
    visual_variants: int = 3  # augmented versions of each clip whose visual features are cached; 0 computes them in every step
    exclude_methods: tuple[str, ...] = ()  # methods left out of the training data
    rare_methods: tuple[str, ...] = WORD_EDITS  # methods sampled a third as often: there are nine of them, all cuts
    forged_face_share: float = 0.5  # of single faces that come from forged clips; the others are genuine faces, blended on the fly
    calibration_identities: dict[str, int] = field(default_factory=lambda: {"lrc_ar": 4, "tv_panel": 3, "ted": 3})  # by corpus
    calibration_share: float = 0.1  # of the source clips, in corpora with a single identity


@dataclass
class ModelConfig:
    """The detector, the weights it starts with, and the parts that are trained."""

    backbone: str = BUNDLED_ENCODER  # bundled speech encoder, a folder of one (`avwitness convert` writes such), or "" for random weights
    detector: dict[str, Any] = field(default_factory=dict)  # arguments of DetectorConfig; outrank those of the backbone's folder
    frozen: tuple[str, ...] = ("video_front",)  # parts of the backbone that keep their weights
    trainable: tuple[str, ...] = ()  # parts of the detector that are trained, all others frozen; () trains all but `frozen`
    init_from: str = ""  # bundled detector or folder of one: initial values of all weights
    face_branch_from: str = ""  # bundled detector or folder of one: the weights of its face branch, which are then frozen

    RENAMED: ClassVar[Mapping[str, str]] = {name: f"model.detector.{name}" for name in DETECTOR_OPTIONS}


@dataclass
class OptimConfig:
    """AdamW."""

    learning_rate: float = 6e-4
    backbone_rate: float = 0.3  # learning rate of a pretrained backbone, as a share of `learning_rate`
    weight_decay: float = 0.02


@dataclass
class BranchSchedule:
    """A stage of training in which one branch of the detector is trained alone."""

    steps: int = 0  # 0 leaves the stage out
    pairs: int = 16  # fake and real sample, in one batch
    learning_rate: float = 1e-3


@dataclass
class ScheduleConfig:
    """Length of the stages, warm-up and checkpoints."""

    steps: int = 1000
    warm_up: float = 0.05  # share of the steps
    checkpoint_every: int = 50  # steps
    face_branch: BranchSchedule = field(default_factory=lambda: BranchSchedule(learning_rate=2e-3))  # before all else, on single faces
    sound_branch: BranchSchedule = field(default_factory=BranchSchedule)  # after all else


@dataclass
class TrainConfig:
    """One training run; read from YAML by :func:`avwitness.settings.read_settings`."""

    seed: int = 0
    threads: int = 1
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    RENAMED: ClassVar[Mapping[str, str]] = {  # the flat settings of version 0.1
        "backbone": "model.backbone",
        "frozen": "model.frozen",
        "learns": "model.trainable",
        "trainable": "model.trainable",
        "start": "model.init_from",
        "faces": "model.face_branch_from",
        "steps": "schedule.steps",
        "warm_up": "schedule.warm_up",
        "checkpoint_every": "schedule.checkpoint_every",
        "face_steps": "schedule.face_branch.steps",
        "face_pairs": "schedule.face_branch.pairs",
        "face_rate": "schedule.face_branch.learning_rate",
        "sound_steps": "schedule.sound_branch.steps",
        "sound_pairs": "schedule.sound_branch.pairs",
        "sound_rate": "schedule.sound_branch.learning_rate",
        "looks": "data.visual_variants",
        "frames": "data.frames",
        "pairs": "data.pairs",
        "forged_faces": "data.forged_face_share",
        "without": "data.exclude_methods",
        "exclude_methods": "data.exclude_methods",
        "seldom": "data.rare_methods",
        "rare_methods": "data.rare_methods",
        "held_out": "data.calibration_identities",
        "held_clips": "data.calibration_share",
        "learning_rate": "optim.learning_rate",
        "backbone_rate": "optim.backbone_rate",
        "weight_decay": "optim.weight_decay",
        "losses": "loss",
    }
