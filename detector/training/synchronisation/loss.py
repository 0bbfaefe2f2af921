"""Contrast of a sync network: the true offset against other offsets of the same recording and against the sound of others."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....avsr.sync_network import MAX_OFFSET, SyncNetwork, directions
from .batches import SyncBatch

REFERENCE = 5  # frames; the cosine of n frames counts sqrt(n / 5) times as much
MIN_COMPARED = 0.6  # share of the frames of a part that an offset must compare
MIN_TRUE = 0.8  # the same for the true offset; parts with fewer do not count
MAX_TEMPERATURE = 60.0  # largest factor of the cosines
MASKED = -1e4  # logit of what cannot be compared


class ContrastiveLoss(nn.Module):
    """A sync network with its loss and a trained temperature.

    A window is compared as a whole and in parts. Each part is classified: the true offset, or one beside it, against all other
    offsets and against the sound of the other recordings of the batch at the same place.

    Notes
    -----
    Source: InfoNCE (van den Oord et al., *Representation learning with contrastive predictive coding*, 2018), with the offsets of
    one clip as negatives as in Chung et al., *Perfect match: improved cross-modal embeddings for audio-visual synchronisation*,
    ICASSP 2019.
    """

    def __init__(
        self,
        network: SyncNetwork,
        temperature: float = 10.0,
        parts: Sequence[int] = (1, 2, 5),
        tolerance: int = 1,
        bf16: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))
        self.parts, self.tolerance, self.bf16 = tuple(parts), tolerance, bf16

    def forward(self, batch: SyncBatch) -> tuple[Tensor, Tensor]:
        """The loss, and the share of parts whose best match is the true offset."""
        with torch.autocast(batch.lips.device.type, torch.bfloat16, enabled=self.bf16):
            embedded = self.network.embed_audio(batch.features), self.network.embed_lips(batch.lips)
        audio, lips = (directions(x.float()) for x in embedded)
        similarity, counts = _by_offset(audio, lips, batch)
        others = torch.einsum("bte,cte->bct", lips, audio[:, MAX_OFFSET:-MAX_OFFSET])
        heard = batch.audio_mask[:, MAX_OFFSET:-MAX_OFFSET]
        others = others * (batch.lip_mask[:, None] & heard[None])
        losses, hits, total = [], torch.zeros(()), torch.zeros(())
        for part in self.parts:
            frames = lips.shape[1] // part
            logits, good = self._logits(similarity, counts, others, frames)
            true = slice(MAX_OFFSET - self.tolerance, MAX_OFFSET + self.tolerance + 1)
            losses.append(-(F.log_softmax(logits, dim=1)[:, true].logsumexp(dim=1) * good).sum() / good.sum().clamp_min(1))
            best = logits.detach().argmax(dim=1)
            hits = hits + (((best - MAX_OFFSET).abs() <= self.tolerance) & good).sum()
            total = total + good.sum()
        return torch.stack(losses).mean(), hits / total.clamp_min(1)

    def _logits(self, similarity: Tensor, counts: Tensor, others: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        """Logits [B, 31 + B, P] of the offsets and of the other recordings for P parts of some frames, and which parts count."""
        scale = self.log_temperature.exp().clamp_max(MAX_TEMPERATURE) * math.sqrt(frames / REFERENCE)
        sums, compared, foreign = (_parts(x, frames).sum(dim=-1) for x in (similarity, counts, others))
        own = torch.where(compared >= MIN_COMPARED * frames, sums / compared.clamp_min(1) * scale, MASKED)
        itself = torch.eye(len(others), dtype=torch.bool, device=others.device)[:, :, None]
        return torch.cat([own, (foreign / frames * scale).masked_fill(itself, MASKED)], dim=1), compared[:, MAX_OFFSET] >= MIN_TRUE * frames


def _by_offset(audio: Tensor, lips: Tensor, batch: SyncBatch) -> tuple[Tensor, Tensor]:
    """Cosines [B, 31, T] of every frame of the lips with the audio at every offset, and where both are known."""
    frames = lips.shape[1]
    at = torch.arange(frames, device=lips.device)[:, None] + torch.arange(2 * MAX_OFFSET + 1, device=lips.device)
    cosines = (lips @ audio.transpose(1, 2)).gather(2, at.expand(len(lips), -1, -1))  # [B, T, 31]
    known = batch.audio_mask[:, at] & batch.lip_mask[:, :, None]
    return (cosines * known).transpose(1, 2), known.to(lips.dtype).transpose(1, 2)


def _parts(x: Tensor, frames: int) -> Tensor:
    """[..., T] in parts of some frames: [..., P, frames]; a rest is cut off."""
    count = x.shape[-1] // frames
    return x[..., : count * frames].unflatten(-1, (count, frames))
