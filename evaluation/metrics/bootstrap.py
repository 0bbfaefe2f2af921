"""Bootstrap units, bootstrap draws and 95 % intervals; Wilson's interval of a proportion."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

N_BOOTSTRAP = 500  # draws
MIN_UNITS = 5  # units; with fewer of them there is no interval, and fewer identities are replaced by source clips
BATCH_SIZE = 50  # draws that are computed at once
QUANTILES = (0.025, 0.975)  # of a 95 % interval
IDENTITIES, SOURCE_CLIPS = "identities", "source clips"
MIXED = "identities, source clips where unnamed"


@dataclass(frozen=True)
class Interval:
    """A metric with its 95 % interval; NaN where it is not defined."""

    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "-"
        return f"{self.value:.3f}" if np.isnan(self.low) else f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def to_list(self) -> list[float | None]:
        """``[value, low, high]`` for JSON, NaN as ``None``."""
        return [nan_to_none(x) for x in (self.value, self.low, self.high)]


def nan_to_none(value: float | None) -> float | None:
    """A number for JSON: ``None`` for NaN."""
    return None if value is None or np.isnan(value) else float(value)


def bootstrap_units(identities: np.ndarray, sources: np.ndarray) -> tuple[np.ndarray, str]:
    """Choose what a bootstrap resamples.

    Parameters
    ----------
    identities, sources : array of str [N]
        Identity (empty where unknown) and source clip of each row.

    Returns
    -------
    units : array [N]
        Identities if at least :data:`MIN_UNITS` of them are known, with the source clip for rows without an identity; else source clips.
    name : str
        :data:`IDENTITIES`, :data:`SOURCE_CLIPS` or :data:`MIXED`.
    """
    identities, sources = np.asarray(identities), np.asarray(sources)
    known = identities != ""
    if len(np.unique(identities[known])) < MIN_UNITS:
        return sources, SOURCE_CLIPS
    if known.all():
        return identities, IDENTITIES
    return np.where(known, identities, np.char.add("clip ", sources.astype(str))), MIXED


def draw_units(n_units: int, n_bootstrap: int, seed: int) -> Iterator[np.ndarray]:
    """Indices int [U] of the units of every bootstrap draw, with replacement."""
    rng = np.random.default_rng(seed)
    for _ in range(n_bootstrap):
        yield rng.integers(0, n_units, n_units)


def draw_weights(n_units: int, n_bootstrap: int, seed: int, batch_size: int = BATCH_SIZE) -> Iterator[np.ndarray]:
    """How often each unit occurs in the draws of :func:`draw_units`, float [U, B] with at most ``batch_size`` draws at a time."""
    draws = draw_units(n_units, n_bootstrap, seed)
    while batch := list(itertools.islice(draws, batch_size)):
        yield np.stack([np.bincount(units, minlength=n_units) for units in batch], axis=1).astype(float)


def percentile_interval(values: np.ndarray, n_units: int) -> tuple[float, float]:
    """Ends of the 95 % percentile interval of bootstrap values; NaN with fewer than :data:`MIN_UNITS` units. NaN values are left out."""
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    if not len(known) or n_units < MIN_UNITS:
        return float("nan"), float("nan")
    low, high = np.quantile(known, QUANTILES)
    return float(low), float(high)


def bootstrap(metric: Callable[[np.ndarray], float], units: np.ndarray, seed: int = 0, n_bootstrap: int | None = None) -> Interval:
    """A metric with its 95 % percentile interval over resampled units.

    Parameters
    ----------
    metric : callable
        Of row indices int [M], in which a row may occur more than once; returns NaN where the metric is not defined.
    units : array [N]
        Rows of one unit stay together.
    n_bootstrap : int, optional
        :data:`N_BOOTSTRAP` by default.

    Returns
    -------
    Interval
        Without an interval (NaN) if there are fewer than :data:`MIN_UNITS` units.
    """
    if not len(units):
        return Interval()
    n_draws = N_BOOTSTRAP if n_bootstrap is None else n_bootstrap
    _, codes = np.unique(units, return_inverse=True)
    rows = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    draws = draw_units(len(rows), n_draws if len(rows) >= MIN_UNITS else 0, seed)
    values = np.array([metric(np.concatenate([rows[i] for i in drawn])) for drawn in draws])
    return Interval(float(metric(np.arange(len(units)))), *percentile_interval(values, len(rows)))


def bootstrap_mean(values: np.ndarray, units: np.ndarray, seed: int = 0) -> Interval:
    """Mean of values [N], such as a share of booleans, with its 95 % interval over resampled units [N]."""
    return bootstrap(lambda rows: float(values[rows].mean()), units, seed)


def wilson(successes: int, trials: int) -> Interval:
    """A proportion with its 95 % score interval, which is also defined for 0 and for ``trials`` successes.

    Notes
    -----
    Source: E. B. Wilson, *Probable inference, the law of succession, and statistical inference*, JASA 22, 1927.
    """
    from scipy.stats import binomtest

    if trials == 0:
        return Interval()
    found = binomtest(int(successes), int(trials)).proportion_ci(method="wilson")
    return Interval(successes / trials, float(found.low), float(found.high))


def percent(interval: Interval) -> str:
    """A proportion as ``12 % [3 %, 20 %]``."""
    if np.isnan(interval.value):
        return "-"
    value = f"{100 * interval.value:.0f} %"
    return value if np.isnan(interval.low) else f"{value} [{100 * interval.low:.0f} %, {100 * interval.high:.0f} %]"
