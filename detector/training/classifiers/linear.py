"""Linear classifiers of the statistics of clips: a page-balanced logistic regression, and cross-validation by page."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from ...audio_classifier import AudioClassifier
from ...video_classifier import VideoClassifier

N_FOLDS = 8


@dataclass
class LinearConfig:
    """Settings of the fit, its cross-validation and its threshold."""

    seed: int = 0
    penalty: float = 0.01  # C, the inverse strength of the L2 penalty
    page_balance: float = 0.5  # exponent b of the sample weight 1 / n**b, n clips of the same page and class
    folds: int = N_FOLDS
    max_fpr: float = 0.05  # target of the threshold for `fake`, on average over pages
    max_worst_fpr: float = 0.10  # the same for the worst tenth of the pages


@dataclass(frozen=True)
class PageSamples:
    """Clips to fit to and to score.

    Parameters
    ----------
    statistics : float32 [N, D]
        See :meth:`avwitness.detector.audio_classifier.AudioClassifier.statistics` and that of the video classifier.
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
    def of(cls, statistics: np.ndarray, labels: np.ndarray, pages: np.ndarray, weight: float = 1.0, scored: bool = True) -> PageSamples:
        """Clips of the same weight that are all scored, or none."""
        count = len(labels)
        return cls(statistics, np.asarray(labels), np.asarray(pages, dtype=str), np.full(count, weight), np.full(count, scored))

    def __getitem__(self, rows: np.ndarray) -> PageSamples:
        return PageSamples(*(getattr(self, item.name)[rows] for item in fields(self)))

    def with_more(self, *others: PageSamples) -> PageSamples:
        """These clips and others."""
        return PageSamples(*(np.concatenate([getattr(x, item.name) for x in (self, *others)]) for item in fields(self)))

    def columns(self, *parts: slice) -> PageSamples:
        """The same clips with some of the statistics."""
        return replace(self, statistics=np.concatenate([self.statistics[:, part] for part in parts], axis=1))


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


def fit_linear(samples: PageSamples, config: LinearConfig) -> LinearClassifier:
    """Standardise and fit a logistic regression with an L2 penalty.

    Raises
    ------
    ValueError
        If one of the classes is missing.
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(samples.labels)) < 2:
        raise ValueError("a classifier needs genuine and fake clips")
    center, scale = samples.statistics.mean(axis=0), samples.statistics.std(axis=0) + 1e-5
    model = LogisticRegression(C=config.penalty, max_iter=500)
    weights = page_weights(samples.labels, samples.pages, config.page_balance, samples.weights)
    model.fit((samples.statistics - center) / scale, samples.labels, sample_weight=weights)
    return LinearClassifier(center, scale, model.coef_[0], float(model.intercept_[0]))


def cross_validated_logits(samples: PageSamples, config: LinearConfig, keep: np.ndarray | None = None) -> np.ndarray:
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


def set_linear(classifier: AudioClassifier | VideoClassifier, linear: LinearClassifier) -> None:
    """Write a fitted linear classifier into the module."""
    with torch.no_grad():
        classifier.center.copy_(torch.from_numpy(linear.center))
        classifier.scale.copy_(torch.from_numpy(linear.scale))
        classifier.linear.weight.copy_(torch.from_numpy(linear.weight)[None])
        classifier.linear.bias.fill_(linear.bias)
