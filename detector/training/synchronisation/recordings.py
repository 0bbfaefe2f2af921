"""Recordings of one speaking face each: lip landmarks and Whisper features, computed once and kept in a cache."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ....avsr.whisper.encoder import MIN_SAMPLES, WhisperAudioEncoder
from ....media.clip import SAMPLES_PER_FRAME, MediaError
from ....media.files import file_sha256
from ....media.views import save_arrays
from ....media.window_views import window_views
from ....media.windows import MediaReader

SECONDS = 16.0  # of one part of a recording
MAX_PARTS = 3  # of a recording
MIN_FRAMES = 20  # frames (0.8 s) in which the lips must be seen
ORIGINALS = "originals.csv"  # lists, by path in the field set, files with more of the same recordings


@dataclass(frozen=True)
class Recording:
    """Up to 16 s of one speaking face.

    Parameters
    ----------
    name : str
        File it comes from, and which part of it.
    page : str
        Who published it, or corpus and speaker: never on both sides of a split.
    lips : float32 [T, 40, 2]
        Landmarks in pixels of the mouth crop.
    usable : bool [T]
        Frames that show the mouth.
    features : float16 [2 T, D]
        Output of a layer of the Whisper encoder, at 50 Hz.
    n_faces : int
        Faces in the picture.
    lag : int
        Frames by which the audio lags.
    """

    name: str
    page: str
    lips: np.ndarray
    usable: np.ndarray
    features: np.ndarray
    n_faces: int = 1
    lag: int = 0

    @property
    def frames(self) -> int:
        """Length T at 25 Hz."""
        return len(self.usable)


def encoder_folder(encoder: WhisperAudioEncoder, layer: int, cache: str | os.PathLike[str]) -> Path:
    """Folder of the recordings for one layer of an encoder."""
    digest = hashlib.sha1(str(layer).encode())
    for value in encoder.state_dict().values():
        digest.update(value.half().numpy().tobytes())
    return Path(cache) / f"recordings-{digest.hexdigest()[:10]}"


def load_recordings(
    files: Sequence[str | os.PathLike[str]],
    pages: Sequence[str],
    encoder: WhisperAudioEncoder,
    layer: int,
    cache: str | os.PathLike[str],
    hook: Callable[[int, int], None] | None = None,
) -> tuple[list[list[Recording]], list[str]]:
    """Recordings of files, computed once and kept by the content of the file.

    Parameters
    ----------
    files : sequence of path-like
    pages : sequence of str
    encoder : WhisperAudioEncoder
    layer : int
        Whose output is kept.
    cache : path-like
        Folder.
    hook : callable, optional
        Called with files done and all files.

    Returns
    -------
    recordings : list of list of Recording
        For each file; empty for files without a face, without sound, or that cannot be read.
    failures : list of str
        A sentence for each file that cannot be read.
    """
    folder = encoder_folder(encoder, layer, cache)
    folder.mkdir(parents=True, exist_ok=True)
    found: list[list[Recording]] = []
    failures = []
    for number, (file, page) in enumerate(zip(files, pages, strict=True)):
        target = folder / f"{file_sha256(file)}.npz"
        try:
            if not target.exists():
                save_arrays(target, **_arrays(file, encoder, layer))
            found.append(_read(target, str(file), page))
        except MediaError as error:
            failures.append(str(error))
            found.append([])
        if hook is not None:
            hook(number + 1, len(files))
    return found, failures


def field_recordings(
    table: pd.DataFrame,
    encoder: WhisperAudioEncoder,
    layer: int,
    cache: str | os.PathLike[str],
    originals: str | os.PathLike[str] | None = None,
    hook: Callable[[int, int], None] | None = None,
) -> tuple[list[Recording], list[str]]:
    """Recordings of clips of the field set, or of their full-length originals where these show a single face.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns ``file``, ``path`` and ``page``.
    originals : path-like, optional
        Folder with ``originals.csv``, whose columns are ``path`` (in the field set) and ``file`` (in the folder).
    """
    files, pages = list(table.file), list(table.page)
    clips, failures = load_recordings(files, pages, encoder, layer, cache, hook)
    if originals is None:
        return [recording for parts in clips for recording in parts], failures
    listed = pd.read_csv(Path(originals) / ORIGINALS).drop_duplicates("path").set_index("path").file
    known = [number for number, path in enumerate(table.path) if path in listed.index]
    longer, more = load_recordings(
        [Path(originals) / listed[table.path.iloc[number]] for number in known],
        [pages[number] for number in known],
        encoder,
        layer,
        cache,
        hook,
    )
    for number, parts in zip(known, longer, strict=True):
        alone = [recording for recording in parts if recording.n_faces == 1]
        clips[number] = alone or clips[number]
    return [recording for parts in clips for recording in parts], [*failures, *more]


def _arrays(file: str | os.PathLike[str], encoder: WhisperAudioEncoder, layer: int) -> dict[str, np.ndarray]:
    reader = MediaReader(file)
    arrays: dict[str, np.ndarray] = {}
    if not reader.has_video or not reader.has_audio:
        return arrays
    with contextlib.closing(window_views(reader, SECONDS, SECONDS, faces=False, min_face_frames=MIN_FRAMES)) as windows:
        for part, views in enumerate(windows):
            if part == MAX_PARTS:
                break
            if views.lips is None or views.usable is None or views.waveform is None:
                continue
            frames = min(len(views.lips), views.audio_frames)
            if frames * SAMPLES_PER_FRAME < MIN_SAMPLES:
                continue
            with torch.inference_mode():
                features = encoder(torch.from_numpy(views.waveform[: frames * SAMPLES_PER_FRAME])[None])[layer][0]
            arrays[f"lips{part}"] = views.lips[:frames].astype(np.float16)
            arrays[f"usable{part}"] = views.usable[:frames]
            arrays[f"features{part}"] = features.half().numpy()
            arrays[f"n_faces{part}"] = np.array(len(views.tracks))
    return arrays


def _read(target: Path, file: str, page: str) -> list[Recording]:
    found = []
    with np.load(target) as data:
        for part in range(MAX_PARTS):
            if f"usable{part}" not in data or data[f"usable{part}"].sum() < MIN_FRAMES:
                continue
            lips, usable, features = (data[f"{name}{part}"] for name in ("lips", "usable", "features"))
            found.append(Recording(f"{file}#{part}", page, lips.astype(np.float32), usable, features, int(data[f"n_faces{part}"])))
    return found
