"""Training of the audio classifier: statistics of clips, a page-balanced logistic regression, and cross-validation by page."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import torch

from ....media.clip import MediaError
from ....media.files import file_sha256
from ....media.views import save_arrays
from ....media.windows import read_clip
from ...audio_classifier import AudioClassifier

MAX_SECONDS = 8.0  # of a clip, as long as the detector's windows
MIN_SAMPLES = 6400  # samples (0.4 s) below which a clip is left out
N_FOLDS = 8
REPORT_EVERY = 25  # clips between two calls of the progress hook


@dataclass
class AudioTrainConfig:
    """Settings of the audio classifier; read from YAML by :func:`avwitness.settings.read_settings`."""

    seed: int = 0
    layers: tuple[int, ...] = (1, 2, 3)  # outputs of the encoder whose statistics are classified; 0 is that of the convolutions
    penalty: float = 0.01  # C, the inverse strength of the L2 penalty
    page_balance: float = 0.5  # exponent b of the sample weight 1 / n**b, n clips of the same page and class
    folds: int = N_FOLDS
    max_fpr: float = 0.05  # target of the threshold for `fake`, on average over pages
    max_worst_fpr: float = 0.10  # the same for the worst tenth of the pages
    genuine_corpora: dict[str, int] = field(default_factory=dict)  # further genuine clips by corpus, drawn from its training split
    voices: tuple[str, ...] = ()  # copy-synthesis voices that forge the genuine clips of the field set
    voices_per_clip: int = 3  # of them, drawn for each clip
    forged_weight: float = 0.15  # of a forged clip in the fit, beside 1 for all others


@dataclass(frozen=True)
class AudioSamples:
    """Clips to fit to and to score.

    Parameters
    ----------
    statistics : float32 [N, D]
        See :meth:`avwitness.detector.audio_classifier.AudioClassifier.statistics`.
    labels : int [N]
        1 is fake.
    pages : str [N]
        Who published the clip; a forged clip has the page of its source.
    weights : float [N]
        In the fit.
    scored : bool [N]
        Whether cross-validation scores the clip. Forged clips and further genuine corpora are only fitted to.
    """

    statistics: np.ndarray
    labels: np.ndarray
    pages: np.ndarray
    weights: np.ndarray
    scored: np.ndarray

    @classmethod
    def of(cls, statistics: np.ndarray, labels: np.ndarray, pages: np.ndarray, weight: float = 1.0, scored: bool = True) -> AudioSamples:
        """Clips of the same weight that are all scored, or none."""
        count = len(labels)
        return cls(statistics, np.asarray(labels), np.asarray(pages, dtype=str), np.full(count, weight), np.full(count, scored))

    def __getitem__(self, rows: np.ndarray) -> AudioSamples:
        return AudioSamples(*(getattr(self, item.name)[rows] for item in fields(self)))

    def with_more(self, *others: AudioSamples) -> AudioSamples:
        """These clips and others."""
        return AudioSamples(*(np.concatenate([getattr(x, item.name) for x in (self, *others)]) for item in fields(self)))

    def layers(self, layers: Sequence[int], width: int) -> AudioSamples:
        """The same clips with the statistics of some layers, of those of all layers."""
        parts = [self.statistics[:, 2 * layer * width : 2 * (layer + 1) * width] for layer in layers]
        return replace(self, statistics=np.concatenate(parts, axis=1))


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
                save_arrays(target, statistics=_statistics(_read(path), classifier))
            except MediaError as error:
                failures.append(str(error))
                continue
        with np.load(target) as data:
            statistics[number] = data["statistics"]
        if hook is not None and (number % REPORT_EVERY == 0 or number + 1 == len(files)):
            hook(number + 1, len(files))
    return statistics, failures


def forged_statistics(
    files: Sequence[str | os.PathLike[str]],
    classifier: AudioClassifier,
    config: AudioTrainConfig,
    cache: str | os.PathLike[str],
    hook: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Statistics of genuine clips that copy-synthesis voices forged, kept in the cache by content and voice.

    Returns
    -------
    statistics : float32 [M, D]
    sources : int [M]
        Which file each was forged from. Voices that cannot forge a clip are left out.
    """
    from ....generators.voices.resynthesis import VOICES

    folder = Path(cache) / f"audio-statistics-{encoder_hash(classifier)}"
    folder.mkdir(parents=True, exist_ok=True)
    found, sources = [], []
    for number, path in enumerate(files):
        digest = file_sha256(path)
        rng = np.random.default_rng([config.seed, int(digest[:8], 16)])
        for voice in rng.permutation(sorted(config.voices))[: config.voices_per_clip]:
            target = folder / f"{digest}-{voice}.npz"
            if not target.exists():
                try:
                    forged = VOICES[str(voice)](_read(path), np.random.default_rng([config.seed, int(digest[:8], 16), 1]))
                except (MediaError, ValueError):
                    continue
                save_arrays(target, statistics=_statistics(forged, classifier))
            with np.load(target) as data:
                found.append(data["statistics"])
            sources.append(number)
        if hook is not None and (number % REPORT_EVERY == 0 or number + 1 == len(files)):
            hook(number + 1, len(files))
    statistics = np.stack(found) if found else np.zeros((0, len(classifier.center)), dtype=np.float32)
    return statistics, np.array(sources, dtype=int)


def _read(path: str | os.PathLike[str]) -> np.ndarray:
    waveform = read_clip(path, video=False, max_seconds=MAX_SECONDS).waveform
    if waveform is None or len(waveform) < MIN_SAMPLES:
        raise MediaError(Path(path), "holds less than 0.4 s of audio")
    return waveform


@torch.inference_mode()
def _statistics(waveform: np.ndarray, classifier: AudioClassifier) -> np.ndarray:
    return classifier.statistics(torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32))[None])[0].numpy()


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


def page_weights(labels: np.ndarray, pages: np.ndarray, balance: float, weights: np.ndarray | None = None) -> np.ndarray:
    """Sample weights float [N] of mean 1: equal sums of both classes, and within a class 1 / n**balance, n clips of the same page.

    Parameters
    ----------
    balance : float
        Exponent; 0 weights clips equally, 1 weights pages equally.
    weights : float [N], optional
        Further factors.
    """
    factors = np.ones(len(labels)) if weights is None else weights
    out = np.zeros(len(labels))
    for label in (0, 1):
        members = labels == label
        _, codes, sizes = np.unique(pages[members], return_inverse=True, return_counts=True)
        part = sizes[codes] ** -balance * factors[members]
        out[members] = part * len(labels) / (2.0 * part.sum())
    return out


def fit_linear(samples: AudioSamples, config: AudioTrainConfig) -> LinearClassifier:
    """Standardise and fit a logistic regression with an L2 penalty.

    Raises
    ------
    ValueError
        If one of the classes is missing.
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(samples.labels)) < 2:
        raise ValueError("the audio classifier needs genuine and fake clips")
    center, scale = samples.statistics.mean(axis=0), samples.statistics.std(axis=0) + 1e-5
    model = LogisticRegression(C=config.penalty, max_iter=500)
    weights = page_weights(samples.labels, samples.pages, config.page_balance, samples.weights)
    model.fit((samples.statistics - center) / scale, samples.labels, sample_weight=weights)
    return LinearClassifier(center, scale, model.coef_[0], float(model.intercept_[0]))


def cross_validated_logits(samples: AudioSamples, config: AudioTrainConfig, keep: np.ndarray | None = None) -> np.ndarray:
    """Logits of classifiers that were fitted without the clip's page: float [M] of the M clips that are scored.

    Parameters
    ----------
    keep : bool [N], optional
        Clips that may be fitted to, for learning curves.
    """
    keep = np.ones(len(samples.labels), dtype=bool) if keep is None else keep
    scored = samples[samples.scored]
    fold = page_folds(scored.pages, config.folds, config.seed)
    logits = np.full(len(fold), np.nan)
    for number in np.unique(fold):
        test = fold == number
        train = keep & ~np.isin(samples.pages, np.unique(scored.pages[test]))
        logits[test] = fit_linear(samples[train], config)(scored.statistics[test])
    return logits


def set_linear(classifier: AudioClassifier, linear: LinearClassifier) -> AudioClassifier:
    """Write a fitted linear classifier into the module, in place."""
    with torch.no_grad():
        classifier.center.copy_(torch.from_numpy(linear.center))
        classifier.scale.copy_(torch.from_numpy(linear.scale))
        classifier.linear.weight.copy_(torch.from_numpy(linear.weight)[None])
        classifier.linear.bias.fill_(linear.bias)
    return classifier
