"""All commands by name, in the order of ``--help``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from .. import __version__
from . import audit, generate, robustness, score, train
from . import evaluate as benchmarks
from . import forge as forging
from . import report as measure
from . import transcribe as speech

COMMANDS: dict[str, Callable[..., None]] = {
    "score": score.score,
    "schema": score.schema,
    "demo": generate.demo,
    "bench": measure.bench,
    "prepare": train.prepare,
    "catalogue": forging.catalogue,
    "forge": forging.forge,
    "generate": generate.generate,
    "methods": forging.list_methods,
    "sheets": forging.sheets,
    "transcribe": speech.transcribe,
    "convert": speech.convert,
    "report": measure.report,
    "experiment": measure.experiment,
    "evaluate": benchmarks.evaluate,
    "divide": benchmarks.divide,
    "compare": benchmarks.compare,
    "datasets": benchmarks.list_datasets,
    "degrade": robustness.degrade,
    "robustness": robustness.robustness,
    "audit": audit.audit,
}
TRAIN_COMMANDS: dict[str, Callable[..., None]] = {
    "detector": train.train_detector,
    "avsr": train.train_avsr,
    "generator": train.train_generator,
    "mean-face": train.train_mean_face,
}

app = typer.Typer(help="Is the audio fake, is the video fake, and do they belong together?", no_args_is_help=True, add_completion=False)
train_app = typer.Typer(help="Train the models that ship.", no_args_is_help=True)
app.add_typer(train_app, name="train")
for group, commands in ((app, COMMANDS), (train_app, TRAIN_COMMANDS)):
    for name, command in commands.items():
        group.command(name)(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"avwitness {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")] = False,
) -> None:
    """Is the audio fake, is the video fake, and do they belong together?"""


def main() -> None:
    """Entry point."""
    app()
