"""Temporal localisation of edited words: average precision of the proposed segments."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from ....datasets.manifest import read_labels
from ....detector.calibration import Calibration
from ....detector.training.samples import Sample
from ....media.clip import FRAME_RATE, STREAMS
from ...document import markdown_table
from ...metrics.bootstrap import Interval, bootstrap, bootstrap_units
from ...metrics.temporal import (
    IOUS,
    PROPOSAL_THRESHOLDS,
    SMOOTHING,
    Proposal,
    Segment,
    interpolated_average_precision,
    match_proposals,
    propose_segments,
)
from .forged_dev import ForgedDev

PREFIX = "word_"  # of methods that edit a word


def timeline_section(dev: ForgedDev, calibration: Calibration, seed: int) -> list[str]:
    """The table, for each stream, beside the baseline that proposes the whole of every clip."""
    truth = read_labels(dev.folder).set_index("path")
    header = ("stream", "edited / genuine clips", "IoU", "AP", "baseline: the whole clip", "bootstrap unit")
    rows = []
    for stream in ("audio", "video"):
        clips = edited_clips(dev.table, stream)
        spans = {path: manifest_segments(str(truth.loc[path, f"{stream}_intervals"])) for path in clips["path"]}
        proposed, baseline, true = [], [], []
        for index, clip in clips.iterrows():
            frames = frame_probabilities(clip, dev.samples[int(str(index))], stream, calibration)
            true.append(spans[clip["path"]] if clip[f"{stream}_label"] == 1 else [])
            proposed.append(propose_segments(frames))
            baseline.append([(0.0, len(frames) / FRAME_RATE, 1.0)])
        units, unit_name = bootstrap_units(clips["identity"].to_numpy(), clips["source"].to_numpy())
        fake = int(clips[f"{stream}_label"].sum())
        for iou in IOUS:
            figures = [_interval(proposals, true, iou, units, seed) for proposals in (proposed, baseline)]
            rows.append((stream, f"{fake} / {len(clips) - fake}", iou, *figures, unit_name))
    return [
        "## Timeline",
        "",
        f"Methods `{PREFIX}*`: average precision of the proposed segments, those of all clips ranked together; the genuine clips of the",
        "same sources are among them, and every proposal there is a false positive. Proposals are runs of frames at "
        f"{len(PROPOSAL_THRESHOLDS)} thresholds after a median over {SMOOTHING / FRAME_RATE:.1f} s.",
        "",
        *markdown_table(header, rows),
    ]


def edited_clips(table: pd.DataFrame, stream: str) -> pd.DataFrame:
    """Clips with an edited word in this stream, and the genuine clips of the same sources."""
    edited = table[f"{stream}_label"].eq(1) & table[f"{stream}_method"].astype(str).str.startswith(PREFIX)
    unaltered = ~table[[f"{name}_label" for name in STREAMS]].eq(1).any(axis=1) & ~table["mismatch"].eq(True)
    genuine = unaltered & table[f"{stream}_label"].eq(0) & table["source"].isin(set(table.loc[edited, "source"]))
    return table[(edited | genuine) & table[stream].notna()]


def manifest_segments(intervals: str) -> list[Segment]:
    """Segments in seconds from the JSON list of a manifest."""
    return [(float(begin), float(end)) for begin, end in json.loads(intervals or "[]") if end > begin]


def frame_probabilities(clip: pd.Series, sample: Sample, stream: str, calibration: Calibration) -> np.ndarray:
    """Probability of every frame float [T]; 0 where no face is usable."""
    p = np.asarray(getattr(calibration, stream).probability(clip[f"{stream}_frames"]), dtype=np.float64)
    p = p[: sample.labels[stream].shape[0]]
    if stream == "video" and sample.usable is not None:
        p = np.where(sample.usable[: len(p)], p, 0.0)
    return p


def _interval(proposals: list[list[Proposal]], truth: list[list[Segment]], iou: float, units: np.ndarray, seed: int) -> Interval:
    """Average precision with its interval; proposals are matched once, before the bootstrap."""
    matched = [match_proposals(of_clip, true, iou) for of_clip, true in zip(proposals, truth, strict=True)]

    def metric(rows: np.ndarray) -> float:
        pairs = [pair for row in rows for pair in matched[row]]
        return interpolated_average_precision(pairs, sum(len(truth[row]) for row in rows))

    return bootstrap(metric, units, seed)
