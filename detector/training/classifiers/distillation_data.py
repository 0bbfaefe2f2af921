"""Images that a student is taught with: portraits of clips, some of them degraded, and the teacher's statistics of each."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from ....media.clip import MediaError
from ....media.files import file_sha256
from ....media.views import save_arrays
from ...video_classifier import VideoClassifier
from ..augment import AugmentConfig, augment_faces
from .field_data import GenuineCorpora, field_table, genuine_clips
from .video_data import cached_portraits, encoder_hash

REPORT_EVERY = 5  # clips between two calls of the progress hook


def teaching_files(field: str | os.PathLike[str], data: str | os.PathLike[str] | None, config: GenuineCorpora) -> list[str]:
    """Clips of the training split of the field set, genuine and fake, and further genuine clips.

    Raises
    ------
    ValueError
        If corpora are asked for and there is no manifest.
    """
    table = field_table(field, "video")
    files = [str(file) for file in table.file[table.split == "train"]]
    return files + ([str(file) for file in genuine_clips(data, "video", config).file] if config.genuine_corpora else [])


def teaching_images(
    files: Sequence[str | os.PathLike[str]],
    teacher: VideoClassifier,
    portraits: int,
    degraded: int,
    cache: str | os.PathLike[str],
    bf16: bool = True,
    hook: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Portraits of the first window of every clip and the teacher's statistics of them, computed once and kept by content.

    Parameters
    ----------
    files : sequence of path-like
    teacher : VideoClassifier
    portraits, degraded : int
        Number of images of a clip as they are, and of further ones that are degraded as for training, whatever the label.
    cache : path-like
        Folder; an interrupted run is resumed.
    bf16 : bool
        Whether the teacher multiplies in bfloat16; pays where the processor does so.
    hook : callable, optional
        Called with clips done and all clips.

    Returns
    -------
    images : uint8 [N, S, S, 3]
    statistics : float16 [N, K]
    failures : list of str
        A sentence for each clip that cannot be read or shows no face.

    Raises
    ------
    ValueError
        If no clip shows a face.
    """
    folder = Path(cache) / f"teaching-{encoder_hash(teacher)}-{portraits}-{degraded}"
    folder.mkdir(parents=True, exist_ok=True)
    images, statistics, failures = [], [], []
    for number, path in enumerate(files):
        content = file_sha256(path)
        target = folder / f"{content}.npz"
        if not target.exists():
            try:
                found = cached_portraits(path, content, cache, portraits)
            except MediaError as error:
                failures.append(str(error))
                continue
            shown = _with_degraded(found, degraded, np.random.default_rng(int(content[:16], 16)))
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                values = teacher.statistics(torch.from_numpy(shown)).float()
            save_arrays(target, images=shown, statistics=values.half().numpy())
        with np.load(target) as data:
            images.append(data["images"])
            statistics.append(data["statistics"])
        if hook is not None and (number % REPORT_EVERY == 0 or number + 1 == len(files)):
            hook(number + 1, len(files))
    if not images:
        raise ValueError(f"none of the {len(files)} clips shows a face; {failures[0] if failures else 'there are no clips'}")
    return np.concatenate(images), np.concatenate(statistics), failures


def _with_degraded(portraits: np.ndarray, degraded: int, rng: np.random.Generator) -> np.ndarray:
    """Portraits [N, S, S, 3], and degraded copies of some of them, each degraded anew."""
    chosen = rng.permutation(len(portraits))[:degraded]
    copies = [augment_faces(portraits[index : index + 1], AugmentConfig(), rng) for index in chosen]
    return np.concatenate([portraits, *copies])
