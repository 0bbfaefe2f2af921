"""Two small networks that paint faces anew: the lower half from what is heard, and the whole through a bottleneck.

``LowerFace`` follows Wav2Lip (Prajwal et al., *A lip sync expert is all you need for speech to lip generation in the
wild*, ACM Multimedia 2020): the lower half of the face is hidden and painted from the upper half, a reference picture of
the same face and the sound. ``FaceAutoencoder`` stands for fakes in which every pixel of the face has passed through a
network. Both work on aligned faces 128x128 (:mod:`avwitness.media.face.crops`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...media.speech import LOG_MEL_BINS, STACK

MASK_TOP = 0.54  # height, as a share of the side, below which the lower face is hidden: the middle of the nose
CONTEXT = 2  # frames of sound on either side of the frame that is painted
AUDIO_FEATURES = LOG_MEL_BINS * STACK  # numbers that one frame of sound has


@dataclass(frozen=True)
class ResynthesisConfig:
    """Sizes: channels from half the resolution down, each halving the side. At full resolution there is nothing but pixels
    moved between space and channels (Shi et al., sub-pixel convolution, CVPR 2016): three quarters of the time would go there.
    """

    widths: tuple[int, ...] = (48, 80, 128, 192)
    audio: int = 128  # channels of the encoded sound
    latent: int = 8  # channels of the autoencoder's bottleneck


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(8, channels)


class _Block(nn.Module):
    """Two convolutions around which the picture passes."""

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
    """Paints the hidden lower half of aligned faces.

    Call it with ``faces`` and ``reference`` float [B, 3, 128, 128] in [0, 1] and ``audio`` float [B, 5, 320] (log-mel of
    the frame and two on either side); it returns faces whose rows below :data:`MASK_TOP` are painted.
    """

    config_type = ResynthesisConfig

    def __init__(self, config: ResynthesisConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ResynthesisConfig()
        widths = config.widths
        self.first = nn.Conv2d(7 * 4, widths[0], 3, padding=1)
        self.downs = nn.ModuleList(_down(a, b) for a, b in itertools.pairwise(widths))
        self.audio = nn.Sequential(
            nn.Conv1d(AUDIO_FEATURES, config.audio, 3), nn.SiLU(), nn.Conv1d(config.audio, config.audio, 3), nn.SiLU(), nn.Flatten()
        )
        self.film = nn.Linear(config.audio, 2 * widths[-1])
        self.middle = _Block(widths[-1], widths[-1])
        self.ups = nn.ModuleList(_Block(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.last = _out(widths[0])

    def forward(self, faces: Tensor, reference: Tensor, audio: Tensor) -> Tensor:
        hidden = lower_face_mask(faces)
        where = hidden.expand(len(faces), 1, *faces.shape[2:])
        x = self.first(F.pixel_unshuffle(torch.cat([faces * (1.0 - hidden) - 0.5, reference - 0.5, where], dim=1), 2))
        kept = []
        for down in self.downs:
            kept.append(x)
            x = down(x)
        gain, bias = self.film(self.audio(audio.transpose(1, 2))).chunk(2, dim=1)
        x = self.middle(x * (1.0 + gain[..., None, None]) + bias[..., None, None])
        for up in self.ups:
            x = up(torch.cat([_up(x), kept.pop()], dim=1))
        return faces * (1.0 - hidden) + torch.sigmoid(self.last(x).float()) * hidden


class FaceAutoencoder(nn.Module):
    """Aligned faces float [B, 3, 128, 128] in [0, 1] through 8 numbers for every 4x4 pixels, and back."""

    config_type = ResynthesisConfig

    def __init__(self, config: ResynthesisConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ResynthesisConfig()
        widths = config.widths[:2]  # a third halving blurred faces that 700 steps had seen; blurred faces are no fakes
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
    """1 below :data:`MASK_TOP` of the side and 0 above, float [1, 1, S, 1], like ``faces`` [B, C, S, S]."""
    rows = torch.arange(faces.shape[-2], device=faces.device) >= MASK_TOP * faces.shape[-2]
    return rows.to(faces.dtype)[None, None, :, None]


def audio_windows(features: Tensor) -> Tensor:
    """Log-mel [T, 320] to the windows that :class:`LowerFace` hears, [T, 5, 320]; the ends are repeated."""
    padded = torch.cat([features[:1].expand(CONTEXT, -1), features, features[-1:].expand(CONTEXT, -1)])
    return padded.unfold(0, 2 * CONTEXT + 1, 1).transpose(1, 2)
