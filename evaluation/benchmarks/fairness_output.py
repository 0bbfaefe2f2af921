"""Fairness as text: remarks on the attributes, and a table of groups and gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..document import format_number
from ..metrics.bootstrap import MIN_UNITS
from ..metrics.classification import THRESHOLD
from ..pages import format_interval
from .fairness import ATTRIBUTES, MIN_CLIPS, MIN_PEOPLE
from .fairness_counts import METRICS, SHARED_FPR

TITLES = {
    "auc": "AUC",
    "fpr_fixed": f"FPR at {THRESHOLD:g}",
    "tpr_fixed": f"TPR at {THRESHOLD:g}",
    "fpr_shared": f"FPR at {100 * SHARED_FPR:g} %",
    "tpr_shared": f"TPR at {100 * SHARED_FPR:g} %",
}
MAX_NAMES = 6  # groups that a sentence names; more are counted


def cells(results: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Header and rows of a table as text.

    Parameters
    ----------
    results : sequence of mapping
        Of :func:`avwitness.evaluation.benchmarks.fairness.fairness`, each with the name of its ``fold``.

    Returns
    -------
    header : tuple of str
    rows : list of list of str
        For each attribute that has groups: one row for each, one for the gaps, and one for the gaps by chance with their p-values.
    """
    header = ("fold", "stream", "group", "fake / genuine", "people", "coverage", *(TITLES[name] for name in METRICS))
    rows = []
    for result in results:
        first, attribute = [result["fold"], result["stream"]], result["attribute"]
        for group in result["groups"]:
            counts = [f"{group['fakes']} / {group['genuine']}", str(group["people"]), f"{group['coverage']:.3f}"]
            rows.append([*first, f"{attribute}: {group['group']}", *counts, *(format_interval(*group[name]) for name in METRICS)])
        if result["gaps"]:
            gaps = [result["gaps"].get(name) for name in METRICS]
            rows.append([*first, f"{attribute}, gap", "", "", "", *(format_interval(*gap["gap"]) if gap else "-" for gap in gaps)])
            rows.append([*first, f"{attribute}, gap by chance", "", "", "", *(_chance(gap) if gap else "-" for gap in gaps)])
    return header, rows


def sentences(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Remarks on a table of fairness, lines of a markdown list.

    Parameters
    ----------
    results : sequence of mapping
        As :func:`cells` takes them.
    """
    by_attribute: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        by_attribute.setdefault(result["attribute"], []).append(result)
    names = {attribute: sorted({name for part in parts for name in part["group_names"]}) for attribute, parts in by_attribute.items()}
    if not any(names.values()):
        return [f"- Fairness is not evaluated: no clip has a value of {_join(ATTRIBUTES, 'or')}."]
    unknown = [attribute for attribute in ATTRIBUTES if not names.get(attribute)]
    lines = [_attribute_remark(attribute, parts, names[attribute]) for attribute, parts in by_attribute.items() if names[attribute]]
    if unknown:
        lines.append(f"- No clip has a value of {_join(unknown, 'or')}.")
    return [*lines, *_how_to_read(results)] if any(result["groups"] for result in results) else lines


def _attribute_remark(attribute: str, parts: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Groups of one attribute, and how many clips are in none."""
    groups = _join(names, "and") if len(names) <= MAX_NAMES else f"{len(names)} groups"
    unknown = []
    for stream in dict.fromkeys(part["stream"] for part in parts):
        own = [part for part in parts if part["stream"] == stream]
        unknown.append(f"{sum(part['unknown'] for part in own)} of {sum(part['clips'] for part in own)} ({stream})")
    alone = "" if any(part["groups"] for part in parts) else " Fewer than two groups were scored, so nothing is compared."
    return f"- {attribute}: {groups}. Clips without a value, which are in no group: {', '.join(unknown)}.{alone}"


def _how_to_read(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Definitions of thresholds, intervals and gaps."""
    thresholds: dict[str, dict[str, str]] = {}
    for result in results:
        thresholds.setdefault(result["fold"], {})[result["stream"]] = format_number(result["threshold"])
    shared = "; ".join(f"{fold}: " + ", ".join(f"{stream} {text}" for stream, text in found.items()) for fold, found in thresholds.items())
    units = _join(sorted({result["units"] for result in results if result["groups"]}), "or")
    return [
        f"- FPR and TPR are the shares of genuine and of fake clips classified as fake, at {THRESHOLD:g} and above one threshold for "
        f"all groups, which at most {100 * SHARED_FPR:g} % of all genuine clips of a fold exceed ({shared}).",
        f"- Intervals of AUC are those of the main table. Intervals of FPR and TPR are over resampled {units}; where a class has fewer "
        f"than {MIN_UNITS} of these, they are over clips and hold for these people only.",
        f"- A gap is the largest value minus the smallest, of groups with at least {MIN_CLIPS} such clips of at least {MIN_PEOPLE} people. "
        "The gap by chance is its mean where the groups are permuted among people, and p is the share of permutations with a gap as large. "
        "Intervals of gaps do not account for the selection of the two extreme groups; p does. Each p is of one gap alone: of twenty gaps "
        "without a cause, one is expected below 0.05.",
    ]


def _join(names: Sequence[str], last: str) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"


def _chance(gap: Mapping[str, Any]) -> str:
    return f"{format_number(gap['chance'])} (p {gap['p']:.3f})"
