"""What every clip is put through: nothing, the control, and each degradation in each of its severities."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pandas as pd

from .degradations.base import Degradation

ORIGINAL = "original"  # the file as it is
CONTROL = "control"  # rewritten all but losslessly, as every degraded copy is
LEVELS = 5  # severities of every degradation
STREAMS = {"video": ("video",), "audio": ("audio",), "both": ("video", "audio")}  # what a clip must have to be degraded


@dataclass(frozen=True)
class Condition:
    """One state in which clips are scored.

    Parameters
    ----------
    kind : str
        :data:`ORIGINAL`, :data:`CONTROL`, or the name of a degradation.
    level : int
        1 is the mildest severity, 5 the worst; 0 for the first two.
    severity : float or None
        In the degradation's unit.
    """

    kind: str
    level: int = 0
    severity: float | None = None

    @property
    def name(self) -> str:
        """As kept verdicts are filed under; a degradation whose severities have changed is scored anew."""
        return self.kind if self.severity is None else f"{self.kind} {self.severity:g}"


def conditions_of(degradations: Sequence[Degradation], levels: Collection[int] = range(1, LEVELS + 1)) -> list[Condition]:
    """Original, control, and every degradation from its mildest severity to its worst, as far as those are asked for."""
    found = [Condition(ORIGINAL), Condition(CONTROL)]
    degraded = [Condition(d.name, level, severity) for d in degradations for level, severity in enumerate(d.severities, 1)]
    return found + [condition for condition in degraded if condition.level in levels]


def applies(degradation: Degradation, table: pd.DataFrame) -> pd.Series:
    """Which clips of a benchmark have the streams that a degradation changes, bool [N]."""
    return table[[f"has_{stream}" for stream in STREAMS[degradation.stream]]].all(axis=1).astype(bool)
