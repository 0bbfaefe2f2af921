"""Audio-visual synchronisation: one embedding a frame of what is heard and of how the lips move, and their cosines by offset."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..media.face.mouth import CROP_SIZE

MAX_OFFSET = 15  # frames (0.6 s) by which audio and video are shifted either way
LIP_POINTS = 40  # landmarks around and inside of the lips
LIP_SCALE = 10.0  # pixels of the mouth crop that count as 1
MIN_NORM = 1e-3  # least length of an embedding before it is divided by it
POSITION_WEIGHT = 0.3  # of the positions of the lips beside their velocities
KERNEL = 5  # frames of every convolution
REACH = 2  # frames beside a frame without lips, or at either end, that are not compared: their embeddings depend on the padding


@dataclass(frozen=True)
class SyncNetworkConfig:
    """Sizes of a :class:`SyncNetwork`.

    Parameters
    ----------
    layer : int
        Layer of the Whisper encoder whose output is embedded; 0 is the output of the convolutions.
    audio_width : int
        Its channels.
    hidden : int
        Channels of the convolutions.
    width : int
        Channels E of the embeddings.
    audio_layers, lip_layers : int
        Convolutions over time of each stream.
    dropout : float
    """

    layer: int = 2
    audio_width: int = 512
    hidden: int = 256
    width: int = 128
    audio_layers: int = 3
    lip_layers: int = 3
    dropout: float = 0.2


class TemporalConvolutions(nn.Module):
    """Convolutions over time, each with batch norm, GELU and dropout, and a linear layer: [B, T, D] to [B, T // stride, E]."""

    def __init__(self, inner: int, hidden: int, outer: int, layers: int, dropout: float, stride: int = 1) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for index in range(layers):
            first = index == 0
            parts.append(nn.Conv1d(inner if first else hidden, hidden, KERNEL, stride if first else 1, KERNEL // 2))
            parts += [nn.BatchNorm1d(hidden), nn.GELU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*parts, nn.Conv1d(hidden, outer, 1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x.transpose(1, 2)).transpose(1, 2)
        return out


class SyncNetwork(nn.Module):
    """Embeds Whisper features and lip landmarks of the same clip, frame by frame, and compares them by offset.

    The mean over the clip is subtracted from the embeddings, so what belongs to speaker, face and channel does not count, only
    what changes with time. The receptive field is a few frames: nothing in the lips' embedding tells the position in the clip.

    Notes
    -----
    Source: two streams with a contrastive loss, one slid over the other, as in Chung and Zisserman, *Out of time: automated lip
    sync in the wild*, ACCV workshops 2016. Landmarks in place of pixels, since far fewer people are needed to learn from them.
    """

    def __init__(self, config: SyncNetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.audio_norm = nn.LayerNorm(config.audio_width)
        shared = (config.hidden, config.width)
        self.audio_layers = TemporalConvolutions(config.audio_width, *shared, config.audio_layers, config.dropout, stride=2)
        self.lip_layers = TemporalConvolutions(4 * LIP_POINTS, *shared, config.lip_layers, config.dropout)

    def embed_audio(self, features: Tensor) -> Tensor:
        """Whisper features [B, 2 T, D] at 50 Hz to [B, T, E] at 25 Hz."""
        out: Tensor = self.audio_layers(self.audio_norm(features.float()))
        return out

    def embed_lips(self, lips: Tensor) -> Tensor:
        """Lip landmarks [B, T, 40, 2] in pixels of the mouth crop to [B, T, E]."""
        x = ((lips.float() - CROP_SIZE / 2) / LIP_SCALE).flatten(2)
        velocity = F.pad(x[:, 1:] - x[:, :-1], (0, 0, 0, 1))
        out: Tensor = self.lip_layers(torch.cat([POSITION_WEIGHT * (x - x.mean(dim=1, keepdim=True)), velocity], dim=-1))
        return out

    def forward(self, features: Tensor, lips: Tensor, audio_mask: Tensor, lip_mask: Tensor) -> Tensor:
        """Sums of cosines and counts of frames by offset.

        Parameters
        ----------
        features : float [B, 2 T, D]
            See :meth:`embed_audio`; frames beyond T are cut off, missing ones are masked.
        lips : float [B, T, 40, 2]
        audio_mask, lip_mask : bool [B, T]
            False in padding and gaps.

        Returns
        -------
        float [B, 2, 31]
            Entry ``15 + d`` compares lips with audio ``d`` frames later.
        """
        length = lips.shape[1]
        features = F.pad(features[:, : 2 * length], (0, 0, 0, max(0, 2 * length - features.shape[1])))
        known = [eroded(mask, REACH) for mask in (audio_mask, lip_mask)]
        audio, video = (directions(x, k) for x, k in zip((self.embed_audio(features), self.embed_lips(lips)), known, strict=True))
        return sums_by_offset(audio, video, *known)


def sums_by_offset(audio: Tensor, video: Tensor, audio_known: Tensor, video_known: Tensor) -> Tensor:
    """Sums of cosines and counts of frames [B, 2, 31] of unit vectors [B, T, E], and bool [B, T] of the frames that are compared.

    Entry ``15 + d`` compares video frames with audio frames ``d`` frames later.
    """
    both = (audio_known[:, :, None] & video_known[:, None, :]).to(audio.dtype)
    table = torch.stack([audio @ video.transpose(1, 2) * both, both], dim=1)  # audio in rows, video in columns
    return torch.stack([torch.diagonal(table, -d, 2, 3).sum(-1) for d in range(-MAX_OFFSET, MAX_OFFSET + 1)], dim=-1)


def directions(x: Tensor, known: Tensor | None = None) -> Tensor:
    """Embeddings [B, T, E] without their mean over the known frames, each of length 1."""
    if known is None:
        centered = x - x.mean(dim=1, keepdim=True)
    else:
        weight = known[..., None].to(x.dtype)
        centered = x - (x * weight).sum(dim=1, keepdim=True) / weight.sum(dim=1, keepdim=True).clamp_min(1.0)
    return F.normalize(centered, dim=-1, eps=MIN_NORM)


def eroded(mask: Tensor, reach: int) -> Tensor:
    """Mask [B, T] of frames that have no masked frame, and no end, within ``reach`` frames."""
    padded = F.pad(mask.float()[:, None], (reach, reach))
    return -F.max_pool1d(-padded, 2 * reach + 1, 1)[:, 0] > 0.5
