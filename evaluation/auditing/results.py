"""What an audit finds, and what counts as a leak."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..metrics.bootstrap import Interval

SUSPECT_AUC = 0.55  # above which a statistic may give the label away, however wide its interval
ERROR = 0.05  # chance of calling any probe of a clean stream a leak


def is_leak(auc: Interval, among: int = 1) -> bool:
    """Whether an AUC is above 0.5 by more than chance explains where ``among`` probes were tried (Bonferroni).

    One of forty clean probes has a 95 % interval above 0.5, so of thirty probes half of all clean sets would be accused.
    """
    from scipy.stats import norm

    error = (auc.high - auc.low) / (2.0 * norm.ppf(0.975))  # the interval is two standard errors to either side
    return bool(auc.value - 0.5 > norm.ppf(1.0 - ERROR / 2.0 / among) * error)


def is_suspect(auc: Interval) -> bool:
    """Whether an AUC is above 0.55, or its 95 % interval wholly above 0.5: worth a look, on more clips."""
    return bool(auc.value > SUSPECT_AUC or auc.low > 0.5)


@dataclass(frozen=True)
class Probe:
    """How well one statistic tells fake from genuine on identities it was not fitted to."""

    name: str
    auc: Interval
    among: int = 1  # probes that were tried beside it

    @property
    def leak(self) -> bool:
        """Whether it gives the label away."""
        return is_leak(self.auc, self.among)

    @property
    def verdict(self) -> str:
        """``leak``; ``suspect``; ``clean``; ``not there`` where the clips lack what it measures."""
        if np.isnan(self.auc.value):
            return "not there"
        return "leak" if self.leak else "suspect" if is_suspect(self.auc) else "clean"


@dataclass(frozen=True)
class Method:
    """The statistic that tells one kind of fake best; ``None`` where there are too few of the kind."""

    name: str
    fakes: int
    worst: Probe | None


@dataclass(frozen=True)
class StreamAudit:
    """The probes of one stream, the most telling first."""

    stream: str
    genuine: int
    fakes: int
    without: int  # clips that have a label for this stream, but not the stream
    identities: int
    grouped_by: str  # what a fold never divides
    folds: int
    unit_name: str  # of the bootstrap
    probes: list[Probe]
    together: Probe
    methods: list[Method]

    @property
    def leaks(self) -> list[str]:
        """Names of the probes that give the label away."""
        return [probe.name for probe in self.probes if probe.leak]


@dataclass(frozen=True)
class Audit:
    """The whole of a data set."""

    clips: int
    unreadable: dict[str, str]  # file: why
    streams: list[StreamAudit]

    @property
    def leak(self) -> bool:
        """Whether any statistic of any stream gives the label away."""
        return any(stream.leaks for stream in self.streams)
