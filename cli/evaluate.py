"""Commands on benchmarks: ``evaluate``, ``split``, ``compare``, ``datasets``."""

from __future__ import annotations

import json
import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .console import EVALUATE, EXIT_FAILED, EXIT_OK, need, renamed
from .options import CPU_COUNT, Bootstrap, Dataset, Device, Root, Rounds, Split, Workers, read_root


class Silence(StrEnum):
    """Silence before the audio of a clip begins and after it ends."""

    trimmed = "trimmed"
    kept = "kept"


def evaluate(
    root: Root,
    out: Annotated[
        Path, typer.Option(help="Folder for results.json, tables, curves and index.html; an interrupted run found there is resumed.")
    ],
    dataset: Dataset = "auto",
    protocol: Annotated[
        str, typer.Option(help="How it is split into folds; `avwitness datasets` lists the protocols.")
    ] = "identity-disjoint",
    missing: Annotated[
        str, typer.Option(help="Streams to remove: none, video, audio, or random (one of the two in 30 % of the clips).")
    ] = "none",
    silence: Annotated[
        Silence | None,
        typer.Option(help="At the edges of clips; trimmed by default. With --scores: what was done before they were scored."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Bundled weights by name, or a folder; small without --scores.")] = None,
    scores: Annotated[
        Path | None, typer.Option(help="Score file of any detector instead: path, p_video, p_audio, p_fake, status, video_intervals, ...")
    ] = None,
    split: Split = None,
    name: Annotated[str | None, typer.Option(help="Name of the detector in the tables.")] = None,
    bootstrap: Bootstrap = 500,
    seed: Annotated[int, typer.Option(help="Seed of the protocol, of missing streams and of the bootstrap.")] = 0,
    workers: Workers = CPU_COUNT,
    device: Device = "auto",
    cluster: Annotated[
        str | None, typer.Option(help="Score on ray: local, auto, or the address of a cluster; files need the same path on every node.")
    ] = None,
    rounds: Rounds = None,
) -> None:
    """Evaluate a detector, or a file of its scores, on a benchmark.

    Exit status: 0 done, 1 some row has a problem or no score, 2 usage.
    """
    from ..detector.inference.processes.pool import ModelUnavailable
    from ..detector.inference.ray_cluster import ClusterUnavailable
    from ..evaluation.benchmarks.evaluate import SILENCE_TRIMMED, SILENCE_UNKNOWN, EvaluationSettings
    from ..evaluation.benchmarks.protocols import PROTOCOLS
    from ..evaluation.benchmarks.run import run_evaluation

    need("evaluate", *EVALUATE)
    bootstrap = renamed("--rounds", rounds, "--bootstrap", bootstrap)
    if protocol not in PROTOCOLS:
        raise typer.BadParameter(f"protocol {protocol!r} is none of {', '.join(PROTOCOLS)}")
    if scores is None:
        model = model or "small"
    named, table = read_root(root, dataset, split)
    try:
        edges = silence.value if silence else SILENCE_UNKNOWN if scores is not None else SILENCE_TRIMMED
        settings = EvaluationSettings(named, name or model or str(scores), PROTOCOLS[protocol], missing, seed, bootstrap, edges)
        page = run_evaluation(table, settings, out, model=model, scores=scores, workers=workers, device=device, ray_address=cluster)
    except (OSError, ValueError, ModelUnavailable, ClusterUnavailable) as error:
        raise typer.BadParameter(str(error)) from error
    rows = json.loads((out / "results.json").read_text())["rows"]
    for problem, count in rows["problems"].items():
        typer.echo(f"avwitness: {count} rows: {problem}", err=True)
    for note in rows["notes"]:
        typer.echo(f"avwitness: {note}", err=True)
    typer.echo(f"{page}\t{rows['valid']} of {rows['listed']} rows, coverage {rows['coverage']:.3f}")
    raise typer.Exit(EXIT_FAILED if rows["problems"] or rows["failed"] else EXIT_OK)


def split_rows(
    root: Root,
    out: Annotated[Path, typer.Option(help="CSV to write: the benchmark's table, with a column for each fold.")],
    dataset: Dataset = "auto",
    protocol: Annotated[
        str, typer.Option(help="How it is split into folds; `avwitness datasets` lists the protocols.")
    ] = "identity-disjoint",
    split: Split = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same folds as `avwitness evaluate`.")] = 0,
) -> None:
    """Write the training and the test rows of every fold of a protocol, before a detector is trained."""
    import pandas as pd

    from ..evaluation.benchmarks.evaluate import EvaluationSettings, split_folds
    from ..evaluation.benchmarks.protocols import PROTOCOLS

    if protocol not in PROTOCOLS:
        raise typer.BadParameter(f"protocol {protocol!r} is none of {', '.join(PROTOCOLS)}")
    named, table = read_root(root, dataset, split)
    try:
        parts = split_folds(table, EvaluationSettings(named, "", PROTOCOLS[protocol], seed=seed))
        out.parent.mkdir(parents=True, exist_ok=True)
        pd.concat([table.drop(columns="file"), parts], axis=1).to_csv(out, index=False)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    for fold in parts:
        typer.echo(f"{fold}\ttrain {(parts[fold] == 'train').sum()}\ttest {(parts[fold] == 'test').sum()}")


def compare(
    first: Annotated[Path, typer.Argument(help="results.json of `avwitness evaluate`, or its folder.")],
    second: Annotated[Path, typer.Argument(help="The same, of another detector on the same benchmark and protocol.")],
    bootstrap: Bootstrap = 500,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    rounds: Rounds = None,
) -> None:
    """Compare two detectors on the rows that both scored: AUC, its difference with a 95 % interval, and DeLong's p-value."""
    from ..evaluation.benchmarks.compare import compare as compared

    bootstrap = renamed("--rounds", rounds, "--bootstrap", bootstrap)
    try:
        found = compared(first, second, bootstrap, seed)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo("fold\tstream\tfake / genuine\tfirst\tsecond\tdifference\tp\tbootstrap unit")
    for row in found:
        counts = f"{row.fakes} / {row.genuine}"
        p = "-" if math.isnan(row.p) else f"{row.p:.3g}"
        figures = f"{row.first:.3f}\t{row.second:.3f}\t{row.difference}\t{p}"
        typer.echo(f"{row.fold}\t{row.stream}\t{counts}\t{figures}\t{row.unit_name}")


def list_datasets() -> None:
    """List the benchmarks that can be read, the protocols of `avwitness evaluate`, and the degradations of `avwitness robustness`."""
    from ..datasets.registry import READERS
    from ..evaluation.benchmarks.protocols import DEFAULT, PROTOCOLS
    from ..evaluation.robustness.degradations.registry import DEGRADATIONS

    for reader in READERS.values():
        typer.echo(f"{reader.name}\t{reader.title}\t{reader.layout}")
    typer.echo("")
    for protocol in PROTOCOLS.values():
        typer.echo(f"{protocol.name}\t{protocol.text}{' (the default)' if protocol.name == DEFAULT else ''}")
    typer.echo("")
    for degradation in DEGRADATIONS.values():
        severities = " ".join(f"{severity:g}" for severity in degradation.severities)
        typer.echo(f"{degradation.name}\t{degradation.title}\t{severities} {degradation.unit}")
