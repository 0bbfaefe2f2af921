"""Data that the networks of the generators are trained on: genuine clips with their face tracks or their speech in a cache folder."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..media.clip import STREAMS, MediaError
from ..media.parallel import make_files
from ..media.views import save_arrays
from ..media.windows import read_clip
from .faces.network_training import AlignedFaces
from .forge.run import genuine_rows, track_faces, track_path
from .methods.source import MAX_SECONDS, Origin, cache_name
from .talking.rendering.head_clips import HeadClip, load_head_clips

SPEECH_PREFIX = "speech-"  # of the files with the waveform of a clip


@dataclass(frozen=True)
class TrainingData:
    """Clips, and what was computed of them in a cache folder.

    Parameters
    ----------
    clips : list of Origin
    cache : Path
    workers : int
        Processes that fill the cache.
    dyads : pandas.DataFrame or None
        Pairs of listeners and speakers among the clips, as :func:`avwitness.datasets.genuine.vico.read_vico` reads them.
    """

    clips: list[Origin]
    cache: Path
    workers: int
    dyads: pd.DataFrame | None = None

    def track(self) -> list[str]:
        """Track the faces of all clips; one sentence for every clip that cannot be read."""
        return track_faces(self.clips, self.cache, self.workers)[1]

    def decode_speech(self) -> list[str]:
        """Decode the audio of all clips; one sentence for every clip that cannot be read."""
        jobs = {self._speech_path(clip): clip.file for clip in self.clips if clip.audio}
        return make_files(((file, target) for target, file in jobs.items()), save_speech, self.workers, "decoding speech")

    def faces(self) -> list[AlignedFaces]:
        """Files with the aligned faces of the clips that have a track."""
        return [AlignedFaces(track, clip.identity) for clip in self.clips if (track := track_path(clip, self.cache)).exists()]

    def speech(self) -> list[np.ndarray]:
        """The waveforms, float32 [S] each, at 16 kHz, that :meth:`decode_speech` decoded; every content once."""
        files = dict.fromkeys(self._speech_path(clip) for clip in self.clips if clip.audio)
        return _waveforms([file for file in files if file.exists()])

    def tracked_speech(self) -> list[np.ndarray]:
        """The waveforms of the tracked clips, float32 [S] each, at 16 kHz; clips without audio are left out."""
        return _waveforms([clip.file for clip in self.faces()])

    def heads(self) -> list[HeadClip]:
        """Head crops with landmarks, pose and audio features."""
        return load_head_clips(self.clips, [track_path(clip, self.cache) for clip in self.clips], self.cache, self.workers)

    def _speech_path(self, clip: Origin) -> Path:
        return self.cache / (SPEECH_PREFIX + cache_name(clip.file))


def read_genuine(manifests: Sequence[str | os.PathLike[str]], split: str | None, streams: Collection[str] = STREAMS) -> pd.DataFrame:
    """The genuine rows of several manifests, see :func:`.forge.run.genuine_rows`.

    A manifest without a column ``corpus`` is one corpus with the name of its folder.
    """
    tables = []
    for manifest in manifests:
        table, path = genuine_rows(manifest, split, streams), Path(manifest).resolve()
        name = path.name if path.is_dir() else path.parent.name
        tables.append(table.assign(corpus=table.corpus.where(table.corpus != "", name)))
    return pd.concat(tables, ignore_index=True)


def save_speech(file: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Write the waveform of a clip, atomically.

    Raises
    ------
    MediaError
        If the file cannot be read or has no audio.
    """
    waveform = read_clip(file, video=False, max_seconds=MAX_SECONDS).waveform
    if waveform is None:
        raise MediaError(Path(file), "has no audio")
    save_arrays(target, waveform=waveform)


def _waveforms(files: Sequence[str | os.PathLike[str]]) -> list[np.ndarray]:
    out = []
    for file in files:
        with np.load(file) as data:
            if "waveform" in data:
                out.append(data["waveform"])
    return out
