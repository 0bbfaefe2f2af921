"""Experiments: variants of one configuration, each trained to its end and evaluated on forged dev clips."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ...media.files import atomic_write
from ...settings import build_settings, merge_settings
from .config import TrainConfig
from .predict import CASES, predict
from .train import load_sets, train

PREDICTIONS = "predictions.parquet"  # in the folder of a finished run


@dataclass
class ExperimentConfig:
    """Settings of the experiments; groups and names of the inner mappings are those of :class:`TrainConfig`."""

    base: dict[str, Any] = field(default_factory=dict)  # settings that all runs share
    seeds: tuple[int, ...] = (0, 1, 2)  # of every variant
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)  # name of a variant to the settings it changes
    excluded_methods: dict[str, list[str]] = field(default_factory=dict)  # name of a group of methods to its methods
    excluded_base: dict[str, Any] = field(default_factory=dict)  # settings changed in all runs that exclude methods

    RENAMED: ClassVar[Mapping[str, str]] = {"arms": "variants", "folds": "excluded_methods", "fold_base": "excluded_base"}


@dataclass(frozen=True)
class Run:
    """One training run: a variant with a seed, or a run without the methods of one group."""

    name: str
    seed: int
    config: TrainConfig


def runs_of(config: ExperimentConfig) -> list[Run]:
    """All runs of the experiments; seed after seed, so that results of all variants exist as soon as the first seed is done.

    Raises
    ------
    ValueError
        If a variant names a setting that :class:`TrainConfig` does not have.
    """
    runs = [
        Run(name, seed, _train_config(config.base, changes, {"seed": seed}))
        for seed in config.seeds
        for name, changes in config.variants.items()
    ]
    return runs + [
        Run(f"without {name}", 0, _train_config(config.base, config.excluded_base, {"data": {"exclude_methods": methods}}))
        for name, methods in config.excluded_methods.items()
    ]


def _train_config(*parts: Mapping[str, Any]) -> TrainConfig:
    return build_settings(TrainConfig, merge_settings(TrainConfig, *parts))


def run_experiments(
    config: ExperimentConfig,
    forged: Sequence[str | os.PathLike[str]],
    dev: str | os.PathLike[str],
    cache: str | os.PathLike[str],
    runs: str | os.PathLike[str],
    workers: int,
    only: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Train and evaluate every run that is not finished yet; each in a process of its own.

    Parameters
    ----------
    forged : sequence of path-like
        Training sets.
    dev : path-like
        Evaluation set.
    runs : path-like
        Folder of the runs and of their predictions; finished ones are read, not repeated.
    only : sequence of str, optional
        Names of runs; all otherwise.

    Returns
    -------
    pandas.DataFrame
        Rows of :func:`avwitness.detector.training.predict.predict` with ``variant`` (name of the run), ``seed`` and ``case``.

    Raises
    ------
    RuntimeError
        If a run fails.
    """
    tables = []
    for run in runs_of(config):
        if only and run.name not in only:
            continue
        folder = Path(runs) / f"{run.name.replace(' ', '_')}-{run.seed}"
        if not (folder / PREDICTIONS).exists():
            # fairseq2 keeps state in its process; a training gets its own and gives all memory back.
            arguments = (run, list(forged), dev, cache, folder, workers)
            child = multiprocessing.get_context("spawn").Process(target=train_and_predict, args=arguments)
            child.start()
            child.join()
            if child.exitcode:
                raise RuntimeError(f"{run.name}, seed {run.seed}, ended with exit code {child.exitcode}; see its output above")
        tables.append(pd.read_parquet(folder / PREDICTIONS).assign(variant=run.name, seed=run.seed))
    return pd.concat(tables, ignore_index=True)


def train_and_predict(
    run: Run,
    forged: Sequence[str | os.PathLike[str]],
    dev: str | os.PathLike[str],
    cache: str | os.PathLike[str],
    folder: Path,
    workers: int,
) -> None:
    """Train one run and write its predictions for the dev clips, given both streams and each alone."""
    config = run.config
    training, _ = load_sets(forged, cache, config, workers)
    model = train(config, training, folder)
    del training
    variants = min(config.data.visual_variants, 1)
    whole = replace(config, data=replace(config.data, calibration_identities={}, calibration_share=0.0, visual_variants=variants))
    samples, _ = load_sets([dev], cache, whole, workers, None)
    cases = [case for case in CASES if _is_trained_on(config, case)]
    table = pd.concat([predict(model, samples, case).assign(case=case) for case in cases], ignore_index=True)
    with atomic_write(folder / PREDICTIONS) as partial:
        table.to_parquet(partial, index=False)


def _is_trained_on(config: TrainConfig, case: str) -> bool:
    """Whether all streams of a case are in the passes that a run is trained on."""
    passes = {name for name, number in config.data.pairs.items() if number}
    streams = {stream for stream in ("audio", "video") if passes & {"both", stream}}
    return streams >= ({"audio", "video"} if case == "both" else {case})
