"""A model's evidence on samples, as a table: to calibrate it, and to measure it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from ...avsr.backbones.base import Backbone
from ...media.clip import SAMPLES_PER_FRAME
from ...media.face.crops import FACE_STRIDE, SIDE
from ...media.face.mouth import centre
from ...media.pcm import to_float32
from ...media.speech import log_spectrum
from ..model import DualLabelDetector
from ..sync import fit_sync, sync_curve, sync_offset, sync_statistic
from .batches import LEAST_FAKE, Example, collate
from .losses import forward_batch
from .samples import STREAMS, Sample

CASES = ("both", "audio", "video")  # which streams a model is given


def plain_example(sample: Sample, backbone: type[Backbone], case: str = "both") -> Example:
    """A whole clip as it is; what it lacks, or the case leaves out, is not in it."""
    frames, example = sample.frames, Example()
    if sample.waveform is not None and case != "video":
        there = len(sample.waveform) // SAMPLES_PER_FRAME
        waveform = to_float32(sample.waveform)
        pad = ((0, frames - there), (0, 0))
        example["audio"], example["spectrum"] = np.pad(backbone.extract_audio_features(waveform), pad), np.pad(log_spectrum(waveform), pad)
        example["audio_mask"] = np.arange(frames) < there
    if sample.mouth is not None and sample.usable is not None and sample.face is not None and case != "audio":
        short = frames - len(sample.mouth)
        video = centre(sample.mouth) if sample.looks is None else sample.looks[0].astype(np.float32)
        example["video"] = np.pad(video, ((0, short), *((0, 0),) * (video.ndim - 1)))
        example["video_mask"] = np.pad(sample.usable, (0, short))
        faces = np.zeros((-(-frames // FACE_STRIDE), SIDE, SIDE, 3), dtype=np.uint8)
        faces[: len(sample.face)] = sample.face
        example["faces"] = faces
    return example


@torch.inference_mode()
def predict(model: DualLabelDetector, samples: Sequence[Sample], case: str = "both", keep_frames: bool = False) -> pd.DataFrame:
    """One row a sample: who and what it is, its labels, and the model's logits; NaN where there is nothing to judge.

    Parameters
    ----------
    case : {"both", "audio", "video"}
        Which streams the model is given.
    keep_frames : bool
        Whether to keep the logits of the frames, as arrays.

    Returns
    -------
    pandas.DataFrame
        ``path, corpus, identity, source, slot, lag, mismatch``; for each stream ``S_label, S_method, S`` (logit), ``S_speech``,
        ``S_artefacts`` and perhaps ``S_frames``; ``sync`` (see :func:`avwitness.detector.sync.sync_statistic`) and ``offset``
        (frames by which the sound lags).
    """
    from rich.progress import track

    model.eval()
    backbone = type(model.backbone)
    rows = []
    for sample in track(samples, "judging", disable=len(samples) < 200):
        row: dict[str, Any] = {name: getattr(sample, name) for name in ("path", "corpus", "identity", "source", "slot", "lag", "mismatch")}
        example = plain_example(sample, backbone, case)
        for stream in STREAMS:
            labels = sample.labels.get(stream)
            row[f"{stream}_label"] = np.nan if labels is None else float(labels.sum() >= LEAST_FAKE)
            row[f"{stream}_method"] = sample.methods[stream]
            row |= dict.fromkeys((stream, f"{stream}_speech", f"{stream}_artefacts"), float("nan"))
        row |= {"sync": float("nan"), "offset": float("nan")}
        if example:
            evidence = forward_batch(model, collate([example]))
            for stream in STREAMS:
                said, mask = getattr(evidence, stream), example.get(f"{stream}_mask")
                if said is None or mask is None or not mask.any():
                    continue
                row[stream], row[f"{stream}_speech"] = said.clip.item(), said.speech.item()
                if said.artefacts is not None:
                    row[f"{stream}_artefacts"] = said.artefacts.item()
                if keep_frames:
                    row[f"{stream}_frames"] = said.frames[0].numpy()
            curve = None if evidence.sync is None else sync_curve(evidence.sync[0].numpy())
            if curve is not None:
                row["sync"], row["offset"] = sync_statistic(curve), sync_offset(curve)
        rows.append(row)
    return pd.DataFrame(rows)


@torch.inference_mode()
def learn_sync(model: DualLabelDetector, samples: Sequence[Sample]) -> int:
    """Set the model's comparison of the streams from genuine clips that are in step; returns how many frames were used."""
    model.eval()
    backbone = type(model.backbone)

    def near(sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        batch = collate([plain_example(sample, backbone)])
        encoded = model.backbone.encode(batch.audio, batch.video, batch.audio_mask, batch.video_mask)
        assert encoded.heard is not None and encoded.seen is not None
        assert batch.audio_mask is not None and batch.video_mask is not None
        known = (batch.audio_mask & batch.video_mask)[0].numpy()
        return encoded.heard[0].numpy(), encoded.seen[0].numpy(), known, sample.lag or 0

    usable = [s for s in samples if s.genuine and s.mouth is not None and s.waveform is not None]
    return fit_sync(model.sync_head, (near(sample) for sample in usable))
