"""The ``avwitness`` command: parses, calls, prints."""

from __future__ import annotations

import glob
import importlib.util
import json
import logging
import os
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from . import __version__

VIDEO_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp", ".ogv"}
AUDIO_SUFFIXES = {".wav", ".mp3", ".flac", ".ogg", ".opus", ".oga", ".m4a", ".aac", ".wma"}
TELEPHONE_SUFFIXES = {".g722", ".gsm"}
EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_FAKE = 0, 1, 2, 3
EXIT_LEAK = 3  # of `audit`

app = typer.Typer(help="Is the audio fake, is the video fake, and do they belong together?", no_args_is_help=True, add_completion=False)
train_app = typer.Typer(help="Train the models that ship.", no_args_is_help=True)
app.add_typer(train_app, name="train")


class Modality(StrEnum):
    """What to judge."""

    auto = "auto"
    av = "av"
    audio = "audio"
    video = "video"


class Reading(StrEnum):
    """What to transcribe."""

    av = "av"
    audio = "audio"
    video = "video"


class Generator(StrEnum):
    """The talking and listening heads."""

    font = "font"
    opt = "opt"
    osm_net = "osm-net"
    mfr_net = "mfr-net"


class Mood(StrEnum):
    """How a listener takes what is said."""

    positive = "positive"
    neutral = "neutral"
    negative = "negative"


class Subject(StrEnum):
    """What to measure."""

    detection = "detection"
    recognition = "recognition"
    forging = "forging"
    generation = "generation"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"avwitness {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")] = False,
) -> None:
    """Is the audio fake, is the video fake, and do they belong together?"""


def expand(inputs: list[str]) -> list[str]:
    """Files for files, their media for directories (sorted, whole tree), matches for patterns; what does not exist is kept and reported.

    Raises
    ------
    typer.BadParameter
        If a directory or a pattern holds nothing to score.
    """
    paths: list[str] = []
    for item in inputs:
        if os.path.isdir(item):
            found = sorted(str(p) for p in Path(item).rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES | AUDIO_SUFFIXES and p.is_file())
        elif not os.path.exists(item) and glob.has_magic(item):
            found = sorted(p for p in glob.glob(item, recursive=True) if os.path.isfile(p))
        else:
            found = [item]
        if not found:
            raise typer.BadParameter(f"{item}: nothing there that could be scored")
        paths += found
    return list(dict.fromkeys(paths))


@app.command()
def score(
    inputs: Annotated[list[str], typer.Argument(metavar="FILE|DIR|GLOB...", help="What to score.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per file on standard output.")] = False,
    out: Annotated[Path | None, typer.Option(help="Also write F.jsonl, F.csv or F.parquet.")] = None,
    resume: Annotated[bool, typer.Option(help="Keep what an interrupted run left in --out F.jsonl, and score the rest.")] = False,
    model: Annotated[str, typer.Option(help="Bundled weights by name, or a folder.")] = "small",
    zero_shot: Annotated[
        bool, typer.Option("--zero-shot", help="Only compare the streams, by --model FOLDER that `avwitness convert` wrote.")
    ] = False,
    zero_shot_threshold: Annotated[
        float | None, typer.Option(min=-1.0, max=1.0, help="Similarity under which --zero-shot calls a file fake.")
    ] = None,
    modality: Annotated[Modality, typer.Option(help="What to judge.")] = Modality.auto,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 takes one per core.")] = 0,
    fail_on_fake: Annotated[bool, typer.Option("--fail-on-fake", help="Exit with 3 if a fake is found.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Score in this process and show tracebacks.")] = False,
) -> None:
    """Score files. Exit status: 0 all scored, 1 some file failed, 2 usage, 3 a fake found under --fail-on-fake."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from .detector.output import TRAINED, ZERO_SHOT, add_row, open_writer, read_done, table, timeline
    from .detector.pool import ModelUnavailable, score_in_processes
    from .detector.verdict import Verdict

    if zero_shot_threshold is not None and not zero_shot:
        raise typer.BadParameter("--zero-shot-threshold needs --zero-shot")
    if zero_shot and modality not in (Modality.auto, Modality.av):
        raise typer.BadParameter(f"--zero-shot compares both streams, so --modality {modality.value} leaves it nothing")
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
            sys.stdout.write(json.dumps(verdict.to_dict()) + "\n")
            sys.stdout.flush()
        else:
            add_row(columns, verdict)

    for path in paths:
        if path in done:
            take(done[path])
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )
    try:
        with progress:
            bar = progress.add_task("loading", total=len(todo))

            def show(path: str, seconds: float, total: float | None) -> None:
                of = f" of {total:.0f}" if total else ""
                progress.update(bar, description=f"{Path(path).name}: {seconds:.0f}{of} s")

            if debug:
                from .detector.pipeline import load
                from .detector.zero_shot import load_zero_shot

                logging.basicConfig(stream=sys.stderr, format="%(name)s: %(message)s")
                logging.getLogger(__package__).setLevel(logging.DEBUG)
                detector = load_zero_shot(model, device, zero_shot_threshold) if zero_shot else load(model, device=device)
                results = detector.score_many(todo, modality=modality.value)
            else:
                crew = max(1, min(workers or os.cpu_count() or 1, len(todo)))
                results = score_in_processes(
                    todo,
                    crew,
                    model=model,
                    device=device,
                    modality=modality.value,
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
        raise typer.Exit(130) from None
    finally:
        if writer is not None:
            writer.close()
        if not as_json and verdicts:
            console = Console(width=None if sys.stdout.isatty() else 160)
            console.print(columns)
            if verdicts == 1 and last is not None and last.timeline:
                console.print(timeline(last), end="")
    raise typer.Exit(EXIT_FAKE if fake and fail_on_fake else EXIT_FAILED if failed else EXIT_OK)


@app.command()
def schema() -> None:
    """Print the JSON schema of a verdict."""
    from .detector.verdict import schema as verdict_schema

    typer.echo(json.dumps(verdict_schema(), indent=2))


@app.command()
def demo(
    out: Annotated[Path, typer.Argument(help="MP4 to write, or with --corpus a folder.")],
    seed: Annotated[int, typer.Option()] = 0,
    corpus: Annotated[
        bool, typer.Option("--corpus", help="Write a small corpus of two people with a manifest, to try the forge on.")
    ] = False,
    heads: Annotated[bool, typer.Option("--heads", help="Write one sample of every talking head into a folder.")] = False,
) -> None:
    """Render a small clip of a public-domain face with an animated mouth and a synthetic voice."""
    from .generators.demo import write_corpus, write_demo

    if heads:
        from .generators.talking.samples import write_samples

        for made in write_samples(out, seed):
            typer.echo(made.path)
        return
    if corpus:
        typer.echo(write_corpus(out, seed=seed))
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    typer.echo(write_demo(out, seed=seed))


@app.command()
def bench(
    inputs: Annotated[list[str], typer.Argument(metavar="FILE|DIR|GLOB...", help="What to score.")],
    model: Annotated[str, typer.Option()] = "small",
    limit: Annotated[int, typer.Option(help="Files to take.")] = 60,
) -> None:
    """Measure decoding, landmarks, encoding and the whole, in times real time, and peak memory."""
    from .evaluation.bench import run

    Console().print(run(expand(inputs)[:limit], model))


@app.command()
def prepare(
    data: Annotated[Path, typer.Option(envvar="AVWITNESS_DATA", help="Folder with a manifest.csv.")],
    cache: Annotated[Path, typer.Option(help="Folder for the prepared clips, outside the repository.")],
    workers: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
) -> None:
    """Decode and crop every training and dev clip of a manifest, once; resumable."""
    from .datasets.manifest import read_manifest
    from .media.views import fill_views

    table = read_manifest(data)
    table = table[table.split != "wild"]
    failures = fill_views(table.file, table.path, cache, workers)
    for failure in failures:
        typer.echo(failure, err=True)


@train_app.command("detector")
def train_detector(
    config: Annotated[Path, typer.Option(help="YAML, such as configs/detector_small.yaml.")],
    forged: Annotated[list[Path], typer.Option(help="Set that `avwitness forge` wrote, or another manifest with labels; may be repeated.")],
    cache: Annotated[Path, typer.Option(help="Folder for what networks see of the clips, made on first use.")],
    run: Annotated[Path, typer.Option(help="Folder for checkpoints and curves; a run found there goes on.")],
    out: Annotated[Path, typer.Option(help="Folder for the finished weights.")],
    split: Annotated[str | None, typer.Option(help="Take the rows of this split alone.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that crop clips.")] = os.cpu_count() or 1,
) -> None:
    """Train, calibrate and export a detector; alone, or in several processes under `torchrun --no-python`."""
    from .detector.export import export
    from .detector.train import TrainConfig, load_sets, train
    from .settings import read_settings

    try:
        settings = read_settings(config, TrainConfig)
        taught, held = load_sets(forged, cache, settings, workers, split)
        model = train(settings, taught, run)
        if int(os.environ.get("RANK", "0")) == 0:
            typer.echo(export(model, settings, taught, held, out, name=config.name))
    except (FileNotFoundError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error


@train_app.command("avsr")
def train_avsr(
    config: Annotated[Path, typer.Option(help="YAML, such as configs/avsr_small.yaml.")],
    data: Annotated[Path, typer.Option(envvar="AVWITNESS_DATA", help="Folder with a manifest.csv that has transcripts.")],
    cache: Annotated[Path, typer.Option(help="Folder that `avwitness prepare` filled.")],
    run: Annotated[Path, typer.Option(help="Folder for checkpoints and curves; a run found there goes on.")],
    out: Annotated[Path, typer.Option(help="Folder for the finished weights.")],
) -> None:
    """Pretrain a speech reader; alone, or in several processes under `torchrun --no-python`."""
    from .avsr.export import export
    from .avsr.pretrain import load_config, pretrain
    from .datasets.manifest import read_manifest

    try:
        settings, table = load_config(config), read_manifest(data)
        table = table[table.split == "train"]
        reader = pretrain(settings, table, cache, run)
    except (FileNotFoundError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    if int(os.environ.get("RANK", "0")) == 0:
        export(reader, settings, table, run, out, name=config.name)


@train_app.command("generator")
def train_generator(
    name: Annotated[str, typer.Argument(help="vocoder, lower_face, face_autoencoder, renderer, identity, font, opt, osm-net or mfr-net.")],
    data: Annotated[Path, typer.Option(envvar="AVWITNESS_DATA", help="Folder with a manifest.csv.")],
    cache: Annotated[Path, typer.Option(help="Folder for followed faces; the forge shares it.")],
    run: Annotated[Path, typer.Option(help="Folder for the checkpoint and the curves; a run found there goes on.")],
    out: Annotated[Path, typer.Option(help="Folder for the finished weights.")],
    config: Annotated[Path | None, typer.Option(help="YAML with settings that differ from the defaults.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Of wall clock, over all parts of the run; outranks the settings.")] = None,
    split: Annotated[str, typer.Option(help="Rows to train on.")] = "train",
    workers: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
) -> None:
    """Train a network that a generator needs; bounded by wall clock, resumable; leaves strips of samples in the run.

    The four heads stand on `renderer`, mfr-net on `identity` too. With a ViCo folder as --data, mfr-net learns from its
    recorded pairs, else from simulated ones.
    """
    from .datasets.vico import is_vico, read_vico, vico_clips
    from .generators.forge import genuine_rows
    from .generators.recipes import RECIPES, train_network
    from .settings import read_settings

    if name not in RECIPES:
        raise typer.BadParameter(f"{name}: no such generator; there are {', '.join(RECIPES)}")
    kind, given = RECIPES[name].settings, {} if minutes is None else {"minutes": minutes}
    try:
        settings = read_settings(config, kind, **given)
        dyads = read_vico(data) if name == Generator.mfr_net.value and is_vico(data) else None
        if dyads is not None:
            for problem in dyads.problem[dyads.problem != ""]:
                typer.echo(f"avwitness: left out: {problem}", err=True)
            dyads = dyads[(dyads.problem == "") & (dyads.split == split)]
        table = genuine_rows(data, split) if dyads is None else vico_clips(dyads)
        typer.echo(train_network(name, settings, table, cache, run, out, workers, dyads))
    except (FileNotFoundError, ValueError, TypeError) as error:
        raise typer.BadParameter(str(error)) from None


@train_app.command("mean-face")
def train_mean_face(
    data: Annotated[Path, typer.Option(envvar="AVWITNESS_DATA", help="Folder with a manifest.csv.")],
    out: Annotated[Path, typer.Option(help="NPY file to write.")],
) -> None:
    """Derive the mean face to which mouths are aligned, from three training clips of every speaker."""
    import numpy as np

    from .datasets.manifest import read_manifest
    from .media.average import derive_mean_face

    table = read_manifest(data)
    np.save(out, derive_mean_face(table[table.split == "train"]))


@app.command()
def catalogue(
    folder: Annotated[Path, typer.Argument(help="Folder of genuine footage; each of its subfolders is one person.")],
    out: Annotated[Path | None, typer.Option(help="CSV to write; FOLDER/manifest.csv otherwise. Its paths are relative to FOLDER.")] = None,
    corpus: Annotated[str | None, typer.Option(help="Name of the corpus; that of the folder otherwise.")] = None,
    split: Annotated[str, typer.Option()] = "train",
    least: Annotated[float, typer.Option(min=0.0, help="Seconds; shorter files are left out.")] = 1.0,
    per_identity: Annotated[int | None, typer.Option(min=1, help="Files of each person, evenly spaced through their names.")] = None,
) -> None:
    """List genuine footage as a manifest that the forge can read.

    Exit status: 0 all listed, 1 some file could not be read, 2 usage.
    """
    from .datasets.folder import list_genuine

    if not folder.is_dir():
        raise typer.BadParameter(f"{folder}: no such folder")
    name = corpus or folder.resolve().name
    table, failures = list_genuine(folder, VIDEO_SUFFIXES | AUDIO_SUFFIXES | TELEPHONE_SUFFIXES, name, split, least, per_identity)
    if table.empty:
        raise typer.BadParameter(f"{folder}: no subfolder of it holds media of {least:g} s or more")
    target = out or folder / "manifest.csv"
    table.to_csv(target, index=False)
    for failure in failures:
        typer.echo(f"avwitness: {failure}", err=True)
    typer.echo(f"{target}\t{len(table)} clips of {table.speaker.nunique()} people")
    raise typer.Exit(EXIT_FAILED if failures else EXIT_OK)


@app.command()
def forge(
    manifest: Annotated[
        Path, typer.Option(help="CSV or parquet of genuine clips (path, video_label, audio_label, identity, ...); or its folder.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write; a set found there half done is completed.")],
    families: Annotated[
        str,
        typer.Option(help="Names with commas, all, or coarse (faces as soft as generators paint them); `avwitness families` lists them."),
    ] = "all",
    per_clip: Annotated[int, typer.Option(min=1, help="Forged clips of every source.")] = 1,
    genuine_per_clip: Annotated[int, typer.Option(min=0, help="Genuine clips of every source, through the same door.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed writes the same files.")] = 0,
    split: Annotated[str | None, typer.Option(help="Take the rows of this split alone.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Clips in all.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder for followed faces, shared by several sets; OUT/tracks otherwise.")] = None,
    workers: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
) -> None:
    """Forge labelled fakes of many kinds from genuine clips, and send genuine ones through the same door.

    Exit status: 0 all written, 1 some clip could not be forged, 2 usage. Run it again to go on after an interruption.
    """
    from .generators.families import chosen
    from .generators.forge import ForgeConfig, counts, estimate, plan_forge
    from .generators.forge import forge as write_set

    tracks = cache or out / "tracks"
    try:
        config = ForgeConfig(chosen(families), per_clip, genuine_per_clip, seed, split, limit)
        jobs, unread = plan_forge(manifest, tracks, config, workers)
        seconds, size = estimate(jobs)
        typer.echo(f"{len(jobs)} clips, {seconds / 60.0:.1f} minutes, about {size / 1e6:.0f} MB in {out}", err=True)
        done = write_set(jobs, out, tracks, config, workers)
    except (ValueError, OSError, RuntimeError) as error:
        raise typer.BadParameter(str(error)) from None
    for failure in (*unread, *done.failures):
        typer.echo(f"avwitness: {failure}", err=True)
    typer.echo(f"{done.manifest}\t{done.clips} clips")
    for name, count in sorted(counts(done.table).items()):
        typer.echo(f"{name}\t{count}")
    raise typer.Exit(EXIT_FAILED if unread or done.failures else EXIT_OK)


@app.command()
def generate(
    name: Annotated[Generator, typer.Argument(help="Which head.")],
    source: Annotated[str, typer.Option(help="Picture or clip that shows a face; or `sample`, a portrait in the public domain.")],
    out: Annotated[Path, typer.Option(help="MP4 to write; its sidecar gets the ending .json.")],
    audio: Annotated[
        Path | None, typer.Option(help="What is said, 30 s at most; for mfr-net, what is listened to if not the speaker.")
    ] = None,
    pose: Annotated[Path | None, typer.Option(help="opt: clip whose head motion is followed.")] = None,
    speaker: Annotated[Path | None, typer.Option(help="mfr-net: clip of the one who is listened to.")] = None,
    attitude: Annotated[Mood, typer.Option(help="mfr-net: how the listener takes it.")] = Mood.neutral,
    seed: Annotated[list[int] | None, typer.Option(help="Another seed, another motion; several write several files.")] = None,
    consent: Annotated[str | None, typer.Option(help="Who agreed to the use of the source, and how you know; kept in the sidecar.")] = None,
) -> None:
    """Make a talking or listening head: visibly badged, signed with a C2PA manifest, and with a sidecar JSON.

    Exit status: 0 written, 1 a file could not be used, 2 usage.
    """
    from .generators.talking.base import Attitude
    from .generators.talking.export import Order, check
    from .generators.talking.export import generate as make
    from .media.clip import MediaError

    files = [None if path is None else str(path) for path in (audio, pose, speaker)]
    order = Order(name.value, source, files[0], str(out), tuple(seed or [0]), files[1], files[2], Attitude(attitude.value), consent)
    console = Console(stderr=True)
    try:
        check(order)
        with console.status(f"{name.value}: moving a head"):
            for made in make(order):
                typer.echo(f"{made.path}\t{made.sidecar}")
    except MediaError as error:
        console.print(f"avwitness: {error}", markup=False, highlight=False)
        raise typer.Exit(EXIT_FAILED) from None
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from None


@app.command("families")
def list_families() -> None:
    """List what the forge can make: name, streams that become fake, and why a family cannot be used here, if so."""
    from .generators.families import FAMILIES

    for name, family in FAMILIES.items():
        cause = family.missing()
        typer.echo(f"{name}\t{'+'.join(sorted(family.streams)) or 'mismatch'}" + (f"\tnot here: {cause}" if cause else ""))


@app.command()
def sheets(
    manifest: Annotated[Path, typer.Argument(help="Manifest that `avwitness forge` wrote, or its folder.")],
    out: Annotated[Path, typer.Argument(help="Folder for one picture per family.")],
    columns: Annotated[int, typer.Option(min=1, help="Clips on a sheet.")] = 6,
    overview: Annotated[Path | None, typer.Option(help="Picture to write with one clip of every family.")] = None,
) -> None:
    """Draw contact sheets of a forged set: genuine above, forged below."""
    from .evaluation.sheets import contact_sheets, draw_overview

    try:
        if overview is not None:
            typer.echo(draw_overview(manifest, overview))

        for sheet in contact_sheets(manifest, out, columns):
            typer.echo(sheet)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from None


@app.command()
def transcribe(
    inputs: Annotated[list[str], typer.Argument(metavar="FILE|DIR|GLOB...", help="What to transcribe.")],
    modality: Annotated[Reading, typer.Option(help="av reads whatever streams a file has.")] = Reading.av,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per file on standard output.")] = False,
    model: Annotated[str, typer.Option(help="Bundled reader by name, or a folder that `avwitness convert` wrote.")] = "small",
    beams: Annotated[int, typer.Option(min=1, help="Width of the beam search; 1 decodes greedily.")] = 24,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
) -> None:
    """Write what is said, and when each word is said. Exit status: 0 all transcribed, 1 some file failed, 2 usage.

    The bundled reader was trained on two things: the 51 words of the GRID corpus as one English speaker says them, and
    short word groups of Arabic broadcast news. It will write GRID words or news words for anything else.
    """
    from .avsr.recognizer import Recognizer

    paths = expand(inputs)
    try:
        recognizer = Recognizer.load(model, beams, device)
    except (FileNotFoundError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    failed = False
    console = Console(stderr=True)
    with console.status("transcribing") as status:
        for path, transcript in zip(paths, recognizer.transcribe_many(paths, modality.value), strict=True):
            status.update(f"transcribing: {Path(path).name} done")
            failed |= transcript.error is not None
            if as_json:
                sys.stdout.write(json.dumps(transcript.to_dict(), ensure_ascii=False) + "\n")
                sys.stdout.flush()
            elif transcript.error is not None:
                console.print(f"avwitness: {transcript.error}", markup=False, highlight=False)
            else:
                typer.echo(f"{transcript.path}\t{transcript.text}")
    raise typer.Exit(EXIT_FAILED if failed else EXIT_OK)


@app.command()
def convert(
    checkpoint: Annotated[Path, typer.Argument(help="fairseq AV-HuBERT checkpoint, self-supervised or fine-tuned.")],
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
) -> None:
    """Turn a published AV-HuBERT checkpoint into a folder that `from_pretrained` loads; fairseq is not needed."""
    from .avsr.checkpoint import convert as turn

    try:
        model = turn(checkpoint, out)
    except (FileNotFoundError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(f"{out}: {type(model).__name__}, {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters")
    typer.echo(model.config.notice, err=True)


@app.command()
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
    if of is Subject.recognition:
        from .evaluation.recognition import write_recognition

        write_recognition(data, out, model, workers, seed, cache)
    elif of is Subject.forging:
        from .evaluation.forging import write_forging

        write_forging(data, out, workers, seed, cache)
    elif of is Subject.generation:
        from .evaluation.generation import write_generation

        write_generation(data, out, workers, seed, cache, ablations)
    else:
        from .evaluation.detection.report import write_report

        write_report(data, out, model, workers, seed, cache)
    typer.echo(out)


@app.command()
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
    """Train what the detector's claims rest on, three seeds each, leave families out, and write the tables; resumable."""
    from .detector.experiments import ExperimentConfig
    from .evaluation.experiments import write_experiments
    from .settings import read_settings

    try:
        write_experiments(read_settings(config, ExperimentConfig), forged, dev, cache, runs, out, workers, only)
    except (FileNotFoundError, ValueError, RuntimeError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(out)


@app.command()
def evaluate(
    root: Annotated[Path, typer.Option(help="Folder of the benchmark as it was published; of csv, the manifest or its folder.")],
    out: Annotated[Path, typer.Option(help="Folder for results.json, tables, curves and index.html; a run found there goes on.")],
    dataset: Annotated[str, typer.Option(help="Name of the benchmark, or auto; `avwitness datasets` lists them.")] = "auto",
    protocol: Annotated[str, typer.Option(help="How it is divided; `avwitness datasets` lists them, too.")] = "identity-disjoint",
    missing: Annotated[
        str, typer.Option(help="Streams to take away: none, video, audio, or random (either in 30 % of the clips).")
    ] = "none",
    model: Annotated[str | None, typer.Option(help="Bundled weights by name, or a folder; small without --scores.")] = None,
    scores: Annotated[Path | None, typer.Option(help="Score file of any detector instead: path, p_video, p_audio, p_fake, status.")] = None,
    split: Annotated[str | None, typer.Option(help="Take the rows of this split alone.")] = None,
    name: Annotated[str | None, typer.Option(help="What the tables call the detector.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Of the bootstrap.")] = 500,
    seed: Annotated[int, typer.Option(help="Of the protocol, of missing streams and of the bootstrap.")] = 0,
    workers: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
) -> None:
    """Evaluate a detector, or a file of its scores, on a benchmark.

    Exit status: 0 done, 1 some row has a problem or no score, 2 usage.
    """
    from .datasets.readers import read_benchmark, recognise
    from .evaluation.benchmarks.evaluate import Setting
    from .evaluation.benchmarks.protocols import PROTOCOLS
    from .evaluation.benchmarks.run import run_evaluation

    if protocol not in PROTOCOLS:
        raise typer.BadParameter(f"protocol {protocol!r} is none of {', '.join(PROTOCOLS)}")
    if scores is None:
        model = model or "small"
    try:
        dataset = recognise(root) if dataset == "auto" else dataset
        table = read_benchmark(dataset, root, split)
        setting = Setting(dataset, name or model or str(scores), PROTOCOLS[protocol], missing, seed, rounds)
        page = run_evaluation(table, setting, out, model=model, scores=scores, workers=workers, device=device)
    except (FileNotFoundError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    rows = json.loads((out / "results.json").read_text())["rows"]
    for problem, count in rows["problems"].items():
        typer.echo(f"avwitness: {count} rows: {problem}", err=True)
    for note in rows["notes"]:
        typer.echo(f"avwitness: {note}", err=True)
    typer.echo(f"{page}\t{rows['sound']} of {rows['listed']} rows, coverage {rows['coverage']:.3f}")
    raise typer.Exit(EXIT_FAILED if rows["problems"] or rows["failed"] else EXIT_OK)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="results.json of `avwitness evaluate`, or its folder.")],
    second: Annotated[Path, typer.Argument(help="The same, of another detector on the same benchmark and protocol.")],
    rounds: Annotated[int, typer.Option(min=1, help="Of the bootstrap.")] = 500,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Compare two detectors on the rows that both scored: AUC, its difference with a 95 % interval, and DeLong's p-value."""
    from .evaluation.benchmarks.compare import compare as compared

    try:
        found = compared(first, second, rounds, seed)
    except (FileNotFoundError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo("fold\tstream\tfake / genuine\tfirst\tsecond\tdifference\tp\tdrawn")
    for row in found:
        counts = f"{row.fakes} / {row.genuine}"
        figures = f"{row.first:.3f}\t{row.second:.3f}\t{row.gap}\t{row.p:.3g}"
        typer.echo(f"{row.fold}\t{row.stream}\t{counts}\t{figures}\t{row.drawn}")


@app.command("datasets")
def list_datasets() -> None:
    """List the benchmarks that can be read, and the protocols of `avwitness evaluate`."""
    from .datasets.readers import READERS
    from .evaluation.benchmarks.protocols import DEFAULT, PROTOCOLS

    for reader in READERS.values():
        typer.echo(f"{reader.name}\t{reader.title}\t{reader.layout}")
    typer.echo("")
    for protocol in PROTOCOLS.values():
        typer.echo(f"{protocol.name}\t{protocol.text}{' (the default)' if protocol.name == DEFAULT else ''}")


@app.command()
def audit(
    manifest: Annotated[
        Path, typer.Argument(envvar="AVWITNESS_DATA", help="CSV or parquet with path, video_label, audio_label; or its folder.")
    ],
    out: Annotated[Path | None, typer.Option(help="Markdown file whose section is replaced.")] = None,
    section: Annotated[str, typer.Option(help="Name of that section.")] = "shortcuts",
    title: Annotated[str, typer.Option(help="Its heading.")] = "Shortcuts",
    split: Annotated[str | None, typer.Option(help="Take the rows of this split alone.")] = None,
    workers: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
    seed: Annotated[int, typer.Option(help="Of folds, classifiers and bootstrap.")] = 0,
    cache: Annotated[Path | None, typer.Option(help="Folder for the statistics of every file, so that a run can be resumed.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take this many rows, drawn by the seed.")] = None,
) -> None:
    """Look for shortcuts: can the label of a data set be read off trivial statistics such as the silence at the start?

    Exit status: 0 no leak, 2 usage, 3 some statistic gives the label away.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from .datasets.manifest import read_labels
    from .evaluation.audit import NothingToAudit, remarks, summary, tables
    from .evaluation.audit import audit as probe_all
    from .evaluation.audit import section as describe
    from .evaluation.document import write_section

    if importlib.util.find_spec("sklearn") is None:
        raise typer.BadParameter("the audit needs scikit-learn: pip install avwitness[evaluate]")
    errors = Console(stderr=True, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        table = read_labels(manifest, split)
    except (FileNotFoundError, ValueError) as error:
        errors.print(f"avwitness: {error}", markup=False, highlight=False)
        raise typer.Exit(EXIT_USAGE) from None
    if limit is not None and limit < len(table):
        table = table.sample(limit, random_state=seed).sort_index()
    try:
        with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
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
        raise typer.Exit(130) from None
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


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
