"""Pretraining of the AVSR model in stages: split, targets and folders of each stage."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pandas as pd

from ...media.files import atomic_write
from ..model import AVSRModel
from .clusters import acoustic_features, assign_clusters, encoder_features, fit_clusters
from .config import PretrainConfig, StageConfig
from .corpus import Utterance, load_utterances

FINISHED = "model"  # folder of a finished model in the folder of its stage
MAX_PORT = 65_535  # of TCP
PORT_STEP_BACK = 10_000  # subtracted from ports beyond MAX_PORT


def split(utterances: list[Utterance], config: PretrainConfig) -> tuple[list[Utterance], list[Utterance]]:
    """Utterances for training, and those held out for the validation curves; both are of the training split of the manifest."""
    speakers: dict[str, set[str]] = {}
    for u in utterances:
        speakers.setdefault(u.corpus, set()).add(u.speaker)
    train: list[Utterance] = []
    held: list[Utterance] = []
    counts = dict.fromkeys(speakers, 0)
    for u in utterances:
        counts[u.corpus] += 1
        if len(speakers[u.corpus]) == 1:
            held_out = config.held_out_every and counts[u.corpus] % config.held_out_every == 0
        else:
            held_out = u.speaker in config.held_out_speakers
        (held if held_out else train).append(u)
    return train, held


def targets_of(
    stage: StageConfig, seed: int, previous: AVSRModel | None, train: list[Utterance], held: list[Utterance], folder: Path
) -> tuple[list[Utterance], list[Utterance]]:
    """Utterances with the clusters of a stage as targets; the cluster centres are stored in ``folder``."""
    if not stage.masked_prediction:
        return train, held
    if stage.targets == "encoder" and previous is None:
        raise ValueError(f"stage {stage.name}: targets are 'encoder', but it is the first stage")
    features = encoder_features(previous) if stage.targets == "encoder" and previous is not None else acoustic_features
    file = folder / "centres.npy"
    if file.exists():
        centres = np.load(file)
    else:
        centres = fit_clusters(train, features, stage.n_clusters, seed)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as partial:
            np.save(partial, centres)
    return assign_clusters(train, features, centres), assign_clusters(held, features, centres)


def pretrain(config: PretrainConfig, table: pd.DataFrame, cache: str | os.PathLike[str], run: str | os.PathLike[str]) -> AVSRModel:
    """Train every stage that is not finished yet; each resumes from its last checkpoint.

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
            child = multiprocessing.get_context("spawn").Process(target=_train_stage_in_process, args=(config, index, table, cache, run))
            child.start()
            child.join()
            if child.exitcode:
                raise RuntimeError(f"stage {stage.name} ended with exit code {child.exitcode}; see its output above")
        else:
            train_stage(config, index, table, cache, run)
    return AVSRModel.from_pretrained(_finished(run, config.stages[-1]))


def train_stage(config: PretrainConfig, index: int, table: pd.DataFrame, cache: str | os.PathLike[str], run: Path) -> None:
    """Train one stage of a run to its end; the previous stage must be finished."""
    from .libsndfile import load_sndfile

    load_sndfile()
    from .recipe import run_stage

    stage = config.stages[index]
    train, held = split(load_utterances(table, cache), config)
    previous = AVSRModel.from_pretrained(_finished(run, config.stages[index - 1])) if index else None
    train, held = targets_of(stage, config.seed, previous, train, held, run / stage.name)
    run_stage(stage, config, previous, train, held, run / stage.name, _finished(run, stage))


def _train_stage_in_process(config: PretrainConfig, index: int, table: pd.DataFrame, cache: str | os.PathLike[str], run: Path) -> None:
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"
    port = int(os.environ["MASTER_PORT"]) + 1 + index
    os.environ["MASTER_PORT"] = str(port if port <= MAX_PORT else port - PORT_STEP_BACK)
    train_stage(config, index, table, cache, run)


def _finished(run: Path, stage: StageConfig) -> Path:
    return run / stage.name / FINISHED
