"""Image encoder: EfficientNet-Lite0, a small convolutional network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN = (0.485, 0.456, 0.406)  # of RGB in [0, 1], as the published weights expect them
STANDARD_DEVIATION = (0.229, 0.224, 0.225)
BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM = 1e-3, 0.01
STEM_CHANNELS, EXPANSION = 32, 6
STAGES = (  # blocks, kernel, stride of the first block, output channels
    (1, 3, 1, 16),
    (2, 3, 2, 24),
    (2, 5, 2, 40),
    (3, 3, 2, 80),
    (3, 5, 1, 112),
    (4, 5, 2, 192),
    (1, 3, 1, 320),
)


@dataclass(frozen=True)
class EfficientNetConfig:
    """Size; the number of stages is fixed."""

    size: int = 224  # pixels of an image's side

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of every stage."""
        return tuple(channels for *_, channels in STAGES)


class SamePadConv2d(nn.Conv2d):
    """Convolution without a bias whose output has ceil(input / stride) pixels; the odd pixel of padding is at the right and bottom."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform [B, C, H, W]."""
        return self.convolve(x, self.weight)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Transform [B, C, H, W] with weights of the same shape as the own ones, and a bias [C']."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (max(0, (-(-size // stride) - 1) * stride + kernel - size) for size in x.shape[2:])
        if height % 2 or width % 2:
            x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
            height = width = 0
        return F.conv2d(x, weight, bias, stride, (height // 2, width // 2), 1, self.groups)


class ConvNorm(nn.Sequential):
    """Convolution, batch norm and, unless ``linear``, ReLU6; in evaluation the convolution's weights take in the norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, *, linear: bool = False) -> None:
        norm = nn.BatchNorm2d(outputs, BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM)
        super().__init__(SamePadConv2d(inputs, outputs, kernel, stride, groups), norm, nn.Identity() if linear else nn.ReLU6())

    def forward(self, x: Tensor) -> Tensor:
        """Transform [B, C, H, W]."""
        if self.training:
            return cast(Tensor, super().forward(x))
        conv, norm = cast(SamePadConv2d, self[0]), cast(nn.BatchNorm2d, self[1])
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        out = conv.convolve(x, conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale)
        return cast(Tensor, self[2](out))


class InvertedBottleneck(nn.Module):
    """Expansion, depthwise convolution and projection, with a residual where the sizes allow one."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        expand = [ConvNorm(inputs, width, 1)] if expansion > 1 else []
        self.layers = nn.Sequential(*expand, ConvNorm(width, width, kernel, stride, width), ConvNorm(width, outputs, 1, linear=True))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Transform [B, C, H, W]."""
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0 without its last convolution (Tan and Le, ICML 2019; the Lite variant, 2020, has no squeeze-and-excitation).

    Parameters
    ----------
    config : EfficientNetConfig, optional
    """

    class_tokens = 0  # before the patches of an output

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: EfficientNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or EfficientNetConfig()
        self.register_buffer("mean", torch.tensor(MEAN))
        self.register_buffer("deviation", torch.tensor(STANDARD_DEVIATION))
        self.stem = ConvNorm(3, STEM_CHANNELS, 3, 2)
        stages, inputs = [], STEM_CHANNELS
        for number, (blocks, kernel, stride, outputs) in enumerate(STAGES):
            stage = []
            for block in range(blocks):
                stage.append(InvertedBottleneck(inputs, outputs, kernel, stride if block == 0 else 1, EXPANSION if number else 1))
                inputs = outputs
            stages.append(nn.Sequential(*stage))
        self.stages = nn.ModuleList(stages)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Outputs of every stage, float [B, P, C] with P positions of the image, of RGB images uint8 [B, S, S, 3]."""
        x = (images.to(next(self.parameters()).dtype) / 255.0 - self.mean) / self.deviation
        x = self.stem(x.permute(0, 3, 1, 2))
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x.flatten(2).transpose(1, 2))
        return outputs


def from_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """State of :class:`EfficientNetLite` from a checkpoint with the names of EfficientNet-PyTorch (``_blocks.0._depthwise_conv`` ...).

    Raises
    ------
    KeyError
        If a weight is missing.
    """
    parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")

    def conv_norm(target: str, conv: str, norm: str) -> dict[str, Tensor]:
        return {f"{target}.0.weight": state[f"{conv}.weight"]} | {f"{target}.1.{part}": state[f"{norm}.{part}"] for part in parts}

    found, block = {"mean": torch.tensor(MEAN), "deviation": torch.tensor(STANDARD_DEVIATION)}, 0
    found |= conv_norm("stem", "_conv_stem", "_bn0")
    for number, (blocks, *_) in enumerate(STAGES):
        for position in range(blocks):
            names = [("_expand_conv", "_bn0")] * (number > 0) + [("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
            for layer, (conv, norm) in enumerate(names):
                found |= conv_norm(f"stages.{number}.{position}.layers.{layer}", f"_blocks.{block}.{conv}", f"_blocks.{block}.{norm}")
            block += 1
    return found
