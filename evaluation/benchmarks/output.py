"""The results folder of `avwitness evaluate`: JSON, tables as CSV, markdown and LaTeX, curves, and an HTML page with all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ...detector.inference.writers import escape_formula
from ..document import format_number
from ..pages import Section, flatten_intervals, format_interval, html_page, latex_table
from . import fairness_output
from .evaluate import SILENCE_TRIMMED, SILENCE_UNKNOWN
from .fairness_counts import METRICS as FAIRNESS_METRICS
from .localisation import METRICS as LOCALISATION_METRICS
from .plots import draw_curves, target_scores

RESULTS_FILE, ROWS_FILE, PAGE_FILE = "results.json", "rows.parquet", "index.html"
TABLE, LOCALISATION, FAIRNESS = "table", "localisation", "fairness"  # with the suffixes .csv and .tex; all of them are in table.md
INTERVALS = {"auc": "AUC", "ap": "AP", "eer": "EER"}  # title by key of the metrics that have intervals
NUMBERS = {
    "tpr_at_1": "TPR at 1 % FPR",
    "tpr_at_5": "TPR at 5 % FPR",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "ece": "ECE",
}
MULTI_LABEL = {"op": "OP", "or": "OR", "of1": "OF1", "cp": "CP", "cr": "CR", "cf1": "CF1"}
DESCRIBED = ("dataset", "detector", "protocol", "silence", "missing", "seed")  # settings that every CSV and caption repeats


def write_results(results: Mapping[str, Any], tested: pd.DataFrame, folder: Path) -> Path:
    """Write all files of the results folder.

    Parameters
    ----------
    results, tested : mapping, pandas.DataFrame
        Of :func:`avwitness.evaluation.benchmarks.evaluate.evaluate`.
    folder : Path
        Created if needed; files of the same names are replaced.

    Returns
    -------
    Path
        The HTML page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULTS_FILE).write_text(json.dumps(results, indent=2, allow_nan=False) + "\n")
    tested.to_parquet(folder / ROWS_FILE, index=False)
    sections = result_sections(results)
    about = {name: results["setting"][name] for name in DESCRIBED}
    for name, section in sections.items():
        (folder / f"{name}.tex").unlink(missing_ok=True)  # of an earlier run
        if section.rows:
            (folder / f"{name}.tex").write_text(latex_table(section.header, section.rows, caption(section.title, about)))
    for name, rows in long_tables(results).items():
        (folder / f"{name}.csv").unlink(missing_ok=True)
        if rows:
            pd.DataFrame([about | row for row in rows]).map(escape_formula).to_csv(folder / f"{name}.csv", index=False)
    lines = [line for index, section in enumerate(sections.values()) for line in section.markdown(2 if index else 1)]
    (folder / f"{TABLE}.md").write_text("\n".join(lines))
    (folder / PAGE_FILE).write_text(html_page(list(sections.values()), draw_curves(target_scores(tested), folder)))
    return folder / PAGE_FILE


def result_sections(results: Mapping[str, Any]) -> dict[str, Section]:
    """The tables, by the name of their files."""
    found = {TABLE: Section(title(results), remarks(results), *table_cells(results["results"]))}
    found["multi_label"] = Section("Both streams together", [_multi_label_remark()], *_multi_label_cells(results["multi_label"]))
    if results["localisation"]:
        found[LOCALISATION] = Section("Temporal localisation", [_localisation_remark()], *_localisation_cells(results["localisation"]))
    fair = results["fairness"]
    found[FAIRNESS] = Section("Fairness", fairness_output.sentences(fair), *fairness_output.cells(fair))
    return found


def long_tables(results: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The same metrics as flat rows, for CSV files."""
    groups = [
        {name: result[name] for name in ("fold", "stream", "attribute", "threshold", "units")} | flatten_intervals(group, FAIRNESS_METRICS)
        for result in results["fairness"]
        for group in result["groups"]
    ]
    return {
        TABLE: [flatten_intervals(row, INTERVALS) for row in results["results"]],
        LOCALISATION: [flatten_intervals(row, LOCALISATION_METRICS) for row in results["localisation"]],
        FAIRNESS: groups,
    }


def title(results: Mapping[str, Any]) -> str:
    """Detector and benchmark."""
    return f"{results['setting']['detector']} on {results['setting']['dataset']}"


def remarks(results: Mapping[str, Any]) -> list[str]:
    """Remarks on protocol, identities, streams, silence, coverage and problems, lines of a markdown list."""
    setting, rows = results["setting"], results["rows"]
    identities = _identity_remark(rows["shared_identities"], rows["without_identity"], rows["tested"])
    usual = "the default" if setting["default_protocol"] else "not the default"
    lines = [
        f"- Protocol {setting['protocol']} ({usual}): {identities}. Seed {setting['seed']}, {setting['n_bootstrap']} bootstrap draws.",
        f"- {silence_remark(setting['silence'])}",
        f"- Removed streams: {setting['missing']}.",
        f"- {rows['listed']} rows, {rows['valid']} of them without a problem, {rows['tested']} of these tested; {rows['failed']} of "
        f"those failed or have no score (coverage {format_number(rows['coverage'])}). Metrics are computed on the rows with a score.",
    ]
    lines += [f"- {count} rows: {problem}." for problem, count in rows["problems"].items()]
    return lines + [f"- {note}." for note in rows["notes"]]


def caption(heading: str, about: Mapping[str, Any]) -> str:
    """Caption of a LaTeX table."""
    what = f"{about['detector']} on {about['dataset']}"
    how = (
        f"protocol {about['protocol']}, silence at the edges {about['silence']}, removed streams: {about['missing']}, seed {about['seed']}"
    )
    return f"{what if heading == what else f'{heading}, {what}'}: {how}"


def _identity_remark(shared: int | None, without_identity: int, tested: int) -> str:
    """Whether identities are in both train and test."""
    if shared is None:
        return "nothing of the benchmark is used for training"
    if without_identity == tested:
        return "no tested row has an identity, so identities may be in both train and test"
    some = f"; {without_identity} of {tested} tested rows have no identity" if without_identity else ""
    return (f"{shared} identities are in both train and test" if shared else "no identity is in both train and test") + some


def silence_remark(silence: str) -> str:
    """What was done with silence at the edges of clips, as a sentence."""
    if silence == SILENCE_UNKNOWN:
        return "Silence at the edges of clips: not known whether it was trimmed, so it may reveal labels."
    if silence == SILENCE_TRIMMED:
        return "Silence at the edges of clips: trimmed before scoring (the default)."
    return "Silence at the edges of clips: kept (not the default), so it may reveal labels."


def table_cells(results: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Header and rows of the main table as text, with intervals."""
    header = ("fold", "stream", "group", "fake / genuine", "coverage", *INTERVALS.values(), *NUMBERS.values(), "bootstrap unit")
    rows = []
    for row in results:
        group = f"{row['by']}: {row['group']}" if row["by"] else row["group"]
        intervals = [format_interval(*row[name]) for name in INTERVALS]
        numbers = [format_number(row[name]) for name in NUMBERS]
        counts = f"{row['fakes']} / {row['genuine']}"
        rows.append([row["fold"], row["stream"], group, counts, format_number(row["coverage"]), *intervals, *numbers, row["units"]])
    return header, rows


def _multi_label_remark() -> str:
    return (
        "- Precision, recall and F1 of both labels at 0.5: over all labels (overall, O) and as a mean over the two streams (per class, C)."
    )


def _multi_label_cells(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], list[list[str]]]:
    return ("fold", *MULTI_LABEL.values()), [[row["fold"], *(format_number(row[name]) for name in MULTI_LABEL)] for row in rows]


def _localisation_remark() -> str:
    return (
        "- AP at a minimum overlap (intersection over union) of the proposed segments; AR of the best N proposals of each clip, mean over "
        "overlaps from 0.5 to 0.95. Clips whose true segments are not known are left out; coverage is the share with proposals of the rest."
    )


def _localisation_cells(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], list[list[str]]]:
    names = [name.replace("_at_", "@").upper() for name in LOCALISATION_METRICS]
    header = ("fold", "stream", "clips", "segments", "coverage", *names, "bootstrap unit")
    body = []
    for row in rows:
        counts = [str(row["clips"]), str(row["segments"]), format_number(row["coverage"])]
        body.append([row["fold"], row["stream"], *counts, *(format_interval(*row[name]) for name in LOCALISATION_METRICS), row["units"]])
    return header, body
