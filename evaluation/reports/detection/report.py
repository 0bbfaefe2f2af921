"""The section on detection of ``docs/RESULTS.md``: forged dev clips and every wild group, each beside the trivial baselines."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ....datasets.manifest import read_manifest
from ....detector.inference.detector import Detector, load
from ...document import write_section
from ...metrics.bootstrap import MIN_UNITS, N_BOOTSTRAP
from .calibration import calibration_section
from .forged_dev import COARSE, coarse_tables, dev_tables, forge_dev, headlines, judge_dev
from .speed import speed_section
from .sync import sync_section
from .targets import chosen_targets, targets_table
from .timeline import timeline_section
from .wild import alarm_table, called_tables, failures, score_wild
from .wild_ranking import headline, ranking_table

SECTION = "detection"  # of the results file
CARD = "MODEL_CARD.md"  # beside the report
LOOKS = "looks.json"  # beside the report: how often the wild groups were read, by the checksum of the weights


@dataclass(frozen=True)
class Looks:
    """How often wild groups were read: with these weights, and with all that ever were."""

    these: int
    all: int


def write_report(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    model: str,
    workers: int,
    seed: int,
    cache: str | os.PathLike[str] | None = None,
) -> None:
    """Measure everything and write the section.

    Parameters
    ----------
    data : path-like
        Folder with the manifest. Its ``dev`` rows are forged here; its ``wild`` rows are scored as they are.
    out : path-like
        Markdown file, whose section on detection is replaced; the reliability diagram and the count of looks go beside it.
        A model card there gets the headline figures.
    model : str
        Name or folder of the weights.
    cache : path-like, optional
        Folder of followed faces, the forged set and its views; with one, a report that was stopped goes on where it stood.
    """
    table = read_manifest(data)
    detector = load(model, device="cpu")
    calibration = detector.calibration
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(cache or temporary)
        folder, unmade = forge_dev(data, place, seed, workers)
        dev = judge_dev(folder, place, detector.model, calibration, workers, unmade)
        folder, unmade = forge_dev(data, place, seed, workers, COARSE)
        coarse = judge_dev(folder, place, detector.model, calibration, workers, unmade)
        looks = count_look(Path(out).with_name(LOOKS), detector.info.sha256)
        wild = score_wild(table[table["split"] == "wild"], model, workers, place)
        sync, mismatch = sync_section(dev, detector.model, wild, seed)
        ranking, aucs = ranking_table(wild, seed)
        alarms, worst = alarm_table(wild, calibration)
        found, shares = headline(wild, seed)
        figures = {**aucs, **shares, **{f"worst {stream} alarms": rate for stream, rate in worst.items()}, "mismatch dev": mismatch}
        targets = targets_table(chosen_targets(figures))
        lines = [
            *head(detector, model, seed, looks),
            *("## Aims", "", *targets),
            *dev_tables(dev, seed),
            *coarse_tables(coarse, seed),
            *("## Wild groups (never trained or calibrated on)", "", *called_tables(wild)),
            *("### Wild: false alarms at the threshold for 5 %", "", *alarms),
            *("### Wild: fakes found at 5 % false alarms, balanced over genuine groups", "", *found),
            *("### Wild: ranking", "", *ranking),
            *("### What the failures look like", "", *failures(wild)),
            *sync,
            *timeline_section(dev, calibration, seed),
            *speed_section(table[table["split"] == "dev"], detector, model),
            *calibration_section(dev.table, calibration, out, seed),
        ]
    write_section(out, SECTION, lines)
    card = Path(out).with_name(CARD)
    if card.exists():
        measured = (
            f"Model sha256 `{detector.info.sha256[:16]}`, written by `avwitness report --of detection --model {model} --seed {seed}`;"
        )
        rest = "95 % bootstrap intervals; all tables are in [RESULTS.md](RESULTS.md)."
        write_section(card, SECTION, [f"{measured} {rest}", "", *targets, *headlines(dev, coarse, seed)])


def count_look(file: Path, sha256: str) -> Looks:
    """Note that wild groups are read once more with these weights."""
    looks: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    looks[sha256] = looks.get(sha256, 0) + 1
    file.write_text(json.dumps(looks, indent=2) + "\n")
    return Looks(looks[sha256], sum(looks.values()))


def head(detector: Detector, model: str, seed: int, looks: Looks) -> list[str]:
    """Who was measured, and how to read the tables."""
    not_validated = [name for name in ("audio", "video", "sync") if not getattr(detector.calibration, name).validated]
    silent = (
        f" These weights say nothing of {', '.join(not_validated)}: no better than chance when they were calibrated."
        if not_validated
        else ""
    )
    return [
        "# Detection",
        "",
        f"Written by `avwitness report --of detection --model {model} --seed {seed}` (`make results`); do not edit by hand.",
        f"Model `{detector.info.name}` {detector.info.version}, sha256 `{detector.info.sha256[:16]}`; Python {platform.python_version()}.",
        f"Square brackets are 95 % bootstrap intervals ({N_BOOTSTRAP} draws) over identities where the rows hold {MIN_UNITS} or more,",
        "all known, over source clips otherwise; the column *drawn* says which. `-` means that a class is missing.",
        "",
        f"Wild groups have been read {looks.these} time(s) with these weights, {looks.all} time(s) with all weights so far. Nothing was",
        f"chosen on them: architecture, training and calibration used the training split alone.{silent}",
        "",
    ]
