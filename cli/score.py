"""Commands on verdicts: ``score``, ``schema``."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Generator, Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from .. import __version__
from ..media.files import printable
from .console import (
    EXIT_FAILED,
    EXIT_FAKE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_TERMINATED,
    EXIT_USAGE,
    Terminated,
    progress_on,
    raising_terminated,
)
from .options import CPU_COUNT, MAX_NAMED, Device, find_inputs

if TYPE_CHECKING:
    from ..detector.verdict import Verdict


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
    resume: Annotated[
        bool, typer.Option(help="Keep what an interrupted run with the same options left in --out F.jsonl, and score the rest.")
    ] = False,
    exclude: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Leave out files and folders of this name; repeatable.")] = None,
    model: Annotated[str, typer.Option(help="Bundled weights by name, or a folder.")] = "small",
    zero_shot: Annotated[
        bool, typer.Option("--zero-shot", help="Compare the streams only, with --model FOLDER that `avwitness convert` wrote.")
    ] = False,
    zero_shot_threshold: Annotated[
        float | None, typer.Option(min=-1.0, max=1.0, help="Similarity below which --zero-shot labels a file fake.")
    ] = None,
    modality: Annotated[Modality, typer.Option(help="Streams to score; auto takes those that are there.")] = Modality.auto,
    audio_track: Annotated[int | None, typer.Option(min=0, help="Index of the only audio track to score; otherwise all are.")] = None,
    video_track: Annotated[int | None, typer.Option(min=0, help="Index of the only video track to score; otherwise all are.")] = None,
    max_seconds: Annotated[float | None, typer.Option(min=1.0, help="Length above which a file is refused; a day by default.")] = None,
    trim_silence: Annotated[
        bool, typer.Option("--trim-silence", help="Leave out what is before the audio begins and after it ends.")
    ] = False,
    device: Device = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Number of processes; 0 takes one per core.")] = 0,
    timeout: Annotated[float | None, typer.Option(min=0.0, help="Seconds for each file.")] = None,
    fail_on_fake: Annotated[bool, typer.Option("--fail-on-fake", help="Exit with status 3 if a fake is found.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Score in this process and show tracebacks.")] = False,
) -> None:
    """Score files. Exit status: 0 all scored, 1 some file failed or --out is full, 2 usage, 3 a fake found under --fail-on-fake."""
    from ..detector.inference.processes.pool import ModelUnavailable, score_in_processes
    from ..detector.inference.writers import TRAINED, ZERO_SHOT
    from ..detector.scoring_options import scoring_options
    from ..media.clip import MAX_SECONDS

    if zero_shot_threshold is not None and not zero_shot:
        raise typer.BadParameter("--zero-shot-threshold needs --zero-shot")
    if zero_shot and modality not in (Modality.auto, Modality.av):
        raise typer.BadParameter(f"--zero-shot compares both streams, so --modality {modality.value} cannot be combined with it")
    if resume and out is None:
        raise typer.BadParameter("--resume needs --out F.jsonl, the file of the run that was interrupted")
    files = find_inputs(inputs, exclude or ())
    errors = Console(stderr=True)

    def say(sentence: str) -> None:
        errors.print(f"avwitness: {printable(sentence)}", markup=False, highlight=False, soft_wrap=True)

    options = scoring_options(modality.value, trim_silence, audio_track, video_track, MAX_SECONDS if max_seconds is None else max_seconds)
    detector: dict[str, Any] = {"zero_shot": zero_shot, "threshold": zero_shot_threshold}
    try:
        hashes = _model_hashes(model, zero_shot) if out is not None else {}
    except (FileNotFoundError, ValueError) as error:
        say(str(error))
        raise typer.Exit(EXIT_USAGE) from None
    settings = {"avwitness": __version__, **hashes, **options, **detector}
    output = _Output(out, resume, settings, ZERO_SHOT if zero_shot else TRAINED, as_json)
    for sentence in (output.note, *(f"left out: {sentence}" for sentence in files.left_out)):
        if sentence:
            say(sentence)
    missing = [path for path in files.paths if path not in output.done and not os.path.exists(path)]
    if missing:
        more = f" and {len(missing) - MAX_NAMED} more" if len(missing) > MAX_NAMED else ""
        say(f"{len(missing)} of {len(files.paths)} files do not exist: {', '.join(missing[:MAX_NAMED])}{more}")
    absent = frozenset(missing)
    todo = [path for path in files.paths if path not in output.done and path not in absent]
    failure: int | None = None
    try:
        with raising_terminated(), progress_on(errors) as progress:
            bar = progress.add_task("loading", total=len(todo))

            def show(path: str, seconds: float, total: float | None) -> None:
                of = f" of {total:.0f}" if total else ""
                progress.update(bar, description=escape(f"{printable(Path(path).name)}: {seconds:.0f}{of} s"))

            if debug:
                results = _score_here(todo, model, device, detector, options)
            else:
                processes = max(1, min(workers or CPU_COUNT, len(todo)))
                results = score_in_processes(
                    todo, processes, model=model, device=device, timeout=timeout, on_progress=show, **detector, **options
                )
            with contextlib.closing(results):
                for path in files.paths:
                    if path in output.done:
                        output.add(output.done[path])
                    elif path in absent:
                        output.write(_missing(path))
                    else:
                        output.write(next(results))
                        progress.advance(bar)
    except (ModelUnavailable, FileNotFoundError) as error:
        say(str(error))
        failure = EXIT_USAGE
    except KeyboardInterrupt as interrupt:
        ended = isinstance(interrupt, Terminated)
        say(f"{'terminated' if ended else 'interrupted'} after {output.count} of {len(files.paths)} files; what was scored is kept")
        failure = EXIT_TERMINATED if ended else EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read the output has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        failure = EXIT_FAILED
    except OutputError as error:
        say(f"{error}; {output.count} of {len(files.paths)} files are scored, and the rows before are kept")
        failure = EXIT_FAILED
    try:
        output.close()
    except OutputError as error:
        say(str(error))
        failure = failure or EXIT_FAILED
    if len(files.paths) + files.skipped > 1:
        say(output.summary(files.skipped))
    if failure is not None:
        raise typer.Exit(failure)
    fake, failed = output.verdicts["fake"], output.verdicts["failed"]
    raise typer.Exit(EXIT_FAKE if fake and fail_on_fake else EXIT_FAILED if failed else EXIT_OK)


class OutputError(RuntimeError):
    """The file that ``--out`` names cannot be written."""


class _Output:
    """Verdicts on standard output and in a file.

    Attributes
    ----------
    done : dict
        Verdicts that an interrupted run left in the file, by path.
    note : str
        A sentence on rows of that run that cannot be used.
    verdicts : collections.Counter
        Files by verdict, ``failed`` among them.

    Raises
    ------
    typer.BadParameter
        If the file cannot be written.
    """

    def __init__(self, out: Path | None, resume: bool, settings: dict[str, Any], numbers: Iterable[str], as_json: bool) -> None:
        from ..detector.inference import writers

        self.out, self.as_json = out, as_json
        self.done: dict[str, Verdict] = {}
        self.note = ""
        self.verdicts: Counter[str] = Counter()
        self.last: Verdict | None = None
        self.table = writers.table(numbers)
        self.writer: writers.Writer | None = None
        if out is None:
            return
        try:
            if resume and out.suffix == ".jsonl":
                self.done, self.note = writers.resume(out, settings)
            self.writer = writers.open_writer(out, resume)
            if out.suffix == ".jsonl":
                writers.save_settings(out, settings)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        except OSError as error:
            raise typer.BadParameter(f"{out}: cannot be written ({error.strerror or error})") from error

    @property
    def count(self) -> int:
        """Files so far."""
        return self.verdicts.total()

    def write(self, verdict: Verdict) -> None:
        """Add a new verdict.

        Raises
        ------
        OutputError
            If the disk is full, for example.
        """
        if self.writer is not None:
            try:
                self.writer.write(verdict)
            except OSError as error:
                raise OutputError(f"{self.out}: cannot be written ({error.strerror or error})") from error
        self.add(verdict)

    def add(self, verdict: Verdict) -> None:
        """Add a verdict that is in the file."""
        from ..detector.inference.writers import add_row

        self.verdicts["failed" if verdict.status == "error" else verdict.verdict] += 1
        self.last = verdict
        if self.as_json:
            sys.stdout.write(json.dumps(verdict.to_dict(), allow_nan=False) + "\n")
            sys.stdout.flush()
        else:
            add_row(self.table, verdict)

    def close(self) -> None:
        """Complete the file and print the table.

        Raises
        ------
        OutputError
            If the file cannot be completed.
        """
        from ..detector.inference.writers import timeline

        try:
            if self.writer is not None:
                self.writer.close()
        except OSError as error:
            raise OutputError(f"{self.out}: cannot be written ({error.strerror or error})") from error
        finally:
            if not self.as_json and self.last is not None:
                console = Console(width=None if sys.stdout.isatty() else 160)
                console.print(self.table)
                if self.count == 1 and self.last.timeline:
                    console.print(timeline(self.last), end="")

    def summary(self, left_out: int) -> str:
        """Counts of the verdicts."""
        counts = ", ".join(f"{self.verdicts[name]} {name}" for name in ("genuine", "fake", "inconclusive", "failed"))
        return f"{self.count} files: {counts}" + (f"; {left_out} left out" if left_out else "")


def _model_hashes(model: str, zero_shot: bool) -> dict[str, str]:
    """SHA-256 of the weights and of the configuration that calibrates them."""
    from ..checkpoints import CONFIG, find_weights
    from ..detector.weights_hash import weights_sha256
    from ..media.files import file_sha256

    folder = find_weights("avsr", Path(model).absolute()) if zero_shot else find_weights("detector", model)
    return {"weights": weights_sha256(folder), "config": file_sha256(folder / CONFIG)}


def _missing(path: str) -> Verdict:
    from ..detector.verdict import error_verdict

    cause = "is a link to what does not exist" if os.path.islink(path) else "no such file"
    return error_verdict(path, "MediaError", f"{path}: {cause}")


def _score_here(
    paths: list[str], model: str, device: str, detector: dict[str, Any], options: dict[str, Any]
) -> Generator[Verdict, None, None]:
    """Score in this process, with log messages on standard error."""
    from ..detector.inference.worker_process import load_detector

    logging.basicConfig(stream=sys.stderr, format="%(name)s: %(message)s")
    logging.getLogger("avwitness").setLevel(logging.DEBUG)
    yield from load_detector(model, device, **detector).score_many(paths, **options)


def schema() -> None:
    """Print the JSON schema of a verdict."""
    from ..detector.verdict import schema as verdict_schema

    typer.echo(json.dumps(verdict_schema(), indent=2))
