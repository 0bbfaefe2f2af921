"""Views of a clip (mouth and face crops, waveform), made once and stored in a cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .files import atomic_write
from .parallel import make_files
from .window_views import window_views
from .windows import MediaReader

MAX_SECONDS = 16.0  # of each clip
VERSION = 2  # of the cached arrays; raise it when they change


@dataclass(frozen=True)
class Views:
    """One clip, cropped.

    Parameters
    ----------
    mouth : uint8 [T, 96, 96] or None
        At 25 Hz; ``None`` without video or a face.
    lips : float32 [T, 40, 2] or None
        Pixels of the crop.
    usable : bool [T] or None
        Frames whose crop shows the mouth.
    waveform : float32 [S] or None
        Mono at 16 kHz.
    face : uint8 [ceil(T / 5), 128, 128, 3] or None
        Every fifth aligned face, see :func:`avwitness.media.face.crops.face_crops`.
    """

    mouth: np.ndarray | None
    lips: np.ndarray | None
    usable: np.ndarray | None
    waveform: np.ndarray | None
    face: np.ndarray | None = None


def read_views(file: str | os.PathLike[str], max_seconds: float = MAX_SECONDS, reader: str = "decord") -> Views:
    """Decode a clip and crop mouth and face of the speaking person.

    Raises
    ------
    MediaError
        If the file cannot be read.
    """
    with contextlib.closing(window_views(MediaReader(file, reader=reader), max_seconds, max_seconds, min_face_frames=0)) as windows:
        clip = next(windows)
    return Views(clip.mouth, clip.lips, clip.usable, clip.waveform, clip.faces)


def cache_name(path: str) -> str:
    """File name of a clip's views, by its path in the manifest."""
    return hashlib.sha1(f"{VERSION}:{path}".encode()).hexdigest()[:20] + ".npz"


def load_views(file: str | os.PathLike[str]) -> Views:
    """Read the file that :func:`save_views` wrote."""
    with np.load(file) as data:
        return Views(
            mouth=data["mouth"] if "mouth" in data else None,
            lips=data["lips"].astype(np.float32) if "lips" in data else None,
            usable=data["usable"] if "usable" in data else None,
            waveform=data["waveform"] if "waveform" in data else None,
            face=data["face"] if "face" in data else None,
        )


def save_views(views: Views, target: str | os.PathLike[str]) -> None:
    """Write views to ``target`` atomically."""
    arrays = {name: value for name, value in vars(views).items() if value is not None}
    if views.lips is not None:
        arrays["lips"] = views.lips.astype(np.float16)
    save_arrays(target, **arrays)


def save_arrays(target: str | os.PathLike[str], **arrays: np.ndarray) -> None:
    """``numpy.savez``, written atomically."""
    with atomic_write(target) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def view_clip(file: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Write the views of one clip."""
    save_views(read_views(file), target)


def fill_views(files: Iterable[str | os.PathLike[str]], paths: Iterable[str], cache: str | os.PathLike[str], workers: int = 2) -> list[str]:
    """Make the views of clips that the cache lacks; see :func:`.parallel.make_files`.

    Parameters
    ----------
    files, paths : iterable
        File of every clip, and its path in the manifest.
    """
    return make_files(((file, Path(cache) / cache_name(path)) for file, path in zip(files, paths, strict=True)), view_clip, workers)
