"""The command ``audit``: can labels be predicted from trivial statistics?"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from .console import EXIT_INTERRUPTED, EXIT_LEAK, EXIT_OK, EXIT_USAGE, need, progress_on
from .options import CPU_COUNT, Split, Workers


def audit(
    manifest: Annotated[
        Path, typer.Argument(envvar="AVWITNESS_DATA", help="CSV or parquet with path, video_label, audio_label; or its folder.")
    ],
    out: Annotated[Path | None, typer.Option(help="Markdown file whose section is replaced.")] = None,
    section: Annotated[str, typer.Option(help="Name of that section.")] = "shortcuts",
    title: Annotated[str, typer.Option(help="Its heading.")] = "Shortcuts",
    split: Split = None,
    workers: Workers = CPU_COUNT,
    seed: Annotated[int, typer.Option(help="Seed of folds, classifiers and bootstrap.")] = 0,
    cache: Annotated[Path | None, typer.Option(help="Folder for the statistics of every file, so that a run can be resumed.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take this many rows, chosen at random.")] = None,
) -> None:
    """Look for shortcuts: can the labels of a dataset be predicted from trivial statistics such as the silence at the start?

    Exit status: 0 no leak, 2 usage, 3 some statistic predicts the label.
    """
    from ..datasets.manifest import read_labels
    from ..evaluation.auditing.audit import NothingToAudit
    from ..evaluation.auditing.audit import audit as probe_all
    from ..evaluation.auditing.tables import remarks, summary, tables
    from ..evaluation.auditing.tables import section as describe
    from ..evaluation.document import write_section

    need("evaluate", "sklearn")
    errors = Console(stderr=True, soft_wrap=True)
    try:
        table = read_labels(manifest, split)
    except (FileNotFoundError, ValueError) as error:
        errors.print(f"avwitness: {error}", markup=False, highlight=False)
        raise typer.Exit(EXIT_USAGE) from None
    if limit is not None and limit < len(table):
        table = table.sample(limit, random_state=seed).sort_index()
    try:
        with progress_on(errors) as progress:
            bars: dict[str, Any] = {}

            def show(stage: str, done: int, total: int) -> None:
                if stage not in bars:
                    bars[stage] = progress.add_task(stage, total=total)
                progress.update(bars[stage], completed=done)

            result = probe_all(table, workers, seed, cache, show)
    except (FileNotFoundError, NothingToAudit) as error:
        errors.print(f"avwitness: {error}", markup=False, highlight=False)
        raise typer.Exit(EXIT_USAGE) from None
    except KeyboardInterrupt:
        errors.print("avwitness: interrupted; what was measured is kept" + (" if you name a --cache" if cache is None else f" in {cache}"))
        raise typer.Exit(EXIT_INTERRUPTED) from None
    console = Console(width=None if sys.stdout.isatty() else 120)
    for part in tables(result):
        console.print(part)
    for line in (*remarks(result), *result.unreadable.values(), summary(result)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if out is not None:
        given = {"--split": split, "--seed": seed, "--limit": limit, "--out": out, "--section": section, "--title": title}
        words = [word for name, value in given.items() if value is not None for word in (name, str(value))]
        write_section(out, section, describe(result, title, shlex.join(["avwitness", "audit", str(manifest), *words])))
    raise typer.Exit(EXIT_LEAK if result.leak else EXIT_OK)
