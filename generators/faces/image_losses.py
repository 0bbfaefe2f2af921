"""Losses of image generators: pyramid L1, Laplacian bands, structural similarity, and a patch discriminator."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

SSIM_WINDOW = 7  # pixels, side of the window of the structural similarity
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # constants of the structural similarity for values in [0, 1]


class PatchDiscriminator(nn.Module):
    """Discriminator of overlapping patches of 62 pixels: images [B, 3, H, W] to logits [B, 1, h, w].

    Source: Isola et al., *Image-to-image translation with conditional adversarial networks*, CVPR 2017; with spectral
    normalisation (Miyato et al., ICLR 2018).
    """

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        shapes = ((3, width, 2), (width, 2 * width, 2), (2 * width, 3 * width, 2), (3 * width, 3 * width, 1))
        self.layers = nn.ModuleList(spectral_norm(nn.Conv2d(a, b, 4, s, 1)) for a, b, s in shapes)
        self.last = spectral_norm(nn.Conv2d(3 * width, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
        return self.last(x)


def fine_bands(x: Tensor) -> list[Tensor]:
    """The two finest bands of a Laplacian pyramid of images [B, C, H, W]."""
    bands = []
    for _ in range(2):
        small = F.avg_pool2d(x, 2)
        bands.append(x - F.interpolate(small, scale_factor=2.0, mode="bilinear", align_corners=False))
        x = small
    return bands


def ssim_loss(a: Tensor, b: Tensor) -> Tensor:
    """1 - SSIM of images [B, C, H, W] in [0, 1], over square windows.

    Source: Wang et al., *Image quality assessment: from error visibility to structural similarity*, IEEE TIP 13(4), 2004.
    """
    mean_a, mean_b = F.avg_pool2d(a, SSIM_WINDOW, 1), F.avg_pool2d(b, SSIM_WINDOW, 1)
    var_a = F.avg_pool2d(a * a, SSIM_WINDOW, 1) - mean_a**2
    var_b = F.avg_pool2d(b * b, SSIM_WINDOW, 1) - mean_b**2
    both = F.avg_pool2d(a * b, SSIM_WINDOW, 1) - mean_a * mean_b
    similar = (2 * mean_a * mean_b + SSIM_C1) * (2 * both + SSIM_C2) / ((mean_a**2 + mean_b**2 + SSIM_C1) * (var_a + var_b + SSIM_C2))
    return 1.0 - similar.mean()


def pyramid_l1(a: Tensor, b: Tensor, weight: Tensor, levels: int = 3) -> Tensor:
    """Weighted mean absolute difference of images [B, C, H, W] over an image pyramid; ``weight`` is [B, 1, H, W]."""
    total = a.new_zeros(())
    for level in range(levels):
        if level:
            a, b, weight = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2), F.avg_pool2d(weight, 2)
        total = total + ((a - b).abs() * weight).mean() / weight.mean().clamp_min(1e-6)
    return total / levels
