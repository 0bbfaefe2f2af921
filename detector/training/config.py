"""Settings of a detector's training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ...generators.forge.registry import METHODS
from .augment import AugmentConfig
from .losses import LossConfig

BUNDLED_READER = "small"  # among avsr/weights
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
