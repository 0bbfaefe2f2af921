"""Losses of pretraining: CTC on characters, and masked prediction of cluster labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..model import AVSROutput
from .corpus import IGNORED, Batch


def letter_losses(reading: AVSROutput, batch: Batch) -> dict[str, Tensor]:
    """CTC loss per letter of every head that read something."""
    lengths = batch.audio_mask.sum(dim=1)
    losses = {}
    for name, scores in reading.letters.items():
        rate = scores.shape[1] // batch.audio_mask.shape[1]
        losses[name] = F.ctc_loss(scores.transpose(0, 1), batch.letters, lengths * rate, batch.letter_counts, zero_infinity=True)
    return losses


def cluster_losses(reading: AVSROutput, batch: Batch, visible: float) -> dict[str, Tensor]:
    """Cross-entropy of the sound classes, hidden frames at weight 1 and the others at weight ``visible``."""
    audio_hidden, video_hidden = batch.hidden[:, 0], batch.hidden[:, 1]
    kept_audio, kept_video = batch.keep[:, :1], batch.keep[:, 1:]
    hidden = {
        "audio": audio_hidden,
        "video": video_hidden | ~batch.video_mask,
        "joint": (audio_hidden | ~kept_audio) & (video_hidden | ~kept_video | ~batch.video_mask),
    }
    losses = {}
    for name, logits in reading.clusters.items():
        weight = torch.where(hidden[name], 1.0, visible) * (batch.clusters != IGNORED)
        each = F.cross_entropy(logits.float().transpose(1, 2), batch.clusters, ignore_index=IGNORED, reduction="none")
        losses[name] = (each * weight).sum() / weight.sum().clamp_min(1.0)
    return losses
