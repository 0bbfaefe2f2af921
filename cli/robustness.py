"""Commands on degraded files: ``degrade`` writes them, ``robustness`` evaluates a detector on them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import EVALUATE, EXIT_FAILED, EXIT_OK, need, renamed
from .options import CPU_COUNT, Bootstrap, Dataset, Device, Root, Rounds, Split, Workers, read_root

if TYPE_CHECKING:
    import pandas as pd

    from ..evaluation.robustness.plan import RobustnessSettings

Degradations = Annotated[str, typer.Option(help="Names with commas, or all; `avwitness datasets` lists them.")]
Levels = Annotated[str, typer.Option(help="Severities with commas, from 1 (mild) to 5 (hard).")]
Limit = Annotated[int | None, typer.Option(min=2, help="Take this many clips, chosen at random, evenly from all categories.")]


class Modality(StrEnum):
    """Streams to score."""

    auto = "auto"
    audio = "audio"
    video = "video"


def degrade(
    root: Root,
    out: Annotated[Path, typer.Option(help="Folder for the copies and their manifest.csv; copies found there are kept.")],
    dataset: Dataset = "auto",
    split: Split = None,
    degradations: Degradations = "all",
    levels: Levels = "1,2,3,4,5",
    limit: Limit = None,
    seed: Annotated[int, typer.Option(help="Seed of the choice of clips and of the degradations.")] = 0,
    workers: Workers = CPU_COUNT,
) -> None:
    """Write degraded copies of a benchmark's clips, for detectors of any kind to score.

    Score the folder, originals included (`avwitness score OUT --out F.csv`, or any detector), and give the score file to
    `avwitness robustness --scores` with the same options.

    Exit status: 0 done, 1 some copy could not be made, 2 usage.
    """
    from ..evaluation.robustness.export import MANIFEST, write_copies
    from ..evaluation.robustness.plan import make_plan

    table, settings = _read_settings(root, dataset, split, "", degradations, levels, limit, seed, 1)
    try:
        failed = write_copies(make_plan(table, settings), out, workers)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    for sentence in failed:
        typer.echo(f"avwitness: {sentence}", err=True)
    typer.echo(out / MANIFEST)
    raise typer.Exit(EXIT_FAILED if failed else EXIT_OK)


def robustness(
    root: Root,
    out: Annotated[Path, typer.Option(help="Folder for tables, the plot and robustness.html; an interrupted run found there is resumed.")],
    dataset: Dataset = "auto",
    split: Split = None,
    model: Annotated[str, typer.Option(help="Bundled weights by name, or a folder.")] = "small",
    scores: Annotated[
        Path | None, typer.Option(help="Score file of any detector instead, of the copies that `avwitness degrade` wrote.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the detector in the tables.")] = None,
    degradations: Degradations = "all",
    levels: Levels = "1,2,3,4,5",
    limit: Limit = None,
    modality: Annotated[Modality, typer.Option(help="Streams to score; of one alone, the clips with a label of it.")] = Modality.auto,
    bootstrap: Bootstrap = 500,
    seed: Annotated[int, typer.Option(help="Seed of the choice of clips, of the degradations and of the bootstrap.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes that score, and of those that degrade.")] = CPU_COUNT,
    device: Device = "auto",
    section: Annotated[
        Path | None, typer.Option(help="Markdown file whose section on robustness on that benchmark is replaced, with a plot beside it.")
    ] = None,
    rounds: Rounds = None,
) -> None:
    """Evaluate a detector on the clips of a benchmark as they are and after degradations such as compression, noise or blur.

    Exit status: 0 done, 1 some copy could not be made or scored, 2 usage.
    """
    from ..detector.inference.detector import load
    from ..detector.inference.processes.pool import ModelUnavailable
    from ..evaluation.benchmarks.score_file import read_scores
    from ..evaluation.benchmarks.scoring import scorer
    from ..evaluation.document import write_section
    from ..evaluation.robustness.output import section as short
    from ..evaluation.robustness.output import write_robustness
    from ..evaluation.robustness.plot import draw_robustness
    from ..evaluation.robustness.suite import robustness_of_scores, run_robustness

    need("evaluate", *EVALUATE)
    bootstrap = renamed("--rounds", rounds, "--bootstrap", bootstrap)
    detector = name or (Path(model).name if scores is None else scores.name)
    table, settings = _read_settings(root, dataset, split, detector, degradations, levels, limit, seed, bootstrap, modality.value)
    try:
        if scores is not None:
            results = robustness_of_scores(table, settings, read_scores(scores))
        else:
            weights = load(model, device="cpu").info.sha256
            results = run_robustness(table, settings, scorer(model, workers, device, modality=modality.value), weights, out, workers)
    except (OSError, ValueError, ModelUnavailable) as error:
        raise typer.BadParameter(str(error)) from error
    page = write_robustness(results, out)
    if section is not None:
        by = {"--model": Path(model).name} if scores is None else {"--scores": scores.name}
        what = {"--dataset": settings.dataset.partition(":")[0], "--split": split}
        given = what | by | {"--limit": limit, "--levels": levels, "--seed": seed}
        given |= {"--modality": modality.value} if modality is not Modality.auto else {}
        given |= {"--degradations": degradations} if degradations != "all" else {}
        told = " ".join(f"{option} {value}" for option, value in given.items() if value is not None)
        named = f"robustness-{settings.dataset.partition(':')[0]}" + ("" if modality is Modality.auto else f"-{modality.value}")
        plot = section.with_name(f"{named}.png")
        draw_robustness(results, plot)
        write_section(section, named, short(results, f"avwitness robustness --root FOLDER {told}", plot.name))
    for note in results["notes"]:
        typer.echo(f"avwitness: {note}", err=True)
    lost = sum(row["not_degraded"] + row["not_scored"] for row in results["failures"])
    typer.echo(f"{page}\t{results['clips']['sampled']} clips, {lost} copies could not be made or scored")
    raise typer.Exit(EXIT_FAILED if lost else EXIT_OK)


def _read_settings(
    root: Path,
    dataset: str,
    split: str | None,
    detector: str,
    names: str,
    levels: str,
    limit: int | None,
    seed: int,
    bootstrap: int,
    modality: str = "auto",
) -> tuple[pd.DataFrame, RobustnessSettings]:
    """The table of the benchmark, and the settings."""
    from ..evaluation.robustness.conditions import N_LEVELS
    from ..evaluation.robustness.degradations.registry import DEGRADATIONS
    from ..evaluation.robustness.plan import RobustnessSettings

    wanted = {part.strip() for part in levels.split(",")}
    if not wanted <= {str(level) for level in range(1, N_LEVELS + 1)}:
        raise typer.BadParameter(f"--levels {levels!r} are no severities from 1 to {N_LEVELS} with commas between")
    chosen = tuple(DEGRADATIONS) if names == "all" else tuple(filter(None, (part.strip() for part in names.split(","))))
    named, table = read_root(root, dataset, split)
    return table, RobustnessSettings(named, detector, chosen, limit, seed, bootstrap, tuple(sorted(map(int, wanted))), modality)
