"""The results folder of `avwitness robustness`: JSON, tables as CSV, markdown and LaTeX, a plot, and an HTML page with all of them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..benchmarks.score_file import TARGETS
from ..document import format_number, markdown_table
from ..pages import Section, flatten_intervals, format_interval, html_page, latex_table
from .conditions import CONTROL, N_LEVELS
from .plot import draw_robustness

STEM = "robustness"  # of every file that is written, with the suffixes .json, .csv, .md, .tex, .png and .html
INTERVALS = ("auc", "change")
SECTION_LEVELS = (0, 1, 3, 5)  # of the short table; 0 is the control


def write_robustness(results: Mapping[str, Any], out: str | os.PathLike[str]) -> Path:
    """Write all files of the results folder.

    Parameters
    ----------
    results : mapping
        Of :func:`avwitness.evaluation.robustness.suite.run_robustness`.
    out : path-like
        Created if needed; files of the same names are replaced.

    Returns
    -------
    Path
        The HTML page.
    """
    stem = Path(out) / STEM
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".json").write_text(json.dumps(results, indent=2, allow_nan=False) + "\n")
    pd.DataFrame([flatten_intervals(row, INTERVALS) for row in results["results"]]).to_csv(stem.with_suffix(".csv"), index=False)
    whole = Section(title(results), remarks(results), *table_cells(results))
    stem.with_suffix(".md").write_text("\n".join(whole.markdown()))
    stem.with_suffix(".tex").write_text(latex_table(whole.header, whole.rows, whole.title))
    plot = stem.with_suffix(".png")
    draw_robustness(results, plot)
    stem.with_suffix(".html").write_text(html_page([whole], [plot], width=100))
    return stem.with_suffix(".html")


def title(results: Mapping[str, Any]) -> str:
    """Detector and benchmark."""
    return f"Robustness of {results['setting']['detector']} on {results['setting']['dataset']}"


def remarks(results: Mapping[str, Any]) -> list[str]:
    """Remarks on clips, intervals and failures, lines of a markdown list."""
    return [
        *setup_remarks(results),
        "- Square brackets are 95 % bootstrap intervals over the units that the last column names. The change is the AUC minus that of the "
        "control on the same clips and the same bootstrap draws.",
        "- Balanced accuracy, TPR and FPR are at a probability of 0.5.",
        *(_failure(row) for row in results["failures"]),
    ]


def setup_remarks(results: Mapping[str, Any]) -> list[str]:
    """Remarks on the sampled clips, the control, silence and the number of failures."""
    setting, clips = results["setting"], results["clips"]
    lost = [row["not_degraded"] + row["not_scored"] for row in results["failures"]]
    return [
        f"- {clips['sampled']} clips, sampled evenly over categories and labels, of {clips['valid']} without a problem "
        f"({clips['listed']} are listed). Seed {setting['seed']}, {setting['n_bootstrap']} bootstrap draws.",
        "- Every copy is written almost losslessly apart from its degradation, with audio at 16 kHz. The control is written in the same "
        "way and not degraded, so the effect of a degradation is the difference to the control, not to the original.",
        "- Silence at the ends of clips is not trimmed here, unless a degradation does it, so it may reveal labels.",
        f"- {sum(lost)} copies could not be made or scored, in {len(lost)} conditions. Metrics are computed on the scored clips; the "
        "others lower the coverage.",
        *(f"- {note}." for note in results["notes"]),
    ]


def _failure(row: Mapping[str, Any]) -> str:
    counts = f"{row['not_degraded']} could not be degraded and {row['not_scored']} could not be scored"
    return f"- {row['condition']}: of {row['clips']} clips {counts}{', such as: ' + row['example'] if row['example'] else ''}."


def table_cells(results: Mapping[str, Any]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Header and rows of the long table as text, with intervals."""
    known = {row["name"]: row for row in results["degradations"]}
    header = (
        "condition",
        "severity",
        "target",
        "fake / genuine",
        "coverage",
        "AUC",
        "change",
        "balanced accuracy",
        "TPR",
        "FPR",
        "bootstrap unit",
    )
    rows = []
    for row in results["results"]:
        about = known.get(row["condition"])
        name, severity = (row["condition"], "-") if about is None else (about["title"], format_severity(row["severity"], about["unit"]))
        counts = f"{row['fakes']} / {row['genuine']}"
        numbers = [format_number(row[figure]) for figure in ("balanced_accuracy", "tpr", "fpr")]
        first = [name, severity, row["target"], counts, format_number(row["coverage"]), format_interval(*row["auc"])]
        rows.append([*first, format_change(row["change"]), *numbers, row["units"]])
    return header, rows


def format_severity(severity: float, unit: str) -> str:
    """A severity as text."""
    return f"{severity:g} {unit}".strip()


def format_change(interval: Sequence[float | None]) -> str:
    """A difference and its interval as text, with signs."""
    value, low, high = interval
    if value is None or low is None or high is None:
        return "-" if value is None else f"{value:+.3f}"
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def section(results: Mapping[str, Any], command: str, plot: str = "") -> list[str]:
    """Lines of markdown for :func:`avwitness.evaluation.document.write_section`: AUC of every degradation in a few severities.

    Parameters
    ----------
    results : mapping
        Of :func:`avwitness.evaluation.robustness.suite.run_robustness`, or its JSON.
    command : str
        The command that writes the section.
    plot : str
        File name of the plot of :func:`.plot.draw_robustness` in the same folder, if there is one.
    """
    targets = [target for target in TARGETS if any(row["target"] == target for row in results["results"])]
    header = ("degradation", "severities", *targets)
    rows, rates = [], []
    for about in results["degradations"]:
        severities = " / ".join(f"{about['severities'][level - 1]:g}" for level in SECTION_LEVELS if level)
        first = [about["title"], f"{severities} {about['unit']}".strip()]
        rows.append([*first, *(_aucs(results, about["name"], target) for target in targets)])
        rates.append([*first, *(_rates(results, about["name"], target) for target in targets)])
    levels = " / ".join("control" if not level else str(level) for level in SECTION_LEVELS)
    return [
        f"# {title(results)}",
        "",
        f"Written by `{command}`; do not edit by hand.",
        "",
        f"AUC of each target at severity {levels} of {N_LEVELS}, with the 95 % interval at the last.",
        "",
        *setup_remarks(results),
        "",
        *markdown_table(header, rows),
        "FPR / TPR at a probability of 0.5, at the same severities.",
        "",
        *markdown_table(header, rates),
        *([f"![AUC over severity]({plot})", ""] if plot else []),
    ]


def _rates(results: Mapping[str, Any], name: str, target: str) -> str:
    """FPR and TPR of one target over the severities."""
    found = {(row["condition"], row["level"]): row for row in results["results"] if row["target"] == target}
    rows = [found.get((name, level) if level else (CONTROL, 0)) for level in SECTION_LEVELS]
    if not any(rows[1:]):
        return "-"
    return ", ".join("-" if row is None else f"{_percent(row['fpr'])} / {_percent(row['tpr'])}" for row in rows)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _aucs(results: Mapping[str, Any], name: str, target: str) -> str:
    """AUCs of one target over the severities, the last with its interval."""
    found = {(row["condition"], row["level"]): row["auc"] for row in results["results"] if row["target"] == target}
    chosen = [found.get((name, level) if level else (CONTROL, 0), [None] * 3) for level in SECTION_LEVELS]
    if all(value is None for value, _, _ in chosen[1:]):
        return "-"
    return " / ".join([*(format_number(value) for value, _, _ in chosen[:-1]), format_interval(*chosen[-1])])
