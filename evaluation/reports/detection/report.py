"""The section on detection of ``docs/RESULTS.md``: metrics on forged dev clips and on the wild groups, with trivial baselines."""

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
from .forged_dev import COARSE, coarse_tables, dev_tables, forge_dev, predict_dev, summary_table
from .speed import speed_section
from .sync import sync_section
from .targets import chosen_targets, targets_table
from .timeline import timeline_section
from .wild import error_table, fpr_table, score_wild, verdict_tables
from .wild_ranking import ranking_table, tpr_table

SECTION = "detection"  # of the results file
CARD = "MODEL_CARD.md"  # in the folder of the report
WILD_EVALUATIONS = "wild_evaluations.json"  # in the folder of the report: number of evaluations by the checksum of the weights


@dataclass(frozen=True)
class EvaluationCount:
    """How often the wild groups were evaluated: with these weights, and with any weights."""

    same_weights: int
    total: int


def write_report(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    model: str,
    workers: int,
    seed: int,
    cache: str | os.PathLike[str] | None = None,
) -> None:
    """Evaluate a detector and write the section.

    Parameters
    ----------
    data : path-like
        Folder with the manifest. Its ``dev`` rows are forged here; its ``wild`` rows are scored as they are.
    out : path-like
        Markdown file, whose section on detection is replaced; the reliability diagram and the number of evaluations are written to
        the same folder. A model card there gets the summary.
    model : str
        Name or folder of the weights.
    cache : path-like, optional
        Folder of tracked faces, the forged set and its views, with which an interrupted run can be resumed.
    """
    table = read_manifest(data)
    detector = load(model, device="cpu")
    calibration = detector.calibration
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(cache or temporary)
        folder, unmade = forge_dev(data, work, seed, workers)
        dev = predict_dev(folder, work, detector.model, calibration, workers, unmade)
        folder, unmade = forge_dev(data, work, seed, workers, COARSE)
        coarse = predict_dev(folder, work, detector.model, calibration, workers, unmade)
        count = count_evaluation(Path(out).with_name(WILD_EVALUATIONS), detector.info.sha256)
        wild = score_wild(table[table["split"] == "wild"], model, workers, work)
        sync, mismatch = sync_section(dev, detector.model, wild, seed)
        ranking, aucs = ranking_table(wild, seed)
        fpr, worst = fpr_table(wild, calibration)
        tpr, tprs = tpr_table(wild, seed)
        figures = {**aucs, **tprs, **{f"worst {stream} FPR": rate for stream, rate in worst.items()}, "mismatch dev": mismatch}
        targets = targets_table(chosen_targets(figures))
        lines = [
            *head(detector, model, seed, count),
            *("## Targets", "", *targets),
            *dev_tables(dev, seed),
            *coarse_tables(coarse, seed),
            *("## Wild groups (never trained or calibrated on)", "", *verdict_tables(wild)),
            *("### Wild: FPR at the threshold for 5 %", "", *fpr),
            *("### Wild: TPR at 5 % FPR, balanced over genuine groups", "", *tpr),
            *("### Wild: ranking", "", *ranking),
            *("### Largest errors", "", *error_table(wild)),
            *sync,
            *timeline_section(dev, calibration, seed),
            *speed_section(table[table["split"] == "dev"], detector, model),
            *calibration_section(dev.table, calibration, out, seed),
        ]
    write_section(out, SECTION, lines)
    card = Path(out).with_name(CARD)
    if card.exists():
        command = f"avwitness report --of detection --model {Path(model).name} --seed {seed}"
        source = f"Model sha256 `{detector.info.sha256[:16]}`, written by `{command}`;"
        rest = "95 % bootstrap intervals; all tables are in [RESULTS.md](RESULTS.md)."
        write_section(card, SECTION, [f"{source} {rest}", "", *targets, *summary_table(dev, coarse, seed)])


def count_evaluation(file: Path, sha256: str) -> EvaluationCount:
    """Count one more evaluation of the wild groups with these weights."""
    counts: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    counts[sha256] = counts.get(sha256, 0) + 1
    file.write_text(json.dumps(counts, indent=2) + "\n")
    return EvaluationCount(counts[sha256], sum(counts.values()))


def head(detector: Detector, model: str, seed: int, count: EvaluationCount) -> list[str]:
    """The detector, and how to read the tables."""
    not_validated = [name for name in ("audio", "video", "sync") if not getattr(detector.calibration, name).validated]
    missing = (
        f" These weights output no verdict for {', '.join(not_validated)}, which was no better than chance in calibration."
        if not_validated
        else ""
    )
    return [
        "# Detection",
        "",
        f"Written by `avwitness report --of detection --model {Path(model).name} --seed {seed}` (`make results`); do not edit by hand.",
        f"Model `{detector.info.name}` {detector.info.version}, sha256 `{detector.info.sha256[:16]}`; Python {platform.python_version()}.",
        f"Square brackets are 95 % bootstrap intervals ({N_BOOTSTRAP} draws) over identities where the rows have {MIN_UNITS} or more,",
        "over source clips otherwise (column *bootstrap unit*). `-` means that a class is missing.",
        "",
        f"The wild groups were evaluated {count.same_weights} time(s) with these weights and {count.total} time(s) with any weights.",
        f"Nothing was selected on them: architecture, training and calibration used the training split alone.{missing}",
        "",
    ]
