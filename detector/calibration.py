"""Logits to probabilities and labels: a mapping per stream and for the whole file, thresholds at stated false-alarm rates,
and a band in which the detector admits ignorance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from .reliability import equal_mass_bins

MIN_DOUBT = 0.005  # probability; nothing is ever called fake or genuine with more certainty than this leaves
TILT = 0.01  # probability by which an isotonic map rises over all clips, so that its steps are no ties
MAX_KNOTS = 40  # of an isotonic map
CLIPS_PER_KNOT = 10  # least clips behind one knot, on average
FOLDS = 5  # of the cross-validation that picks a mapping, and identities it takes at least
MIN_CHOICE_CLIPS = 200  # clips below which a standard error is not worth a look, and Platt's two numbers are all there is
MAPPINGS = ("auto", "platt", "isotonic")

FPR_TARGETS = {"at_1": 0.01, "at_5": 0.05}  # share of a source's genuine clips above the threshold of that name
MIN_SOURCE_CLIPS = 20  # genuine clips of a source that may set a threshold of its own
MAX_MISS_RATE = 0.05  # share of fakes, balanced over methods, below the band of ignorance
EVEN_ODDS = 0.5  # probability; below it nothing is called fake, above it nothing genuine

MIN_POWER = 0.55  # AUC on held-out speakers, lower end of its interval, below which a head has no say
N_BOOTSTRAP = 200


def sigmoid(x: np.ndarray | float) -> Any:
    """Logistic function, safe for large arguments."""
    return 1.0 / (1.0 + np.exp(-np.clip(x, -60.0, 60.0)))


@dataclass(frozen=True)
class StreamCalibration:
    """How one stream's logit becomes a probability and a label.

    Probabilities hold for a balanced prior: half of the clips fake, and sources weighed by the square root of their size.

    Parameters
    ----------
    slope, intercept : float
        ``sigmoid(slope * logit + intercept)`` (Platt, *Probabilistic outputs for support vector machines*, 1999), which is
        temperature scaling with an offset. It is shrunk into [0.005, 0.995] rather than cut off there, so that scores at
        the ends keep their order and a threshold can still lie between them.
    genuine_below, fake_above : float
        Probabilities; between them the verdict is inconclusive.
    power : float
        Lower end of the 95 % bootstrap interval (over identities) of the AUC on held-out speakers.
    knots : tuple of (float, float)
        Logits and probabilities of an isotonic map, linear between them and constant beyond them. Where there are any,
        they take the place of slope and intercept.
    thresholds : dict
        Probabilities above which lie at most 1 % (``at_1``) and 5 % (``at_5``) of the genuine clips of every source; see
        :func:`fpr_thresholds`. Empty in weights that were calibrated before there were thresholds.
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
        """Whether the head told fakes from genuine clips at all when it was calibrated; if not, it must not testify."""
        return self.power >= MIN_POWER and self.slope > 0.0

    def probability(self, logit: np.ndarray | float) -> Any:
        """Calibrated probability that the stream is fake, in [0.005, 0.995]."""
        if self.knots:
            return np.interp(np.asarray(logit, dtype=np.float64), *np.array(self.knots).T)
        return MIN_DOUBT + (1.0 - 2.0 * MIN_DOUBT) * sigmoid(self.slope * np.asarray(logit, dtype=np.float64) + self.intercept)

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
        """Fit mapping, thresholds and band on clips that were not trained on.

        The lower end of the band is the probability below which at most 5 % of the fakes lie, its upper end ``at_5``;
        neither crosses 0.5. A detector that keeps both rates at 0.5 has no band.

        Parameters
        ----------
        logits : float [N]
            Of a model that saw neither clip nor identity.
        labels : int [N]
            1 is fake.
        groups : array [N], optional
            Source of each clip. In the mapping a source weighs as the square root of its size; of the thresholds, each
            source has to agree.
        identities : array [N], optional
            Who is seen or heard: never divided between folds, and drawn as one in the bootstrap. Without them each clip
            stands for itself.
        methods : array [N], optional
            Kind of forgery of each fake; those of genuine clips are not read. The miss rate is the mean over them, so that
            a frequent kind cannot hide the misses of a rare one.
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
        # A miss is a false alarm seen from the other side: turned round, fakes are the clips that must not lie beyond.
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
    """The mapping alone. An isotonic one has a slope too, because only a slope tells a head that points the wrong way."""
    from sklearn.linear_model import LogisticRegression

    weights = balanced_weights(labels, groups)
    model = LogisticRegression(C=1.0).fit(logits[:, None], labels, sample_weight=weights)
    knots = _isotonic_knots(logits, labels, weights) if mapping == "isotonic" else ()
    return StreamCalibration(float(model.coef_[0, 0]), float(model.intercept_[0]), knots=knots)


def _isotonic_knots(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Isotonic regression over bins of equal weight, which bounds both its size and what a handful of clips can do.

    Its plateaus are tilted by the rank of the logit, over all by 0.01: on a level plateau a threshold would have no place
    to go but its end, and a detector whose best scores tie with a few genuine clips could never call anything fake.
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
    # Clips of one identity are no independent witnesses, so their deviations are summed up before they are squared.
    error = float(np.sqrt((np.bincount(identities, weights * (gain - mean)) ** 2).sum()) / weights.sum())
    return mean > error


def balanced_threshold(scores: np.ndarray, labels: np.ndarray, groups: np.ndarray, rate: float) -> float:
    """Lowest score above which at most ``rate`` of the genuine clips lie, on the mean over groups.

    Parameters
    ----------
    scores : float [N]
        Higher is more fake; logits or probabilities.
    labels : int [N]
        1 is fake; fakes are not read.
    groups : array [N]
        Source of each clip.
    rate : float
        False-alarm rate in [0, 1].

    Returns
    -------
    float
        The score of a genuine clip; what counts as an alarm is strictly above it.

    Raises
    ------
    ValueError
        If there is no genuine clip.
    """
    genuine = np.asarray(labels) == 0
    if not genuine.any():
        raise ValueError("a false-alarm rate needs genuine clips")
    values, places = np.unique(np.asarray(scores, dtype=np.float64)[genuine], return_inverse=True)
    _, codes, sizes = np.unique(np.asarray(groups)[genuine], return_inverse=True, return_counts=True)
    mass = np.bincount(places, 1.0 / (len(sizes) * sizes[codes]))
    above = np.append(np.cumsum(mass[::-1])[::-1][1:], 0.0)  # share of alarms if the threshold is this value
    return float(values[np.argmax(above <= rate + 1e-9)])


def fpr_thresholds(p: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """Thresholds ``at_1`` and ``at_5``: at most 1 % and 5 % of the genuine clips of *every* source lie above them.

    A threshold is the highest that any source of 20 genuine clips or more asks for. A rate of 1 % cannot be seen in fewer
    than 100 clips, so the sources that hold fewer ask for the pooled, balanced quantile (:func:`balanced_threshold` over all
    sources of 20 or more) in place of their own. If no source holds 20, that quantile over all sources is the threshold.

    Parameters
    ----------
    p : float [N]
        Probabilities, or any other scores, of genuine clips.
    groups : array [N]
        Source of each clip.

    Returns
    -------
    dict
        ``at_1`` is never lower than ``at_5``.
    """
    _, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    large = np.flatnonzero(sizes >= MIN_SOURCE_CLIPS)
    pool = np.isin(codes, large) if len(large) else np.ones(len(p), dtype=bool)
    found: dict[str, float] = {}
    lowest = -np.inf
    for name, rate in sorted(FPR_TARGETS.items(), key=lambda item: -item[1]):
        able = [group for group in large if sizes[group] * rate >= 1.0 - 1e-9]
        asked = [balanced_threshold(p, codes != group, codes, rate) for group in able]
        if len(able) < len(large) or not len(large):
            asked.append(balanced_threshold(p, ~pool, codes, rate))
        found[name] = lowest = max(lowest, *asked)
    return found


def _power(logits: np.ndarray, labels: np.ndarray, identities: np.ndarray) -> float:
    """Lower end of the 95 % interval of the AUC over resampled identities (codes from 0 on, int [N])."""
    rng = np.random.default_rng(0)
    people = identities.max() + 1
    ranks = np.unique(logits, return_inverse=True)[1]
    values = []
    for _ in range(N_BOOTSTRAP):
        drawn = np.bincount(rng.integers(0, people, people), minlength=people)[identities]  # times each clip was drawn
        fakes, genuine = (np.bincount(ranks, drawn * (labels == label)) for label in (1, 0))
        if fakes.sum() and genuine.sum():
            # Pairs in which the fake has the higher logit; ties count half.
            won = (fakes * (np.cumsum(genuine) - genuine / 2.0)).sum()
            values.append(won / (fakes.sum() * genuine.sum()))
    return round(float(np.quantile(values, 0.025)), 4) if values else 0.0


@dataclass(frozen=True)
class Calibration:
    """Calibration of both streams, of their comparison, and of the file as a whole.

    Parameters
    ----------
    audio, video : StreamCalibration
    sync : StreamCalibration
        Of :func:`avwitness.detector.sync.sync_statistic`; its "fake" means that the streams do not belong together.
    overall : dict
        That *any* stream is fake, by which streams there are: ``audio`` and ``video`` are always the streams' own, ``both``
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

        Either witness suffices: a file is fake if one stream is, and the odds that one of two is fake are about the sum of
        their odds while those are small. So the sum follows the more suspicious stream, and two mild suspicions add up
        (by 0.7 at most). A sum of log-odds would let a voice that is surely genuine acquit a face that is surely forged.
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
            None where the stream is absent or gave no evidence. A head that is not validated has no say here either.

        Returns
        -------
        float or None
            None where no stream has a say. Without a fitted ``both`` the streams are taken as independent (noisy-or), as
            older weights were read; that raises the prior of a fake from 1/2 to 3/4, and leaves less doubt than 0.005.
        """
        heard = audio_logit if self.audio.validated else None
        seen = video_logit if self.video.validated else None
        if heard is not None and seen is not None:
            if "both" in self.overall:
                return float(self.overall["both"].probability(self.combined(heard, seen)))
            return float(1.0 - (1.0 - self.audio.probability(heard)) * (1.0 - self.video.probability(seen)))
        if heard is not None:
            return float(self.overall["audio"].probability(heard))
        return None if seen is None else float(self.overall["video"].probability(seen))

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
