"""Calibration: logits to probabilities and labels, for each stream and for the whole file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from scipy.special import expit

from .reliability import equal_mass_bins
from .thresholds import balanced_threshold, fpr_thresholds

MIN_DOUBT = 0.005  # probabilities lie in [MIN_DOUBT, 1 - MIN_DOUBT]
TILT = 0.01  # probability by which an isotonic map rises over all clips, so that its plateaus hold no ties
MAX_KNOTS = 40  # of an isotonic map
CLIPS_PER_KNOT = 10  # minimum of clips per knot, on average
FOLDS = 5  # of the cross-validation that selects a mapping; also the minimum of identities
MIN_CHOICE_CLIPS = 200  # clips below which the standard error is too uncertain to select a mapping, and Platt's is taken
MAPPINGS = ("auto", "platt", "isotonic")

MAX_MISS_RATE = 0.05  # false negative rate, balanced over methods, at the lower end of the inconclusive band
EVEN_ODDS = 0.5  # probability below which no label is fake, and above which none is genuine

MIN_POWER = 0.55  # lower end of the AUC's interval on held-out speakers, below which a head is not validated
N_BOOTSTRAP = 200  # resamples


@dataclass(frozen=True)
class StreamCalibration:
    """Mapping of one stream's logit to a probability and a label.

    Probabilities hold for a balanced prior: half of the clips are fake, and sources are weighted by the square root of their size.

    Parameters
    ----------
    slope, intercept : float
        ``expit(slope * logit + intercept)`` (Platt, *Probabilistic outputs for support vector machines*, 1999), which is
        temperature scaling with an offset. It is scaled into [0.005, 0.995] rather than clipped, so that scores at the ends
        keep their order and a threshold can lie between them.
    genuine_below, fake_above : float
        Probabilities; between them the label is inconclusive.
    power : float
        Lower end of the 95 % bootstrap interval (over identities) of the AUC on held-out speakers.
    knots : tuple of (float, float)
        Logits and probabilities of an isotonic map, linear between them and constant beyond them. Where there are any,
        they replace slope and intercept.
    thresholds : dict
        Probabilities above which lie at most 1 % (``at_1``) and 5 % (``at_5``) of the genuine clips of every source; see
        :func:`fpr_thresholds`. Empty in weights of older versions.
    """

    slope: float = 1.0
    intercept: float = 0.0
    genuine_below: float = 0.4
    fake_above: float = 0.6
    power: float = 1.0
    knots: tuple[tuple[float, float], ...] = ()
    thresholds: dict[str, float] = field(default_factory=dict)

    @property
    def mapping(self) -> str:
        """``platt`` or ``isotonic``."""
        return "isotonic" if self.knots else "platt"

    @property
    def validated(self) -> bool:
        """Whether the head was better than chance on held-out speakers; if not, its output is not used."""
        return self.power >= MIN_POWER and self.slope > 0.0

    def probability(self, logit: np.ndarray | float) -> Any:
        """Calibrated probability that the stream is fake, in [0.005, 0.995]."""
        if self.knots:
            return np.interp(np.asarray(logit, dtype=np.float64), *np.array(self.knots).T)
        return MIN_DOUBT + (1.0 - 2.0 * MIN_DOUBT) * expit(self.slope * np.asarray(logit, dtype=np.float64) + self.intercept)

    def log_odds(self, logit: np.ndarray | float) -> Any:
        """Calibrated log-odds that the stream is fake, in [-5.3, 5.3]."""
        p = self.probability(logit)
        return np.log(p) - np.log1p(-p)

    def label(self, probability: float) -> str:
        """``genuine``, ``inconclusive`` or ``fake``."""
        if probability < self.genuine_below:
            return "genuine"
        return "fake" if probability > self.fake_above else "inconclusive"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "knots": [list(knot) for knot in self.knots]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StreamCalibration:
        """Inverse of :meth:`to_dict`; missing parts keep their defaults."""
        knots = tuple((float(logit), float(p)) for logit, p in values.get("knots", ()))
        return cls(**{**values, "knots": knots, "thresholds": dict(values.get("thresholds", {}))})

    @classmethod
    def fit(
        cls,
        logits: np.ndarray,
        labels: np.ndarray,
        groups: np.ndarray | None = None,
        identities: np.ndarray | None = None,
        methods: np.ndarray | None = None,
        mapping: str = "auto",
    ) -> StreamCalibration:
        """Fit mapping, thresholds and inconclusive band on clips outside of the training set.

        The lower end of the band is the probability below which at most 5 % of the fakes lie, its upper end ``at_5``;
        neither crosses 0.5. A detector with both rates below 5 % at 0.5 has no band.

        Parameters
        ----------
        logits : float [N]
            Of a model trained on neither clip nor identity.
        labels : int [N]
            1 is fake.
        groups : array [N], optional
            Source of each clip. In the mapping the weight of a source is the square root of its size; thresholds hold for
            every source.
        identities : array [N], optional
            Person in each clip: never split between folds, and the unit of the bootstrap. Without them each clip is its own
            unit.
        methods : array [N], optional
            Method of each fake; those of genuine clips are ignored. The false negative rate is the mean over methods, so that
            a frequent method does not hide the errors of a rare one.
        mapping : {"auto", "platt", "isotonic"}
            ``auto`` takes the isotonic map where its cross-validated log-loss is better by more than one standard error, given
            200 clips and 5 identities or more.

        Raises
        ------
        ValueError
            If one of the classes is missing, or there is no such mapping.
        """
        if mapping not in MAPPINGS:
            raise ValueError(f"mapping {mapping!r} is none of {', '.join(MAPPINGS)}")
        logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)
        if len(np.unique(labels)) < 2:
            raise ValueError("calibration needs genuine and fake clips")
        groups = np.zeros(len(labels), dtype=int) if groups is None else np.asarray(groups)
        identities = np.arange(len(labels)) if identities is None else np.unique(identities, return_inverse=True)[1]
        if mapping == "auto":
            mapping = "isotonic" if _isotonic_is_better(logits, labels, groups, identities) else "platt"
        fitted = _fit_mapping(logits, labels, groups, mapping)
        p = fitted.probability(logits)
        thresholds = fpr_thresholds(p[labels == 0], groups[labels == 0])
        high = max(thresholds["at_5"], EVEN_ODDS)
        kinds = np.zeros(len(labels), dtype=int) if methods is None else np.asarray(methods)
        # A false negative is a false positive with signs and classes exchanged.
        low = -balanced_threshold(-p, 1 - labels, kinds, MAX_MISS_RATE)
        power = _power(logits, labels, identities)
        return replace(fitted, genuine_below=min(low, EVEN_ODDS, high), fake_above=high, power=power, thresholds=thresholds)


def balanced_weights(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Weights [N] of mean 1 for a balanced prior: both classes weigh the same, and within a class each group of ``groups`` [N]
    the square root of its size.
    """
    weights = np.zeros(len(labels))
    for label in np.unique(labels):
        of_class = labels == label
        for group in np.unique(groups[of_class]):
            members = of_class & (groups == group)
            weights[members] = 1.0 / np.sqrt(members.sum())
        weights[of_class] /= weights[of_class].sum()
    return weights / weights.mean()


def _fit_mapping(logits: np.ndarray, labels: np.ndarray, groups: np.ndarray, mapping: str) -> StreamCalibration:
    """The mapping alone. An isotonic one has a slope too, whose sign shows a head that ranks clips the wrong way."""
    from sklearn.linear_model import LogisticRegression

    weights = balanced_weights(labels, groups)
    model = LogisticRegression(C=1.0).fit(logits[:, None], labels, sample_weight=weights)
    knots = _isotonic_knots(logits, labels, weights) if mapping == "isotonic" else ()
    return StreamCalibration(float(model.coef_[0, 0]), float(model.intercept_[0]), knots=knots)


def _isotonic_knots(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Isotonic regression over bins of equal weight, which bounds the number of knots and the influence of a few clips.

    Its plateaus are tilted by the rank of the logit, by 0.01 in all: on a level plateau a threshold could only lie at its end,
    and where the highest scores tie with a few genuine clips nothing could be labelled fake.
    """
    from sklearn.isotonic import IsotonicRegression

    bins = equal_mass_bins(logits, max(2, min(MAX_KNOTS - 2, len(logits) // CLIPS_PER_KNOT)), weights)
    mass = np.bincount(bins, weights)
    centres = np.bincount(bins, weights * logits) / mass
    shares = IsotonicRegression().fit_transform(centres, np.bincount(bins, weights * labels) / mass, sample_weight=mass)
    ranks = (np.cumsum(mass) - mass / 2.0) / mass.sum()
    x = np.maximum.accumulate([logits.min(), *centres, logits.max()])
    y = np.array([shares[0], *shares, shares[-1]])
    p = MIN_DOUBT + (1.0 - 2.0 * MIN_DOUBT - TILT) * y + TILT * np.array([0.0, *ranks, 1.0])
    kept = np.diff(x, append=np.inf) > 0.0
    return tuple(zip(x[kept].tolist(), p[kept].tolist(), strict=True))


def _isotonic_is_better(logits: np.ndarray, labels: np.ndarray, groups: np.ndarray, identities: np.ndarray) -> bool:
    """Whether an isotonic map beats Platt's in cross-validated log-loss by more than one standard error (over identities)."""
    from sklearn.model_selection import GroupKFold

    if len(labels) < MIN_CHOICE_CLIPS or len(np.unique(identities)) < FOLDS:
        return False
    gain = np.zeros(len(labels))  # nats
    for known, calibration_split in GroupKFold(FOLDS).split(logits, groups=identities):
        if len(np.unique(labels[known])) < 2:
            return False
        losses = []
        for mapping in ("platt", "isotonic"):
            p = _fit_mapping(logits[known], labels[known], groups[known], mapping).probability(logits[calibration_split])
            losses.append(-np.log(np.where(labels[calibration_split] == 1, p, 1.0 - p)))
        gain[calibration_split] = losses[0] - losses[1]
    weights = balanced_weights(labels, groups)
    mean = float((weights * gain).sum() / weights.sum())
    # Clips of one identity are not independent, so their deviations are summed before they are squared.
    error = float(np.sqrt((np.bincount(identities, weights * (gain - mean)) ** 2).sum()) / weights.sum())
    return mean > error


def _power(logits: np.ndarray, labels: np.ndarray, identities: np.ndarray) -> float:
    """Lower end of the 95 % interval of the AUC over resampled identities (codes from 0 on, int [N])."""
    rng = np.random.default_rng(0)
    people = identities.max() + 1
    ranks = np.unique(logits, return_inverse=True)[1]
    values = []
    for _ in range(N_BOOTSTRAP):
        counts = np.bincount(rng.integers(0, people, people), minlength=people)[identities]  # times each clip was sampled
        fakes, genuine = (np.bincount(ranks, counts * (labels == label)) for label in (1, 0))
        if fakes.sum() and genuine.sum():
            # Pairs in which the fake has the higher logit; ties count half.
            concordant = (fakes * (np.cumsum(genuine) - genuine / 2.0)).sum()
            values.append(concordant / (fakes.sum() * genuine.sum()))
    return round(float(np.quantile(values, 0.025)), 4) if values else 0.0


@dataclass(frozen=True)
class Calibration:
    """Calibration of both streams, of the sync statistic, and of the file as a whole.

    Parameters
    ----------
    audio, video : StreamCalibration
    sync : StreamCalibration
        Of :func:`avwitness.detector.sync.sync_statistic`; its label "fake" means that the streams do not match.
    overall : dict
        Probability that *any* stream is fake, by the streams that were scored: ``audio`` and ``video`` are the streams' own, ``both``
        is that of :meth:`combined`, where it was fitted (:meth:`with_overall`).
    """

    audio: StreamCalibration = field(default_factory=StreamCalibration)
    video: StreamCalibration = field(default_factory=StreamCalibration)
    sync: StreamCalibration = field(default_factory=StreamCalibration)
    overall: dict[str, StreamCalibration] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "overall", {**self.overall, "audio": self.audio, "video": self.video})

    def combined(self, audio_logit: np.ndarray | float, video_logit: np.ndarray | float) -> Any:
        """Log of the sum of both streams' calibrated odds.

        A file is fake if one stream is, and the odds that one of two is fake are about the sum of their odds while those are
        small. So the sum follows the stream with the higher odds, and adds 0.7 (log 2) at most to its log-odds. In a sum of
        log-odds a low audio logit would cancel a high video logit.
        """
        return np.logaddexp(self.audio.log_odds(audio_logit), self.video.log_odds(video_logit))

    def with_overall(
        self,
        audio_logits: np.ndarray,
        video_logits: np.ndarray,
        labels: np.ndarray,
        groups: np.ndarray | None = None,
        identities: np.ndarray | None = None,
        methods: np.ndarray | None = None,
        mapping: str = "auto",
    ) -> Calibration:
        """The same calibration with ``both`` fitted on clips that hold both streams.

        Parameters
        ----------
        audio_logits, video_logits : float [N]
        labels : int [N]
            1 if any stream is fake.
        groups, identities, methods, mapping
            See :meth:`StreamCalibration.fit`.
        """
        statistic = self.combined(audio_logits, video_logits)
        both = StreamCalibration.fit(statistic, labels, groups, identities, methods, mapping)
        return replace(self, overall={**self.overall, "both": both})

    def overall_probability(self, audio_logit: float | None, video_logit: float | None) -> float | None:
        """Probability that any stream is fake.

        Parameters
        ----------
        audio_logit, video_logit : float or None
            None where the stream was not scored. A head that is not validated is ignored.

        Returns
        -------
        float or None
            None where no validated stream was scored. Without a fitted ``both`` (older weights) the streams are combined as
            independent (noisy-or); that raises the prior of a fake from 1/2 to 3/4, and exceeds 0.995.
        """
        audio = audio_logit if self.audio.validated else None
        video = video_logit if self.video.validated else None
        if audio is not None and video is not None:
            if "both" in self.overall:
                return float(self.overall["both"].probability(self.combined(audio, video)))
            return float(1.0 - (1.0 - self.audio.probability(audio)) * (1.0 - self.video.probability(video)))
        if audio is not None:
            return float(self.overall["audio"].probability(audio))
        return None if video is None else float(self.overall["video"].probability(video))

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary, for ``config.json``; of ``overall`` only what is not in it already."""
        overall = {name: part.to_dict() for name, part in self.overall.items() if name not in ("audio", "video")}
        return {"audio": self.audio.to_dict(), "video": self.video.to_dict(), "sync": self.sync.to_dict(), "overall": overall}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Inverse of :meth:`to_dict`; missing parts keep their defaults."""
        parts = {name: StreamCalibration.from_dict(part) for name, part in values.items() if name != "overall"}
        overall = {name: StreamCalibration.from_dict(part) for name, part in values.get("overall", {}).items()}
        return cls(**parts, overall=overall)
