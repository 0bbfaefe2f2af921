"""Commands from genuine footage to a forged set: ``catalogue``, ``forge``, ``methods``, ``sheets``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import EXIT_FAILED, EXIT_OK, renamed
from .options import AUDIO_SUFFIXES, CPU_COUNT, TELEPHONE_SUFFIXES, VIDEO_SUFFIXES, Split, Workers


def catalogue(
    folder: Annotated[Path, typer.Argument(help="Folder of genuine footage; each of its subfolders is one person.")],
    out: Annotated[Path | None, typer.Option(help="CSV to write; FOLDER/manifest.csv otherwise. Its paths are relative to FOLDER.")] = None,
    corpus: Annotated[str | None, typer.Option(help="Name of the corpus; that of the folder otherwise.")] = None,
    split: Annotated[str, typer.Option(help="Split of all rows.")] = "train",
    min_seconds: Annotated[float, typer.Option(min=0.0, help="Shorter files are left out.")] = 1.0,
    per_identity: Annotated[int | None, typer.Option(min=1, help="Files of each person, evenly spaced through their names.")] = None,
    least: Annotated[float | None, typer.Option("--least", min=0.0, hidden=True)] = None,  # --min-seconds in version 0.1
) -> None:
    """List genuine footage as a manifest that the forge can read.

    Exit status: 0 all listed, 1 some file could not be read, 2 usage.
    """
    from ..datasets.folder import list_genuine

    min_seconds = renamed("--least", least, "--min-seconds", min_seconds)
    if not folder.is_dir():
        raise typer.BadParameter(f"{folder}: no such folder")
    name = corpus or folder.resolve().name
    table, failures = list_genuine(folder, VIDEO_SUFFIXES | AUDIO_SUFFIXES | TELEPHONE_SUFFIXES, name, split, min_seconds, per_identity)
    if table.empty:
        raise typer.BadParameter(f"{folder}: no subfolder of it holds media of {min_seconds:g} s or more")
    target = out or folder / "manifest.csv"
    table.to_csv(target, index=False)
    for failure in failures:
        typer.echo(f"avwitness: {failure}", err=True)
    typer.echo(f"{target}\t{len(table)} clips of {table.speaker.nunique()} people")
    raise typer.Exit(EXIT_FAILED if failures else EXIT_OK)


def forge(
    manifest: Annotated[
        Path, typer.Option(help="CSV or parquet of genuine clips (path, video_label, audio_label, identity, ...); or its folder.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write; an incomplete set found there is completed.")],
    methods: Annotated[
        str,
        typer.Option(help="Names with commas, all, or coarse (faces as soft as those of generators); `avwitness methods` lists them."),
    ] = "all",
    per_clip: Annotated[int, typer.Option(min=1, help="Forged clips of every source.")] = 1,
    genuine_per_clip: Annotated[int, typer.Option(min=0, help="Genuine clips of every source, with the same postprocessing.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed writes the same files.")] = 0,
    split: Split = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Clips in all.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder for face tracks, shared by several sets; OUT/tracks otherwise.")] = None,
    workers: Workers = CPU_COUNT,
    families: Annotated[str | None, typer.Option("--families", hidden=True)] = None,  # --methods in version 0.1
) -> None:
    """Forge labelled fakes with many methods from genuine clips, and postprocess genuine clips in the same way.

    Exit status: 0 all written, 1 some clip could not be forged, 2 usage. Run it again to resume after an interruption.
    """
    from ..generators.forge.registry import select_methods
    from ..generators.forge.run import ForgeConfig, counts, estimate, forge_set, plan_forge

    methods = renamed("--families", families, "--methods", methods)
    tracks = cache or out / "tracks"
    try:
        config = ForgeConfig(select_methods(methods), per_clip, genuine_per_clip, seed, split, limit)
        jobs, unread = plan_forge(manifest, tracks, config, workers)
        seconds, size = estimate(jobs)
        typer.echo(f"{len(jobs)} clips, {seconds / 60.0:.1f} minutes, about {size / 1e6:.0f} MB in {out}", err=True)
        done = forge_set(jobs, out, tracks, config, workers)
    except (ValueError, OSError, RuntimeError) as error:
        raise typer.BadParameter(str(error)) from None
    for failure in (*unread, *done.failures):
        typer.echo(f"avwitness: {failure}", err=True)
    typer.echo(f"{done.manifest}\t{done.clips} clips")
    for name, count in sorted(counts(done.table).items()):
        typer.echo(f"{name}\t{count}")
    raise typer.Exit(EXIT_FAILED if unread or done.failures else EXIT_OK)


def list_methods() -> None:
    """List the methods of the forge: name, streams that become fake, and why a method cannot be used here, if so."""
    from ..generators.forge.registry import METHODS

    for name, method in METHODS.items():
        cause = method.missing_reason()
        typer.echo(f"{name}\t{'+'.join(sorted(method.streams)) or 'mismatch'}" + (f"\tnot here: {cause}" if cause else ""))


def sheets(
    manifest: Annotated[Path, typer.Argument(help="Manifest that `avwitness forge` wrote, or its folder.")],
    out: Annotated[Path, typer.Argument(help="Folder for one image per method.")],
    columns: Annotated[int, typer.Option(min=1, help="Clips per sheet.")] = 6,
    overview: Annotated[Path | None, typer.Option(help="Image to write with one clip of every method.")] = None,
) -> None:
    """Draw contact sheets of a forged set: genuine above, forged below."""
    from ..evaluation.reports.contact_sheets import contact_sheets, draw_overview

    try:
        if overview is not None:
            typer.echo(draw_overview(manifest, overview))

        for sheet in contact_sheets(manifest, out, columns):
            typer.echo(sheet)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from None
