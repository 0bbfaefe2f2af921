"""Results of an audit, and the criterion for a leak."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..metrics.bootstrap import Interval

SUSPECT_AUC = 0.55  # above which a statistic is suspect, whatever its interval
SIGNIFICANCE = 0.05  # probability of any leak in a stream without leaks


def is_leak(auc: Interval, n_probes: int = 1) -> bool:
    """Whether an AUC is significantly above 0.5 among ``n_probes`` probes (Bonferroni).

    Without the correction, one of forty clean probes has a 95 % interval above 0.5, so about half of all clean sets with thirty probes
    would have a leak.
    """
    from scipy.stats import norm

    standard_error = (auc.high - auc.low) / (2.0 * norm.ppf(0.975))  # from the width of the interval
    return bool(auc.value - 0.5 > norm.ppf(1.0 - SIGNIFICANCE / 2.0 / n_probes) * standard_error)


def is_suspect(auc: Interval) -> bool:
    """Whether an AUC is above 0.55, or its 95 % interval above 0.5, which should be checked on more clips."""
    return bool(auc.value > SUSPECT_AUC or auc.low > 0.5)


@dataclass(frozen=True)
class Probe:
    """AUC of a classifier from one statistic, on held-out identities."""

    name: str
    auc: Interval
    n_probes: int = 1  # of the stream

    @property
    def leak(self) -> bool:
        """Whether the statistic is a leak."""
        return is_leak(self.auc, self.n_probes)

    @property
    def verdict(self) -> str:
        """``leak``, ``suspect``, ``clean``, or ``absent`` if no clip has the statistic."""
        if np.isnan(self.auc.value):
            return "absent"
        return "leak" if self.leak else "suspect" if is_suspect(self.auc) else "clean"


@dataclass(frozen=True)
class MethodProbe:
    """The probe with the highest AUC for one method; ``None`` with too few fakes."""

    name: str
    fakes: int
    best: Probe | None


@dataclass(frozen=True)
class StreamAudit:
    """The probes of one stream by falling AUC."""

    stream: str
    genuine: int
    fakes: int
    n_without_stream: int  # clips with a label for this stream, but without the stream
    identities: int
    grouped_by: str  # group that no fold divides
    folds: int
    unit_name: str  # of the bootstrap
    probes: list[Probe]
    combined: Probe  # of all numbers
    methods: list[MethodProbe]

    @property
    def leaks(self) -> list[str]:
        """Names of the probes that are leaks."""
        return [probe.name for probe in self.probes if probe.leak]


@dataclass(frozen=True)
class Audit:
    """The audit of a data set."""

    clips: int
    unreadable: dict[str, str]  # error message by file
    streams: list[StreamAudit]

    @property
    def leak(self) -> bool:
        """Whether any stream has a leak."""
        return any(stream.leaks for stream in self.streams)
