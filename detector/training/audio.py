"""Training of the audio classifier: statistics of every clip, a page-balanced logistic regression, and cross-validation by page."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ...media.clip import MediaError
from ...media.files import file_sha256
from ...media.views import save_arrays
from ...media.windows import read_clip
from ..audio_classifier import AudioClassifier

MAX_SECONDS = 8.0  # of a clip, as long as the detector's windows
MIN_SAMPLES = 6400  # samples (0.4 s) below which a clip is left out
N_FOLDS = 8
TEST_EVERY = 25  # clips between two calls of the progress hook


@dataclass
class AudioTrainConfig:
    """Settings of the audio classifier; read from YAML by :func:`avwitness.settings.read_settings`."""

    seed: int = 0
    layers: tuple[int, ...] = (1, 2, 3)  # outputs of the encoder whose statistics are classified; 0 is that of the convolutions
    penalty: float = 0.01  # C, the inverse strength of the L2 penalty
    page_balance: float = 0.5  # a clip weighs its page's number of clips of that class to the power of minus this
    folds: int = N_FOLDS
    max_fpr: float = 0.05  # target of the threshold for `fake`, on average over pages
    max_worst_fpr: float = 0.10  # the same for the worst tenth of the pages
    genuine_corpora: dict[str, int] = field(default_factory=dict)  # further genuine clips by corpus of the development manifest


@dataclass(frozen=True)
class LinearClassifier:
    """Standardisation and a linear layer: logit = ((x - center) / scale) @ weight + bias."""

    center: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    bias: float

    def __call__(self, statistics: np.ndarray) -> np.ndarray:
        """Logits [N] of statistics [N, D]."""
        return ((statistics - self.center) / self.scale) @ self.weight + self.bias


def clip_statistics(
    files: Sequence[str | os.PathLike[str]],
    classifier: AudioClassifier,
    cache: str | os.PathLike[str],
    hook: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, list[str]]:
    """Statistics of every clip, computed once and kept in a cache folder by the content of the file.

    Parameters
    ----------
    files : sequence of path-like
    classifier : AudioClassifier
        Its encoder and layers are used.
    cache : path-like
    hook : callable, optional
        Called with the number of clips done and of all clips.

    Returns
    -------
    statistics : float32 [N, D]
        NaN where a clip cannot be read or is too short.
    failures : list of str
        A sentence for each such clip.
    """
    folder = Path(cache) / f"audio-statistics-{encoder_hash(classifier)}"
    folder.mkdir(parents=True, exist_ok=True)
    width = len(classifier.center)
    statistics = np.full((len(files), width), np.nan, dtype=np.float32)
    failures = []
    for number, path in enumerate(files):
        target = folder / f"{file_sha256(path)}.npz"
        if not target.exists():
            try:
                save_arrays(target, statistics=_statistics(path, classifier))
            except MediaError as error:
                failures.append(str(error))
                continue
        with np.load(target) as data:
            statistics[number] = data["statistics"]
        if hook is not None and (number % TEST_EVERY == 0 or number + 1 == len(files)):
            hook(number + 1, len(files))
    return statistics, failures


@torch.inference_mode()
def _statistics(path: str | os.PathLike[str], classifier: AudioClassifier) -> np.ndarray:
    waveform = read_clip(path, video=False, max_seconds=MAX_SECONDS).waveform
    if waveform is None or len(waveform) < MIN_SAMPLES:
        raise MediaError(Path(path), "holds less than 0.4 s of audio")
    return classifier.statistics(torch.from_numpy(waveform)[None])[0].numpy()


def encoder_hash(classifier: AudioClassifier) -> str:
    """First digits of a SHA-1 over the encoder's weights and the layers that are used."""
    digest = hashlib.sha1(repr(classifier.config.layers).encode())
    for value in classifier.encoder.state_dict().values():
        digest.update(value.half().numpy().tobytes())
    return digest.hexdigest()[:10]


def page_folds(pages: np.ndarray, folds: int = N_FOLDS, seed: int = 0) -> np.ndarray:
    """Fold of every clip, int [N]: pages in random order, large ones first, each into the fold with the fewest clips."""
    names, codes, sizes = np.unique(pages, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    load, fold = np.zeros(folds), np.zeros(len(names), dtype=int)
    for page in order:
        fold[page] = int(load.argmin())
        load[fold[page]] += sizes[page]
    return fold[codes]


def page_weights(labels: np.ndarray, pages: np.ndarray, balance: float) -> np.ndarray:
    """Weights float [N] of mean 1: both classes weigh the same, and a page's clips less the more it has."""
    weights = np.zeros(len(labels))
    for label in (0, 1):
        members = labels == label
        _, codes, sizes = np.unique(pages[members], return_inverse=True, return_counts=True)
        part = sizes[codes] ** -balance
        weights[members] = part * len(labels) / (2.0 * part.sum())
    return weights


def fit_linear(statistics: np.ndarray, labels: np.ndarray, pages: np.ndarray, config: AudioTrainConfig) -> LinearClassifier:
    """Standardise and fit a logistic regression with an L2 penalty.

    Raises
    ------
    ValueError
        If one of the classes is missing.
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) < 2:
        raise ValueError("the audio classifier needs genuine and fake clips")
    center, scale = statistics.mean(axis=0), statistics.std(axis=0) + 1e-5
    model = LogisticRegression(C=config.penalty, max_iter=500)
    model.fit((statistics - center) / scale, labels, sample_weight=page_weights(labels, pages, config.page_balance))
    return LinearClassifier(center, scale, model.coef_[0], float(model.intercept_[0]))


def cross_validated_logits(
    statistics: np.ndarray, labels: np.ndarray, pages: np.ndarray, config: AudioTrainConfig, keep: np.ndarray | None = None
) -> np.ndarray:
    """Logits float [N] of classifiers that were fitted without the clip's page.

    Parameters
    ----------
    keep : bool [N], optional
        Clips that may be fitted to (all get a logit), for ablations and learning curves.
    """
    fold = page_folds(pages, config.folds, config.seed)
    logits = np.full(len(labels), np.nan)
    keep = np.ones(len(labels), dtype=bool) if keep is None else keep
    for number in range(config.folds):
        test = fold == number
        if test.any():
            train = ~test & keep
            logits[test] = fit_linear(statistics[train], labels[train], pages[train], config)(statistics[test])
    return logits


def set_linear(classifier: AudioClassifier, linear: LinearClassifier) -> AudioClassifier:
    """Write a fitted linear classifier into the module, in place."""
    with torch.no_grad():
        classifier.center.copy_(torch.from_numpy(linear.center))
        classifier.scale.copy_(torch.from_numpy(linear.scale))
        classifier.linear.weight.copy_(torch.from_numpy(linear.weight)[None])
        classifier.linear.bias.fill_(linear.bias)
    return classifier


def page_threshold(
    scores: np.ndarray, pages: np.ndarray, max_fpr: float, max_worst_fpr: float, worst: float = 0.1, min_clips: int = 3
) -> float:
    """The lowest threshold that keeps the false positive rate low on average and on the worst pages.

    Parameters
    ----------
    scores : float [N]
        Of genuine clips; higher is more fake.
    pages : array [N]
    max_fpr : float
        Limit of the mean over pages.
    max_worst_fpr : float
        Limit of the mean over the share ``worst`` of the pages with the highest rates.
    worst : float
    min_clips : int
        Pages with fewer genuine clips share one group: a rate of a single clip is 0 or 1.

    Returns
    -------
    float
        A score of a genuine clip; a false positive lies strictly above it.
    """
    names, codes, sizes = np.unique(pages, return_inverse=True, return_counts=True)
    small = sizes < min_clips
    codes = np.where(small[codes], len(names), codes)
    groups = np.unique(codes)
    n_worst = max(1, round(worst * len(groups)))
    for threshold in np.unique(scores):
        rates = np.sort([(scores[codes == group] > threshold).mean() for group in groups])[::-1]
        if rates.mean() <= max_fpr + 1e-9 and rates[:n_worst].mean() <= max_worst_fpr + 1e-9:
            return float(threshold)
    return float(np.max(scores))
