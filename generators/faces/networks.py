"""Two small face-resynthesis networks: the lower face from audio, and the whole face by an autoencoder.

``LowerFace`` follows Wav2Lip (Prajwal et al., *A lip sync expert is all you need for speech to lip generation in the
wild*, ACM Multimedia 2020): the lower half of the face is masked and generated from the upper half, a reference image of
the same face and the audio. ``FaceAutoencoder`` represents fakes in which every pixel of the face is the output of a
network. Both work on aligned faces of 128x128 pixels (:mod:`avwitness.media.face.crops`). Sizes and blocks are ours.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...media.speech import STACKED_BINS

MASK_TOP = 0.54  # height, as a share of the side, below which the lower face is masked: the middle of the nose
CONTEXT_FRAMES = 2  # audio frames on either side of the frame that is generated


@dataclass(frozen=True)
class ResynthesisConfig:
    """Sizes of both networks.

    ``widths`` are the channels from half the resolution down, each level halving the side. At full resolution there is
    only sub-pixel rearrangement (Shi et al., CVPR 2016), where convolutions would take three quarters of the time.
    """

    widths: tuple[int, ...] = (48, 80, 128, 192)
    audio: int = 128  # channels of the encoded audio
    latent: int = 8  # channels of the autoencoder's bottleneck


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(8, channels)


class _Block(nn.Module):
    """Residual block of two convolutions."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(inside, outside, 3, padding=1), _norm(outside)
        self.second = nn.Conv2d(outside, outside, 3, padding=1)
        self.skip = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.second(F.silu(self.norm(self.first(F.silu(x)))))


def _down(inside: int, outside: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inside, outside, 4, 2, 1), _Block(outside, outside))


def _out(channels: int) -> nn.Module:
    return nn.Sequential(_norm(channels), nn.SiLU(), nn.Conv2d(channels, 3 * 4, 3, padding=1), nn.PixelShuffle(2))


def _up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class LowerFace(nn.Module):
    """Generates the masked lower half of aligned faces.

    Inputs are ``faces`` and ``reference`` float [B, 3, 128, 128] in [0, 1] and ``audio`` float [B, 5, 320] (log-mel of
    the frame and two on either side); the output are the faces with generated rows below :data:`MASK_TOP`. The audio
    modulates the deepest features by scale and shift (``film``: Perez et al., FiLM, AAAI 2018).
    """

    config_type = ResynthesisConfig

    def __init__(self, config: ResynthesisConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ResynthesisConfig()
        widths = config.widths
        self.first = nn.Conv2d(7 * 4, widths[0], 3, padding=1)
        self.downs = nn.ModuleList(_down(a, b) for a, b in itertools.pairwise(widths))
        self.audio = nn.Sequential(
            nn.Conv1d(STACKED_BINS, config.audio, 3), nn.SiLU(), nn.Conv1d(config.audio, config.audio, 3), nn.SiLU(), nn.Flatten()
        )
        self.film = nn.Linear(config.audio, 2 * widths[-1])
        self.middle = _Block(widths[-1], widths[-1])
        self.ups = nn.ModuleList(_Block(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.last = _out(widths[0])

    def forward(self, faces: Tensor, reference: Tensor, audio: Tensor) -> Tensor:
        mask = lower_face_mask(faces)
        where = mask.expand(len(faces), 1, *faces.shape[2:])
        x = self.first(F.pixel_unshuffle(torch.cat([faces * (1.0 - mask) - 0.5, reference - 0.5, where], dim=1), 2))
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(x)
        gain, bias = self.film(self.audio(audio.transpose(1, 2))).chunk(2, dim=1)
        x = self.middle(x * (1.0 + gain[..., None, None]) + bias[..., None, None])
        for up in self.ups:
            x = up(torch.cat([_up(x), skips.pop()], dim=1))
        return faces * (1.0 - mask) + torch.sigmoid(self.last(x).float()) * mask


class FaceAutoencoder(nn.Module):
    """Autoencoder of aligned faces float [B, 3, 128, 128] in [0, 1], with a bottleneck of 8 channels for every 4x4 pixels."""

    config_type = ResynthesisConfig

    def __init__(self, config: ResynthesisConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ResynthesisConfig()
        widths = config.widths[:2]  # with a third halving, faces were still blurred after 700 steps
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(3 * 4, widths[0], 3, padding=1),
            _Block(widths[0], widths[0]),
            *(_down(a, b) for a, b in itertools.pairwise(widths)),
            _norm(widths[-1]),
            nn.SiLU(),
            nn.Conv2d(widths[-1], config.latent, 1),
        )
        self.decoder_first = nn.Sequential(nn.Conv2d(config.latent, widths[-1], 3, padding=1), _Block(widths[-1], widths[-1]))
        self.ups = nn.ModuleList(_Block(a, b) for a, b in zip(widths[::-1], widths[-2::-1], strict=False))
        self.last = _out(widths[0])

    def forward(self, faces: Tensor) -> Tensor:
        x = self.decoder_first(torch.tanh(self.encoder(faces - 0.5)))
        for up in self.ups:
            x = up(_up(x))
        return torch.sigmoid(self.last(x).float())


def lower_face_mask(faces: Tensor) -> Tensor:
    """Mask float [1, 1, S, 1] of faces [B, C, S, S]: 1 below :data:`MASK_TOP` of the side, 0 above."""
    rows = torch.arange(faces.shape[-2], device=faces.device) >= MASK_TOP * faces.shape[-2]
    return rows.to(faces.dtype)[None, None, :, None]


def audio_windows(features: Tensor) -> Tensor:
    """Log-mel [T, 320] to the windows [T, 5, 320] that :class:`LowerFace` takes; the ends are repeated."""
    padded = torch.cat([features[:1].expand(CONTEXT_FRAMES, -1), features, features[-1:].expand(CONTEXT_FRAMES, -1)])
    return padded.unfold(0, 2 * CONTEXT_FRAMES + 1, 1).transpose(1, 2)
