"""What a lip reader discards and a forger leaves: a light branch that looks at every third frame for seams."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CELL = 8  # pixels, side of one cell of the seam map; a crop of 88 pixels has 11x11 cells
STRIDE = 3  # frames from one look to the next: seams do not come and go, and a look costs as much as lip reading
RESIDUAL_GAIN = 0.1  # per grey level: brings the high-pass residual to about unit variance


class SeamBranch(nn.Module):
    """Grey crops and their high-pass residual to a map of seams, and a feature vector for every frame.

    Notes
    -----
    Sources: the residual as in Zhou et al., *Learning rich features for image manipulation detection*, CVPR 2018; the
    map as in Li et al., *Face X-ray for more general face forgery detection*, CVPR 2020.
    """

    kernel: Tensor

    def __init__(self, width: int, channels: tuple[int, int, int] = (16, 32, 48)) -> None:
        super().__init__()
        a, b, c = channels
        self.trunk = nn.Sequential(
            *_convolution(2, a, 2),
            *_convolution(a, b, 2),
            *_convolution(b, b, 1),
            *_convolution(b, c, 2),
            *_convolution(c, c, 1),
        )
        self.map = nn.Conv2d(c, 1, 1)
        self.projection = nn.Linear(2 * c + 2, width)
        self.verdict = nn.Linear(width, 1)  # keeps the features telling by themselves; the video head has the last word
        kernel = torch.tensor([1.0, 2.0, 1.0]) / 4.0
        self.register_buffer("kernel", (kernel[:, None] * kernel[None])[None, None], persistent=False)

    def forward(self, video: Tensor, stride: int = STRIDE) -> tuple[Tensor, Tensor, Tensor]:
        """Crops [B, T, S, S] in 0..255 to seam logits [B, ceil(T / stride), S / 8, S / 8], features [B, T, width] and logits [B, T]."""
        length = video.shape[1]
        video = video[:, ::stride]
        batch, time = video.shape[:2]
        x = video.flatten(0, 1)[:, None].to(self.map.weight.dtype)
        residual = x - F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), self.kernel.to(x.dtype))
        x = torch.cat([x / 64.0 - 2.0, (residual * RESIDUAL_GAIN).clamp(-4.0, 4.0)], dim=1)
        x = self.trunk(x.contiguous(memory_format=torch.channels_last))
        seams = self.map(x)
        peaks = torch.cat([seams.amax(dim=(2, 3)), seams.mean(dim=(2, 3))], dim=1)
        features = self.projection(torch.cat([x.amax(dim=(2, 3)), x.mean(dim=(2, 3)), peaks], dim=1))
        repeated = features.unflatten(0, (batch, time)).repeat_interleave(stride, dim=1)[:, :length]
        return seams[:, 0].unflatten(0, (batch, time)), repeated, self.verdict(repeated).squeeze(-1)


def _convolution(inner: int, outer: int, stride: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    return nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer), nn.ReLU(inplace=True)
