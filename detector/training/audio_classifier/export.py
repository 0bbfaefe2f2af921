"""Export of an audio classifier: fitted on the field set, calibrated on cross-validated logits, and added to a detector's weights."""

from __future__ import annotations

import copy
import json
import os
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from .... import __version__
from ....checkpoints import CARD, MODEL, find_weights, read_card
from ...audio_classifier import AudioClassifier
from ...calibration import MAX_MISS_RATE, Calibration, StreamCalibration
from ...model import DetectorConfig, DualLabelDetector
from ...thresholds import page_threshold
from .fit import AudioSamples, AudioTrainConfig, cross_validated_logits, encoder_hash, fit_linear, set_linear


def train_audio(
    table: pd.DataFrame,
    samples: AudioSamples,
    classifier: AudioClassifier,
    base: str | os.PathLike[str],
    config: AudioTrainConfig,
    out: str | os.PathLike[str],
    command: str,
) -> Path:
    """Fit, calibrate and export an audio classifier as part of a detector.

    Parameters
    ----------
    table, samples
        See :func:`avwitness.detector.training.audio_classifier.data.load_audio_samples`.
    classifier : AudioClassifier
        With the weights of the encoder; its linear layer is fitted, in place.
    base : path-like
        Detector that gets the classifier: bundled name or folder. Its other parts stay as they are.
    config : AudioTrainConfig
    out : path-like
        Folder for the weights.
    command : str
        Named by the card.

    Returns
    -------
    Path
        The folder.
    """
    logits = cross_validated_logits(samples, config)
    calibration = calibrate_audio(logits, table, config)
    set_linear(classifier, fit_linear(samples, config))
    folder = find_weights("detector", base)
    model = with_audio_classifier(DualLabelDetector.from_pretrained(folder, dtype=torch.float32, local_files_only=True), classifier)
    before = Calibration.from_dict(model.config.calibration)
    model.config.calibration = replace(before, audio=calibration).to_dict()
    card = audio_card(read_card(folder), model, classifier, table, samples, calibration, config, command)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    shipped = copy.deepcopy(model).half()
    shipped.save_pretrained(out, safe_serialization=True)
    (out / MODEL).chmod(0o644)  # readable by other users of an installed package
    (out / CARD).write_text(json.dumps({**card, "name": out.name}, indent=2) + "\n")
    return out


def with_audio_classifier(model: DualLabelDetector, classifier: AudioClassifier) -> DualLabelDetector:
    """A copy of a detector whose audio stream is classified by ``classifier``."""
    values = model.config.to_dict() | {"audio_classifier": classifier.config.to_dict()}
    made = DualLabelDetector(DetectorConfig.from_dict(values))
    missing, unexpected = made.load_state_dict(model.state_dict(), strict=False)
    assert not unexpected
    assert all(name.startswith("audio_classifier.") for name in missing)
    assert made.audio_classifier is not None
    made.audio_classifier.load_state_dict(classifier.state_dict())
    return made.eval()


def calibrate_audio(logits: np.ndarray, table: pd.DataFrame, config: AudioTrainConfig) -> StreamCalibration:
    """Calibration on logits of classifiers that did not see the clip's page.

    The threshold for ``fake`` keeps the FPR low on average over pages and on the worst tenth of them; the threshold for
    ``genuine`` leaves 5 % of all fakes below it.
    """
    labels, pages = table.label.to_numpy(), table.page.to_numpy()
    fitted = StreamCalibration.fit(logits, labels, pages, pages, table.method.to_numpy(), mapping="platt")
    p = np.asarray(fitted.probability(logits))
    high = page_threshold(p[labels == 0], pages[labels == 0], config.max_fpr, config.max_worst_fpr)
    low = float(np.quantile(p[labels == 1], MAX_MISS_RATE))
    thresholds = {**fitted.thresholds, "at_5": high, "at_1": max(high, fitted.thresholds["at_1"])}
    return replace(fitted, genuine_below=min(low, high), fake_above=high, thresholds=thresholds)


def audio_card(
    card: dict[str, Any],
    model: DualLabelDetector,
    classifier: AudioClassifier,
    table: pd.DataFrame,
    samples: AudioSamples,
    calibration: StreamCalibration,
    config: AudioTrainConfig,
    command: str,
) -> dict[str, Any]:
    """The base detector's card with the audio classifier's data, settings and figures."""
    kinds = Counter(table[table.label == 1].category)
    extra = samples[~samples.scored]
    return {
        **card,
        "version": __version__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "audio_classifier": {
            "encoder": "first layers of the audio encoder of Whisper base (multilingual), OpenAI, MIT licence",
            "encoder_hash": encoder_hash(classifier),
            "data": {
                "pages": int(table.page.nunique()),
                "genuine": int((table.label == 0).sum()),
                "fakes": dict(sorted(kinds.items())),
                "only fitted to": {"genuine": int((extra.labels == 0).sum()), "forged": int((extra.labels == 1).sum())},
            },
            "training": asdict(config),
            "command": command,
            "calibration": {
                "logits": f"{config.folds}-fold cross-validation by page",
                "fake_above": round(calibration.fake_above, 4),
                "genuine_below": round(calibration.genuine_below, 4),
                "lower bound of the AUC, bootstrap over pages": calibration.power,
            },
        },
    }
