"""Conditions in which clips are scored: the original, the control, and each degradation at each severity level."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pandas as pd

from .degradations.base import Degradation

ORIGINAL = "original"  # the file as it is
CONTROL = "control"  # rewritten almost losslessly, as every degraded copy is
N_LEVELS = 5  # severity levels of every degradation
REQUIRED_STREAMS = {"video": ("video",), "audio": ("audio",), "both": ("video", "audio")}  # by the stream of a degradation


@dataclass(frozen=True)
class Condition:
    """One condition in which clips are scored.

    Parameters
    ----------
    kind : str
        :data:`ORIGINAL`, :data:`CONTROL`, or the name of a degradation.
    level : int
        From 1 (mildest) to 5; 0 for the original and the control.
    severity : float or None
        In the degradation's unit.
    """

    kind: str
    level: int = 0
    severity: float | None = None

    @property
    def name(self) -> str:
        """Key of cached verdicts; it holds the severity, so that a changed severity is scored again."""
        return self.kind if self.severity is None else f"{self.kind} {self.severity:g}"


def all_conditions(degradations: Sequence[Degradation], levels: Collection[int] = range(1, N_LEVELS + 1)) -> list[Condition]:
    """Original, control, and every degradation from its mildest to its worst severity, at the given levels."""
    found = [Condition(ORIGINAL), Condition(CONTROL)]
    degraded = [Condition(d.name, level, severity) for d in degradations for level, severity in enumerate(d.severities, 1)]
    return found + [condition for condition in degraded if condition.level in levels]


def applicable(degradation: Degradation, table: pd.DataFrame) -> pd.Series:
    """Which clips of a benchmark have the streams that a degradation changes, bool [N]."""
    return table[[f"has_{stream}" for stream in REQUIRED_STREAMS[degradation.stream]]].all(axis=1).astype(bool)
