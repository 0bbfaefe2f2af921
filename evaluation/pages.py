"""Tables as text for three kinds of readers: markdown's beside, LaTeX, and one static page."""

from __future__ import annotations

import base64
import html
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .document import markdown

STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:75em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0}tr{border-bottom:1px solid #ddd}"
    "td,th{padding:.2em .6em;text-align:right}td:first-child,th:first-child{text-align:left}"
)
TEX = {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}  # signs that no backslash makes plain
LEFT = 3  # columns of a table that hold names, and are set flush left in LaTeX


@dataclass(frozen=True)
class Section:
    """A table and what it must not be read without.

    Parameters
    ----------
    title : str
    lines : sequence of str
        Sentences, each a line of a markdown list.
    header : sequence of str
    rows : sequence of sequence of str
        May be empty, where there is nothing but sentences.
    """

    title: str
    lines: Sequence[str]
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()

    def markdown(self, level: int = 1) -> list[str]:
        """Lines of markdown under a heading of that level."""
        return ["#" * level + f" {self.title}", "", *self.lines, "", *(markdown(self.header, self.rows) if self.rows else ())]


def number(value: float | None) -> str:
    """A figure as text, ``-`` where there is none."""
    return "-" if value is None else f"{value:.3f}"


def span(value: float | None, low: float | None, high: float | None) -> str:
    """A figure and its interval as text; the figure alone where it has none."""
    if value is None or low is None:
        return number(value)
    return f"{number(value)} [{number(low)}, {number(high)}]"


def flat(row: Mapping[str, Any], intervals: Collection[str]) -> dict[str, Any]:
    """A row whose intervals are three columns each: ``auc``, ``auc_low``, ``auc_high``."""
    found = {name: value for name, value in row.items() if name not in intervals}
    for name in intervals:
        found |= dict(zip((name, f"{name}_low", f"{name}_high"), row[name], strict=True))
    return found


def latex(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """A table for a paper, with the rules of the package booktabs."""
    lines = [" & ".join(map(_escaped, row)) + r" \\" for row in rows]
    columns = "l" * LEFT + "r" * (len(header) - LEFT)
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


def page(sections: Sequence[Section], pictures: Sequence[Path], width: int = 32) -> str:
    """One static page that needs no other file; the pictures, each ``width`` percent of it wide at most, stand in the first section."""
    images = "".join(
        f'<img style="max-width:{width}%" alt="{p.stem}" src="data:image/png;base64,{base64.b64encode(p.read_bytes()).decode()}">'
        for p in pictures
    )
    heading = html.escape(sections[0].title)
    parts = [_part(section, "h2" if place else "h1", "" if place else images) for place, section in enumerate(sections)]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{heading}</title><style>{STYLE}</style>'
    return head + "".join(parts) + "</html>\n"


def _part(section: Section, tag: str, images: str) -> str:
    items = "".join(f"<li>{html.escape(line.removeprefix('- '))}</li>" for line in section.lines)
    columns = "".join(f"<th>{html.escape(name)}</th>" for name in section.header)
    body = ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in section.rows]
    table = f"<table><tr>{columns}</tr>{''.join(body)}</table>" if body else ""
    return f"<{tag}>{html.escape(section.title)}</{tag}><ul>{items}</ul>{images}{table}"


def _escaped(text: str) -> str:
    """Text with the signs that mean something to TeX made plain."""
    return "".join(TEX.get(sign, f"\\{sign}" if sign in "&%$#_{}" else sign) for sign in text)
