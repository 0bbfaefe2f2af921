"""Commands that generate talking heads: ``generate``, ``demo``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .console import EXIT_FAILED


class Generator(StrEnum):
    """The talking-head and listening-head generators."""

    font = "font"
    opt = "opt"
    osm_net = "osm-net"
    mfr_net = "mfr-net"


class Mood(StrEnum):
    """Attitude of a listener."""

    positive = "positive"
    neutral = "neutral"
    negative = "negative"


def generate(
    name: Annotated[Generator, typer.Argument(help="Generator.")],
    source: Annotated[str, typer.Option(help="Image or clip that shows a face; or `sample`, a portrait in the public domain.")],
    out: Annotated[Path, typer.Option(help="MP4 to write; its sidecar has the suffix .json.")],
    audio: Annotated[
        Path | None, typer.Option(help="Speech, 30 s at most; for mfr-net, the speech that is listened to if not that of the speaker.")
    ] = None,
    pose: Annotated[Path | None, typer.Option(help="opt: clip with the head motion to copy.")] = None,
    speaker: Annotated[Path | None, typer.Option(help="mfr-net: clip of the speaker.")] = None,
    attitude: Annotated[Mood, typer.Option(help="mfr-net: attitude of the listener.")] = Mood.neutral,
    seed: Annotated[list[int] | None, typer.Option(help="Seed of the motion; may be repeated, which writes several files.")] = None,
    consent: Annotated[str | None, typer.Option(help="Who agreed to the use of the source, and how you know; kept in the sidecar.")] = None,
) -> None:
    """Generate a talking or listening head, with a visible badge, a signed C2PA manifest and a sidecar JSON.

    Exit status: 0 written, 1 a file could not be used, 2 usage.
    """
    from ..generators.talking.export.generate import GenerationRequest, check_request
    from ..generators.talking.export.generate import generate as make
    from ..generators.talking.models.base import Attitude
    from ..media.clip import MediaError

    files = [None if path is None else str(path) for path in (audio, pose, speaker)]
    request = GenerationRequest(
        name.value, source, files[0], str(out), tuple(seed or [0]), files[1], files[2], Attitude(attitude.value), consent
    )
    console = Console(stderr=True)
    try:
        check_request(request)
        with console.status(f"{name.value}: generating"):
            for made in make(request):
                typer.echo(f"{made.path}\t{made.sidecar}")
    except MediaError as error:
        console.print(f"avwitness: {error}", markup=False, highlight=False)
        raise typer.Exit(EXIT_FAILED) from None
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from None


def demo(
    out: Annotated[Path, typer.Argument(help="MP4 to write, or with --corpus a folder.")],
    seed: Annotated[int, typer.Option(help="Seed of the motion and the voice.")] = 0,
    corpus: Annotated[
        bool, typer.Option("--corpus", help="Write a small corpus of two people with a manifest, to try the forge on.")
    ] = False,
    heads: Annotated[bool, typer.Option("--heads", help="Write one sample of every talking head into a folder.")] = False,
) -> None:
    """Write a small clip of a public-domain face with an animated mouth and a synthetic voice."""
    from ..generators.demo import write_corpus, write_demo

    if heads:
        from ..generators.talking.export.samples import write_samples

        for made in write_samples(out, seed):
            typer.echo(made.path)
        return
    if corpus:
        typer.echo(write_corpus(out, seed=seed))
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    typer.echo(write_demo(out, seed=seed))
