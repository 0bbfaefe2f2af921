"""Clips that the video classifier is fitted to, and the statistics of their portraits, kept in a cache."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from ....datasets.manifest import read_labels
from ....media.clip import MediaError
from ....media.face.portraits import N_PORTRAITS
from ....media.files import file_sha256
from ....media.views import save_arrays
from ....media.window_views import window_views
from ....media.windows import WINDOW, MediaReader
from ...video_classifier import VideoClassifier
from .field_data import CorporaConfig, field_table, genuine_clips
from .linear import PageSamples

REPORT_EVERY = 10  # clips between two calls of the progress hook
BASELINES = ("blur", "brightness", "contrast")  # of the portraits, computed with the statistics


@dataclass
class VideoTrainConfig(CorporaConfig):
    """Settings of the video classifier; read from YAML by :func:`avwitness.settings.read_settings`."""

    penalty: float = 0.003
    patch_layers: tuple[int, ...] = (7,)  # whose mean and deviation over patches are classified
    token_layers: tuple[int, ...] = (8, 10)  # whose class token is classified
    views: tuple[str, ...] = ("portrait",)  # parts of the portrait that are encoded
    forged_weight: float = 0.15  # of a clip of a forged set in the fit, beside 1 for all others


def portrait_statistics(
    files: Sequence[str | os.PathLike[str]],
    classifier: VideoClassifier,
    cache: str | os.PathLike[str],
    hook: Callable[[int, int], None] | None = None,
    deviation: bool = False,
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Mean statistics of the portraits of every clip's first window, computed once and kept by the content of the file.

    Parameters
    ----------
    files : sequence of path-like
    classifier : VideoClassifier
    cache : path-like
        Folder.
    hook : callable, optional
        Called with clips done and all clips.
    deviation : bool
        Whether the standard deviations over the portraits follow the means.

    Returns
    -------
    statistics : float32 [N, D] or [N, 2 D]
        NaN where a clip cannot be read or shows no face.
    baselines : float64 [N, 3]
        Blur (negative log variance of the Laplacian), brightness and contrast of the portraits.
    failures : list of str
        A sentence for each clip without statistics.
    """
    folder = Path(cache) / f"portrait-statistics-{encoder_hash(classifier)}"
    folder.mkdir(parents=True, exist_ok=True)
    statistics = np.full((len(files), len(classifier.center) * (1 + deviation)), np.nan, dtype=np.float32)
    baselines = np.full((len(files), len(BASELINES)), np.nan)
    failures = []
    for number, path in enumerate(files):
        content = file_sha256(path)
        target = folder / f"{content}.npz"
        if not target.exists():
            try:
                portraits = cached_portraits(path, content, cache)
            except MediaError as error:
                failures.append(str(error))
                continue
            with torch.inference_mode():
                found = classifier.statistics(torch.from_numpy(portraits)).numpy()
            save_arrays(target, portraits=found, baselines=_baselines(portraits))
        with np.load(target) as data:
            found, baselines[number] = data["portraits"], data["baselines"]
        statistics[number] = np.concatenate([found.mean(axis=0), *([found.std(axis=0)] * deviation)])
        if hook is not None and (number % REPORT_EVERY == 0 or number + 1 == len(files)):
            hook(number + 1, len(files))
    return statistics, baselines, failures


def load_video_samples(
    field: str | os.PathLike[str],
    data: str | os.PathLike[str] | None,
    classifier: VideoClassifier,
    config: VideoTrainConfig,
    cache: str | os.PathLike[str],
    hook: Callable[[int, int], None] | None = None,
    forged: Sequence[str | os.PathLike[str]] = (),
    deviation: bool = False,
    split: str | None = None,
) -> tuple[pd.DataFrame, PageSamples, list[str]]:
    """Statistics of all clips that a configuration asks for.

    Parameters
    ----------
    field : path-like
        Folder of the field set.
    data : path-like or None
        Folder with the manifest that lists the corpora of ``config.genuine_corpora``.
    classifier : VideoClassifier
    config : VideoTrainConfig
    cache : path-like
    hook : callable, optional
        Called with clips done and all clips, for each of the parts anew.
    forged : sequence of path-like
        Sets that `avwitness forge` wrote, which are only fitted to.
    deviation : bool
        See :func:`portrait_statistics`.
    split : str, optional
        Take the clips of this split of the field set alone.

    Returns
    -------
    table : pandas.DataFrame
        Scored clips, see :func:`.field_data.field_table`, with a column for each of :data:`BASELINES`.
    samples : PageSamples
        The scored clips in the order of the table, then those that are only fitted to.
    failures : list of str
        Clips that cannot be read or show no face, a sentence each.

    Raises
    ------
    ValueError
        If corpora are asked for and there is no manifest, or no clip is left.
    """
    everything = field_table(field, "video")
    table = everything if split is None else everything[everything.split == split].reset_index(drop=True)
    if table.empty:
        raise ValueError(f"{field}: has no clip of the split {split} with a label of its video")
    statistics, baselines, failures = portrait_statistics(list(table.file), classifier, cache, hook, deviation)
    known = ~np.isnan(statistics[:, 0])
    table = table.assign(**dict(zip(BASELINES, baselines.T, strict=True)))[known].reset_index(drop=True)
    samples = PageSamples.of(statistics[known], table.label.to_numpy(), table.page.to_numpy())

    def add(files: list[Path], labels: np.ndarray, pages: np.ndarray, weight: float = 1.0) -> PageSamples:
        found, _, failed = portrait_statistics(files, classifier, cache, hook, deviation)
        failures.extend(failed)
        kept = ~np.isnan(found[:, 0])
        return PageSamples.of(found[kept], labels[kept], pages[kept], weight, scored=False)

    if config.genuine_corpora:
        more = genuine_clips(data, "video", config)
        samples = samples.with_more(add(list(more.file), np.zeros(len(more), dtype=int), more.corpus.to_numpy()))
    for folder in forged:
        rows, pages = forged_rows(folder, everything)
        samples = samples.with_more(add(list(rows.file), rows.video_label.to_numpy(dtype=int), pages, config.forged_weight))
    return table, samples, failures


def forged_rows(folder: str | os.PathLike[str], field: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Clips of a forged set with a label of their video, and the page of each: that of its source in the field set, else its person."""
    rows = read_labels(folder)
    rows = rows[rows.video_label.notna()].reset_index(drop=True)
    pages = field.drop_duplicates("path").set_index("path").page  # a forged set names its sources by their paths
    return rows, rows.source.map(pages).fillna(rows.identity).to_numpy(dtype=str)


def encoder_hash(classifier: VideoClassifier) -> str:
    """First digits of a SHA-1 over the encoder's weights and the layers that are used."""
    digest = hashlib.sha1(repr((classifier.config.patch_layers, classifier.config.token_layers, classifier.config.views)).encode())
    for value in classifier.encoder.state_dict().values():
        digest.update(value.numpy().tobytes() if value.dtype == torch.int8 else value.half().numpy().tobytes())
    return digest.hexdigest()[:10]


def cached_portraits(path: str | os.PathLike[str], content: str, cache: str | os.PathLike[str], count: int = N_PORTRAITS) -> np.ndarray:
    """Portraits uint8 [N, S, S, 3] of a clip's first window, cut once and kept by the content of the file.

    Raises
    ------
    MediaError
        If the clip cannot be read or shows no face.
    """
    target = Path(cache) / f"portraits-{count}" / f"{content}.npz"
    if not target.exists():
        views = window_views(MediaReader(path), WINDOW, WINDOW, faces=False, portraits=True, n_portraits=count)
        with contextlib.closing(views) as windows:
            found = next(windows).portraits
        if found is None or not len(found):
            raise MediaError(Path(path), "shows no face in enough frames of its first seconds")
        target.parent.mkdir(parents=True, exist_ok=True)
        save_arrays(target, portraits=found)
    with np.load(target) as data:
        return np.asarray(data["portraits"])


def _baselines(portraits: np.ndarray) -> np.ndarray:
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in portraits]
    blur = [-np.log(cv2.Laplacian(image, cv2.CV_64F).var() + 1e-6) for image in grey]
    return np.array([np.mean(blur), np.mean([image.mean() for image in grey]), np.mean([image.std() for image in grey])])
