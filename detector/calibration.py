"""Logits to probabilities and labels: Platt scaling per stream, and a band in which the detector admits ignorance."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

ERROR_RATE = 0.05  # share of genuine clips above, and of fakes below, the band of ignorance
NARROWEST_BAND = (0.4, 0.6)  # probabilities; the band is never smaller than this
LEAST_POWER = 0.55  # AUC on held-out speakers, lower end of its interval, below which a head has no say
BOOTSTRAP_ROUNDS = 200


def sigmoid(x: np.ndarray | float) -> Any:
    """Logistic function, safe for large arguments."""
    return 1.0 / (1.0 + np.exp(-np.clip(x, -60.0, 60.0)))


@dataclass(frozen=True)
class StreamCalibration:
    """How one stream's logit becomes a probability and a label.

    Parameters
    ----------
    slope, intercept : float
        ``p = sigmoid(slope * logit + intercept)`` (Platt, *Probabilistic outputs for support vector machines*, 1999).
    genuine_below, fake_above : float
        Probabilities; between them the verdict is inconclusive.
    power : float
        Lower end of the 95 % bootstrap interval (over trials) of the AUC on held-out speakers.
    """

    slope: float = 1.0
    intercept: float = 0.0
    genuine_below: float = NARROWEST_BAND[0]
    fake_above: float = NARROWEST_BAND[1]
    power: float = 1.0

    @property
    def proven(self) -> bool:
        """Whether the head told fakes from genuine clips at all when it was calibrated; if not, it must not testify."""
        return self.power >= LEAST_POWER and self.slope > 0.0

    def probability(self, logit: np.ndarray | float) -> Any:
        """Calibrated probability that the stream is fake."""
        return sigmoid(self.slope * np.asarray(logit) + self.intercept)

    def label(self, probability: float) -> str:
        """``genuine``, ``inconclusive`` or ``fake``."""
        if probability < self.genuine_below:
            return "genuine"
        return "fake" if probability > self.fake_above else "inconclusive"

    @classmethod
    def fit(cls, logits: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None) -> StreamCalibration:
        """Fit scaling and band on clips that were not trained on.

        Parameters
        ----------
        logits : float [N]
        labels : int [N]
            1 is fake.
        groups : array [N], optional
            Source of each clip. A group weighs as the square root of its size, and the band's upper end is the highest
            that any group of eight or more genuine clips asks for, so that one large corpus cannot set the false
            alarms of the others.

        Raises
        ------
        ValueError
            If one of the classes is missing.
        """
        from sklearn.linear_model import LogisticRegression

        logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)
        if len(np.unique(labels)) < 2:
            raise ValueError("calibration needs genuine and fake clips")
        groups = np.zeros(len(labels), dtype=int) if groups is None else np.asarray(groups)
        weights = np.zeros(len(labels))
        for group in np.unique(groups):
            for label in (0, 1):
                members = (groups == group) & (labels == label)
                weights[members] = 1.0 / np.sqrt(max(members.sum(), 1))
        model = LogisticRegression(C=1.0).fit(logits[:, None], labels, sample_weight=weights / weights.mean())
        fitted = cls(float(model.coef_[0, 0]), float(model.intercept_[0]))
        p = fitted.probability(logits)
        highs = [
            np.quantile(p[(groups == g) & (labels == 0)], 1.0 - ERROR_RATE)
            for g in np.unique(groups)
            if ((groups == g) & (labels == 0)).sum() >= 8
        ]
        high = max([NARROWEST_BAND[1], *map(float, highs)])
        low = min(NARROWEST_BAND[0], float(np.quantile(p[labels == 1], ERROR_RATE)))
        return cls(fitted.slope, fitted.intercept, low, high, _power(logits, labels))


def _power(logits: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    values = []
    for _ in range(BOOTSTRAP_ROUNDS):
        drawn = rng.integers(0, len(labels), len(labels))
        if 0 < labels[drawn].sum() < len(labels):
            values.append(roc_auc_score(labels[drawn], logits[drawn]))
    return round(float(np.quantile(values, 0.025)), 4)


@dataclass(frozen=True)
class Calibration:
    """Calibration of both streams and of their comparison.

    Parameters
    ----------
    audio, video : StreamCalibration
    sync : StreamCalibration
        Of :func:`sync_statistic`; its "fake" means that the streams do not belong together.
    """

    audio: StreamCalibration = field(default_factory=StreamCalibration)
    video: StreamCalibration = field(default_factory=StreamCalibration)
    sync: StreamCalibration = field(default_factory=StreamCalibration)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary, for ``config.json``."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Calibration:
        """Inverse of :meth:`to_dict`; missing parts keep their defaults."""
        return cls(**{name: StreamCalibration(**part) for name, part in values.items()})


def sync_statistic(curve: np.ndarray) -> float:
    """How little a similarity curve [31] speaks for streams in step: minus the height of its centre over the rest.

    The centre is the best of the offsets within +-3 frames (120 ms), which is about what viewers tolerate (ITU-R
    BT.1359); the rest is described by its mean and standard deviation.
    """
    middle = len(curve) // 2
    near = np.abs(np.arange(len(curve)) - middle) <= 3
    return float(-(curve[near].max() - curve[~near].mean()) / (curve[~near].std() + 0.02))
