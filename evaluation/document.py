"""Markdown tables, numbers as text, and a markdown file whose sections are written by different commands."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

TITLE = "# Results"


def format_number(value: float | None) -> str:
    """A number with three decimals; ``-`` for ``None`` and NaN."""
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def escape_html(text: str) -> str:
    """Markdown with names of files, data sets or methods in it, without HTML and embedded images."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("![", "!\\[")


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a markdown table."""
    body = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return ["| " + " | ".join(header) + " |", "|" + "---|" * len(header), *body, ""]


def write_section(path: str | os.PathLike[str], name: str, lines: Iterable[str]) -> None:
    """Replace the section ``name`` of a file, or append it. Two comments mark where a section begins and ends."""
    path = Path(path)
    text = path.read_text() if path.exists() else f"{TITLE}\n"
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    section = "\n".join([begin, *lines, end])
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    text = pattern.sub(lambda _: section, text) if pattern.search(text) else f"{text.rstrip()}\n\n{section}\n"
    path.write_text(text)
