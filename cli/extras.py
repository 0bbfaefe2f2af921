"""What a command needs beyond the core, said before it begins."""

from __future__ import annotations

import importlib.util

import typer

EVALUATE = ("sklearn", "matplotlib")  # modules of the extra `evaluate`


def need(extra: str, *modules: str) -> None:
    """Refuse to begin without the modules of an extra.

    Raises
    ------
    typer.BadParameter
        Naming what is missing and what installs it.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise typer.BadParameter(f"this needs {' and '.join(missing)}: pip install avwitness[{extra}]")
