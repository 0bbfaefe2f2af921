"""What the detector was meant to reach, and whether it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...document import markdown_table
from ...metrics.bootstrap import Interval

UNKNOWN = Interval()
TARGETS: tuple[tuple[str, str, float, bool], ...] = (  # name of the figure, what it says, target, whether less is better
    ("audio against same clips", "AUC, generated speech against the genuine speech of the same clips", 0.99, False),
    ("audio against all", "AUC, generated speech against all genuine speech", 0.99, False),
    ("worst audio alarms", "false alarms on the worst group of genuine speech", 0.05, True),
    ("wav2lip same speaker", "AUC, Wav2Lip within speakers", 0.99, False),
    ("wav2lip mixed", "AUC, Wav2Lip over all speakers", 0.92, False),
    ("portraits matched", "AUC, generated portraits against genuine video of like quality", 0.85, False),
    ("mismatch wild", "AUC, foreign against own sound (mcgurk)", 0.95, False),
    ("mismatch dev", "AUC, sound of another moment or clip (forged dev)", 0.95, False),
    ("audio found", "audio fakes found at 5 % false alarms, balanced over genuine groups", 0.90, False),
    ("video found", "video fakes found at 5 % false alarms, balanced over genuine groups", 0.60, False),
)


@dataclass(frozen=True)
class Target:
    """A figure and what it should be.

    Parameters
    ----------
    name : str
    figure : Interval
    target : float
    at_most : bool
        Whether less is better.
    """

    name: str
    figure: Interval
    target: float
    at_most: bool = False

    @property
    def margin(self) -> float:
        """By how much the target is met; negative if it is missed."""
        return (self.target - self.figure.value) * (1.0 if self.at_most else -1.0)

    @property
    def outcome(self) -> str:
        """Met or missed, by how much, and whether the interval allows the opposite."""
        if np.isnan(self.figure.value):
            return "not measured"
        low, high = self.figure.low, self.figure.high
        doubtful = low <= self.target <= high and low < high
        word = "met" if self.margin >= -1e-9 else "missed"
        return f"{word} by {abs(self.margin):.3f}" + (", within the interval" if doubtful else "")


def chosen_targets(figures: dict[str, Interval]) -> list[Target]:
    """All targets, with the figures that were measured."""
    return [Target(name, figures.get(key, UNKNOWN), target, at_most) for key, name, target, at_most in TARGETS]


def targets_table(targets: Sequence[Target]) -> list[str]:
    """One line for each target."""
    rows = [(a.name, f"{'<=' if a.at_most else '>='} {a.target:.2f}", a.figure, a.outcome) for a in targets]
    return markdown_table(("target", "at least or most", "figure", "outcome"), rows)
