"""Losses of pretraining: CTC on characters, and masked prediction of cluster labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..model import AVSROutput
from .corpus import IGNORE_INDEX, Batch


def ctc_losses(output: AVSROutput, batch: Batch) -> dict[str, Tensor]:
    """CTC loss per character, by head."""
    lengths = batch.audio_mask.sum(dim=1)
    losses = {}
    for name, scores in output.characters.items():
        rate = scores.shape[1] // batch.audio_mask.shape[1]
        losses[name] = F.ctc_loss(scores.transpose(0, 1), batch.characters, lengths * rate, batch.character_counts, zero_infinity=True)
    return losses


def masked_prediction_losses(output: AVSROutput, batch: Batch, unmasked_weight: float) -> dict[str, Tensor]:
    """Cross-entropy of the clusters, by head; the weight of masked frames is 1, that of the others ``unmasked_weight``.

    A frame of the joint head counts as masked where every stream is masked, dropped or without a usable mouth.
    """
    audio_masked, video_masked = batch.masked[:, 0], batch.masked[:, 1]
    kept_audio, kept_video = batch.keep[:, :1], batch.keep[:, 1:]
    masked = {
        "audio": audio_masked,
        "video": video_masked | ~batch.video_mask,
        "joint": (audio_masked | ~kept_audio) & (video_masked | ~kept_video | ~batch.video_mask),
    }
    losses = {}
    for name, logits in output.clusters.items():
        weight = torch.where(masked[name], 1.0, unmasked_weight) * (batch.clusters != IGNORE_INDEX)
        each = F.cross_entropy(logits.float().transpose(1, 2), batch.clusters, ignore_index=IGNORE_INDEX, reduction="none")
        losses[name] = (each * weight).sum() / weight.sum().clamp_min(1.0)
    return losses
