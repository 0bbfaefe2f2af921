"""Samples of labelled sets: views of a clip, labels of its frames, its paired real clip, and the calibration split."""

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
from ...media.clip import FRAME_RATE, SAMPLES_PER_FRAME, STREAMS
from ...media.pcm import to_int16
from ...media.views import cache_name, fill_views, load_views


@dataclass(frozen=True)
class Sample:
    """One clip of a labelled set.

    Parameters
    ----------
    path, corpus, identity, source, slot : str
        Clips of one source and slot show the same segment of it.
    methods : dict of str to str
        Method that forged each stream; ``genuine`` if none did.
    mouth : uint8 [T, 96, 96] or None
    usable : bool [T] or None
    face : uint8 [ceil(T / 5), 128, 128, 3] or None
    waveform : int16 [S] or None
    labels : dict of str to float32 [T]
        1 where a frame of that stream is fake; a stream that is absent or of unknown label has none.
    mismatch : bool or None
        Whether the streams belong to different moments.
    lag : int or None
        Frames by which the audio lags, where that is known.
    cache_folder : str
        Folder of its views in the cache.
    visual_features : float16 [1 + V, T, D] or None
        Features of a frozen visual front end: of the mouth crops as they are, then of V augmented versions; see
        :mod:`avwitness.detector.training.visual_features`.
    lips : float32 [T, 40, 2] or None
        Landmarks in pixels of the mouth crops.
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
    cache_folder: str = ""
    visual_features: np.ndarray | None = None
    lips: np.ndarray | None = None

    def fake(self, stream: str) -> bool | None:
        """Whether a stream is fake anywhere; ``None`` where it is absent or unknown."""
        return bool(self.labels[stream].any()) if stream in self.labels else None

    @property
    def genuine(self) -> bool:
        """Whether no stream is fake and the streams belong together."""
        return not any(self.fake(stream) for stream in STREAMS) and not self.mismatch

    @property
    def frames(self) -> int:
        """Length of its longer stream at 25 Hz."""
        video = 0 if self.mouth is None else len(self.mouth)
        return max(video, 0 if self.waveform is None else len(self.waveform) // SAMPLES_PER_FRAME)


def load_set(folder: str | os.PathLike[str], cache: str | os.PathLike[str], workers: int, split: str | None = None) -> list[Sample]:
    """The clips of a labelled set, as views; views that the cache lacks are made first.

    Parameters
    ----------
    folder : path-like
        A set of `avwitness forge`, or any manifest that :func:`avwitness.datasets.manifest.read_labels` can read.
    cache : path-like
        Folder for views, outside the repository. Sets with different names may share it.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such manifest, or no clip of it can be read.
    """
    table = read_labels(folder, split)
    cache_folder = Path(cache) / Path(os.path.abspath(folder)).name
    fill_views(table.file, table.path, cache_folder, workers)
    samples = [sample for row in table.to_dict("records") if (sample := _sample(row, cache_folder)) is not None]
    if not samples:
        raise ValueError(f"{folder}: none of its clips could be read")
    return samples


def _sample(row: Mapping[Hashable, Any], cache_folder: Path) -> Sample | None:
    file = cache_folder / cache_name(str(row["path"]))
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
    sync_label = str(row["sync_label"])
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
        mismatch=bool(int(float(sync_label))) if sync_label else None,
        lag=round(float(str(row["offset_ms"])) * FRAME_RATE / 1000.0) if row["offset_ms"] else None,
        cache_folder=cache_folder.name,
        lips=views.lips,
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


def calibration_split(samples: Sequence[Sample], identities: dict[str, int], share: float) -> list[bool]:
    """Which samples are kept for calibration: identities of a corpus, evenly spaced through their sorted names.

    Parameters
    ----------
    identities : dict of str to int
        Number of identities, by corpus.
    share : float
        Of the source clips, in corpora that are not named or have no more identities than that.
    """
    held: set[tuple[str, str]] = set()
    for corpus in sorted({sample.corpus for sample in samples}):
        members = [sample for sample in samples if sample.corpus == corpus]
        names = sorted({sample.identity for sample in members})
        count = identities.get(corpus, 0)
        if count and len(names) > count:
            held |= {(corpus, names[i]) for i in np.linspace(0, len(names) - 1, count + 2).astype(int)[1:-1]}
        elif share:
            # By a hash of the source's name, so that several sets forged from one corpus keep the same clips for calibration.
            held |= {(corpus, name) for s in members if zlib.crc32((name := Path(s.source).name).encode()) % 1000 < 1000 * share}
    return [bool({(s.corpus, s.identity), (s.corpus, Path(s.source).name)} & held) for s in samples]


def paired_real_clips(samples: Sequence[Sample]) -> list[int | None]:
    """Index of the genuine clip that each sample is paired with; ``None`` where there is none.

    It has the same streams, and is of the same segment, else of the same source, else of the same identity.
    """

    def streams(s: Sample) -> tuple[bool, ...]:
        return s.mouth is not None, s.waveform is not None, s.visual_features is not None

    keys = [
        lambda s: (*streams(s), s.cache_folder, s.source, s.slot),
        lambda s: (*streams(s), s.source),
        lambda s: (*streams(s), s.corpus, s.identity),
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


def split_methods(method: str) -> tuple[str, ...]:
    """Names of the methods in a joined name such as ``vocoder+lower_face``."""
    return tuple(method.split(METHOD_SEPARATOR))
