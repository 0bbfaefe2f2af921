"""Export of a trained detector: calibration on identities outside the training set, fp16 weights, and a model card."""

from __future__ import annotations

import copy
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ... import __version__
from ...media.clip import STREAMS
from ...media.face.mouth import CROP_SIZE, INPUT_SIZE
from ...media.pcm import to_float32, to_int16
from ..calibration import Calibration, StreamCalibration, balanced_weights
from ..model import DualLabelDetector
from ..reliability import expected_calibration_error
from .augment import AugmentConfig, augment_audio, augment_faces, augment_mouth
from .config import TrainConfig
from .predict import fit_sync_head, predict
from .samples import Sample

CONDITIONS = 3  # versions of every clip in the calibration table: without augmentation, and augmented twice


def calibration_table(model: DualLabelDetector, samples: Sequence[Sample], seed: int) -> pd.DataFrame:
    """Predictions for the calibration clips, without and with augmentation, which stands for more recording conditions."""
    rng = np.random.default_rng(seed)
    tables = []
    for condition in range(CONDITIONS):
        clips = samples if condition == 0 else [augmented(sample, AugmentConfig(), rng) for sample in samples]
        tables.append(predict(model, clips).assign(condition=condition))
    table = pd.concat(tables, ignore_index=True)
    return table.assign(group=table.corpus + "/" + table.condition.gt(0).map({False: "as recorded", True: "augmented"}))


def augmented(sample: Sample, augment: AugmentConfig, rng: np.random.Generator) -> Sample:
    """A whole clip after augmentation; of its visual features, one augmented variant."""
    features = sample.visual_features
    if features is not None and len(features) > 1:
        features = features[1 + int(rng.integers(len(features) - 1)) :][:1]
    mouth = sample.mouth
    if mouth is not None and features is None:
        margin = (CROP_SIZE - INPUT_SIZE) // 2
        mouth = np.pad(augment_mouth(mouth, augment, rng), ((0, 0), (margin, margin), (margin, margin)))
    waveform = sample.waveform
    if waveform is not None:
        waveform = to_int16(augment_audio(to_float32(waveform), augment, rng))
    face = None if sample.face is None else augment_faces(sample.face, augment, rng)
    return replace(sample, mouth=mouth, face=face, waveform=waveform, visual_features=features)


def calibrate(table: pd.DataFrame) -> tuple[Calibration, dict[str, Any]]:
    """Fit the calibration to a :func:`calibration_table`.

    Returns
    -------
    calibration : Calibration
    figures : dict
        AUC, expected calibration error and number of clips by stream and case, for the card.
    """
    from sklearn.metrics import roc_auc_score

    fitted: dict[str, StreamCalibration] = {}
    figures: dict[str, Any] = {}

    def add_figures(name: str, calibration: StreamCalibration, values: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> None:
        p = calibration.probability(values)
        figures[name] = {
            "clips": len(labels),
            "auc": round(float(roc_auc_score(labels, values)), 4),
            "ece": round(expected_calibration_error(p, labels, weights=balanced_weights(labels, groups)), 4),  # in sample
            "mapping": calibration.mapping,
        }

    for stream in (*STREAMS, "sync"):
        labels = table.mismatch.astype(float) if stream == "sync" else table[f"{stream}_label"]
        rows = table[table[stream].notna() & labels.notna()]
        truth = labels[rows.index].astype(int).to_numpy()
        methods = None if stream == "sync" else rows[f"{stream}_method"].to_numpy()
        fitted[stream] = StreamCalibration.fit(rows[stream].to_numpy(), truth, rows.group.to_numpy(), rows.identity.to_numpy(), methods)
        add_figures(stream, fitted[stream], rows[stream].to_numpy(), truth, rows.group.to_numpy())
    calibration = Calibration(audio=fitted["audio"], video=fitted["video"], sync=fitted["sync"])
    rows = table[table.audio.notna() & table.video.notna() & table.audio_label.notna() & table.video_label.notna()]
    truth = ((rows.audio_label == 1) | (rows.video_label == 1)).astype(int).to_numpy()
    methods = np.where(rows.video_label == 1, rows.video_method, rows.audio_method)
    calibration = calibration.with_overall(
        rows.audio.to_numpy(), rows.video.to_numpy(), truth, rows.group.to_numpy(), rows.identity.to_numpy(), methods
    )
    add_figures(
        "overall, both streams",
        calibration.overall["both"],
        calibration.combined(rows.audio.to_numpy(), rows.video.to_numpy()),
        truth,
        rows.group.to_numpy(),
    )
    return calibration, figures


def export(
    model: DualLabelDetector,
    config: TrainConfig,
    train: Sequence[Sample],
    held: Sequence[Sample],
    out: str | os.PathLike[str],
    name: str,
) -> Path:
    """Calibrate a trained model and write ``config.json``, ``model.safetensors`` (fp16) and ``card.json``."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    frames = fit_sync_head(model, train)
    table = calibration_table(model, held, config.seed)
    calibration, figures = calibrate(table)
    shipped = copy.deepcopy(model).half()
    shipped.config.calibration = calibration.to_dict()
    shipped.save_pretrained(out, safe_serialization=True)
    (out / "model.safetensors").chmod(0o644)  # others may read what ships
    card = {
        "name": out.name,
        "version": __version__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "precision": "fp16",
        "data": {
            "training": _counts(train),
            "calibration": _counts(held),
            "conditions": CONDITIONS,
            "frames of the sync fit": frames,
        },
        "seed": config.seed,
        "command": f"avwitness train detector --config configs/{name} --forged SET --cache CACHE --run RUN --out {out.name}",
        "training": asdict(config),
        "calibration": figures,
        "intended_use": "Research and triage. Not proof: see docs/RESULTS.md for its errors.",
        "licence": "Apache-2.0",
        **({"notice": model.config.notice} if model.config.notice else {}),
    }
    (out / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    return out


def _counts(samples: Sequence[Sample]) -> dict[str, Any]:
    """Number of clips and identities by corpus, and of fakes by stream and method."""
    corpora = Counter(sample.corpus for sample in samples)
    return {
        "clips": dict(sorted(corpora.items())),
        "identities": {corpus: len({s.identity for s in samples if s.corpus == corpus}) for corpus in sorted(corpora)},
        "fakes": {stream: dict(sorted(Counter(s.methods[stream] for s in samples if s.fake(stream)).items())) for stream in STREAMS},
    }
