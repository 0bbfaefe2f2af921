"""Building blocks of the talking-head models: temporal convolutions, audio encoder and face encoder, at 25 frames per second."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....avsr.backbones.two_stream import AudioFrontEnd

FACE_FEATURES = 32  # dimensions of the encoded source face


class TemporalBlock(nn.Module):
    """Residual block of two convolutions over time, on sequences [B, T, D]."""

    def __init__(self, width: int, dilation: int = 1, dropout: float = 0.1) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv1d(width, width, 3, padding=1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second(F.silu(self.first(self.norm(x).transpose(1, 2)))).transpose(1, 2)
        return x + self.dropout(inner)


class TemporalNetwork(nn.Module):
    """Sequences [B, T, inside] to sequences [B, T, outside]; the receptive field is about 15 frames on either side."""

    def __init__(self, inside: int, width: int, outside: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.first = nn.Linear(inside, width)
        self.blocks = nn.Sequential(*(TemporalBlock(width, dilation, dropout) for dilation in (1, 2, 4, 4)))
        self.last = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outside))

    def forward(self, *parts: Tensor) -> Tensor:
        """Concatenate inputs [B, T, ...] and [B, ...]; the latter are repeated in every frame."""
        length = next(part.shape[1] for part in parts if part.ndim == 3)
        wide = [part if part.ndim == 3 else part[:, None].expand(-1, length, -1) for part in parts]
        return self.last(self.blocks(self.first(torch.cat(wide, dim=2))))


class AudioEncoder(nn.Module):
    """Log-mel [B, T, 320] to [B, T, width]: the audio front end of our AVSR backbone, then temporal blocks at 25 Hz."""

    def __init__(self, width: int, blocks: int = 2) -> None:
        super().__init__()
        self.front = AudioFrontEnd(width)
        self.blocks = nn.Sequential(*(TemporalBlock(width) for _ in range(blocks)))

    def forward(self, audio: Tensor) -> Tensor:
        present = torch.ones(audio.shape[:2], dtype=torch.bool, device=audio.device)
        return self.blocks(self.front(audio, present))


class FaceEncoder(nn.Module):
    """Images of a head float [B, 3, 96, 96] in [0, 1] to [B, 32]."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        sizes = (3, width, 2 * width, 3 * width, 3 * width)
        self.layers = nn.Sequential(
            *(nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.GroupNorm(8, b), nn.SiLU()) for a, b in itertools.pairwise(sizes))
        )
        # Dropout against overfitting: the training data has few identities.
        self.last = nn.Sequential(nn.Dropout(0.3), nn.Linear(3 * width, FACE_FEATURES))

    def forward(self, image: Tensor) -> Tensor:
        return self.last(self.layers(F.avg_pool2d(image, 2) - 0.5).mean(dim=(2, 3)))


def velocity(x: Tensor) -> Tensor:
    """Differences of neighbouring frames of sequences [B, T, ...]."""
    return x[:, 1:] - x[:, :-1]
