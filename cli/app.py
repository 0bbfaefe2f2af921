"""All commands by name, in the order of ``--help``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated

import typer

from .. import __version__
from . import audit, evaluate, forge, generate, report, robustness, score, train, transcribe
from .console import note_renamed

HELP = "Score the audio and the video of media files for deepfakes, and whether the two are in sync."

COMMANDS: dict[str, Callable[..., None]] = {
    "score": score.score,
    "schema": score.schema,
    "demo": generate.demo,
    "bench": report.bench,
    "prepare": train.prepare,
    "catalogue": forge.catalogue,
    "forge": forge.forge,
    "generate": generate.generate,
    "methods": forge.list_methods,
    "sheets": forge.sheets,
    "transcribe": transcribe.transcribe,
    "sync": transcribe.sync,
    "convert": transcribe.convert,
    "report": report.report,
    "experiment": report.experiment,
    "evaluate": evaluate.evaluate,
    "split": evaluate.split_rows,
    "compare": evaluate.compare,
    "datasets": evaluate.list_datasets,
    "degrade": robustness.degrade,
    "robustness": robustness.robustness,
    "audit": audit.audit,
}
RENAMED = {"families": "methods", "divide": "split"}  # names of version 0.1, which still work
TRAIN_COMMANDS: dict[str, Callable[..., None]] = {
    "detector": train.train_detector,
    "audio": train.train_audio,
    "video": train.train_video,
    "student": train.train_student,
    "sync": train.train_sync,
    "avsr": train.train_avsr,
    "generator": train.train_generator,
    "mean-face": train.train_mean_face,
}


def _alias(old: str, new: str) -> Callable[..., None]:
    """A command under its old name."""
    command = COMMANDS[new]

    @functools.wraps(command)
    def alias(*arguments: object, **options: object) -> None:
        note_renamed(f"avwitness {old}", f"avwitness {new}")
        command(*arguments, **options)

    return alias


app = typer.Typer(help=HELP, no_args_is_help=True, add_completion=False)
train_app = typer.Typer(help="Train the bundled models.", no_args_is_help=True)
app.add_typer(train_app, name="train")
for group, commands in ((app, COMMANDS), (train_app, TRAIN_COMMANDS)):
    for name, command in commands.items():
        group.command(name)(command)
for old, new in RENAMED.items():
    app.command(old, hidden=True)(_alias(old, new))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"avwitness {__version__}")
        raise typer.Exit


@app.callback(help=HELP)
def main_options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")] = False,
) -> None:
    """Options of all commands."""


def main() -> None:
    """Entry point."""
    app()
