"""Whether stated probabilities come true on forged dev, and what the thresholds leave undecided."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from ....detector.calibration import Calibration, StreamCalibration, balanced_weights
from ....detector.reliability import expected_calibration_error
from ...document import markdown_table
from ...metrics.bootstrap import Interval, bootstrap, bootstrap_units, percent
from ...metrics.reliability_plot import draw_reliability

PICTURE = "reliability.png"  # beside the report


def stated(table: pd.DataFrame, calibration: Calibration) -> dict[str, tuple[pd.DataFrame, np.ndarray, np.ndarray, StreamCalibration]]:
    """Rows, probabilities and labels of each stream and of the whole, and the calibration that set the band."""
    found = {}
    for name in ("audio", "video", "overall"):
        p = (
            table["overall_p"].to_numpy(dtype=float)
            if name == "overall"
            else getattr(calibration, name).probability(table[name].to_numpy(dtype=float))
        )
        kept = table[f"{name}_label"].notna().to_numpy() & ~np.isnan(p)
        band = calibration.overall.get("both", calibration.audio) if name == "overall" else getattr(calibration, name)
        found[name] = (table[kept], p[kept], table[f"{name}_label"].to_numpy(dtype=float)[kept].astype(int), band)
    return found


def calibration_section(table: pd.DataFrame, calibration: Calibration, report: str | os.PathLike[str], seed: int) -> list[str]:
    """The tables, and the reliability diagram beside the report."""
    parts = stated(table, calibration)
    errors, limits = [], []
    for name, (rows, p, labels, band) in parts.items():
        units, over = bootstrap_units(rows["identity"].to_numpy(), rows["source"].to_numpy())
        errors.append(
            (name, f"{int(labels.sum())} / {int((labels == 0).sum())}", *_errors(p, labels, rows["corpus"].to_numpy(), units, seed), over)
        )
        unsure = (p >= band.genuine_below) & (p <= band.fake_above)
        thresholds = [f"{band.thresholds[key]:.3f}" if key in band.thresholds else "-" for key in ("at_1", "at_5")]
        shares = [percent(_share(unsure[labels == label], units[labels == label], seed)) for label in (0, 1)]
        alarms = percent(_share((p > band.fake_above)[labels == 0], units[labels == 0], seed))
        found = percent(_share((p > band.fake_above)[labels == 1], units[labels == 1], seed))
        limits.append((name, *thresholds, f"{band.genuine_below:.3f} to {band.fake_above:.3f}", *shares, alarms, found))
    picture = Path(report).with_name(PICTURE)
    draw_reliability({name: (p, labels) for name, (_, p, labels, _) in parts.items() if len(p)}, picture)
    return [
        "## Calibration",
        "",
        "Expected calibration error (ten bins of equal mass) on forged dev: as the clips come, and weighed to the balanced prior that",
        "probabilities are stated for (half fake, sources by the root of their size). Chance alone gives up to the last figure, and",
        "resampling adds some, so intervals sit high. A trivial baseline says the share of fakes every time: it errs by nothing and tells",
        "nothing, so none is shown.",
        "",
        *markdown_table(
            ("probability", "fake / genuine", "error as they come", "error, balanced prior", "by chance", "bootstrap unit"), errors
        ),
        "Thresholds are probabilities above which at most 1 % and 5 % of every calibration source's genuine clips lay. Inside the band",
        "the verdict is inconclusive. A file's label follows its streams' bands; the overall band is that of files with both.",
        "",
        *markdown_table(
            (
                "probability",
                "at 1 %",
                "at 5 %",
                "inconclusive band",
                "genuine left inconclusive",
                "fakes left inconclusive",
                "genuine called fake",
                "fakes called fake",
            ),
            limits,
        ),
        f"![Share of fakes over stated probability]({PICTURE})",
        "",
    ]


def _errors(p: np.ndarray, labels: np.ndarray, groups: np.ndarray, units: np.ndarray, seed: int) -> tuple[Interval, Interval, str]:
    def balanced(rows: np.ndarray) -> float:
        return expected_calibration_error(p[rows], labels[rows], weights=balanced_weights(labels[rows], groups[rows]))

    plain = bootstrap(lambda rows: expected_calibration_error(p[rows], labels[rows]), units, seed)
    return plain, bootstrap(balanced, units, seed), f"{0.4 * np.sqrt(10 / len(p)):.3f}" if len(p) else "-"


def _share(mask: np.ndarray, units: np.ndarray, seed: int) -> Interval:
    return bootstrap(lambda rows: float(mask[rows].mean()), units, seed)
