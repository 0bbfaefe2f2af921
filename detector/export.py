"""A trained model to weights that ship: calibrated on identities it never saw, in half precision, with a card."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import __version__
from .calibration import Calibration, StreamCalibration, sync_statistic
from .model import DualLabelDetector
from .pipeline import Detector
from .prepare import Material
from .scoring import SYNC_FRAMES
from .train import TrainConfig, calibration_rows, load_corpora
from .trials import audio_trials, sync_trials, video_trials
from .verdict import ModelInfo


def calibrate(model: DualLabelDetector, corpora: dict[str, list[Material]], seed: int) -> tuple[Calibration, dict[str, Any]]:
    """Fit the calibration on forged and genuine versions of held-out clips.

    Returns
    -------
    calibration : Calibration
    figures : dict
        AUC and number of trials per stream, for the card.
    """
    from rich.progress import track
    from sklearn.metrics import roc_auc_score

    detector = Detector(model, ModelInfo("calibration", "", ""), "", "cpu")
    rng = np.random.default_rng(seed)
    scores: dict[str, list[tuple[float, int, str]]] = {"audio": [], "video": [], "sync": []}
    clips = [(name, material) for name, materials in corpora.items() for material in materials]
    for name, material in track(clips, "calibrating"):
        for trial in audio_trials(material, rng):
            evidence = detector.weigh(trial.features, None, None)
            assert evidence.audio is not None
            scores["audio"].append((evidence.audio, trial.label, name))
        for trial in video_trials(material, corpora[name], rng):
            evidence = detector.weigh(None, trial.crops, trial.usable)
            assert evidence.video is not None
            scores["video"].append((evidence.video, trial.label, name))
        for pair in sync_trials(material, corpora[name], rng):
            if pair.usable.sum() >= SYNC_FRAMES:
                evidence = detector.weigh(pair.features, pair.crops, pair.usable)
                assert evidence.sync is not None
                scores["sync"].append((sync_statistic(evidence.sync), int(pair.offset is None), name))
    fitted, figures = {}, {}
    for stream, rows in scores.items():
        values, labels, groups = (np.array(column) for column in zip(*rows, strict=True))
        fitted[stream] = StreamCalibration.fit(values, labels, groups)
        figures[stream] = {"trials": len(rows), "auc": round(float(roc_auc_score(labels, values)), 4)}
    return Calibration(**fitted), figures


def export(
    model: DualLabelDetector,
    config: TrainConfig,
    table: pd.DataFrame,
    cache: str | os.PathLike[str],
    out: str | os.PathLike[str],
    name: str,
) -> Path:
    """Calibrate a trained model and write ``config.json``, ``model.safetensors`` (fp16) and ``card.json``."""
    corpora = load_corpora(table[calibration_rows(table, config)], cache)
    calibration, figures = calibrate(model, corpora, config.seed)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    shipped = copy.deepcopy(model).half()
    shipped.config.calibration = calibration.to_dict()
    shipped.save_pretrained(out, safe_serialization=True)
    (out / "model.safetensors").chmod(0o644)  # others may read what ships
    used = table[(table.split == "train") & ~calibration_rows(table, config)]
    card = {
        "name": out.name,
        "version": __version__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "precision": "fp16",
        "data": {
            "training_clips": used.groupby("corpus").size().to_dict(),
            "training_speakers": used.groupby("corpus").speaker.nunique().to_dict(),
            "calibration_clips": {corpus: len(materials) for corpus, materials in corpora.items()},
            "forgeries": {"audio": list(config.voices), "video": list(config.faces)},
        },
        "seed": config.seed,
        "command": (
            f"avwitness train detector --config configs/{name} --data DATA --cache CACHE --run RUN --out detector/weights/{out.name}"
        ),
        "training": asdict(config),
        "calibration": figures,
        "intended_use": "Research and triage. Not proof: see docs/RESULTS.md for what it misses.",
        "licence": "Apache-2.0",
    }
    (out / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    return out
