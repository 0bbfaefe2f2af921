"""Wild clips: verdicts by group, and trivial statistics of the same files as baselines."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd

from ....detector.calibration import Calibration
from ....detector.inference.processes.pool import score_in_processes
from ....media.clip import MediaError
from ....media.face.mouth import mouth_crops, native_scale
from ....media.face.speaking import speaking_face
from ....media.face.tracking import FaceTracker
from ....media.files import atomic_write
from ....media.parallel import run_parallel
from ....media.windows import read_clip
from ...auditing.statistics import AUDIO_BASELINES, mouth_blur
from ...document import markdown_table
from ...metrics.bootstrap import Interval, percent, wilson
from .wild_clips import speaker_of, video_of

FACE_BASELINES = ("mouth blur", "native face size")
MAX_SECONDS = 8.0  # of each file, for the baselines
STATISTICS = "wild-baselines.csv"  # in the cache; they do not depend on the model


def score_wild(wild: pd.DataFrame, model: str, workers: int, cache: str | os.PathLike[str]) -> pd.DataFrame:
    """Verdicts and trivial statistics of wild clips.

    Returns
    -------
    pandas.DataFrame
        The rows of the manifest with, for each stream, ``STREAM`` (probability, NaN without a score) and ``STREAM_verdict``;
        ``p_mismatch``, ``quality`` (flags), ``status``, ``failure``; the baselines; ``person`` and ``video_name`` (see
        :mod:`.wild_clips`).
    """
    files = [os.fspath(file) for file in wild["file"]]
    verdicts = [
        {
            **{stream: getattr(verdict, stream).p_fake for stream in ("audio", "video")},
            **{f"{stream}_verdict": getattr(verdict, stream).label for stream in ("audio", "video")},
            "p_mismatch": verdict.sync.p_mismatch,
            "quality": verdict.quality,
            "status": verdict.status,
            "failure": "" if verdict.error is None else verdict.error.message,
        }
        for verdict in score_in_processes(files, workers, model=model, device="cpu")
    ]
    numbers = ["audio", "video", "p_mismatch"]
    table = pd.DataFrame(verdicts, index=wild.index).astype(dict.fromkeys(numbers, float))
    names = {"person": wild["path"].map(speaker_of), "video_name": wild["path"].map(video_of)}
    return wild.join(table).join(measure_baselines(wild, workers, cache)).assign(**names)


def measure_baselines(wild: pd.DataFrame, workers: int, cache: str | os.PathLike[str]) -> pd.DataFrame:
    """The trivial baselines of every file, cached in a file."""
    kept = Path(cache) / STATISTICS
    if kept.exists():
        table = pd.read_csv(kept, index_col="path")
        if set(wild["path"]) <= set(table.index):
            return table.loc[wild["path"]].set_axis(wild.index)
    with closing(run_parallel(statistics, ((os.fspath(file),) for file in wild["file"]), workers, ordered=True)) as calls:
        table = pd.DataFrame([future.result() for _, future in calls], index=wild.index)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(kept) as partial:
        table.assign(path=wild["path"]).to_csv(partial, index=False)
    return table


def statistics(file: str | os.PathLike[str]) -> dict[str, float]:
    """The trivial baselines of one file, NaN where a stream is missing or unreadable."""
    found = dict.fromkeys((*AUDIO_BASELINES, *FACE_BASELINES), float("nan"))
    try:
        clip = read_clip(file, max_seconds=MAX_SECONDS)
    except MediaError:
        return found
    if clip.waveform is not None:
        found |= {name: baseline(clip.waveform) for name, baseline in AUDIO_BASELINES.items()}
    if clip.frames is not None:
        with FaceTracker() as tracker:
            track = speaking_face(tracker.track(clip.frames), clip.waveform)
        if track is not None and track.usable.any():
            found["mouth blur"] = mouth_blur(mouth_crops(clip.frames, track)[0], track.usable)
            found["native face size"] = -native_scale(track)
    return found


def verdict_tables(wild: pd.DataFrame) -> list[str]:
    """Shares of the verdicts, for each stream and group."""
    failed = [Path(path).name for path in wild.loc[wild["status"] == "error", "path"]]
    named = f" ({', '.join(failed)})" if failed else ""
    lines = [f"{len(wild)} files, {len(failed)} of them not readable{named}.", ""]
    header = ("group", "method", "label", "clips", "scored", "fake", "inconclusive", "genuine", "median p(fake)", "flags")
    for stream in ("audio", "video"):
        rows = [
            _verdict_row(str(corpus), str(method), group, stream)
            for (corpus, method), group in wild[wild[f"{stream}_label"].notna()].groupby(["corpus", "method"])  # type: ignore[misc]
        ]
        lines += [f"### Wild, {stream}: verdicts", "", *markdown_table(header, rows)]
    return lines


def _verdict_row(corpus: str, method: str, group: pd.DataFrame, stream: str) -> tuple[object, ...]:
    verdict, scored = group[f"{stream}_verdict"], group[stream].notna()
    flags = Counter(flag for quality in group["quality"] for flag in quality)
    return (
        corpus,
        method,
        "fake" if group[f"{stream}_label"].iloc[0] == 1 else "genuine",
        len(group),
        f"{scored.mean():.0%}",
        *(f"{(verdict[scored] == label).mean():.0%}" if scored.any() else "-" for label in ("fake", "inconclusive", "genuine")),
        f"{group[stream].median():.2f}" if scored.any() else "-",
        ", ".join(f"{name} {count}" for name, count in flags.most_common()) or "-",
    )


def fpr_table(wild: pd.DataFrame, calibration: Calibration) -> tuple[list[str], dict[str, Interval]]:
    """FPR of each genuine group at the threshold for 5 %, and that of the worst group of each stream."""
    rows: list[tuple[object, ...]] = []
    worst: dict[str, Interval] = {}
    for stream in ("audio", "video"):
        limits = getattr(calibration, stream)
        threshold = limits.thresholds.get("at_5", limits.fake_above)
        for (corpus, method), group in wild[wild[f"{stream}_label"] == 0].groupby(["corpus", "method"]):  # type: ignore[misc]
            p = group[stream].dropna()
            rate = wilson(int((p > threshold).sum()), len(p))
            rows.append((stream, corpus, method, f"{threshold:.3f}", len(p), int((p > threshold).sum()), percent(rate)))
            if len(p) and (stream not in worst or rate.value > worst[stream].value):
                worst[stream] = rate
    header = ("stream", "group", "method", "threshold", "genuine, scored", "false positives", "FPR [95 %, Wilson]")
    return markdown_table(header, rows), worst


def error_table(wild: pd.DataFrame, count: int = 3) -> list[str]:
    """The fakes with the lowest and the genuine clips with the highest scores, with their quality flags."""
    rows = []
    for stream in ("audio", "video"):
        scored = wild[wild[stream].notna()].sort_values(stream, kind="stable")
        missed = scored[scored[f"{stream}_label"] == 1].head(count)
        false_positives = scored[scored[f"{stream}_label"] == 0].tail(count)[::-1]
        for label, part in (("fake", missed), ("genuine", false_positives)):
            rows += [(stream, label, f"`{row.path}`", f"{row[stream]:.3f}", ", ".join(row.quality) or "-") for _, row in part.iterrows()]
    return markdown_table(("stream", "label", "file", "p(fake)", "flags"), rows)


def tie_share(wild: pd.DataFrame, stream: str) -> float:
    """Share of pairs of a fake and a genuine clip with equal probabilities; NaN where there is no pair."""
    fake, genuine = (wild.loc[wild[f"{stream}_label"] == label, stream].dropna().to_numpy(dtype=float) for label in (1, 0))
    return float(np.mean(fake[:, None] == genuine[None])) if len(fake) and len(genuine) else float("nan")
