"""What `avwitness robustness` leaves in a folder: results, tables for three kinds of readers, a picture, and one page with all of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..benchmarks.score_file import TARGETS
from ..document import markdown
from ..pages import Section, flat, latex, number, page, span
from .conditions import CONTROL, LEVELS
from .plot import draw_robustness

STEM = "robustness"  # of every file that is written, with the suffixes .json, .csv, .md, .tex, .png and .html
INTERVALS = ("auc", "change")
SECTION_LEVELS = (0, 1, 3, 5)  # of the short table; 0 is the control


def write_robustness(results: Mapping[str, Any], out: str | os.PathLike[str]) -> Path:
    """Write everything; the page is what to open first.

    Parameters
    ----------
    results : mapping
        Of :func:`avwitness.evaluation.robustness.suite.run_robustness`.
    out : path-like
        Made where it is absent; files there of these names are replaced.

    Returns
    -------
    Path
        The page.
    """
    stem = Path(out) / STEM
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".json").write_text(json.dumps(results, indent=2, allow_nan=False) + "\n")
    pd.DataFrame([flat(row, INTERVALS) for row in results["results"]]).to_csv(stem.with_suffix(".csv"), index=False)
    whole = Section(title(results), preamble(results), *cells(results))
    stem.with_suffix(".md").write_text("\n".join(whole.markdown()))
    stem.with_suffix(".tex").write_text(latex(whole.header, whole.rows, whole.title))
    picture = stem.with_suffix(".png")
    draw_robustness(results, picture)
    stem.with_suffix(".html").write_text(page([whole], [picture], width=100))
    return stem.with_suffix(".html")


def title(results: Mapping[str, Any]) -> str:
    """Who was degraded on what."""
    return f"Robustness of {results['setting']['detector']} on {results['setting']['dataset']}"


def preamble(results: Mapping[str, Any]) -> list[str]:
    """Sentences that a figure must not be read without."""
    return [
        *circumstances(results),
        "- Square brackets are 95 % intervals over what the last column names: people, or source clips where people are few or unknown. "
        "The change is AUC minus that of the control on the same clips, both over the same draws.",
        "- Balanced accuracy, fakes found and false alarms (alarms) are at a probability of 0.5.",
        *(_failure(row) for row in results["failures"]),
    ]


def circumstances(results: Mapping[str, Any]) -> list[str]:
    """Of which clips figures are, what a copy is to be compared with, what was not done, and how often something failed."""
    setting, clips = results["setting"], results["clips"]
    lost = [row["not_degraded"] + row["not_scored"] for row in results["failures"]]
    return [
        f"- {clips['drawn']} clips, drawn as evenly as they come from all categories and labels, of {clips['sound']} without a problem "
        f"({clips['listed']} are listed). Seed {setting['seed']}, {setting['rounds']} bootstrap rounds.",
        "- Apart from what a degradation does, every copy is written all but losslessly, its sound at 16 kHz. The control is written so "
        "and not degraded: what a degradation does is the difference to the control, not to the original.",
        "- Silence at the ends of clips is not trimmed here, unless a degradation does it: labels may be read off it.",
        f"- {sum(lost)} times a clip could not be degraded or scored, in {len(lost)} conditions. Figures are of what was scored: the rest "
        "counts against coverage, and neither for nor against an AUC.",
        *(f"- {note}." for note in results["notes"]),
    ]


def _failure(row: Mapping[str, Any]) -> str:
    lost = f"{row['not_degraded']} could not be degraded and {row['not_scored']} not be scored"
    return f"- {row['condition']}: of {row['clips']} clips {lost}{', such as: ' + row['example'] if row['example'] else ''}."


def cells(results: Mapping[str, Any]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Header and rows of the long table as text, figures with their intervals."""
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
        "found",
        "alarms",
        "drawn",
    )
    rows = []
    for row in results["results"]:
        about = known.get(row["condition"])
        name, severity = (row["condition"], "-") if about is None else (about["title"], with_unit(row["severity"], about["unit"]))
        counts = f"{row['fakes']} / {row['genuine']}"
        plain = [number(row[figure]) for figure in ("balanced_accuracy", "found", "false_alarms")]
        rows.append(
            [name, severity, row["target"], counts, number(row["coverage"]), span(*row["auc"]), change(row["change"]), *plain, row["drawn"]]
        )
    return header, rows


def with_unit(severity: float, unit: str) -> str:
    """A severity as text."""
    return f"{severity:g} {unit}".strip()


def change(interval: Sequence[float | None]) -> str:
    """A difference and its interval as text, with its sign."""
    value, low, high = interval
    if value is None or low is None or high is None:
        return "-" if value is None else f"{value:+.3f}"
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def section(results: Mapping[str, Any], command: str, picture: str = "") -> list[str]:
    """Lines of markdown for :func:`avwitness.evaluation.document.write_section`: AUC of every degradation in a few severities.

    Parameters
    ----------
    results : mapping
        Of :func:`avwitness.evaluation.robustness.suite.run_robustness`, or its JSON.
    command : str
        What writes the section.
    picture : str
        Name of the plot that :func:`.plot.draw_robustness` writes beside the file, if it does.
    """
    header = ("degradation", "severities", *TARGETS)
    rows = []
    for about in results["degradations"]:
        severities = " / ".join(f"{about['severities'][level - 1]:g}" for level in SECTION_LEVELS if level)
        rows.append(
            [about["title"], f"{severities} {about['unit']}".strip(), *(_short(results, about["name"], target) for target in TARGETS)]
        )
    called = list(zip(rows, results["degradations"], strict=True))
    levels = " / ".join("control" if not level else str(level) for level in SECTION_LEVELS)
    return [
        f"# {title(results)}",
        "",
        f"Written by `{command}`; do not edit by hand.",
        "",
        f"AUC of each target at severity {levels} of {LEVELS}, with the 95 % interval at the last.",
        "",
        *circumstances(results),
        "",
        *markdown(header, rows),
        "At a probability of 0.5: share of genuine clips called fake / share of fakes found, at the same severities.",
        "",
        *markdown(header, [[row[0], row[1], *(_calls(results, about["name"], target) for target in TARGETS)] for row, about in called]),
        *([f"![AUC over severity]({picture})", ""] if picture else []),
    ]


def _calls(results: Mapping[str, Any], name: str, target: str) -> str:
    """False alarms and fakes found of one target over the severities."""
    found = {(row["condition"], row["level"]): row for row in results["results"] if row["target"] == target}
    rows = [found.get((name, level) if level else (CONTROL, 0)) for level in SECTION_LEVELS]
    if not any(rows[1:]):
        return "-"
    return ", ".join("-" if row is None else f"{_percent(row['false_alarms'])} / {_percent(row['found'])}" for row in rows)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _short(results: Mapping[str, Any], name: str, target: str) -> str:
    """AUCs of one target over the severities, the last with its interval."""
    found = {(row["condition"], row["level"]): row["auc"] for row in results["results"] if row["target"] == target}
    chosen = [found.get((name, level) if level else (CONTROL, 0), [None] * 3) for level in SECTION_LEVELS]
    if all(value is None for value, _, _ in chosen[1:]):
        return "-"
    return " / ".join([*(number(value) for value, _, _ in chosen[:-1]), span(*chosen[-1])])
