"""Fairness as text: what is judged, what the data do not say, and a table of groups and gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..metrics.bootstrap import LEAST_IDENTITIES
from ..metrics.classification import EVEN
from ..pages import number, span
from .fairness import ATTRIBUTES, FIGURES, LEAST, LEAST_PEOPLE, RATE

TITLES = {
    "auc": "AUC",
    "false_alarms_even": f"false alarms at {EVEN:g}",
    "found_even": f"found at {EVEN:g}",
    "false_alarms_shared": f"false alarms at {100 * RATE:g} %",
    "found_shared": f"found at {100 * RATE:g} %",
}
NAMED = 6  # groups that a sentence names; more are counted


def cells(results: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Header and rows of a table as text.

    Parameters
    ----------
    results : sequence of mapping
        Of :func:`avwitness.evaluation.benchmarks.fairness.fairness`, each with the name of its ``fold`` besides.

    Returns
    -------
    header : tuple of str
    rows : list of list of str
        For each attribute that has groups: one row for each, one for the gaps, and one for the gaps by chance with their p-values.
    """
    header = ("fold", "stream", "of", "fake / genuine", "people", "coverage", *(TITLES[name] for name in FIGURES))
    rows = []
    for result in results:
        place, attribute = [result["fold"], result["stream"]], result["attribute"]
        for group in result["groups"]:
            counts = [f"{group['fakes']} / {group['genuine']}", str(group["people"]), f"{group['coverage']:.3f}"]
            rows.append([*place, f"{attribute}: {group['group']}", *counts, *(span(*group[name]) for name in FIGURES)])
        if result["gaps"]:
            gaps = [result["gaps"].get(name) for name in FIGURES]
            rows.append([*place, f"{attribute}, gap", "", "", "", *(span(*gap["gap"]) if gap else "-" for gap in gaps)])
            rows.append([*place, f"{attribute}, gap by chance", "", "", "", *(_chance(gap) if gap else "-" for gap in gaps)])
    return header, rows


def sentences(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of a list that a table of fairness must not be read without.

    Parameters
    ----------
    results : sequence of mapping
        As :func:`cells` takes them.
    """
    by_attribute: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        by_attribute.setdefault(result["attribute"], []).append(result)
    named = {attribute: sorted({name for part in parts for name in part["names"]}) for attribute, parts in by_attribute.items()}
    if not any(named.values()):
        return [f"- Fairness is not judged: no clip says anything of {_joined(ATTRIBUTES, 'or')}."]
    silent = [attribute for attribute in ATTRIBUTES if not named.get(attribute)]
    lines = [_carried(attribute, parts, named[attribute]) for attribute, parts in by_attribute.items() if named[attribute]]
    if silent:
        lines.append(f"- No clip says anything of {_joined(silent, 'or')}: nothing is judged by that.")
    return [*lines, *_reading(results)] if any(result["groups"] for result in results) else lines


def _carried(attribute: str, parts: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """What is known of one attribute, and of how many clips it is not."""
    said = _joined(names, "and") if len(names) <= NAMED else f"{len(names)} groups"
    unknown = []
    for stream in dict.fromkeys(part["stream"] for part in parts):
        own = [part for part in parts if part["stream"] == stream]
        unknown.append(f"{sum(part['unknown'] for part in own)} of {sum(part['clips'] for part in own)} ({stream})")
    alone = "" if any(part["groups"] for part in parts) else " Less than two groups were scored, so nothing is compared."
    return f"- {attribute}: {said}. Clips that do not say it, and are in no group: {', '.join(unknown)}.{alone}"


def _reading(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """How the figures are to be read."""
    thresholds: dict[str, dict[str, str]] = {}
    for result in results:
        thresholds.setdefault(result["fold"], {})[result["stream"]] = number(result["threshold"])
    shared = "; ".join(f"{fold}: " + ", ".join(f"{stream} {text}" for stream, text in found.items()) for fold, found in thresholds.items())
    drawn = _joined(sorted({result["units"] for result in results if result["groups"]}), "or")
    return [
        f"- False alarms and found are the shares of genuine and of fake clips called fake, at {EVEN:g} and above one threshold for "
        f"everybody, which at most {100 * RATE:g} % of all genuine clips of a fold exceed ({shared}).",
        f"- Intervals are of resampled {drawn}. Where clips of less than {LEAST_IDENTITIES} of these stand behind a figure, clips count as "
        "independent, and the interval says nothing of other people.",
        f"- A gap is the largest figure less the smallest, of groups with at least {LEAST} such clips of at least {LEAST_PEOPLE} people. "
        "Some gap is always there: by chance is its mean where the groups are dealt anew to people, and p the share of such deals with a "
        "gap as large. Intervals of gaps do not allow for the choice of the two extreme groups; p does. Each p is of one gap alone; of "
        "twenty without a cause, one is expected below 0.05.",
    ]


def _joined(names: Sequence[str], last: str) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"


def _chance(gap: Mapping[str, Any]) -> str:
    return f"{number(gap['chance'])} (p {gap['p']:.3f})"
