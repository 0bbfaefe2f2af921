"""Commands on verdicts: ``score``, ``schema``."""

from __future__ import annotations

import json
import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .console import EXIT_FAILED, EXIT_FAKE, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, progress_on
from .options import CPU_COUNT, Device, expand


class Modality(StrEnum):
    """Streams to score."""

    auto = "auto"
    av = "av"
    audio = "audio"
    video = "video"


def score(
    inputs: Annotated[list[str], typer.Argument(metavar="FILE|DIR|GLOB...", help="What to score.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per file on standard output.")] = False,
    out: Annotated[Path | None, typer.Option(help="Also write F.jsonl, F.csv or F.parquet.")] = None,
    resume: Annotated[bool, typer.Option(help="Keep the verdicts of an interrupted run in --out F.jsonl, and score the rest.")] = False,
    model: Annotated[str, typer.Option(help="Bundled weights by name, or a folder.")] = "small",
    zero_shot: Annotated[
        bool, typer.Option("--zero-shot", help="Compare the streams only, with --model FOLDER that `avwitness convert` wrote.")
    ] = False,
    zero_shot_threshold: Annotated[
        float | None, typer.Option(min=-1.0, max=1.0, help="Similarity below which --zero-shot labels a file fake.")
    ] = None,
    modality: Annotated[Modality, typer.Option(help="Streams to score; auto takes those that are there.")] = Modality.auto,
    trim_silence: Annotated[
        bool, typer.Option("--trim-silence", help="Leave out what is before the audio begins and after it ends.")
    ] = False,
    device: Device = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Number of processes; 0 takes one per core.")] = 0,
    fail_on_fake: Annotated[bool, typer.Option("--fail-on-fake", help="Exit with status 3 if a fake is found.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Score in this process and show tracebacks.")] = False,
) -> None:
    """Score files. Exit status: 0 all scored, 1 some file failed, 2 usage, 3 a fake found under --fail-on-fake."""
    from ..detector.inference.pool import ModelUnavailable, score_in_processes
    from ..detector.inference.writers import TRAINED, ZERO_SHOT, add_row, open_writer, read_done, table, timeline
    from ..detector.verdict import Verdict

    if zero_shot_threshold is not None and not zero_shot:
        raise typer.BadParameter("--zero-shot-threshold needs --zero-shot")
    if zero_shot and modality not in (Modality.auto, Modality.av):
        raise typer.BadParameter(f"--zero-shot compares both streams, so --modality {modality.value} cannot be combined with it")
    paths = expand(inputs)
    errors = Console(stderr=True)
    try:
        done = read_done(out) if resume and out is not None else {}
        writer = open_writer(out, resume) if out is not None else None
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    todo = [path for path in paths if path not in done]
    columns, verdicts = table(ZERO_SHOT if zero_shot else TRAINED), 0
    failed = fake = False
    last: Verdict | None = None

    def take(verdict: Verdict) -> None:
        nonlocal failed, fake, last, verdicts
        failed |= verdict.status == "error"
        fake |= verdict.verdict == "fake"
        last, verdicts = verdict, verdicts + 1
        if as_json:
            sys.stdout.write(json.dumps(verdict.to_dict(), allow_nan=False) + "\n")
            sys.stdout.flush()
        else:
            add_row(columns, verdict)

    for path in paths:
        if path in done:
            take(done[path])
    try:
        with progress_on(errors) as progress:
            bar = progress.add_task("loading", total=len(todo))

            def show(path: str, seconds: float, total: float | None) -> None:
                of = f" of {total:.0f}" if total else ""
                progress.update(bar, description=f"{Path(path).name}: {seconds:.0f}{of} s")

            if debug:
                from ..detector.inference.detector import load
                from ..detector.inference.zero_shot import load_zero_shot

                logging.basicConfig(stream=sys.stderr, format="%(name)s: %(message)s")
                logging.getLogger("avwitness").setLevel(logging.DEBUG)
                detector = load_zero_shot(model, device, zero_shot_threshold) if zero_shot else load(model, device=device)
                results = detector.score_many(todo, modality=modality.value, trim_silence=trim_silence)
            else:
                processes = max(1, min(workers or CPU_COUNT, len(todo)))
                results = score_in_processes(
                    todo,
                    processes,
                    model=model,
                    device=device,
                    modality=modality.value,
                    trim_silence=trim_silence,
                    zero_shot=zero_shot,
                    threshold=zero_shot_threshold,
                    on_progress=show,
                )
            for verdict in results:
                take(verdict)
                if writer is not None:
                    writer.write(verdict)
                progress.advance(bar)
    except (ModelUnavailable, FileNotFoundError) as error:
        errors.print(f"avwitness: {error}", markup=False, highlight=False)
        raise typer.Exit(EXIT_USAGE) from None
    except KeyboardInterrupt:
        errors.print(f"avwitness: interrupted after {verdicts} of {len(paths)} files; what was scored is kept")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    finally:
        if writer is not None:
            writer.close()
        if not as_json and verdicts:
            console = Console(width=None if sys.stdout.isatty() else 160)
            console.print(columns)
            if verdicts == 1 and last is not None and last.timeline:
                console.print(timeline(last), end="")
    raise typer.Exit(EXIT_FAKE if fake and fail_on_fake else EXIT_FAILED if failed else EXIT_OK)


def schema() -> None:
    """Print the JSON schema of a verdict."""
    from ..detector.verdict import schema as verdict_schema

    typer.echo(json.dumps(verdict_schema(), indent=2))
