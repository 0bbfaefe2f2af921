"""Commands that measure what ships: ``report``, ``experiment``, ``bench``."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .extras import EVALUATE, need
from .inputs import expand


class Subject(StrEnum):
    """What to measure."""

    detection = "detection"
    recognition = "recognition"
    forging = "forging"
    generation = "generation"


def report(
    data: Annotated[Path, typer.Option(envvar="AVWITNESS_DATA", help="Folder with a manifest.csv.")],
    out: Annotated[Path, typer.Option(help="Markdown file whose section is replaced.")] = Path("docs/RESULTS.md"),
    model: Annotated[str, typer.Option()] = "small",
    workers: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
    seed: Annotated[int, typer.Option(help="Of the forged dev set and of the bootstrap.")] = 0,
    cache: Annotated[Path | None, typer.Option(help="Folder of prepared clips; a temporary one is made otherwise.")] = None,
    of: Annotated[Subject, typer.Option(help="What to measure.")] = Subject.detection,
    ablations: Annotated[
        Path | None, typer.Option(help="Of generation: folder for the ablated networks; those that are not there are trained first.")
    ] = None,
) -> None:
    """Measure a detector on forged dev and every wild group, a reader on dev speech, the forge, or the heads; write the tables."""
    need("evaluate", *EVALUATE)
    if of is Subject.recognition:
        from ..evaluation.reports.recognition import write_recognition

        write_recognition(data, out, model, workers, seed, cache)
    elif of is Subject.forging:
        from ..evaluation.reports.forging import write_forging

        write_forging(data, out, workers, seed, cache)
    elif of is Subject.generation:
        from ..evaluation.reports.generation.report import write_generation

        write_generation(data, out, workers, seed, cache, ablations)
    else:
        from ..evaluation.reports.detection.report import write_report

        write_report(data, out, model, workers, seed, cache)
    typer.echo(out)


def experiment(
    config: Annotated[Path, typer.Option(help="YAML, such as configs/experiments.yaml.")],
    forged: Annotated[list[Path], typer.Option(help="Set to train on; may be repeated.")],
    dev: Annotated[Path, typer.Option(help="Forged set to judge on.")],
    cache: Annotated[Path, typer.Option(help="Folder for what networks see of the clips.")],
    runs: Annotated[Path, typer.Option(help="Folder for the trainings; what is finished there is taken as it is.")],
    out: Annotated[Path, typer.Option(help="Markdown file whose section is replaced.")] = Path("docs/RESULTS.md"),
    only: Annotated[list[str] | None, typer.Option(help="Arm or fold; may be repeated; all otherwise.")] = None,
    workers: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
) -> None:
    """Train what the detector's claims rest on, three seeds each, leave methods out, and write the tables; resumable."""
    need("evaluate", *EVALUATE)
    from ..detector.training.experiments import ExperimentConfig
    from ..evaluation.reports.experiments import write_experiments
    from ..settings import read_settings

    try:
        write_experiments(read_settings(config, ExperimentConfig), forged, dev, cache, runs, out, workers, only)
    except (FileNotFoundError, ValueError, RuntimeError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(out)


def bench(
    inputs: Annotated[list[str], typer.Argument(metavar="FILE|DIR|GLOB...", help="What to score.")],
    model: Annotated[str, typer.Option()] = "small",
    limit: Annotated[int, typer.Option(help="Files to take.")] = 60,
) -> None:
    """Measure decoding, landmarks, encoding and the whole, in times real time, and peak memory."""
    from ..evaluation.bench import run

    Console().print(run(expand(inputs)[:limit], model))
