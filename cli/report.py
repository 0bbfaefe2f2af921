"""Commands that measure the bundled models: ``report``, ``experiment``, ``bench``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .console import EVALUATE, need, progress_hook, progress_on
from .options import CPU_COUNT, Workers, expand


class Subject(StrEnum):
    """What to measure."""

    detection = "detection"
    audio = "audio"
    video = "video"
    sync = "sync"
    recognition = "recognition"
    forging = "forging"
    generation = "generation"


def report(
    data: Annotated[Path, typer.Option(envvar="AVWITNESS_DATA", help="Folder with a manifest.csv.")],
    out: Annotated[Path, typer.Option(help="Markdown file whose section is replaced.")] = Path("docs/RESULTS.md"),
    model: Annotated[str, typer.Option(help="Bundled weights by name, or a folder.")] = "small",
    workers: Workers = CPU_COUNT,
    seed: Annotated[int, typer.Option(help="Seed of the forged dev set and of the bootstrap.")] = 0,
    cache: Annotated[Path | None, typer.Option(help="Folder of prepared clips; a temporary one is made otherwise.")] = None,
    of: Annotated[Subject, typer.Option(help="What to measure.")] = Subject.detection,
    whisper: Annotated[
        Path | None, typer.Option(help="With --of audio: folder of the Whisper checkpoint that `avwitness train audio` began with.")
    ] = None,
    before: Annotated[str | None, typer.Option(help="With --of audio: another detector, for a row of its own.")] = None,
    forged: Annotated[
        list[Path] | None, typer.Option(help="With --of video: forged set that the classifier was fitted to; may be repeated.")
    ] = None,
    outside: Annotated[
        list[Path] | None,
        typer.Option(help="With --of video: set forged from other corpora, for a row without the field set; may be repeated."),
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="With --of video: weights that `avwitness train student` began with, for a row of its own.")
    ] = None,
    maps: Annotated[bool, typer.Option(help="With --of video: draw occlusion maps, half an hour for `large`.")] = True,
    ablations: Annotated[
        Path | None,
        typer.Option(help="With --of generation or sync: folder for the trainings of the tables; missing ones are trained first."),
    ] = None,
    originals: Annotated[
        Path | None, typer.Option(help="With --of sync: full-length originals that `avwitness train sync` was given.")
    ] = None,
) -> None:
    """Evaluate the detector (forged dev and every wild group), the AVSR model, the forge or the talking heads; write the tables."""
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
    elif of is Subject.sync:
        from ..evaluation.reports.synchronisation import report_sync

        if cache is None or ablations is None:
            raise typer.BadParameter("--of sync keeps features and trainings: name folders with --cache and --ablations")
        with progress_on(Console(stderr=True)) as progress:
            report_sync(data, model, cache, ablations, out, originals, progress_hook(progress, "encoding and training"))
    elif of in (Subject.audio, Subject.video):
        from ..evaluation.reports.audio import report_audio
        from ..evaluation.reports.video import report_video

        if cache is None:
            raise typer.BadParameter(f"--of {of.value} keeps the statistics of clips: name a folder with --cache")
        with progress_on(Console(stderr=True)) as progress:
            hook = progress_hook(progress, "encoding and training")
            if of is Subject.video:
                report_video(data, model, cache, out, hook, forged or (), outside or (), start, maps)
            elif whisper is None:
                raise typer.BadParameter("--of audio trains anew for its tables: name the Whisper checkpoint with --whisper")
            else:
                report_audio(data, model, whisper, cache, out, before, hook)
    else:
        from ..evaluation.reports.detection.report import write_report

        write_report(data, out, model, workers, seed, cache)
    typer.echo(out)


def experiment(
    config: Annotated[Path, typer.Option(help="YAML, such as configs/experiments.yaml.")],
    forged: Annotated[list[Path], typer.Option(help="Set to train on; may be repeated.")],
    dev: Annotated[Path, typer.Option(help="Forged set to evaluate on.")],
    cache: Annotated[Path, typer.Option(help="Folder for prepared clips.")],
    runs: Annotated[Path, typer.Option(help="Folder for the runs; finished ones found there are kept.")],
    out: Annotated[Path, typer.Option(help="Markdown file whose section is replaced.")] = Path("docs/RESULTS.md"),
    only: Annotated[list[str] | None, typer.Option(help="Variant or fold; may be repeated; all otherwise.")] = None,
    workers: Workers = CPU_COUNT,
) -> None:
    """Train variants of the detector with three seeds each, and folds that exclude methods; write the tables; resumable."""
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
    model: Annotated[str, typer.Option(help="Bundled weights by name, or a folder.")] = "small",
    limit: Annotated[int, typer.Option(help="Number of files.")] = 60,
) -> None:
    """Measure the speed of decoding, landmarks, encoding and the whole, in times real time, and peak memory."""
    from ..evaluation.bench import measure_speed

    Console().print(measure_speed(expand(inputs)[:limit], model))
