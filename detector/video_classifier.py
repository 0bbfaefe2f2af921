"""Video classifier on CLIP features: statistics over the patches of portraits, and a linear layer."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .clip_encoder import ClipEncoder, ClipEncoderConfig


@dataclass(frozen=True)
class VideoClassifierConfig:
    """The encoder's sizes, and the layers (from 1) whose statistics are classified."""

    encoder: ClipEncoderConfig = field(default_factory=ClipEncoderConfig)
    layers: tuple[int, ...] = (6, 8)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> VideoClassifierConfig:
        """Inverse of :meth:`to_dict`."""
        return cls(ClipEncoderConfig(**values["encoder"]), tuple(values["layers"]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for ``config.json``."""
        return {"encoder": asdict(self.encoder), "layers": list(self.layers)}


class VideoClassifier(nn.Module):
    """Portraits of a clip to logits that the video is fake: one for the clip and one for every portrait.

    The mean and the standard deviation over the patches of the chosen layers are standardised and classified by a linear
    layer. The logit of a clip is the mean of those of its portraits, which is that of their mean statistics.
    """

    center: Tensor
    scale: Tensor

    def __init__(self, config: VideoClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = ClipEncoder(config.encoder)
        width = 2 * config.encoder.width * len(config.layers)
        self.register_buffer("center", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.linear = nn.Linear(width, 1)

    def statistics(self, portraits: Tensor) -> Tensor:
        """Mean and deviation over the patches of every chosen layer, float [N, 2 D L] of portraits uint8 [N, S, S, 3]."""
        outputs = self.encoder(portraits)
        patches = [outputs[layer - 1][:, 1:].float() for layer in self.config.layers]
        return torch.cat([part for x in patches for part in (x.mean(dim=1), x.std(dim=1, correction=0))], dim=1)

    def classify(self, statistics: Tensor) -> Tensor:
        """Logits [...] of statistics [..., 2 D L]."""
        return self.linear((statistics - self.center) / self.scale).squeeze(-1)

    def forward(self, portraits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the clips [B], and of their portraits [B, N], of portraits uint8 [B, N, S, S, 3] of which ``mask`` [B, N] exist."""
        logits = self.classify(self.statistics(portraits.flatten(0, 1))).unflatten(0, portraits.shape[:2])
        weights = mask.to(logits.dtype)
        return (logits * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1.0), logits


def spread_to_frames(logits: Tensor, numbers: Tensor, mask: Tensor, length: int) -> Tensor:
    """Logits [B, T] of all frames: of each, that of the nearest portrait; portraits [B, N] show the frames ``numbers`` [B, N]."""
    distance = (torch.arange(length, device=numbers.device)[None, :, None] - numbers[:, None]).abs().float()
    nearest = distance.masked_fill(~mask[:, None], torch.inf).argmin(dim=2)
    return logits.gather(1, nearest)
