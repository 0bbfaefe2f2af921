"""What `avwitness evaluate` leaves in a folder: results, tables for three kinds of readers, curves, and one page with all of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..pages import Section, flat, latex, number, page, span
from . import fairness_output
from .evaluate import TRIMMED, UNSAID
from .fairness import FIGURES
from .localisation import FIGURES as STRETCHES
from .plots import curves_of, draw

RESULTS, ROWS, PAGE = "results.json", "rows.parquet", "index.html"
TABLE, LOCALISATION, FAIRNESS = "table", "localisation", "fairness"  # with the suffixes .csv and .tex; all of them are in table.md
INTERVALS = {"auc": "AUC", "ap": "AP", "eer": "EER"}
PLAIN = {
    "tpr_at_1": "TPR at 1 % FPR",
    "tpr_at_5": "TPR at 5 % FPR",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "ece": "ECE",
}
JOINT = {"op": "OP", "or": "OR", "of1": "OF1", "cp": "CP", "cr": "CR", "cf1": "CF1"}


def write_results(results: Mapping[str, Any], tested: pd.DataFrame, folder: Path) -> Path:
    """Write everything; the page is what to open first.

    Parameters
    ----------
    results, tested : mapping, pandas.DataFrame
        Of :func:`avwitness.evaluation.benchmarks.evaluate.evaluate`.
    folder : Path
        Made where it is absent; files there of these names are replaced.

    Returns
    -------
    Path
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULTS).write_text(json.dumps(results, indent=2, allow_nan=False) + "\n")
    tested.to_parquet(folder / ROWS, index=False)
    sections = sections_of(results)
    told = {name: results["setting"][name] for name in ("dataset", "detector", "protocol", "silence", "missing", "seed")}
    for name, section in sections.items():
        (folder / f"{name}.tex").unlink(missing_ok=True)  # of an earlier run
        if section.rows:
            (folder / f"{name}.tex").write_text(latex(section.header, section.rows, caption(section.title, told)))
    for name, rows in long_tables(results).items():
        (folder / f"{name}.csv").unlink(missing_ok=True)
        if rows:
            pd.DataFrame([told | row for row in rows]).to_csv(folder / f"{name}.csv", index=False)
    lines = [line for place, section in enumerate(sections.values()) for line in section.markdown(2 if place else 1)]
    (folder / f"{TABLE}.md").write_text("\n".join(lines))
    (folder / PAGE).write_text(page(list(sections.values()), draw(curves_of(tested), folder)))
    return folder / PAGE


def sections_of(results: Mapping[str, Any]) -> dict[str, Section]:
    """The tables that a reader wants, by the name of their files."""
    found = {TABLE: Section(title(results), preamble(results), *cells(results["results"]))}
    found["multi_label"] = Section("Both streams together", [_joint_line()], *_joint(results["multi_label"]))
    if results["localisation"]:
        found[LOCALISATION] = Section("When clips are fake", [_stretches_line()], *_stretches(results["localisation"]))
    fair = results["fairness"]
    found[FAIRNESS] = Section("Fairness", fairness_output.sentences(fair), *fairness_output.cells(fair))
    return found


def long_tables(results: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The same figures as one row each, for programs."""
    groups = [
        {name: result[name] for name in ("fold", "stream", "attribute", "threshold", "units")} | flat(group, FIGURES)
        for result in results["fairness"]
        for group in result["groups"]
    ]
    return {
        TABLE: [flat(row, INTERVALS) for row in results["results"]],
        LOCALISATION: [flat(row, STRETCHES) for row in results["localisation"]],
        FAIRNESS: groups,
    }


def title(results: Mapping[str, Any]) -> str:
    """Who was evaluated on what."""
    return f"{results['setting']['detector']} on {results['setting']['dataset']}"


def preamble(results: Mapping[str, Any]) -> list[str]:
    """Sentences that a figure must not be read without: protocol, people, streams, silence, coverage, problems."""
    setting, rows = results["setting"], results["rows"]
    apart = _apart(rows["in_both"], rows["unnamed"], rows["tested"])
    usual = "the default" if setting["default_protocol"] else "not the default"
    lines = [
        f"- Protocol {setting['protocol']} ({usual}): {apart}. Seed {setting['seed']}, {setting['rounds']} bootstrap rounds.",
        f"- {silence(setting['silence'])}",
        f"- Streams taken away: {setting['missing']}.",
        f"- {rows['listed']} rows, {rows['sound']} of them without a problem, {rows['tested']} of these tested on; {rows['failed']} of "
        f"those failed or have no score (coverage {number(rows['coverage'])}). Figures are of what was scored; no failure counts as right.",
    ]
    lines += [f"- {count} rows: {problem}." for problem, count in rows["problems"].items()]
    return lines + [f"- {note}." for note in rows["notes"]]


def caption(heading: str, told: Mapping[str, Any]) -> str:
    """What a table in a paper must not stand without."""
    whose = f"{told['detector']} on {told['dataset']}"
    how = f"protocol {told['protocol']}, silence at the edges {told['silence']}, streams taken away: {told['missing']}, seed {told['seed']}"
    return f"{whose if heading == whose else f'{heading}, {whose}'}: {how}"


def _apart(in_both: int | None, unnamed: int, tested: int) -> str:
    """Whether a detector that was trained on the rest may have seen the people that it is tested on."""
    if in_both is None:
        return "nothing of the benchmark is trained on"
    if unnamed == tested:
        return "no row names anybody, so people may be in both train and test"
    some = f"; {unnamed} of {tested} tested rows name nobody" if unnamed else ""
    return (f"{in_both} identities are in both train and test" if in_both else "no identity is in both train and test") + some


def silence(said: str) -> str:
    """What was done with silence at the edges of clips, as a sentence."""
    if said == UNSAID:
        return "Silence at the edges of clips: the scores do not say whether it was trimmed, so labels may have been read off it."
    if said == TRIMMED:
        return "Silence at the edges of clips: trimmed before scoring (the default)."
    return "Silence at the edges of clips: kept (not the default), so labels may have been read off it."


def cells(results: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Header and rows of a table as text, figures with their intervals."""
    header = ("fold", "stream", "of", "fake / genuine", "coverage", *INTERVALS.values(), *PLAIN.values(), "drawn")
    rows = []
    for row in results:
        of = f"{row['by']}: {row['group']}" if row["by"] else row["group"]
        spans = [span(*row[name]) for name in INTERVALS]
        counts = f"{row['fakes']} / {row['genuine']}"
        rows.append(
            [row["fold"], row["stream"], of, counts, number(row["coverage"]), *spans, *(number(row[n]) for n in PLAIN), row["units"]]
        )
    return header, rows


def _joint_line() -> str:
    return (
        "- Precision, recall and F1 of both labels at 0.5: over all labels (overall, O) and as a mean over the two streams (per class, C)."
    )


def _joint(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], list[list[str]]]:
    return ("fold", *JOINT.values()), [[row["fold"], *(number(row[name]) for name in JOINT)] for row in rows]


def _stretches_line() -> str:
    return (
        "- AP at an overlap (intersection over union) of the stretches called fake; AR of the best N proposals of each clip, mean over "
        "overlaps from 0.5 to 0.95. Clips whose true stretches are not known are left out; coverage is of those that are known."
    )


def _stretches(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], list[list[str]]]:
    names = [name.replace("_at_", "@").upper() for name in STRETCHES]
    header = ("fold", "stream", "clips", "stretches", "coverage", *names, "drawn")
    body = []
    for row in rows:
        counts = [str(row["clips"]), str(row["stretches"]), number(row["coverage"])]
        body.append([row["fold"], row["stream"], *counts, *(span(*row[name]) for name in STRETCHES), row["units"]])
    return header, body
