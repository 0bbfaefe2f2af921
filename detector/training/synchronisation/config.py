"""Settings of the training of a sync network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..classifiers.field_data import GenuineCorpora


@dataclass
class SyncAugment:
    """Random changes of lips and audio features; none of them depends on the other stream except tempo, which changes both."""

    mirror: float = 0.5  # probability
    rotation: float = 0.08  # radians, standard deviation
    scale: float = 0.15  # of width and of height, each drawn from [1 - scale, 1 + scale]
    jitter: float = 0.02  # of every landmark in units of LIP_SCALE, standard deviation
    tempo: float = 0.1  # largest change of speed
    audio_noise: float = 0.1  # of the standardised audio features, standard deviation
    audio_dropout: float = 0.1  # share of the channels of the audio features that are set to their mean


@dataclass
class SyncTrainConfig(GenuineCorpora):
    """Settings of the training; read from YAML by :func:`avwitness.settings.read_settings`."""

    network: dict[str, Any] = field(default_factory=dict)  # arguments of SyncNetworkConfig
    steps: int = 500
    rounds: int = 2  # trainings; before each but the first, the lag of every recording is estimated by the one before
    batch: int = 24  # windows of different recordings
    frames: int = 60  # of a window; every third batch has twice as many windows of half the length
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warm_up: float = 0.1  # share of the steps
    checkpoint_every: int = 100  # steps
    temperature: float = 10.0  # factor of the cosines at the beginning; it is trained
    parts: tuple[int, ...] = (1, 2, 5)  # a window is compared as a whole, in halves and in fifths
    tolerance: int = 1  # frames beside the lag that count as in sync
    lags: dict[str, int] = field(default_factory=dict)  # frames by which the audio of a corpus lags, where that is known
    page_balance: float = 0.5  # exponent b of the sampling weight 1 / n**b, n seconds of the same page
    threads: int = 2
    bf16: bool = True  # autocast of the convolutions; pays where the processor multiplies bf16 matrices
    folds: int = 5  # of the cross-validation by page
    augment: SyncAugment = field(default_factory=SyncAugment)
    max_fpr: float = 0.05  # target of the threshold for a mismatch, on average over pages
    max_worst_fpr: float = 0.10  # the same for the worst tenth of the pages
