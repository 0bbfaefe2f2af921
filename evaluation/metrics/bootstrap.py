"""95 % intervals of any figure that can be computed from a choice of rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .ranking import Interval

ROUNDS = 500
LEAST_IDENTITIES = 5  # below which resampling people would say little, and their clips are resampled instead
IDENTITIES, SOURCES = "identities", "source clips"
MIXED = "identities, source clips of the unnamed"
NORMAL = 1.959964  # standard deviations that hold 95 % of a normal distribution on both sides


def units_of(identities: np.ndarray, sources: np.ndarray) -> tuple[np.ndarray, str]:
    """What is drawn as one [N], and its name: identities if all are known and there are 5 of them, else source clips."""
    known = bool(len(identities)) and all(identities)
    if known and len(np.unique(identities)) >= LEAST_IDENTITIES:
        return np.asarray(identities), IDENTITIES
    return np.asarray(sources), SOURCES


def named_units(identities: np.ndarray, sources: np.ndarray) -> tuple[np.ndarray, str]:
    """As :func:`units_of` where some clips name nobody: those are drawn by their source clip, and all others still by identity."""
    named = identities != ""
    if named.all() or len(np.unique(identities[named])) < LEAST_IDENTITIES:
        return units_of(identities, sources)
    return np.where(named, identities, np.char.add("clip ", sources.astype(str))), MIXED


def resampled(figure: Callable[[np.ndarray], float], units: np.ndarray, seed: int = 0) -> Interval:
    """A figure with its 95 % percentile interval over resampled units.

    Parameters
    ----------
    figure : callable
        Of row numbers int [M], among which a row may come more than once; NaN where it cannot be told.
    units : array [N]
        Rows of one unit stay together.
    """
    if not len(units):
        return Interval(float("nan"), float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    _, codes = np.unique(units, return_inverse=True)
    rows = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    values = [figure(np.concatenate([rows[i] for i in rng.integers(0, len(rows), len(rows))])) for _ in range(ROUNDS)]
    told = [value for value in values if not np.isnan(value)]
    low, high = np.quantile(told, (0.025, 0.975)) if told else (np.nan, np.nan)
    return Interval(float(figure(np.arange(len(units)))), float(low), float(high))


def wilson(hits: int, count: int) -> Interval:
    """A share with its 95 % score interval, which a bootstrap of few or no hits cannot give.

    Notes
    -----
    Source: E. B. Wilson, *Probable inference, the law of succession, and statistical inference*, JASA 22, 1927.
    """
    if count == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    share, squared = hits / count, NORMAL**2
    centre = (share + squared / (2 * count)) / (1 + squared / count)
    reach = NORMAL / (1 + squared / count) * np.sqrt(share * (1 - share) / count + squared / (4 * count**2))
    return Interval(share, float(max(centre - reach, 0.0)), float(min(centre + reach, 1.0)))


def percent(interval: Interval) -> str:
    """A share as ``12 % [3 %, 20 %]``."""
    if np.isnan(interval.value):
        return "-"
    return f"{100 * interval.value:.0f} % [{100 * interval.low:.0f} %, {100 * interval.high:.0f} %]"
