"""The documents name only what exists: links, paths of files, commands and their options, quality flags."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from avwitness.cli import app
from avwitness.detector.verdict import QUALITY_FLAGS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("samples/*.md")])
GENERATED = {"RESULTS.md"}  # written by commands, which have tests of their own
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
CODE_PATH = re.compile(r"`((?:\w+/)+[\w.-]+\.(?:py|yaml|json|csv))`")
COMMAND = re.compile(
    r"\bavwitness ([a-z][a-z-]*)((?: (?:detector|audio|video|student|sync|avsr|generator|mean-face)\b)?)([^\n`#&]*(?:\n {10,}[^\n`#&]*)*)"
)
TO_WRITE = ("clipset.py", "mu_law.py", "matthews.py")  # files that CONTRIBUTING.md tells how to write
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)


def pages() -> list[Path]:
    return [page for page in PAGES if page.name not in GENERATED]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_exist(page: Path) -> None:
    text = page.read_text()
    links = [link for link in LINK.findall(text) if not link.startswith(("http://", "https://"))]
    assert [link for link in links if not (page.parent / link).exists()] == []
    places = (ROOT, page.parent, ROOT / "avsr", ROOT / "detector", ROOT / "generators", ROOT / "evaluation", ROOT / "media")
    named = [path for path in CODE_PATH.findall(text) if "NAME" not in path and not path.endswith(TO_WRITE)]
    assert [path for path in named if not any((place / path).exists() for place in places)] == []


@pytest.mark.parametrize("page", [page for page in pages() if page.name != "CHANGELOG.md"], ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_exist(page: Path) -> None:
    group = typer.main.get_command(app)
    wrong = []
    for name, sub, rest in COMMAND.findall("\n".join(CODE.findall(page.read_text()))):
        command = group.commands.get(name)  # type: ignore[attr-defined]
        if command is not None and sub:
            command = command.commands.get(sub.strip())
        if command is None:
            wrong.append(f"avwitness {name}{sub}")
            continue
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        wrong += [f"avwitness {name} {option}" for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest) if option not in known]
    assert wrong == []


def test_the_readme_explains_every_quality_flag() -> None:
    text = (ROOT / "README.md").read_text()
    assert [flag for flag in QUALITY_FLAGS if f"`{flag}`" not in text] == []
