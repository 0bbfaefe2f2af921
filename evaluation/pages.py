"""Tables as markdown, as LaTeX, and as one static HTML page."""

from __future__ import annotations

import base64
import html
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .document import escape_html, format_number, markdown_table

STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:75em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0}tr{border-bottom:1px solid #ddd}"
    "td,th{padding:.2em .6em;text-align:right}td:first-child,th:first-child{text-align:left}"
)
TEX_ESCAPES = {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}  # characters that need a command
NAME_COLUMNS = 3  # leading columns of a table that hold names; LaTeX aligns them to the left


@dataclass(frozen=True)
class Section:
    """A table with a title and remarks.

    Parameters
    ----------
    title : str
    lines : sequence of str
        Remarks, each a line of a markdown list.
    header : sequence of str
    rows : sequence of sequence of str
        May be empty.
    """

    title: str
    lines: Sequence[str]
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()

    def markdown(self, level: int = 1) -> list[str]:
        """Lines of markdown under a heading of that level."""
        lines = ["#" * level + f" {self.title}", "", *self.lines, "", *(markdown_table(self.header, self.rows) if self.rows else ())]
        return [escape_html(" ".join(line.splitlines())) for line in lines]


def format_interval(value: float | None, low: float | None, high: float | None) -> str:
    """A metric and its interval as text; the metric alone where it has no interval."""
    if value is None or low is None:
        return format_number(value)
    return f"{format_number(value)} [{format_number(low)}, {format_number(high)}]"


def flatten_intervals(row: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """A row with three columns for each named interval: ``auc``, ``auc_low``, ``auc_high``."""
    found = {name: value for name, value in row.items() if name not in names}
    for name in names:
        found |= dict(zip((name, f"{name}_low", f"{name}_high"), row[name], strict=True))
    return found


def latex_table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """A LaTeX table with the rules of the package booktabs."""
    lines = [" & ".join(map(_escape, row)) + r" \\" for row in rows]
    columns = "l" * NAME_COLUMNS + "r" * (len(header) - NAME_COLUMNS)
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{_escape(caption)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(map(_escape, header)) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def html_page(sections: Sequence[Section], images: Sequence[Path], width: int = 32) -> str:
    """One static page that embeds its images; they are part of the first section, each at most ``width`` percent of it wide."""
    embedded = "".join(
        f'<img style="max-width:{width}%" alt="{p.stem}" src="data:image/png;base64,{base64.b64encode(p.read_bytes()).decode()}">'
        for p in images
    )
    heading = html.escape(sections[0].title)
    parts = [_part(section, "h2" if index else "h1", "" if index else embedded) for index, section in enumerate(sections)]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{heading}</title><style>{STYLE}</style>'
    return head + "".join(parts) + "</html>\n"


def _part(section: Section, tag: str, images: str) -> str:
    items = "".join(f"<li>{html.escape(line.removeprefix('- '))}</li>" for line in section.lines)
    columns = "".join(f"<th>{html.escape(name)}</th>" for name in section.header)
    body = ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in section.rows]
    table = f"<table><tr>{columns}</tr>{''.join(body)}</table>" if body else ""
    return f"<{tag}>{html.escape(section.title)}</{tag}><ul>{items}</ul>{images}{table}"


def _escape(text: str) -> str:
    """Text with TeX's special characters escaped."""
    return "".join(TEX_ESCAPES.get(sign, f"\\{sign}" if sign in "&%$#_{}" else sign) for sign in text)
