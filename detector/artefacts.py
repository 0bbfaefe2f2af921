"""Two convolutional branches for artefacts that a speech encoder discards: texture of the face, fine structure of the spectrum."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..media.face.crops import FACE_STRIDE
from ..media.speech import SPECTRUM_BINS, STACK

RESIDUAL_GAIN = 0.1  # per grey level: brings the high-pass residual to about unit variance
STRENGTH_DEVIATION = 3.0  # pixels, standard deviation of the window in which the strength of the residual is measured
STRENGTH_REACH = int(2 * STRENGTH_DEVIATION)  # pixels from the centre of that window to its edge
MIN_STRENGTH = 0.05  # squared grey levels; below it a residual is rounding error


class FaceBranch(nn.Module):
    """Aligned faces to a logit for every face; channels are colour, its high-pass residual, and the local strength of the residual.

    ``trunk`` and ``verdict`` are names of published weights.

    Notes
    -----
    Source of the residual: Zhou et al., *Learning rich features for image manipulation detection*, CVPR 2018. The means over the
    face of colour and strength are subtracted, which removes lighting and the sharpness of the camera but keeps differences
    between parts of the face.
    """

    def __init__(self, channels: tuple[int, int, int, int] = (16, 24, 48, 64)) -> None:
        super().__init__()
        a, b, c, d = channels
        self.trunk = nn.Sequential(
            *_convolution(5, a, 2), *_convolution(a, b, 2), *_convolution(b, c, 2), *_convolution(c, c, 1), *_convolution(c, d, 2)
        )
        self.verdict = nn.Sequential(nn.Linear(3 * d, d), nn.ReLU(), nn.Dropout(0.2), nn.Linear(d, 1))

    def forward(self, faces: Tensor) -> Tensor:
        """Faces uint8 or float [B, N, S, S, 3] in 0..255 to logits [B, N]."""
        batch, number = faces.shape[:2]
        x = faces.flatten(0, 1).permute(0, 3, 1, 2).to(next(self.trunk.parameters()).dtype)
        grey = x.mean(dim=1, keepdim=True)
        residual = grey - F.conv2d(F.pad(grey, (1,) * 4, mode="replicate"), binomial_kernel().to(x))
        padded = F.pad(residual.square(), (STRENGTH_REACH,) * 4, mode="reflect")
        strength = torch.log(F.conv2d(padded, gaussian_window().to(x)) + MIN_STRENGTH)
        x = torch.cat([_centred(x) / 64.0, (residual * RESIDUAL_GAIN).clamp(-4.0, 4.0), _centred(strength) / 2.0], dim=1)
        x = self.trunk(x.contiguous(memory_format=torch.channels_last))
        # Many manipulations change the lower half of the face alone, so the halves are pooled separately.
        upper, lower = x[:, :, : x.shape[2] // 2].mean(dim=(2, 3)), x[:, :, x.shape[2] // 2 :].mean(dim=(2, 3))
        return self.verdict(torch.cat([upper, lower, x.amax(dim=(2, 3))], dim=1)).unflatten(0, (batch, number)).squeeze(-1)


# Constants are computed where they are used: a buffer that is not saved is left uninitialised by ``from_pretrained``.


def binomial_kernel() -> Tensor:
    """Low-pass filter [1, 1, 3, 3]; the residual is the image minus its output."""
    binomial = torch.tensor([1.0, 2.0, 1.0]) / 4.0
    return (binomial[:, None] * binomial[None])[None, None]


def gaussian_window() -> Tensor:
    """Window [1, 1, 13, 13] of sum 1 over which the strength of the residual is averaged."""
    bell = torch.exp(-0.5 * (torch.arange(-STRENGTH_REACH, STRENGTH_REACH + 1) / STRENGTH_DEVIATION) ** 2)
    bell = bell / bell.sum()
    return (bell[:, None] * bell[None])[None, None]


def _centred(x: Tensor) -> Tensor:
    return x - x.mean(dim=(2, 3), keepdim=True)


def repeat_to_frames(faces: Tensor, frames: int) -> Tensor:
    """Values of every fifth frame [B, N], repeated for all frames [B, T]."""
    return faces.repeat_interleave(FACE_STRIDE, dim=1)[:, :frames]


class SoundBranch(nn.Module):
    """Stacked log spectrum [B, T, 1024] at 25 Hz to a logit for every frame.

    The mean over the clip is subtracted from every frequency, which removes the response of the microphone and the band limit of
    a codec. ``trunk``, ``bands`` and ``verdict`` are names of published weights.
    """

    def __init__(self, channels: tuple[int, int, int, int] = (16, 24, 32, 48), width: int = 64) -> None:
        super().__init__()
        a, b, c, d = channels
        self.trunk = nn.Sequential(
            nn.Conv2d(1, a, 5, (1, 2), 2, bias=False),
            nn.BatchNorm2d(a),
            nn.ReLU(inplace=True),
            *_convolution(a, b, 2),
            *_convolution(b, c, (1, 2)),
            *_convolution(c, c, 1),
            *_convolution(c, d, 2),
        )
        self.bands = nn.Conv1d(d * SPECTRUM_BINS // 16, width, 3, padding=1)
        self.verdict = nn.Sequential(nn.ReLU(), nn.Dropout(0.2), nn.Conv1d(width, width, 5, padding=2), nn.ReLU(), nn.Conv1d(width, 1, 1))

    def forward(self, spectrum: Tensor, mask: Tensor) -> Tensor:
        """Spectra [B, T, 1024] and bool [B, T] to logits [B, T]."""
        x = spectrum.unflatten(2, (STACK, SPECTRUM_BINS)).flatten(1, 2)
        keep = mask.repeat_interleave(STACK, dim=1)[..., None].to(x.dtype)
        mean = (x * keep).sum(dim=1, keepdim=True) / keep.sum(dim=1, keepdim=True).clamp_min(1.0)
        x = self.trunk(((x - mean) * keep)[:, None])
        return self.verdict(self.bands(x.transpose(1, 2).flatten(2).transpose(1, 2))).squeeze(1)


def _convolution(inner: int, outer: int, stride: int | tuple[int, int]) -> tuple[nn.Module, nn.Module, nn.Module]:
    return nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer), nn.ReLU(inplace=True)
