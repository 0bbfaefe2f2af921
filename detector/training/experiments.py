"""Trainings that answer a question: variants of one configuration, each trained to its end and judged on forged dev clips."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ...media.files import atomic_write
from .config import TrainConfig
from .predict import CASES, predict
from .train import load_sets, train


@dataclass
class ExperimentConfig:
    """What the experiments vary, and how long each training takes."""

    base: dict[str, Any] = field(default_factory=dict)  # arguments of TrainConfig that all of them share
    seeds: tuple[int, ...] = (0, 1, 2)  # of the claims
    arms: dict[str, dict[str, Any]] = field(default_factory=dict)  # name of an arm of the claims to what it changes
    folds: dict[str, list[str]] = field(default_factory=dict)  # name of a fold to the methods it leaves out
    fold_base: dict[str, Any] = field(default_factory=dict)  # what the folds change


@dataclass(frozen=True)
class Variant:
    """One training: an arm with a seed, or a fold."""

    name: str
    seed: int
    config: TrainConfig


def variants(config: ExperimentConfig) -> list[Variant]:
    """All trainings of the experiments, seed after seed, so that a run cut short has all arms of its first seeds."""
    found = [
        Variant(name, seed, _settings(config.base, changes, {"seed": seed}))
        for seed in config.seeds
        for name, changes in config.arms.items()
    ]
    return found + [
        Variant(f"without {name}", 0, _settings(config.base, config.fold_base, {"exclude_methods": tuple(methods)}))
        for name, methods in config.folds.items()
    ]


def _settings(*parts: Mapping[str, Any]) -> TrainConfig:
    merged: dict[str, Any] = {}
    for part in parts:
        merged |= part
    return TrainConfig(**merged)


def run_experiments(
    config: ExperimentConfig,
    forged: Sequence[str | os.PathLike[str]],
    dev: str | os.PathLike[str],
    cache: str | os.PathLike[str],
    runs: str | os.PathLike[str],
    workers: int,
    only: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Train and judge every variant that is not there yet; each in a process of its own.

    Parameters
    ----------
    forged : sequence of path-like
        Sets to train on.
    dev : path-like
        Set to judge on.
    runs : path-like
        Folder of the runs and of their judgements; what is finished there is taken as it is.
    only : sequence of str, optional
        Names of variants; all otherwise.

    Returns
    -------
    pandas.DataFrame
        Rows of :func:`avwitness.detector.training.predict.predict` with ``variant``, ``seed`` and ``case``; of variants that are finished.
    """
    tables = []
    for variant in variants(config):
        if only and variant.name not in only:
            continue
        folder = Path(runs) / f"{variant.name.replace(' ', '_')}-{variant.seed}"
        if not (folder / "judged.parquet").exists():
            # fairseq2 keeps state in its process; a training gets its own and gives all memory back.
            arguments = (variant, list(forged), dev, cache, folder, workers)
            child = multiprocessing.get_context("spawn").Process(target=train_and_predict, args=arguments)
            child.start()
            child.join()
            if child.exitcode:
                raise RuntimeError(f"{variant.name}, seed {variant.seed}, ended with exit code {child.exitcode}; what it says stands above")
        tables.append(pd.read_parquet(folder / "judged.parquet").assign(variant=variant.name, seed=variant.seed))
    return pd.concat(tables, ignore_index=True)


def train_and_predict(
    variant: Variant,
    forged: Sequence[str | os.PathLike[str]],
    dev: str | os.PathLike[str],
    cache: str | os.PathLike[str],
    folder: Path,
    workers: int,
) -> None:
    """Train one variant and write its judgement of the dev clips, with both streams and with each alone."""
    config = variant.config
    taught, _ = load_sets(forged, cache, config, workers)
    model = train(config, taught, folder)
    del taught
    samples, _ = load_sets([dev], cache, replace(config, held_out={}, held_clips=0.0, looks=min(config.looks, 1)), workers, None)
    cases = [case for case in CASES if _can(config, case)]
    table = pd.concat([predict(model, samples, case).assign(case=case) for case in cases], ignore_index=True)
    with atomic_write(folder / "judged.parquet") as partial:
        table.to_parquet(partial, index=False)


def _can(config: TrainConfig, case: str) -> bool:
    """Whether a model was taught with these streams: one that only hears is not asked what it sees."""
    streams = {stream for name, number in config.pairs.items() if number for stream in ("audio", "video") if name in ("both", stream)}
    return streams >= ({"audio", "video"} if case == "both" else {case})
