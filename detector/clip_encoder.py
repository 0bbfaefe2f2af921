"""Image encoder: the first layers of a CLIP vision transformer, with weights of eight bits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN = (0.48145466, 0.4578275, 0.40821073)  # of RGB in [0, 1], as in Radford et al.'s code
STANDARD_DEVIATION = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class ClipEncoderConfig:
    """Sizes; the defaults are those of ViT-B/16 with its first ten layers."""

    width: int = 768
    feed_forward: int = 3072
    heads: int = 12
    layers: int = 10
    patch: int = 16  # pixels
    size: int = 224  # pixels of an image's side

    @property
    def positions(self) -> int:
        """Patches of an image, and the class token."""
        return (self.size // self.patch) ** 2 + 1

    @property
    def widths(self) -> tuple[int, ...]:
        """Values of a position after every layer."""
        return (self.width,) * self.layers


class Int8Linear(nn.Module):
    """Linear layer whose weights are stored as eight-bit integers: weight * scale, with a scale for each output channel."""

    weight: Tensor
    scale: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(outputs, inputs, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform [..., I] to [..., O]."""
        return F.linear(x, self.weight.to(x.dtype), None) * self.scale.to(x.dtype) + self.bias.to(x.dtype)

    def quantise(self, weight: Tensor) -> None:
        """Store a weight float [O, I]; exact where it was stored by :meth:`forward`'s formula before."""
        scale = weight.abs().amax(dim=1).clamp_min(1e-12) / 127.0
        self.scale.copy_(scale)
        self.weight.copy_((weight / scale[:, None]).round().to(torch.int8))


class ClipLayer(nn.Module):
    """Self-attention and feed-forward network, each after a layer norm and with a residual."""

    def __init__(self, config: ClipEncoderConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.query, self.key, self.value, self.output = (Int8Linear(config.width, config.width) for _ in range(4))
        self.expand, self.contract = Int8Linear(config.width, config.feed_forward), Int8Linear(config.feed_forward, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """Transform [B, P, D]."""
        y = self.attention_norm(x)
        query, key, value = (layer(y).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value))
        x = x + self.output(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        y = self.expand(self.feed_forward_norm(x))
        return x + self.contract(y * torch.sigmoid(1.702 * y))  # CLIP's approximation of GELU


class ClipEncoder(nn.Module):
    """First layers of the image tower of CLIP (Radford et al., *Learning transferable visual models*, ICML 2021).

    Parameters
    ----------
    config : ClipEncoderConfig
    """

    class_tokens = 1  # before the patches of an output

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: ClipEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.tensor(MEAN))
        self.register_buffer("deviation", torch.tensor(STANDARD_DEVIATION))
        self.patches = nn.Conv2d(3, config.width, config.patch, config.patch, bias=False)
        self.class_token = nn.Parameter(torch.zeros(config.width))
        self.positions = nn.Parameter(torch.zeros(config.positions, config.width))
        self.norm = nn.LayerNorm(config.width)
        self.layers = nn.ModuleList(ClipLayer(config) for _ in range(config.layers))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Outputs of every layer, float [B, 1 + P, D] with the class token first, of RGB images uint8 [B, S, S, 3]."""
        x = (images.to(self.norm.weight.dtype) / 255.0 - self.mean) / self.deviation
        x = self.patches(x.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2)
        x = self.norm(torch.cat([self.class_token.expand(len(x), 1, -1), x], dim=1) + self.positions)
        outputs = []
        for layer in self.layers:
            x = layer(x)
            outputs.append(x)
        return outputs
