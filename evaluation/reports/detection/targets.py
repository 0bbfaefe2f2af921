"""Targets that were set for the detector, and whether they are met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...document import markdown_table
from ...metrics.bootstrap import Interval

UNKNOWN = Interval()
TARGETS: tuple[tuple[str, str, float, bool], ...] = (  # key of the metric, name, target, whether less is better
    ("audio against same clips", "AUC, generated speech against the genuine speech of the same clips", 0.99, False),
    ("audio against all", "AUC, generated speech against all genuine speech", 0.99, False),
    ("worst audio FPR", "FPR on the worst group of genuine speech", 0.05, True),
    ("wav2lip same speaker", "AUC, Wav2Lip within speakers", 0.99, False),
    ("wav2lip mixed", "AUC, Wav2Lip over all speakers", 0.92, False),
    ("portraits matched", "AUC, generated portraits against genuine video of similar quality", 0.85, False),
    ("mismatch wild", "AUC, foreign against own audio (mcgurk)", 0.95, False),
    ("mismatch dev", "AUC, audio of another time or clip (forged dev)", 0.95, False),
    ("audio TPR", "TPR of audio at 5 % FPR, balanced over genuine groups", 0.90, False),
    ("video TPR", "TPR of video at 5 % FPR, balanced over genuine groups", 0.60, False),
)


@dataclass(frozen=True)
class Target:
    """A metric and its target.

    Parameters
    ----------
    name : str
    measured : Interval
    target : float
    at_most : bool
        Whether less is better.
    """

    name: str
    measured: Interval
    target: float
    at_most: bool = False

    @property
    def margin(self) -> float:
        """By how much the target is met; negative if it is missed."""
        return (self.target - self.measured.value) * (1.0 if self.at_most else -1.0)

    @property
    def outcome(self) -> str:
        """``met`` or ``missed``, by how much, and whether the target lies within the interval."""
        if np.isnan(self.measured.value):
            return "not measured"
        low, high = self.measured.low, self.measured.high
        inside = low <= self.target <= high and low < high
        word = "met" if self.margin >= -1e-9 else "missed"
        return f"{word} by {abs(self.margin):.3f}" + (", within the interval" if inside else "")


def chosen_targets(measured: dict[str, Interval]) -> list[Target]:
    """All targets with their measured values."""
    return [Target(name, measured.get(key, UNKNOWN), target, at_most) for key, name, target, at_most in TARGETS]


def targets_table(targets: Sequence[Target]) -> list[str]:
    """One line for each target."""
    rows = [(t.name, f"{'<=' if t.at_most else '>='} {t.target:.2f}", t.measured, t.outcome) for t in targets]
    return markdown_table(("metric", "target", "measured", "outcome"), rows)
