"""The visual front end of lip reading: one spatio-temporal convolution, then a residual network on every frame."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

MEAN, DEVIATION = 0.421, 0.165  # of grey lip crops in [0, 1], the usual normalisation in lip reading since LRW


def _rectifier(channels: int, parametric: bool) -> nn.Module:
    return nn.PReLU(channels) if parametric else nn.ReLU(inplace=True)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, inner: int, outer: int, stride: int, parametric: bool = False) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer), _rectifier(outer, parametric))
        self.second = nn.Sequential(nn.Conv2d(outer, outer, 3, 1, 1, bias=False), nn.BatchNorm2d(outer))
        changed = stride != 1 or inner != outer
        self.shortcut = nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer)) if changed else nn.Identity()
        self.activation = _rectifier(outer, parametric)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.second(self.first(x)) + self.shortcut(x))


class VisualFrontEnd(nn.Module):
    """Grey mouth crops to one vector a frame.

    Parameters
    ----------
    widths : sequence of int
        Channels of the stem and of the residual stages; every stage after the first halves the resolution.
    blocks : int
        Residual blocks a stage.
    half_size : bool
        Average 2x2 pixels first and leave the max pooling out: feature maps of the same size for less than half of the computation.
    parametric : bool
        PReLU with a slope for every channel, as in AV-HuBERT, in place of ReLU.

    Notes
    -----
    Source: Stafylakis and Tzimiropoulos, *Combining residual networks with LSTMs for lipreading*, Interspeech 2017.
    """

    def __init__(self, widths: Sequence[int], blocks: int = 2, half_size: bool = False, parametric: bool = False) -> None:
        super().__init__()
        self.half_size = half_size
        self.stem = nn.Sequential(
            nn.Conv3d(1, widths[0], (5, 7, 7), (1, 2, 2), (2, 3, 3), bias=False),
            nn.BatchNorm3d(widths[0]),
            _rectifier(widths[0], parametric),
            nn.Identity() if half_size else nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        )
        trunk: list[nn.Module] = []
        for index, (inner, outer) in enumerate(zip((widths[0], *widths[:-1]), widths, strict=True)):
            trunk.append(ResidualBlock(inner, outer, 1 if index == 0 else 2, parametric))
            trunk += [ResidualBlock(outer, outer, 1, parametric) for _ in range(blocks - 1)]
        self.trunk = nn.Sequential(*trunk)
        self.width = widths[-1]

    def forward(self, video: Tensor, mask: Tensor) -> Tensor:
        """Crops [B, T, S, S] in 0..255 and mask [B, T] to features [B, T, widths[-1]]."""
        x = (video.to(next(self.stem.parameters()).dtype) / 255.0 - MEAN) / DEVIATION
        # Masked frames become the zeros that the convolution pads with, so padding changes nothing.
        x = torch.where(mask[:, :, None, None], x, torch.zeros((), dtype=x.dtype, device=x.device))
        return self.forward_normalised(x)

    def forward_normalised(self, x: Tensor) -> Tensor:
        """Crops [B, T, S, S] of about zero mean and unit variance to features [B, T, widths[-1]]."""
        batch, time = x.shape[:2]
        if self.half_size:
            x = nn.functional.avg_pool2d(x, 2)
        x = self.stem(x[:, None]).transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return self.trunk(x).mean(dim=(2, 3)).unflatten(0, (batch, time))

    def forward_still(self, x: Tensor) -> Tensor:
        """Crops [B, S, S], each repeated over the temporal kernel (a still image), to feature maps [B, widths[-1], h, w]."""
        if self.half_size:
            x = nn.functional.avg_pool2d(x[:, None], 2)[:, 0]
        convolution, *rest = self.stem.children()
        x = nn.functional.conv2d(x[:, None], convolution.weight.sum(dim=2), stride=2, padding=3)[:, :, None]  # type: ignore[operator]
        return self.trunk(nn.Sequential(*rest)(x)[:, :, 0])
