"""Labelled sets on disk to samples that a detector learns from: views, labels for every frame, and who is the paired real clip of whom."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...datasets.manifest import read_labels
from ...generators.forge.registry import GENUINE, METHOD_SEPARATOR
from ...media.clip import FRAME_RATE, SAMPLES_PER_FRAME
from ...media.pcm import to_int16
from ...media.views import cache_name, fill_views, load_views

STREAMS = ("video", "audio")


@dataclass(frozen=True)
class Sample:
    """One clip of a labelled set.

    Parameters
    ----------
    path, corpus, identity, source, slot : str
        Clips of one source and slot show the same stretch of it.
    methods : dict of str to str
        What forged each stream, ``genuine`` where nothing did.
    mouth : uint8 [T, 96, 96] or None
    usable : bool [T] or None
    face : uint8 [ceil(T / 5), 128, 128, 3] or None
    waveform : int16 [S] or None
    labels : dict of str to float32 [T]
        1 where a frame of that stream is fake; a stream that is absent or of unknown label has none.
    mismatch : bool or None
        Whether the streams belong to different moments.
    lag : int or None
        Frames by which the sound lags, where that is known.
    home : str
        Folder of its views in the cache.
    looks : float16 [1 + V, T, D] or None
        What a frozen visual front end makes of the mouth: plain, then augmented; see :mod:`avwitness.detector.training.visual_features`.
    """

    path: str
    corpus: str
    identity: str
    source: str
    slot: str
    methods: dict[str, str]
    mouth: np.ndarray | None
    usable: np.ndarray | None
    face: np.ndarray | None
    waveform: np.ndarray | None
    labels: dict[str, np.ndarray]
    mismatch: bool | None
    lag: int | None
    home: str = ""
    looks: np.ndarray | None = None

    def fake(self, stream: str) -> bool | None:
        """Whether a stream is fake anywhere; ``None`` where it is absent or unknown."""
        return bool(self.labels[stream].any()) if stream in self.labels else None

    @property
    def genuine(self) -> bool:
        """Whether nothing in it is fake or out of place."""
        return not any(self.fake(stream) for stream in STREAMS) and not self.mismatch

    @property
    def frames(self) -> int:
        """Length of its longer stream at 25 Hz."""
        seen = 0 if self.mouth is None else len(self.mouth)
        return max(seen, 0 if self.waveform is None else len(self.waveform) // SAMPLES_PER_FRAME)


def load_set(folder: str | os.PathLike[str], cache: str | os.PathLike[str], workers: int, split: str | None = None) -> list[Sample]:
    """The clips of a labelled set, cropped; what the cache lacks is made first.

    Parameters
    ----------
    folder : path-like
        What `avwitness forge` wrote, or any manifest that :func:`avwitness.datasets.manifest.read_labels` can read.
    cache : path-like
        Folder for views, outside the repository. Sets with different names may share it.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such manifest, or no clip of it can be read.
    """
    table = read_labels(folder, split)
    home = Path(cache) / Path(os.path.abspath(folder)).name
    fill_views(table.file, table.path, home, workers)
    found = [sample for row in table.to_dict("records") if (sample := _sample(row, home)) is not None]
    if not found:
        raise ValueError(f"{folder}: none of its clips could be read")
    return found


def _sample(row: Mapping[Hashable, Any], home: Path) -> Sample | None:
    file = home / cache_name(str(row["path"]))
    if not file.exists():
        return None
    views = load_views(file)
    lengths = {
        "video": 0 if views.mouth is None else len(views.mouth),
        "audio": 0 if views.waveform is None else len(views.waveform) // SAMPLES_PER_FRAME,
    }
    labels = {}
    for stream in STREAMS:
        label = row[f"{stream}_label"]
        if lengths[stream] and not pd.isna(label):
            labels[stream] = frame_labels(int(label), str(row[f"{stream}_intervals"]), lengths[stream])
    methods = {stream: str(row[f"{stream}_method"]) or GENUINE for stream in STREAMS}
    for stream in STREAMS:
        if not (stream in labels and labels[stream].any()):
            methods[stream] = GENUINE
    known = str(row["sync_label"])
    return Sample(
        path=str(row["path"]),
        corpus=str(row["corpus"]),
        identity=str(row["identity"]),
        source=str(row["source"]),
        slot=str(row["slot"]),
        methods=methods,
        mouth=views.mouth,
        usable=views.usable,
        face=views.face,
        waveform=None if views.waveform is None else to_int16(views.waveform),
        labels=labels,
        mismatch=bool(int(float(known))) if known else None,
        lag=round(float(str(row["offset_ms"])) * FRAME_RATE / 1000.0) if row["offset_ms"] else None,
        home=home.name,
    )


def frame_labels(label: int, intervals: str, frames: int) -> np.ndarray:
    """Label of every frame float32 [T]: 1 in frames that lie at least half in a forged interval.

    Parameters
    ----------
    intervals : str
        JSON list of [begin, end] in seconds; a fake without intervals is fake throughout.
    """
    if not label:
        return np.zeros(frames, dtype=np.float32)
    spans = json.loads(intervals) if intervals else []
    if not spans:
        return np.ones(frames, dtype=np.float32)
    begin = np.arange(frames) / FRAME_RATE
    covered = np.zeros(frames)
    for a, b in spans:
        covered += np.clip(np.minimum(begin + 1.0 / FRAME_RATE, b) - np.maximum(begin, a), 0.0, None)
    return (covered >= 0.5 / FRAME_RATE).astype(np.float32)


def calibration_split(samples: Sequence[Sample], identities: dict[str, int], clips: float) -> list[bool]:
    """Which samples are kept back to calibrate on: identities of a corpus, evenly spaced through their sorted names.

    Parameters
    ----------
    identities : dict of str to int
        How many of each corpus. Corpora that are not named, or have a single identity, lend the share ``clips`` of their
        sources instead.
    """
    held: set[tuple[str, str]] = set()
    for corpus in sorted({sample.corpus for sample in samples}):
        members = [sample for sample in samples if sample.corpus == corpus]
        names = sorted({sample.identity for sample in members})
        count = identities.get(corpus, 0)
        if count and len(names) > count:
            held |= {(corpus, names[i]) for i in np.linspace(0, len(names) - 1, count + 2).astype(int)[1:-1]}
        elif clips:
            # By the name of the source, so that several sets forged from one corpus keep back the same clips.
            held |= {(corpus, name) for s in members if zlib.crc32((name := Path(s.source).name).encode()) % 1000 < 1000 * clips}
    return [bool({(s.corpus, s.identity), (s.corpus, Path(s.source).name)} & held) for s in samples]


def paired_real_clips(samples: Sequence[Sample]) -> list[int | None]:
    """The genuine clip with the same streams that each sample is best compared with: of its stretch, else source, else identity."""

    def shows(s: Sample) -> tuple[bool, ...]:
        return s.mouth is not None, s.waveform is not None, s.looks is not None

    keys = [
        lambda s: (*shows(s), s.home, s.source, s.slot),
        lambda s: (*shows(s), s.source),
        lambda s: (*shows(s), s.corpus, s.identity),
    ]
    tables: list[dict[object, list[int]]] = []
    for key in keys:
        table: dict[object, list[int]] = {}
        for index, sample in enumerate(samples):
            if sample.genuine:
                table.setdefault(key(sample), []).append(index)
        tables.append(table)
    found: list[int | None] = []
    for number, sample in enumerate(samples):
        alike = ([i for i in table.get(key(sample), []) if i != number] for key, table in zip(keys, tables, strict=True))
        candidates = next((group for group in alike if group), [])
        found.append(candidates[number % len(candidates)] if candidates else None)
    return found


def parts(method: str) -> tuple[str, ...]:
    """Names of the methods that forged a clip together."""
    return tuple(method.split(METHOD_SEPARATOR))
