"""Commands on speech that is heard and seen: ``transcribe``, ``sync``, ``convert``."""

from __future__ import annotations

import json
import sys
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .console import EXIT_FAILED, EXIT_OK, need, progress_hook, progress_on
from .options import Device, expand


class Modality(StrEnum):
    """Streams to transcribe."""

    av = "av"
    audio = "audio"
    video = "video"


def transcribe(
    inputs: Annotated[list[str], typer.Argument(metavar="FILE|DIR|GLOB...", help="What to transcribe.")],
    modality: Annotated[Modality, typer.Option(help="Streams to use; av takes those that are there.")] = Modality.av,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per file on standard output.")] = False,
    model: Annotated[str, typer.Option(help="Bundled weights by name, whisper, or a folder that `avwitness convert` wrote.")] = "small",
    beams: Annotated[
        int | None, typer.Option(min=1, help="Width of the beam search; 1 decodes greedily. [default: 24; of a Whisper 1]")
    ] = None,
    device: Device = "auto",
) -> None:
    """Write the text of speech, with --json also the times of the words. Exit status: 0 all transcribed, 1 some file failed, 2 usage.

    The bundled model was trained on the 51 words of the GRID corpus by one English speaker, and on short word groups of
    Arabic broadcast news. It outputs GRID words or news words for any other speech. Speech at large is transcribed by
    `--model whisper`, from the audio alone, once `avwitness convert` has converted a Whisper.
    """
    from ..avsr.transcriber import load_transcriber

    paths = expand(inputs)
    try:
        transcriber = load_transcriber(model, beams, device)
        transcriber.check(modality.value)
    except (FileNotFoundError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    failed = False
    console = Console(stderr=True)
    with console.status("transcribing") as status:
        for path, transcript in zip(paths, transcriber.transcribe_many(paths, modality.value), strict=True):
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


def sync(
    inputs: Annotated[list[str], typer.Argument(metavar="FILE|DIR|GLOB...", help="Videos with sound.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per file on standard output, with curve and windows.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Folder for a plot of each file: similarity by offset, and the offset over time.")
    ] = None,
    model: Annotated[str, typer.Option(help="Bundled weights by name, or a folder.")] = "small",
    device: Device = "auto",
) -> None:
    """Measure the offset between audio and lips, with a confidence. Exit status: 0 all measured, 1 some file failed, 2 usage.

    A positive offset means that the audio lags. The confidence is the similarity at that offset above its median over all offsets from
    -600 to 600 ms. Two seconds of a speaking face are needed for an offset that is mostly right to the frame.
    """
    from ..detector.inference.detector import load
    from ..detector.inference.synchronisation.plot import plot_sync
    from ..media.clip import MediaError
    from ..media.files import printable

    paths = expand(inputs)
    if plot is not None:
        need("evaluate", "matplotlib")
        plot.mkdir(parents=True, exist_ok=True)
    try:
        detector = load(model, device=device)
    except (FileNotFoundError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    console, failed, names = Console(stderr=True), False, Counter[str]()
    with progress_on(console) as progress:
        hook = progress_hook(progress, "files")
        for number, path in enumerate(paths):
            try:
                found = detector.measure_sync(path)
            except MediaError as error:
                failed = True
                console.print(f"avwitness: {error}", markup=False, highlight=False, soft_wrap=True)
                continue
            except ValueError as error:
                raise typer.BadParameter(str(error)) from None
            finally:
                hook(number + 1, len(paths))
            if as_json:
                typer.echo(json.dumps(found.to_dict(), ensure_ascii=False))
            else:
                label = {"genuine": "in sync", "fake": "mismatch"}.get(found.label, found.label)
                clip = found.clip
                typer.echo(
                    f"{printable(found.path)}\toffset {round(clip.offset_ms):+d} ms\tconfidence {clip.confidence:.2f}\t"
                    f"p(mismatch) {clip.p_mismatch:.2f}\t{label}"
                )
            if plot is not None:
                name = Path(path).name
                names[name] += 1  # files of different folders may have the same name
                suffix = f"-{names[name]}" * (names[name] > 1)
                plot_sync(found, plot / f"{name}{suffix}.png")
    raise typer.Exit(EXIT_FAILED if failed else EXIT_OK)


def convert(
    checkpoint: Annotated[Path, typer.Argument(help="fairseq AV-HuBERT checkpoint, or folder of a Whisper (CTranslate2, Hugging Face).")],
    out: Annotated[
        Path | None,
        typer.Argument(help="Folder to write; without it, one where `--model whisper` or `--model av_hubert` finds the model."),
    ] = None,
) -> None:
    """Convert a published AV-HuBERT or Whisper into a folder for `avwitness transcribe`; neither fairseq nor a network is needed."""
    from ..avsr.conversion import convert as convert_checkpoint
    from ..avsr.conversion import default_folder

    out = default_folder(checkpoint) if out is None else out
    try:
        model = convert_checkpoint(checkpoint, out)
    except (FileNotFoundError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(f"{out}: {type(model).__name__}, {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters")
    typer.echo(model.config.notice, err=True)
