"""Clips to views: what networks see and hear of a clip, made once and kept in a cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .clip import MediaError
from .files import atomic_write
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
        At 25 Hz; ``None`` without a picture or a face.
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
    """Decode a clip and crop mouth and face of the one who speaks in it.

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
    """Read what :func:`save_views` wrote."""
    with np.load(file) as data:
        return Views(
            mouth=data["mouth"] if "mouth" in data else None,
            lips=data["lips"].astype(np.float32) if "lips" in data else None,
            usable=data["usable"] if "usable" in data else None,
            waveform=data["waveform"] if "waveform" in data else None,
            face=data["face"] if "face" in data else None,
        )


def save_views(views: Views, target: str | os.PathLike[str]) -> None:
    """Write views to ``target``, all or nothing."""
    arrays = {name: value for name, value in vars(views).items() if value is not None}
    if views.lips is not None:
        arrays["lips"] = views.lips.astype(np.float16)
    save_arrays(target, **arrays)


def save_arrays(target: str | os.PathLike[str], **arrays: np.ndarray) -> None:
    """``numpy.savez`` that never leaves half a file under the target's name."""
    with atomic_write(target) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def view_clip(file: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Write the views of one clip."""
    save_views(read_views(file), target)


def fill(jobs: Iterable[tuple], make: Callable[..., None] = view_clip, workers: int = 2, title: str = "preparing clips") -> list[str]:
    """Run ``make(source, target, ...)`` for every job whose target does not exist yet, in processes, with progress.

    Parameters
    ----------
    jobs : iterable of tuple
        Arguments of ``make``; the second is the file it writes.

    Returns
    -------
    list of str
        One sentence for every job that failed.
    """
    from rich.progress import Progress

    todo = [job for job in jobs if not Path(job[1]).exists()]
    for folder in {Path(job[1]).parent for job in todo}:
        folder.mkdir(parents=True, exist_ok=True)
    failures: list[str] = []
    with Progress() as progress, ProcessPoolExecutor(workers, initializer=_single_thread) as pool:
        bar = progress.add_task(title, total=len(todo))
        for future in as_completed([pool.submit(make, *job) for job in todo]):
            try:
                future.result()
            except (MediaError, ValueError) as error:
                failures.append(str(error))
            except BrokenProcessPool:
                raise RuntimeError(f"{title}: a process died, perhaps for want of memory; what is done is kept, run it again") from None
            except Exception as error:  # one bad input never harms another
                failures.append(f"{type(error).__name__}: {error}")
            progress.advance(bar)
    return failures


def fill_views(files: Iterable[str | os.PathLike[str]], paths: Iterable[str], cache: str | os.PathLike[str], workers: int = 2) -> list[str]:
    """Make the views of clips that the cache lacks; see :func:`fill`.

    Parameters
    ----------
    files, paths : iterable
        Where every clip lies, and its path in the manifest.
    """
    return fill(((file, Path(cache) / cache_name(path)) for file, path in zip(files, paths, strict=True)), view_clip, workers)


def _single_thread() -> None:
    import torch

    torch.set_num_threads(1)
    threading.Thread(target=_die_with, args=(os.getppid(),), daemon=True).start()


def _die_with(parent: int) -> None:
    """End this process when its parent is gone: the workers of a killed run would else wait forever."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
