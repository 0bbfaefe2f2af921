"""Forged dev clips: fakes of every method from held-out clips, and metrics of the detector on them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ....datasets.manifest import read_labels
from ....detector.calibration import Calibration
from ....detector.model import DualLabelDetector
from ....detector.training.predict import predict
from ....detector.training.samples import Sample, load_set, split_methods
from ....generators.forge.registry import select_methods
from ....generators.forge.run import ForgeConfig, forge_set, plan_forge
from ....media.clip import STREAMS
from ....media.pcm import to_float32
from ...auditing.statistics import AUDIO_BASELINES, mouth_blur
from ...document import format_number, markdown_table
from ...metrics.baselines import ScoredRows, exceeds_baselines
from ...metrics.bootstrap import bootstrap_units
from .portraits import fill_portraits

POOLED = "all"
CORPORA = {"grid": "speaker in the training data, clips not", "lrc_ar": "speakers not in the training data"}
BASELINES = {"audio": tuple(AUDIO_BASELINES), "video": ("mouth blur",), "overall": (*AUDIO_BASELINES, "mouth blur")}
PARTS = {"": "whole head", "_speech": "speech encoder alone", "_artefacts": "artefact branch alone"}


@dataclass(frozen=True)
class DevSet:
    """Settings of a set that is forged from the dev split.

    Parameters
    ----------
    folder : str
        In the cache.
    methods : str
        See :func:`avwitness.generators.forge.registry.select_methods`.
    per_clip : int
        Forged clips of every source, in addition to one genuine clip.
    clips : int
        Total number, of sources in random order.
    """

    folder: str
    methods: str
    per_clip: int
    clips: int


ALL_METHODS = DevSet("forged-dev", "all", 3, 600)
COARSE = DevSet("forged-dev-coarse", "coarse", 1, 300)  # one per source, each paired with a genuine clip of the same sharpness


@dataclass(frozen=True)
class ForgedDev:
    """A forged set with predictions, one row for each clip.

    Parameters
    ----------
    folder : Path
    samples : list of Sample
    table : pandas.DataFrame
        Output of :func:`avwitness.detector.training.predict.predict` with frame logits; ``method`` as named by the forge;
        ``overall`` (log-odds that any stream is fake) and its label; the baselines of :data:`BASELINES`.
    failures : tuple of str
        A sentence for every clip that could not be forged.
    """

    folder: Path
    samples: list[Sample]
    table: pd.DataFrame
    failures: tuple[str, ...]


def forge_dev(
    data: str | os.PathLike[str], cache: str | os.PathLike[str], seed: int, workers: int, dev_set: DevSet = ALL_METHODS
) -> tuple[Path, tuple[str, ...]]:
    """Forge the dev split with the requested methods that are available; an interrupted run is resumed.

    Returns
    -------
    folder : Path
    failures : tuple of str
        A sentence for every clip that could not be read or forged.
    """
    config = ForgeConfig(select_methods(dev_set.methods), dev_set.per_clip, 1, seed, split="dev", limit=dev_set.clips)
    jobs, unread = plan_forge(data, cache, config, workers)
    done = forge_set(jobs, Path(cache) / dev_set.folder, cache, config, workers)
    return done.manifest.parent, (*unread, *done.failures)


def predict_dev(
    folder: Path,
    cache: str | os.PathLike[str],
    model: DualLabelDetector,
    calibration: Calibration,
    workers: int,
    failures: Sequence[str] = (),
) -> ForgedDev:
    """Predict every clip of a forged set, and measure the baselines on it."""
    samples, labels = load_set(folder, Path(cache) / "views", workers), read_labels(folder)
    portraits = None
    if model.video_classifier is not None:
        portraits = fill_portraits(list(labels["file"]), list(labels["path"]), Path(cache) / "portraits" / folder.name, workers)
    table = predict(model, samples, keep_frames=True, portraits=portraits)
    methods = labels.set_index("path")["method"]
    table = table.assign(method=methods.reindex(table["path"]).to_numpy(), **overall(table, calibration))
    table = table.join(pd.DataFrame([baselines(sample) for sample in samples], index=table.index))
    return ForgedDev(folder, samples, table, tuple(failures))


def baselines(sample: Sample) -> dict[str, float]:
    """The trivial baselines of one clip.

    The native size of the face is not among them: a fake and its paired real clip have the same postprocessing, so it is equal.
    """
    found = dict.fromkeys(BASELINES["overall"], float("nan"))
    if sample.waveform is not None:
        waveform = to_float32(sample.waveform)
        found |= {name: baseline(waveform) for name, baseline in AUDIO_BASELINES.items()}
    if sample.mouth is not None and sample.usable is not None and sample.usable.any():
        found["mouth blur"] = mouth_blur(sample.mouth, sample.usable)
    return found


def overall(table: pd.DataFrame, calibration: Calibration) -> dict[str, np.ndarray]:
    """Log-odds, probability and label of the whole file; clips of genuine but mismatched streams have no label."""
    audio, video = (
        table[stream].to_numpy(dtype=float) if getattr(calibration, stream).validated else np.full(len(table), np.nan)
        for stream in ("audio", "video")
    )
    with np.errstate(invalid="ignore"):  # a missing stream is NaN
        both = calibration.combined(audio, video)
    alone = np.where(np.isnan(audio), calibration.video.log_odds(video), calibration.audio.log_odds(audio))
    probabilities = [
        calibration.overall_probability(*(None if np.isnan(x) else float(x) for x in pair))
        for pair in table[["audio", "video"]].to_numpy(dtype=float)
    ]
    labels = table[[f"{stream}_label" for stream in STREAMS]].max(axis=1).to_numpy(dtype=float)
    mismatch = table["mismatch"].eq(True).to_numpy()
    return {
        "overall": np.where(np.isnan(both), alone, both),
        "overall_p": np.array([np.nan if p is None else p for p in probabilities], dtype=float),
        "overall_label": np.where((labels == 0) & mismatch, np.nan, labels),
    }


def scored_rows(rows: pd.DataFrame, stream: str, column: str | None = None) -> ScoredRows:
    """Labelled rows of a stream (or ``overall``) by the scores of a column, that of the stream by default."""
    rows = rows[rows[f"{stream}_label"].notna()]
    units, unit_name = bootstrap_units(rows["identity"].to_numpy(), rows["source"].to_numpy())
    return ScoredRows(
        rows[column or stream].to_numpy(dtype=float),
        rows[f"{stream}_label"].to_numpy(dtype=int),
        units,
        rows["corpus"].to_numpy(),
        {name: rows[name].to_numpy(dtype=float) for name in BASELINES[stream]},
        unit_name,
    ).scored()


def by_corpus(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows of each corpus, and all rows."""
    found = {str(corpus): rows for corpus, rows in table.groupby("corpus")}
    return {**found, POOLED: table} if len(found) > 1 else found


def dev_tables(dev: ForgedDev, seed: int) -> list[str]:
    """Tables of both streams and of the whole file by corpus, of the parts of each head, and of every method."""
    known = "; ".join(f"{corpus}: {CORPORA.get(str(corpus), 'not trained on')}" for corpus in sorted(set(dev.table["corpus"])))
    genuine = sum(sample.genuine for sample in dev.samples)
    lines = [
        "## Forged dev clips",
        "",
        f"{len(dev.samples)} clips, {genuine} of them genuine and in sync, from the split `dev` ({known}),",
        f"forged with seed {seed} and every method that can be used here: {ALL_METHODS.per_clip} forged and 1 genuine of each source,",
        f"all with the same postprocessing. {len(dev.failures)} could not be made. The genuine clips of a stream are all clips in which it",
        "is genuine, whether or not the other stream is. A file is fake if a stream is; clips of genuine but mismatched streams are left",
        "out. Each baseline is oriented so that its AUC is at least 0.5. The native size of a face is no baseline here: a fake and its",
        "paired real clip share it. An AUC *exceeds the baselines* if the lower end of its interval lies above the best baseline.",
        "",
    ]
    for stream in ("audio", "video", "overall"):
        title = "the whole file" if stream == "overall" else stream
        lines += [f"### Forged dev: {title}", "", *_stream_table(dev.table, stream, seed)]
    lines += ["### Forged dev: parts of the heads", "", *_parts_table(dev.table, seed)]
    for stream in ("audio", "video"):
        lines += [f"### Forged dev: {stream} by method", "", *_method_table(dev.table, stream, seed)]
    return lines


def coarse_tables(dev: ForgedDev, seed: int) -> list[str]:
    """Tables of the coarse faces: the video head and its parts by corpus, and every method."""
    return [
        "## Forged dev clips: coarse faces",
        "",
        f"{len(dev.samples)} clips of the split `dev`, forged with seed {seed} and the `coarse_` methods: faces with the blur of real",
        "generators, each paired with a genuine clip that was blurred as a whole to the same sharpness of the mouth.",
        f"{len(dev.failures)} could not be made. The AUC of the *mouth blur* shows how much difference remains after that match.",
        "",
        *_stream_table(dev.table, "video", seed),
        *_parts_table(dev.table, seed, ("video",)),
        *_method_table(dev.table, "video", seed),
    ]


def summary_table(dev: ForgedDev, coarse: ForgedDev, seed: int) -> list[str]:
    """Table of the model card: AUC of every head by corpus, beside the best trivial baseline."""
    rows = []
    for title, table, stream in (
        ("audio", dev.table, "audio"),
        ("video", dev.table, "video"),
        ("video, coarse faces", coarse.table, "video"),
        ("whole file", dev.table, "overall"),
    ):
        for scope, part in by_corpus(table).items():
            order = scored_rows(part, stream)
            interval, best = order.auc(seed), order.baseline_aucs()
            rows.append((title, scope, order.counts, interval, format_number(max(best.values())), exceeds_baselines(interval, best)))
    return markdown_table(("forged dev clips", "clips", "fake / genuine", "AUC", "best baseline", "exceeds the baselines"), rows)


def _stream_table(table: pd.DataFrame, stream: str, seed: int) -> list[str]:
    names, rows = BASELINES[stream], []
    for scope, part in by_corpus(table).items():
        order = scored_rows(part, stream)
        metrics = order.ranking(seed)
        rows.append(
            (
                scope,
                order.counts,
                *metrics,
                *(order.tpr_at_fpr(rate, seed) for rate in (0.01, 0.05)),
                *(order.baseline(name).auc(seed) for name in names),
                exceeds_baselines(metrics[0], order.baseline_aucs()),
                order.unit_name,
            )
        )
    header = ("clips", "fake / genuine", "AUC", "AP", "EER", "TPR at 1 % FPR", "TPR at 5 % FPR")
    return markdown_table((*header, *(f"baseline: {name}, AUC" for name in names), "exceeds the baselines", "bootstrap unit"), rows)


def _parts_table(table: pd.DataFrame, seed: int, streams: Sequence[str] = ("audio", "video")) -> list[str]:
    rows = []
    for stream in streams:
        for scope, part in by_corpus(table).items():
            best = scored_rows(part, stream).baseline_aucs()
            for suffix, name in PARTS.items():
                order = scored_rows(part, stream, stream + suffix)
                interval = order.auc(seed)
                rows.append(
                    (stream, scope, name, order.counts, interval, format_number(max(best.values())), exceeds_baselines(interval, best))
                )
    return markdown_table(("stream", "clips", "part", "fake / genuine", "AUC", "best baseline", "exceeds the baselines"), rows)


def method_rows(table: pd.DataFrame, stream: str, method: str) -> pd.DataFrame:
    """Fakes of a method, and clips of the same sources in which the stream is genuine."""
    fake = table[f"{stream}_label"].eq(1) & table[f"{stream}_method"].map(lambda name: method in split_methods(str(name)))
    genuine = table[f"{stream}_label"].eq(0) & table["source"].isin(set(table.loc[fake, "source"]))
    return table[fake | genuine]


def _method_table(table: pd.DataFrame, stream: str, seed: int) -> list[str]:
    fakes = table[table[f"{stream}_label"] == 1]
    rows = []
    for method in sorted({part for name in fakes[f"{stream}_method"] for part in split_methods(str(name))}):
        order = scored_rows(method_rows(table, stream, method), stream)
        interval, best = order.auc(seed), order.baseline_aucs()
        rows.append(
            (f"`{method}`", order.counts, interval, *map(format_number, best.values()), exceeds_baselines(interval, best), order.unit_name)
        )
    header = ("method", "fake / genuine of the same sources", "AUC")
    return markdown_table((*header, *(f"baseline: {name}" for name in BASELINES[stream]), "exceeds the baselines", "bootstrap unit"), rows)
