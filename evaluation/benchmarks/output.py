"""What `avwitness evaluate` leaves in a folder: results, tables for three kinds of readers, curves, and one page with all of it."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..document import markdown
from .evaluate import TARGETS

RESULTS, ROWS, PAGE = "results.json", "rows.parquet", "index.html"
TABLE = "table"  # with the suffixes .csv, .md and .tex
INTERVALS = {"auc": "AUC", "ap": "AP", "eer": "EER"}
PLAIN = {
    "tpr_at_1": "TPR at 1 % FPR",
    "tpr_at_5": "TPR at 5 % FPR",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "ece": "ECE",
}
STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:75em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}tr{border-bottom:1px solid #ddd}"
    "td,th{padding:.2em .6em;text-align:right}td:first-child,th:first-child{text-align:left}img{max-width:32%}"
)


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
    pd.DataFrame([_flat(row) for row in results["results"]]).to_csv(folder / f"{TABLE}.csv", index=False)
    header, rows = cells(results["results"])
    head = preamble(results)
    (folder / f"{TABLE}.md").write_text("\n".join(["# " + title(results), "", *head, "", *markdown(header, rows)]))
    (folder / f"{TABLE}.tex").write_text(latex(header, rows, title(results)))
    pictures = draw(curves_of(tested), folder)
    (folder / PAGE).write_text(page(title(results), head, header, rows, pictures))
    return folder / PAGE


def curves_of(tested: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Scores and labels of both streams and of the whole file, all folds together."""
    found = {}
    for name, column in TARGETS.items():
        rows = tested[tested[[f"{name}_label", column]].notna().all(axis=1)]
        found[name] = rows[column].to_numpy(dtype=float), rows[f"{name}_label"].to_numpy(dtype=int)
    return found


def title(results: Mapping[str, Any]) -> str:
    """Who was evaluated on what."""
    return f"{results['setting']['detector']} on {results['setting']['dataset']}"


def preamble(results: Mapping[str, Any]) -> list[str]:
    """Sentences that a figure must not be read without: protocol, people, streams, coverage, problems."""
    setting, rows = results["setting"], results["rows"]
    apart = "no identity is in both train and test" if setting["identity_disjoint"] else "people may be in both train and test"
    usual = "the default" if setting["default_protocol"] else "not the default"
    lines = [
        f"- Protocol {setting['protocol']} ({usual}): {apart}. Seed {setting['seed']}, {setting['rounds']} bootstrap rounds.",
        f"- Streams taken away: {setting['missing']}.",
        f"- {rows['listed']} rows, {rows['sound']} of them without a problem; {rows['failed']} of these failed or were not scored "
        f"(coverage {_text(rows['coverage'])}). Figures are of what was scored; failures are never counted as right.",
    ]
    lines += [f"- {count} rows: {problem}." for problem, count in rows["problems"].items()]
    return lines + [f"- {note}." for note in rows["notes"]]


def cells(results: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Header and rows of a table as text, figures with their intervals."""
    header = ("fold", "stream", "of", "fake / genuine", "coverage", *INTERVALS.values(), *PLAIN.values(), "drawn")
    rows = []
    for row in results:
        of = f"{row['by']}: {row['group']}" if row["by"] else row["group"]
        spans = [_span(*row[name]) for name in INTERVALS]
        counts = f"{row['fakes']} / {row['genuine']}"
        rows.append([row["fold"], row["stream"], of, counts, _text(row["coverage"]), *spans, *(_text(row[n]) for n in PLAIN), row["units"]])
    return header, rows


def latex(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """A table for a paper, with the rules of the package booktabs."""
    lines = [" & ".join(map(_escaped, row)) + r" \\" for row in rows]
    columns = "lll" + "r" * (len(header) - 3)
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{_escaped(caption)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(map(_escaped, header)) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def page(heading: str, head: Sequence[str], header: Sequence[str], rows: Sequence[Sequence[str]], pictures: Sequence[Path]) -> str:
    """One static page that needs no other file."""
    body = ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    images = [f'<img alt="{p.stem}" src="data:image/png;base64,{base64.b64encode(p.read_bytes()).decode()}">' for p in pictures]
    items = "".join(f"<li>{html.escape(line.removeprefix('- '))}</li>" for line in head)
    columns = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(heading)}</title><style>{STYLE}</style>'
        f"<h1>{html.escape(heading)}</h1><ul>{items}</ul>{''.join(images)}<table><tr>{columns}</tr>{''.join(body)}</table></html>\n"
    )


def draw(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], folder: Path) -> list[Path]:
    """ROC, DET and reliability of every target in which both classes are."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from scipy.stats import norm
    from sklearn.metrics import roc_curve

    from ..detection.reliability_plot import draw_reliability

    known = {name: pair for name, pair in curves.items() if len(np.unique(pair[1])) == 2}
    written = []
    for kind in ("roc", "det"):
        figure, axis = pyplot.subplots(figsize=(4.4, 4.2), layout="constrained")
        for name, (scores, labels) in known.items():
            alarms, hits, _ = roc_curve(labels, scores)
            inside = (alarms > 0) & (alarms < 1) & (hits > 0) & (hits < 1)
            x, y = (alarms, hits) if kind == "roc" else (norm.ppf(alarms[inside]), norm.ppf(1.0 - hits[inside]))
            axis.plot(x, y, label=name)
        if kind == "det":
            ticks = np.array([0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99])
            axis.set_xticks(norm.ppf(ticks), [f"{100 * t:g} %" for t in ticks])
            axis.set_yticks(norm.ppf(ticks), [f"{100 * t:g} %" for t in ticks])
        axis.set_xlabel("false-alarm rate")
        axis.set_ylabel("share of fakes found" if kind == "roc" else "share of fakes missed")
        if known:
            axis.legend()
        written.append(folder / f"{kind}.png")
        figure.savefig(written[-1], dpi=80)
        pyplot.close(figure)
    honest = {name: pair for name, pair in known.items() if pair[0].min() >= 0.0 and pair[0].max() <= 1.0}
    if honest:
        written.append(folder / "reliability.png")
        draw_reliability(honest, written[-1])
    return written


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in row.items() if name not in INTERVALS}
    for name in INTERVALS:
        found |= dict(zip((name, f"{name}_low", f"{name}_high"), row[name], strict=True))
    return found


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _span(value: float | None, low: float | None, high: float | None) -> str:
    return "-" if value is None else f"{_text(value)} [{_text(low)}, {_text(high)}]"


def _escaped(text: str) -> str:
    """Text with the signs that mean something to TeX made plain."""
    return "".join({"\\": r"\textbackslash{}"}.get(sign, f"\\{sign}" if sign in "&%$#_{}" else sign) for sign in text)
