"""Predictions of a detector for samples, as a table, and the fit of its sync head: for calibration and evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ...avsr.backbones.base import Backbone
from ...media.clip import SAMPLES_PER_FRAME, STREAMS
from ...media.face.crops import FACE_SIZE, FACE_STRIDE
from ...media.face.mouth import centre
from ...media.pcm import to_float32
from ...media.speech import log_spectrum
from ..model import DualLabelDetector
from ..sync import fit_sync, sync_curve, sync_offset, sync_statistic
from .batches import MIN_FAKE_FRAMES, Inputs, collate
from .losses import forward_batch
from .samples import Sample

CASES = ("both", "audio", "video")  # streams that a detector is given


def clip_inputs(sample: Sample, backbone: type[Backbone], case: str = "both") -> Inputs:
    """Inputs of a whole clip without augmentation; streams that it lacks, or that the case leaves out, are not in it."""
    frames, inputs = sample.frames, Inputs()
    if sample.waveform is not None and case != "video":
        length = len(sample.waveform) // SAMPLES_PER_FRAME
        waveform = to_float32(sample.waveform)
        pad = ((0, frames - length), (0, 0))
        inputs["audio"], inputs["spectrum"] = np.pad(backbone.extract_audio_features(waveform), pad), np.pad(log_spectrum(waveform), pad)
        inputs["audio_mask"] = np.arange(frames) < length
    if sample.mouth is not None and sample.usable is not None and sample.face is not None and case != "audio":
        padding = frames - len(sample.mouth)
        video = centre(sample.mouth) if sample.visual_features is None else sample.visual_features[0].astype(np.float32)
        inputs["video"] = np.pad(video, ((0, padding), *((0, 0),) * (video.ndim - 1)))
        inputs["video_mask"] = np.pad(sample.usable, (0, padding))
        faces = np.zeros((-(-frames // FACE_STRIDE), FACE_SIZE, FACE_SIZE, 3), dtype=np.uint8)
        faces[: len(sample.face)] = sample.face
        inputs["faces"] = faces
    return inputs


def classifier_inputs(
    model: DualLabelDetector, sample: Sample, inputs: Inputs, portraits: Mapping[str, Path] | None = None
) -> dict[str, torch.Tensor]:
    """Inputs of the classifiers and of the sync network, of those that a detector has, for the streams that are in ``inputs``."""
    found: dict[str, torch.Tensor] = {}
    if model.audio_classifier is not None and "audio" in inputs and sample.waveform is not None:
        found["waveform"] = torch.from_numpy(to_float32(sample.waveform))[None]
    if model.sync_network is not None and "video" in inputs and sample.lips is not None:
        padding = sample.frames - len(sample.lips)
        found["lips"] = torch.from_numpy(np.pad(sample.lips, ((0, padding), (0, 0), (0, 0)), mode="edge"))[None]
    file = None if portraits is None else portraits.get(sample.path)
    if model.video_classifier is not None and "video" in inputs and file is not None:
        with np.load(file) as data:
            found["portraits"], found["portrait_numbers"] = (torch.from_numpy(data[name])[None] for name in ("portraits", "numbers"))
    return found


@torch.inference_mode()
def predict(
    model: DualLabelDetector,
    samples: Sequence[Sample],
    case: str = "both",
    keep_frames: bool = False,
    portraits: Mapping[str, Path] | None = None,
) -> pd.DataFrame:
    """One row a sample: its metadata, its labels, and the detector's logits; NaN where a stream is missing or masked.

    Parameters
    ----------
    case : {"both", "audio", "video"}
        Streams that the detector is given.
    keep_frames : bool
        Whether to keep the logits of the frames, as arrays.
    portraits : mapping of str to Path, optional
        By path of a sample, a file with its ``portraits`` and their frame ``numbers``; a detector with a video classifier predicts
        the video of the others by its video head.

    Returns
    -------
    pandas.DataFrame
        ``path, corpus, identity, source, slot, lag, mismatch``; for each stream ``S_label, S_method, S`` (logit), ``S_speech``,
        ``S_artefacts`` and perhaps ``S_frames``; ``sync`` (see :func:`avwitness.detector.sync.sync_statistic`) and ``offset``
        (frames by which the audio lags).
    """
    from rich.progress import track

    model.eval()
    backbone = type(model.backbone)
    rows = []
    for sample in track(samples, "predicting", disable=len(samples) < 200):
        row: dict[str, Any] = {name: getattr(sample, name) for name in ("path", "corpus", "identity", "source", "slot", "lag", "mismatch")}
        inputs = clip_inputs(sample, backbone, case)
        for stream in STREAMS:
            labels = sample.labels.get(stream)
            row[f"{stream}_label"] = np.nan if labels is None else float(labels.sum() >= MIN_FAKE_FRAMES)
            row[f"{stream}_method"] = sample.methods[stream]
            row |= dict.fromkeys((stream, f"{stream}_speech", f"{stream}_artefacts"), float("nan"))
        row |= {"sync": float("nan"), "offset": float("nan")}
        if inputs:
            output = forward_batch(model, collate([inputs]), **classifier_inputs(model, sample, inputs, portraits))
            for stream in STREAMS:
                logits, mask = getattr(output, stream), inputs.get(f"{stream}_mask")
                if logits is None or mask is None or not mask.any():
                    continue
                row[stream], row[f"{stream}_speech"] = logits.clip.item(), logits.speech.item()
                if logits.artefacts is not None:
                    row[f"{stream}_artefacts"] = logits.artefacts.item()
                if keep_frames:
                    row[f"{stream}_frames"] = logits.frames[0].numpy()
            curve = None if output.sync is None else sync_curve(output.sync[0].numpy())
            if curve is not None:
                row["sync"], row["offset"] = sync_statistic(curve), sync_offset(curve)
        rows.append(row)
    return pd.DataFrame(rows)


@torch.inference_mode()
def fit_sync_head(model: DualLabelDetector, samples: Sequence[Sample]) -> int:
    """Fit the sync head to genuine clips in sync; returns the number of frames it was fitted to."""
    assert model.sync_head is not None
    model.eval()
    backbone = type(model.backbone)

    def front_end_features(sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        batch = collate([clip_inputs(sample, backbone)])
        encoded = model.backbone.encode(batch.audio, batch.video, batch.audio_mask, batch.video_mask)
        assert encoded.audio_early is not None and encoded.video_early is not None
        assert batch.audio_mask is not None and batch.video_mask is not None
        known = (batch.audio_mask & batch.video_mask)[0].numpy()
        return encoded.audio_early[0].numpy(), encoded.video_early[0].numpy(), known, sample.lag or 0

    usable = [s for s in samples if s.genuine and s.mouth is not None and s.waveform is not None]
    return fit_sync(model.sync_head, (front_end_features(sample) for sample in usable))
