"""Export of a classifier of one stream: fitted on the field set, calibrated on cross-validated logits, added to a detector."""

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
from torch import nn

from .... import __version__
from ....checkpoints import CARD, find_weights, read_card, weight_files
from ...audio_classifier import AudioClassifier
from ...calibration import MAX_MISS_RATE, Calibration, StreamCalibration
from ...model import DetectorConfig, DualLabelDetector
from ...thresholds import page_threshold
from ...video_classifier import VideoClassifier
from .linear import LinearConfig, PageSamples

ENCODERS = {
    "whisper": "first layers of the audio encoder of Whisper base (multilingual), OpenAI, MIT licence",
    "clip": "first layers of the image tower of CLIP ViT-B/16, OpenAI, MIT licence; eight-bit weights",
    "efficientnet_lite0": "EfficientNet-Lite0, Google, Apache-2.0 licence; a student of the features of CLIP ViT-B/16, OpenAI, MIT licence",
}
SHARD = "80MB"  # of a file of weights


def export_classifier(
    table: pd.DataFrame,
    samples: PageSamples,
    classifier: AudioClassifier | VideoClassifier,
    logits: np.ndarray,
    base: str | os.PathLike[str],
    config: LinearConfig,
    out: str | os.PathLike[str],
    command: str,
) -> Path:
    """Calibrate a fitted classifier and export it as part of a detector.

    Parameters
    ----------
    table, samples
        Of :func:`~avwitness.detector.training.classifiers.audio_data.load_audio_samples`, or of its counterpart for video.
    classifier : AudioClassifier or VideoClassifier
        Fitted to all of these clips.
    logits : float [N]
        Of the clips of the table, by classifiers that were fitted without the clip's page.
    base : path-like
        Detector that gets the classifier: bundled name or folder. Its other parts stay as they are.
    config : LinearConfig
    out : path-like
        Folder for the weights.
    command : str
        Named by the card.

    Returns
    -------
    Path
        The folder.
    """
    stream = "audio" if isinstance(classifier, AudioClassifier) else "video"
    calibration = calibrate_stream(logits, table, config)
    folder = find_weights("detector", base)
    model = with_classifier(DualLabelDetector.from_pretrained(folder, dtype=torch.float32, local_files_only=True), classifier)
    before = Calibration.from_dict(model.config.calibration)
    model.config.calibration = (replace(before, audio=calibration) if stream == "audio" else replace(before, video=calibration)).to_dict()
    card = classifier_card(read_card(folder), stream, model, table, samples, calibration, config, command)
    return save_detector(model, card, out)


def save_detector(model: DualLabelDetector, card: dict[str, Any], out: str | os.PathLike[str]) -> Path:
    """Write the weights of a detector in half precision, and its card, into a folder; returns the folder."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    shipped = copy.deepcopy(model).half()
    shipped.save_pretrained(out, safe_serialization=True, max_shard_size=SHARD)
    for file in weight_files(out):
        file.chmod(0o644)  # readable by other users of an installed package
    (out / CARD).write_text(json.dumps({**card, "name": out.name}, indent=2) + "\n")
    return out


def with_classifier(model: DualLabelDetector, classifier: AudioClassifier | VideoClassifier) -> DualLabelDetector:
    """A copy of a detector one stream of which is classified by ``classifier``."""
    name = "audio_classifier" if isinstance(classifier, AudioClassifier) else "video_classifier"
    return with_part(model, name, classifier, classifier.config.to_dict())


def with_part(model: DualLabelDetector, name: str, part: nn.Module, config: dict[str, Any], replaced: str = "") -> DualLabelDetector:
    """A copy of a detector with another part, and without the part that it takes the place of.

    Parameters
    ----------
    model : DualLabelDetector
    name : str
        Of the part, in the model and in its configuration.
    part : torch.nn.Module
    config : dict
        Its configuration.
    replaced : str
        Name of a part that the copy does not have.
    """
    made = DualLabelDetector(DetectorConfig.from_dict(model.config.to_dict() | {name: config}))
    kept = {key: value for key, value in model.state_dict().items() if key.split(".")[0] not in (name, replaced)}
    missing, unexpected = made.load_state_dict(kept, strict=False)
    assert not unexpected
    assert all(key.startswith(f"{name}.") for key in missing)
    getattr(made, name).load_state_dict(part.state_dict())
    return made.eval()


def calibrate_stream(logits: np.ndarray, table: pd.DataFrame, config: LinearConfig) -> StreamCalibration:
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


def classifier_card(
    card: dict[str, Any],
    stream: str,
    model: DualLabelDetector,
    table: pd.DataFrame,
    samples: PageSamples,
    calibration: StreamCalibration,
    config: LinearConfig,
    command: str,
) -> dict[str, Any]:
    """The base detector's card with the classifier's data, settings and figures."""
    kinds = Counter(table[table.label == 1].category)
    extra = samples[~samples.scored]
    numbers = sum(p.numel() for p in model.parameters())
    return {
        **card,
        "version": __version__,
        "parameters": numbers + sum(b.numel() for b in model.buffers() if b.dtype == torch.int8),
        f"{stream}_classifier": {
            "encoder": ENCODERS[model.video_classifier.config.network if stream == "video" and model.video_classifier else "whisper"],
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
