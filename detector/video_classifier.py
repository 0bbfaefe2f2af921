"""Video classifier on the features of an image encoder: statistics over the patches of portraits, and a linear layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .clip_encoder import ClipEncoder, ClipEncoderConfig
from .efficientnet import EfficientNetConfig, EfficientNetLite

#: Image encoders by name: their configuration and their network.
ENCODERS: dict[str, tuple[type[ClipEncoderConfig | EfficientNetConfig], type[ClipEncoder | EfficientNetLite]]] = {
    "clip": (ClipEncoderConfig, ClipEncoder),
    "efficientnet_lite0": (EfficientNetConfig, EfficientNetLite),
}

#: Parts of a portrait that are encoded, by name: left, top, right and bottom as shares of its side.
VIEWS: dict[str, tuple[float, float, float, float]] = {"portrait": (0.0, 0.0, 1.0, 1.0), "mouth": (62 / 224, 0.5, 162 / 224, 212 / 224)}


@dataclass(frozen=True)
class VideoClassifierConfig:
    """What is classified.

    Parameters
    ----------
    encoder : ClipEncoderConfig or EfficientNetConfig
        The image encoder.
    patch_layers, token_layers : tuple of int
        Layers or stages (from 1) whose patches and whose class tokens are classified.
    views : tuple of str
        Parts of the portrait that are encoded, see :data:`VIEWS`.
    """

    encoder: ClipEncoderConfig | EfficientNetConfig = field(default_factory=ClipEncoderConfig)
    patch_layers: tuple[int, ...] = (7,)
    token_layers: tuple[int, ...] = (8, 10)
    views: tuple[str, ...] = ("portrait",)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> VideoClassifierConfig:
        """Inverse of :meth:`to_dict`; weights of older versions name no views and have the portrait alone."""
        config, _ = ENCODERS[values.get("network", "clip")]
        patch_layers, token_layers = (tuple(values[name]) for name in ("patch_layers", "token_layers"))
        return cls(config(**values["encoder"]), patch_layers, token_layers, tuple(values.get("views", ("portrait",))))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for ``config.json``."""
        chosen = {name: list(getattr(self, name)) for name in ("patch_layers", "token_layers", "views")}
        return {"network": self.network, "encoder": asdict(self.encoder), **chosen}

    @property
    def network(self) -> str:
        """Name of the encoder in :data:`ENCODERS`."""
        return next(name for name, (config, _) in ENCODERS.items() if isinstance(self.encoder, config))

    @property
    def parts(self) -> list[tuple[str, int]]:
        """Name and number of values of every part of the statistics."""
        widths = self.encoder.widths
        patches = [(f"patches of layer {n}", 2 * widths[n - 1]) for n in self.patch_layers]
        tokens = [(f"class token of layer {n}", widths[n - 1]) for n in self.token_layers]
        return [(f"{view}, {name}", width) for view in self.views for name, width in patches + tokens]


class VideoClassifier(nn.Module):
    """Portraits of a clip to logits that the video is fake: one for the clip and one for every portrait.

    Of every view of a portrait, the mean and the standard deviation over the patches of some layers and the class token of others
    are standardised and classified by a linear layer. The logit of a clip is the mean of those of its portraits, which is that of
    their mean statistics.
    """

    center: Tensor
    scale: Tensor

    def __init__(self, config: VideoClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder: ClipEncoder | EfficientNetLite = ENCODERS[config.network][1](config.encoder)  # type: ignore[arg-type]
        width = sum(size for _, size in config.parts)
        self.register_buffer("center", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.linear = nn.Linear(width, 1)

    def statistics(self, portraits: Tensor) -> Tensor:
        """Statistics float [N, K], in the order of the configuration's ``parts``, of portraits uint8 [N, S, S, 3]."""
        return torch.cat([part for view in self.config.views for part in self._statistics(view_of(portraits, view))], dim=1)

    def _statistics(self, images: Tensor) -> list[Tensor]:
        outputs = self.encoder(images)
        patches = [outputs[layer - 1][:, self.encoder.class_tokens :].float() for layer in self.config.patch_layers]
        tokens = [outputs[layer - 1][:, 0].float() for layer in self.config.token_layers]
        return [part for x in patches for part in (x.mean(dim=1), x.std(dim=1, correction=0))] + tokens

    def classify(self, statistics: Tensor) -> Tensor:
        """Logits [...] of statistics [..., K]."""
        return self.linear((statistics - self.center) / self.scale).squeeze(-1)

    def forward(self, portraits: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the clips [B], and of their portraits [B, N], of portraits uint8 [B, N, S, S, 3]."""
        logits = self.classify(self.statistics(portraits.flatten(0, 1))).unflatten(0, portraits.shape[:2])
        return logits.mean(dim=1), logits


def view_of(portraits: Tensor, name: str) -> Tensor:
    """A part of portraits uint8 [N, S, S, 3], enlarged to their size."""
    side = portraits.shape[1]
    left, top, right, bottom = (round(side * share) for share in VIEWS[name])
    if (left, top, right, bottom) == (0, 0, side, side):
        return portraits
    part = portraits[:, top:bottom, left:right].permute(0, 3, 1, 2).float()
    enlarged = F.interpolate(part, (side, side), mode="bicubic", align_corners=False)
    return enlarged.clamp(0.0, 255.0).round().to(torch.uint8).permute(0, 2, 3, 1)


def spread_to_frames(logits: Tensor, numbers: Tensor, length: int) -> Tensor:
    """Logits [B, T] of all frames: of each, that of the nearest portrait; portraits [B, N] show the frames ``numbers`` [B, N]."""
    distance = (torch.arange(length, device=numbers.device)[None, :, None] - numbers[:, None]).abs()
    return logits.gather(1, distance.argmin(dim=2))


def with_image_encoder(
    encoder: ClipEncoder | EfficientNetLite,
    patch_layers: Iterable[int],
    token_layers: Iterable[int],
    views: Iterable[str] = ("portrait",),
) -> VideoClassifier:
    """A classifier with the weights of an encoder, whose linear layer is not fitted yet."""
    classifier = VideoClassifier(VideoClassifierConfig(encoder.config, tuple(patch_layers), tuple(token_layers), tuple(views)))
    classifier.encoder.load_state_dict(encoder.state_dict())
    return classifier.eval()
