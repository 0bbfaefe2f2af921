"""Shared parts of the fairseq2 recipes: configuration sections, a resumable reader of batches, several processes on CPUs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from fairseq2.datasets import DataPipelineReader, DataReader
from fairseq2.recipe.config import (
    AdamWConfig,
    AdamWGroupConfig,
    CommonSection,
    CosineAnnealingLRConfig,
    GangSection,
    LRSchedulerSection,
    MixedPrecisionConfig,
    ModelSection,
    OptimizerSection,
    RegimeSection,
    TorchConfig,
    TrainerSection,
)
from torch import nn

METRICS_EVERY = 20  # steps between two points of a curve, at most
SAVE_TIMEOUT = 300.0  # seconds to wait for the first process to save
B = TypeVar("B")
BatchNormTypes = dict[str, type[nn.modules.batchnorm._BatchNorm]]


@dataclass
class RecipeConfig:
    """Sections that fairseq2 reads."""

    model: ModelSection
    gang: GangSection
    trainer: TrainerSection
    optimizer: OptimizerSection
    lr_scheduler: LRSchedulerSection
    regime: RegimeSection
    common: CommonSection


@dataclass(frozen=True)
class Schedule:
    """Length and learning rates of a run or stage."""

    steps: int
    learning_rate: float
    warm_up: float  # share of the steps
    weight_decay: float
    checkpoint_every: int  # steps
    rates: Mapping[str, float] = field(default_factory=dict)  # shares of the learning rate, by a pattern of parameters' names


def sections(family: str, architecture: Mapping[str, object], schedule: Schedule, validate: bool, threads: int, seed: int) -> RecipeConfig:
    """A run as sections of a fairseq2 configuration: AdamW, a cosine schedule, fp32, the last checkpoint kept."""
    warm_up = max(1, round(schedule.warm_up * schedule.steps))
    return RecipeConfig(
        model=ModelSection(family=family, config_overrides=dict(architecture)),
        gang=GangSection(),
        trainer=TrainerSection(mixed_precision=MixedPrecisionConfig(mode="off"), max_grad_norm=1.0),
        optimizer=OptimizerSection(
            config=AdamWConfig(
                lr=schedule.learning_rate,
                betas=(0.9, 0.98),
                weight_decay=schedule.weight_decay,
                impl="fused",
                groups=[AdamWGroupConfig(params=name, lr=share * schedule.learning_rate) for name, share in schedule.rates.items()],
            )
        ),
        lr_scheduler=LRSchedulerSection(
            config=CosineAnnealingLRConfig(cycle_len=max(1, schedule.steps - warm_up), num_warmup_steps=warm_up, final_lr_scale=0.01)
        ),
        regime=RegimeSection(
            num_steps=schedule.steps,
            checkpoint_every_n_steps=schedule.checkpoint_every,
            keep_last_n_checkpoints=1,
            validate_every_n_steps=schedule.checkpoint_every if validate else None,
            publish_metrics_every_n_steps=math.gcd(METRICS_EVERY, schedule.checkpoint_every),
        ),
        common=CommonSection(torch=TorchConfig(num_threads=threads), seed=seed + 1, no_sweep_dir=True),
    )


def wait_for_folder(folder: Path) -> None:
    """Wait until the first process has saved the trained model.

    Raises
    ------
    TimeoutError
        If it does not within :data:`SAVE_TIMEOUT`.
    """
    until = time.monotonic() + SAVE_TIMEOUT
    while not folder.exists():
        if time.monotonic() > until:
            raise TimeoutError(f"{folder}: the first process did not save it within {SAVE_TIMEOUT:.0f} s")
        time.sleep(0.2)


def batch_norm_types(model: nn.Module) -> BatchNormTypes:
    """Classes of the batch norms in a model, by module name."""
    return {name: type(module) for name, module in model.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)}


def unsynchronise_batch_norms(model: nn.Module, norms: BatchNormTypes) -> None:
    """Replace the synchronised batch norms that fairseq2 made for several processes: torch supports them on accelerators only.

    On CPUs every process normalises by its own batch, and the running statistics of the first process are kept.
    """
    for name, kind in norms.items():
        parent, _, leaf = name.rpartition(".")
        shared = model.get_submodule(name)
        if isinstance(shared, nn.SyncBatchNorm):
            own = kind(shared.num_features, shared.eps, shared.momentum)
            own.weight, own.bias = shared.weight, shared.bias
            own.load_state_dict(shared.state_dict())
            own.train(shared.training)
            setattr(model.get_submodule(parent), leaf, own)


class ResumableReader(DataReader[B]):
    """Endless batches whose state is the number of batches that were read; resuming skips as many.

    Parameters
    ----------
    make : callable
        From a number of batches to skip to a reader of the rest.
    """

    def __init__(self, make: Callable[[int], DataPipelineReader[B]]) -> None:
        self._make, self._inner, self._number = make, make(0), 0

    def __iter__(self) -> ResumableReader[B]:
        return self

    def __next__(self) -> list[B]:
        read = next(self._inner)
        self._number += len(read)
        return read

    def reset(self) -> None:
        self._inner, self._number = self._make(0), 0

    def state_dict(self) -> dict[str, object]:
        return {"number": self._number}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        self._number = int(state_dict["number"])  # type: ignore[call-overload]
        self._inner = self._make(self._number)

    @property
    def num_accumulate(self) -> int:
        return self._inner.num_accumulate
