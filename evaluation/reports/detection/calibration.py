"""Calibration on forged dev clips: calibration errors, thresholds and the inconclusive band."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from ....detector.calibration import Calibration, StreamCalibration, balanced_weights
from ....detector.reliability import expected_calibration_error
from ...document import markdown_table
from ...metrics.bootstrap import Interval, bootstrap, bootstrap_mean, bootstrap_units, percent
from ...metrics.reliability_plot import draw_reliability

PLOT = "reliability.png"  # in the folder of the report


def probabilities(
    table: pd.DataFrame, calibration: Calibration
) -> dict[str, tuple[pd.DataFrame, np.ndarray, np.ndarray, StreamCalibration]]:
    """Rows, probabilities and labels of each stream and of the whole file, and the calibration with its inconclusive band."""
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
    """The tables; the reliability diagram is written to the folder of the report."""
    parts = probabilities(table, calibration)
    errors, limits = [], []
    for name, (rows, p, labels, band) in parts.items():
        units, unit_name = bootstrap_units(rows["identity"].to_numpy(), rows["source"].to_numpy())
        errors.append(
            (
                name,
                f"{int(labels.sum())} / {int((labels == 0).sum())}",
                *_errors(p, labels, rows["corpus"].to_numpy(), units, seed),
                unit_name,
            )
        )
        inconclusive = (p >= band.genuine_below) & (p <= band.fake_above)
        thresholds = [f"{band.thresholds[key]:.3f}" if key in band.thresholds else "-" for key in ("at_1", "at_5")]
        shares = [
            percent(bootstrap_mean(mask[labels == label], units[labels == label], seed))
            for mask in (inconclusive, p > band.fake_above)
            for label in (0, 1)
        ]
        limits.append((name, *thresholds, f"{band.genuine_below:.3f} to {band.fake_above:.3f}", *shares))
    plot = Path(report).with_name(PLOT)
    draw_reliability({name: (p, labels) for name, (_, p, labels, _) in parts.items() if len(p)}, plot)
    return [
        "## Calibration",
        "",
        "Expected calibration error (ECE, ten bins of equal mass) on forged dev: unweighted, and weighted to the balanced prior of the",
        "probabilities (half fake, sources by the square root of their size). A calibrated detector would have up to the error in the last",
        "but one column by chance, and resampling adds to it, so intervals are biased upwards. There is no baseline: a constant prediction",
        "of the share of fakes has no calibration error.",
        "",
        *markdown_table(
            ("probability", "fake / genuine", "ECE, unweighted", "ECE, balanced prior", "ECE by chance", "bootstrap unit"), errors
        ),
        "At most 1 % and 5 % of the genuine clips of every calibration source exceeded the thresholds. Inside the band the verdict is",
        "inconclusive. The label of a file follows from the bands of its streams; the overall band is that of files with both.",
        "",
        *markdown_table(
            (
                "probability",
                "at 1 %",
                "at 5 %",
                "inconclusive band",
                "genuine, inconclusive",
                "fake, inconclusive",
                "FPR",
                "TPR",
            ),
            limits,
        ),
        f"![Share of fakes over predicted probability]({PLOT})",
        "",
    ]


def _errors(p: np.ndarray, labels: np.ndarray, groups: np.ndarray, units: np.ndarray, seed: int) -> tuple[Interval, Interval, str]:
    def balanced(rows: np.ndarray) -> float:
        return expected_calibration_error(p[rows], labels[rows], weights=balanced_weights(labels[rows], groups[rows]))

    unweighted = bootstrap(lambda rows: expected_calibration_error(p[rows], labels[rows]), units, seed)
    return unweighted, bootstrap(balanced, units, seed), f"{0.4 * np.sqrt(10 / len(p)):.3f}" if len(p) else "-"
