"""Pretraining of the speech reader in stages: what each stage learns from, and where it stands on disk."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pandas as pd

from ...media.files import atomic_write
from ..model import AVSRModel
from .clusters import acoustic, assign, fit_clusters, heard_by
from .config import PretrainConfig, StageConfig
from .corpus import Utterance, load_utterances

LAST_PORT, PORTS_BACK = 65_535, 10_000  # of TCP, and how far to step back when a run's ports would lie beyond


def split(utterances: list[Utterance], config: PretrainConfig) -> tuple[list[Utterance], list[Utterance]]:
    """Utterances to learn from, and those kept back to draw curves with: neither is a dev or test clip."""
    speakers: dict[str, set[str]] = {}
    for u in utterances:
        speakers.setdefault(u.corpus, set()).add(u.speaker)
    kept: list[Utterance] = []
    held: list[Utterance] = []
    counts = dict.fromkeys(speakers, 0)
    for u in utterances:
        counts[u.corpus] += 1
        alone = len(speakers[u.corpus]) == 1
        back = config.held_out_every and counts[u.corpus] % config.held_out_every == 0 if alone else u.speaker in config.held_out_speakers
        (held if back else kept).append(u)
    return kept, held


def targets_of(
    stage: StageConfig, seed: int, before: AVSRModel | None, train: list[Utterance], held: list[Utterance], folder: Path
) -> tuple[list[Utterance], list[Utterance]]:
    """Utterances with the sound classes of a stage; the class centres are kept in ``folder``."""
    if not stage.clusters:
        return train, held
    if stage.targets == "own" and before is None:
        raise ValueError(f"stage {stage.name}: targets are 'own', but no stage comes before it")
    features = acoustic if stage.targets == "acoustic" else heard_by(before) if before is not None else acoustic
    file = folder / "centres.npy"
    if file.exists():
        centres = np.load(file)
    else:
        centres = fit_clusters(train, features, stage.count, seed)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as partial:
            np.save(partial, centres)
    return assign(train, features, centres), assign(held, features, centres)


def pretrain(config: PretrainConfig, table: pd.DataFrame, cache: str | os.PathLike[str], run: str | os.PathLike[str]) -> AVSRModel:
    """Train every stage that is not finished yet; each goes on from its last checkpoint.

    Parameters
    ----------
    table : pandas.DataFrame
        Training rows of a manifest, with transcripts.
    cache : path-like
        Prepared views.
    run : path-like
        Folder of checkpoints, metrics and finished stages. Under ``torchrun`` all processes name the same one.

    Raises
    ------
    FileNotFoundError
        If no clips were prepared.
    """
    run = Path(run)
    if not config.stages:
        raise ValueError("the configuration has no stages")
    for index, stage in enumerate(config.stages):
        if _finished(run, stage).exists():
            continue
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            # torch cannot open a process group twice in one process, nor twice in the store that torchrun keeps:
            # every stage gets a process of its own, and its first one keeps the store.
            child = multiprocessing.get_context("spawn").Process(target=_train_stage_alone, args=(config, index, table, cache, run))
            child.start()
            child.join()
            if child.exitcode:
                raise RuntimeError(f"stage {stage.name} ended with exit code {child.exitcode}; what it says stands above")
        else:
            train_stage(config, index, table, cache, run)
    return AVSRModel.from_pretrained(_finished(run, config.stages[-1]))


def train_stage(config: PretrainConfig, index: int, table: pd.DataFrame, cache: str | os.PathLike[str], run: Path) -> None:
    """Train one stage of a run to its end; the stage before it must be finished."""
    from .libsndfile import load_sndfile

    load_sndfile()
    from .recipe import run_stage

    stage = config.stages[index]
    train, held = split(load_utterances(table, cache), config)
    before = AVSRModel.from_pretrained(_finished(run, config.stages[index - 1])) if index else None
    seen, unseen = targets_of(stage, config.seed, before, train, held, run / stage.name)
    run_stage(stage, config, before, seen, unseen, run / stage.name, _finished(run, stage))


def _train_stage_alone(config: PretrainConfig, index: int, table: pd.DataFrame, cache: str | os.PathLike[str], run: Path) -> None:
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"
    port = int(os.environ["MASTER_PORT"]) + 1 + index
    os.environ["MASTER_PORT"] = str(port if port <= LAST_PORT else port - PORTS_BACK)
    train_stage(config, index, table, cache, run)


def _finished(run: Path, stage: StageConfig) -> Path:
    return run / stage.name / "reader"
