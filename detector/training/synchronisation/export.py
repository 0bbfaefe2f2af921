"""Calibration of a sync network on cross-validated statistics, and its export as part of a detector."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from .... import __version__
from ....avsr.sync_network import SyncNetwork, SyncNetworkConfig
from ....avsr.training.libsndfile import load_sndfile
from ....avsr.whisper.encoder import WhisperAudioEncoder
from ....checkpoints import find_weights, read_card
from ....media.clip import FRAME_RATE
from ...calibration import Calibration, StreamCalibration
from ...model import DualLabelDetector
from ...thresholds import page_threshold
from ..classifiers.export import save_detector, with_part
from ..classifiers.field_data import field_table, genuine_clips
from ..classifiers.linear import page_folds
from .config import SyncTrainConfig
from .recordings import Recording, field_recordings, load_recordings
from .validation import KINDS, mismatch_table

MIN_USABLE = 0.8  # share of the frames of a scored clip in which the lips must be seen
Hook = Callable[[int, int], None]
Folds = list[tuple[SyncNetwork, list[Recording]]]
LENGTHS = (1.5, 2.0, 3.0)  # seconds of the windows that the calibration is fitted to


@dataclass(frozen=True)
class SyncData:
    """What a sync network is trained on and asked about.

    Parameters
    ----------
    scored : list of Recording
        Genuine clips of the field set's training split, with genuine sound.
    train : list of Recording
        The same pages, in full length where that is there, and further corpora.
    failures : list of str
        Files that cannot be read, a sentence each.
    """

    scored: list[Recording]
    train: list[Recording]
    failures: list[str]


@dataclass(frozen=True)
class TrainedSync:
    """A sync network, and those of the cross-validation, each with the clips of the pages that it was trained without."""

    network: SyncNetwork
    folds: Folds
    data: SyncData


def load_data(
    field: str | os.PathLike[str],
    data: str | os.PathLike[str] | None,
    encoder: WhisperAudioEncoder,
    config: SyncTrainConfig,
    cache: str | os.PathLike[str],
    originals: str | os.PathLike[str] | None = None,
    hook: Hook | None = None,
) -> SyncData:
    """Recordings for training and cross-validation.

    Parameters
    ----------
    field : path-like
        Folder of the field set.
    data : path-like or None
        Folder with the manifest that lists the corpora of ``config.genuine_corpora``.
    encoder : WhisperAudioEncoder
    config : SyncTrainConfig
    cache : path-like
    originals : path-like, optional
        See :func:`.recordings.field_recordings`.
    hook : callable, optional
        Called with files done and all files, for each part anew.
    """
    layer = SyncNetworkConfig(**config.network).layer
    table = talking_clips(field, "train")
    scored, failures = field_recordings(table, encoder, layer, cache, hook=hook)
    longer, more = field_recordings(table, encoder, layer, cache, originals, hook)
    train, failures = list(longer), [*failures, *(m for m in more if m not in failures)]
    if config.genuine_corpora:
        clips = genuine_clips(data, "audio", config)
        pages = (clips.corpus + "/" + clips.speaker).to_list()
        found, more = load_recordings(list(clips.file), pages, encoder, layer, cache, hook)
        for corpus, parts in zip(clips.corpus, found, strict=True):
            train += [replace(recording, lag=config.lags.get(corpus, 0)) for recording in parts]
        failures += more
    return SyncData([r for r in scored if r.usable.mean() > MIN_USABLE], train, failures)


def talking_clips(field: str | os.PathLike[str], split: str) -> pd.DataFrame:
    """Clips of a split of the field set whose video and audio are both labelled genuine."""
    table = field_table(field, "video")
    return table[(table.split == split) & (table.label == 0) & (table.audio_label == 0)].reset_index(drop=True)


def train_and_validate(data: SyncData, config: SyncTrainConfig, run: str | os.PathLike[str], hook: Hook | None = None) -> TrainedSync:
    """Train a network on all recordings, and one without the pages of each fold.

    Parameters
    ----------
    data : SyncData
    config : SyncTrainConfig
    run : path-like
        Folder of the runs; finished ones found there are kept.
    hook : callable, optional
        Called with trainings done and all trainings.
    """
    folds = cross_validated(data, config, run, hook)
    from .recipe import train_sync_network

    return TrainedSync(train_sync_network(config, data.train, Path(run) / "all"), folds, data)


def cross_validated(data: SyncData, config: SyncTrainConfig, run: str | os.PathLike[str], hook: Hook | None = None) -> Folds:
    """Networks that were trained without the pages of each fold, and the scored clips of these pages; arguments as above."""
    load_sndfile()  # before anything of fairseq2 is imported
    from .recipe import train_sync_network

    pages = np.array([r.page for r in data.scored])
    fold = page_folds(pages, config.folds, config.seed)
    folds = []
    for number in range(config.folds):
        held = set(pages[fold == number])
        network = train_sync_network(config, [r for r in data.train if r.page not in held], Path(run) / f"fold{number}")
        folds.append((network, [r for r, f in zip(data.scored, fold, strict=True) if f == number]))
        if hook is not None:
            hook(number + 1, config.folds)
    return folds


def validated_table(networks: Sequence[tuple[SyncNetwork, Sequence[Recording]]], seconds: float, seed: int) -> pd.DataFrame:
    """:func:`.validation.mismatch_table` over the folds, each by the network that was trained without it."""
    frames = round(seconds * FRAME_RATE)
    parts = [mismatch_table(network, held, frames, seed) for network, held in networks]
    return pd.concat(parts, ignore_index=True).assign(seconds=seconds)


def calibrate_sync(tables: pd.DataFrame, config: SyncTrainConfig) -> StreamCalibration:
    """Calibration of the statistic on windows of several lengths: in sync against moved and foreign sound.

    The threshold for a mismatch keeps the FPR low on average over pages and on the worst tenth of them.
    """
    labels, pages = tables.kind.ne(KINDS[0]).to_numpy(dtype=int), tables.page.to_numpy(dtype=str)
    fitted = StreamCalibration.fit(tables.statistic.to_numpy(), labels, pages, pages, tables.kind.to_numpy(), mapping="platt")
    p = np.asarray(fitted.probability(tables.statistic.to_numpy()))
    high = page_threshold(p[labels == 0], pages[labels == 0], config.max_fpr, config.max_worst_fpr)
    return replace(fitted, genuine_below=min(fitted.genuine_below, high), fake_above=high, thresholds={**fitted.thresholds, "at_5": high})


def export_sync(
    trained: TrainedSync, base: str | os.PathLike[str], config: SyncTrainConfig, out: str | os.PathLike[str], command: str
) -> Path:
    """Add a trained sync network to a detector, calibrate it, and write the detector; its other parts stay as they are.

    Raises
    ------
    ValueError
        If the detector has no audio classifier, whose encoder the network needs.
    """
    tables = pd.concat([validated_table(trained.folds, seconds, config.seed) for seconds in LENGTHS], ignore_index=True)
    network, train = trained.network, trained.data.train
    folder = find_weights("detector", base)
    model = DualLabelDetector.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    made = with_part(model, "sync_network", network, asdict(network.config), replaced="sync_head")
    calibration = calibrate_sync(tables, config)
    made.config.calibration = replace(Calibration.from_dict(made.config.calibration), sync=calibration).to_dict()
    numbers = sum(p.numel() for p in made.parameters())
    card = {
        **read_card(folder),
        "version": __version__,
        "parameters": numbers + sum(b.numel() for b in made.buffers() if b.dtype == torch.int8),
        "sync_network": {
            "parameters": sum(p.numel() for p in network.parameters()),
            "data": {
                "recordings": len(train),
                "seconds": round(sum(r.frames for r in train) / FRAME_RATE),
                "pages and speakers": len({r.page for r in train}),
            },
            "training": asdict(config),
            "command": command,
            "calibration": {
                "windows": {kind: int((tables.kind == kind).sum()) for kind in KINDS},
                "pages": int(tables.page.nunique()),
                "threshold": round(calibration.fake_above, 4),
                "power": round(calibration.power, 4),
            },
        },
    }
    return save_detector(made, card, out)
