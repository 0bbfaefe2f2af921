"""What commands print and return: exit statuses, missing extras, renamed options, progress, signals."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2
EXIT_FAKE = 3  # of `score --fail-on-fake`
EXIT_LEAK = 3  # of `audit`
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
EXIT_TERMINATED = 143  # 128 + SIGTERM
EVALUATE = ("sklearn", "matplotlib")  # modules of the extra `evaluate`

T = TypeVar("T")


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


def note_renamed(old: str, new: str) -> None:
    """Tell the user the new name of a command or an option."""
    typer.echo(f"avwitness: {old} is now {new}", err=True)


def renamed(old: str, value: T | None, new: str, default: T) -> T:
    """The value of an option under its old name, where it was given; else that under its new name."""
    if value is None:
        return default
    note_renamed(old, new)
    return value


def progress_on(console: Console) -> Progress:
    """A progress bar with a count and the time, removed when done; none where the output is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def progress_hook(progress: Progress, description: str) -> Callable[[int, int], None]:
    """A function of what is done and of all there is, which moves a bar of its own."""
    task = progress.add_task(description)
    return lambda done, total: progress.update(task, completed=done, total=total)


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


@contextlib.contextmanager
def raising_terminated() -> Iterator[None]:
    """Make SIGTERM raise :class:`Terminated`, so that what was begun is ended in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def raise_terminated(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, raise_terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
