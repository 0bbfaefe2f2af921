"""AV-HuBERT: early fusion of both streams, then one HuBERT transformer; loads published checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...media.face.mouth import INPUT_SIZE
from ...media.speech import FBANK_BINS, STACK, avhubert_features
from .base import Backbone, Encoded, check_streams, full_mask
from .hubert import attend, hubert_encoder
from .visual import VisualFrontEnd

SIZES: dict[str, dict[str, int]] = {
    "tiny": {"width": 64, "layers": 2, "heads": 4, "feed_forward": 128},
    "base": {"width": 768, "layers": 12, "heads": 12, "feed_forward": 3072},
    "large": {"width": 1024, "layers": 24, "heads": 16, "feed_forward": 4096},
}
RESNET_WIDTHS = (64, 128, 256, 512)  # channels


@dataclass
class AVHubertConfig:
    """Sizes of an :class:`AVHubert`; ``size`` fills in what is left at 0."""

    size: str = "base"
    width: int = 0
    layers: int = 0
    heads: int = 0
    feed_forward: int = 0
    position_kernel: int = 128  # frames
    position_groups: int = 16
    dropout: float = 0.1
    layer: int | None = None  # output of this layer, from 1, without the last norm; None for the whole encoder

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise ValueError(f"there is no AV-HuBERT size {self.size!r}; there are: {', '.join(SIZES)}")
        for name, value in SIZES[self.size].items():
            setattr(self, name, getattr(self, name) or value)


class AVHubert(Backbone):
    """The published network: concatenated features of both streams, one projection, one transformer.

    Its audio input is the 104 stacked filterbank values of :func:`avwitness.media.speech.avhubert_features`.

    Notes
    -----
    Source: Shi et al., *Learning audio-visual speech representation by masked multimodal cluster prediction*, ICLR 2022,
    and its published code; a stream that is missing is zeros after its projection.
    """

    def __init__(self, config: AVHubertConfig) -> None:
        super().__init__()
        self.width, self.audio_features, self.crop, self.layer = config.width, FBANK_BINS * STACK, INPUT_SIZE, config.layer
        self.early_widths = (config.width, config.width)
        self.audio_projection = nn.Linear(self.audio_features, config.width)
        self.video_front: VisualFrontEnd = VisualFrontEnd(RESNET_WIDTHS, parametric=True)
        self.video_projection = nn.Linear(self.video_front.width, config.width)
        self.norm = nn.LayerNorm(2 * config.width)
        self.fusion = nn.Linear(2 * config.width, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = hubert_encoder(
            config.width,
            config.layers,
            config.heads,
            config.feed_forward,
            config.position_kernel,
            config.position_groups,
            config.dropout,
        )

    @staticmethod
    def extract_audio_features(waveform: np.ndarray) -> np.ndarray:
        return avhubert_features(waveform)

    def network(self, audio: Tensor | None, video: Tensor | None, mask: Tensor, layer: int | None = None) -> Tensor:
        """The forward pass of the published network, without masks of single streams.

        Parameters
        ----------
        audio : float [B, T, 104] or None
        video : float [B, T, 88, 88] or None
            Grey values of about zero mean and unit variance.
        mask : bool [B, T]
            False in padded frames.
        layer : int, optional
            See :func:`avwitness.avsr.backbones.hubert.attend`.
        """
        audio_projected = None if audio is None else self.audio_projection(audio)
        video_projected = None if video is None else self.video_projection(self.video_front.forward_normalised(video))
        return self._fuse(audio_projected, video_projected, mask, layer)

    def _fuse(self, audio: Tensor | None, video: Tensor | None, mask: Tensor, layer: int | None) -> Tensor:
        given = audio if audio is not None else video
        assert given is not None
        zeros = torch.zeros_like(given)
        both = torch.cat([zeros if audio is None else audio, zeros if video is None else video], dim=-1)
        return attend(self.encoder, self.dropout(self.fusion(self.norm(both))), mask, layer)

    def encode(
        self,
        audio: Tensor | None,
        video: Tensor | None,
        audio_mask: Tensor | None = None,
        video_mask: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> Encoded:
        check_streams(audio, video)
        audio_projected = video_projected = None
        masks: dict[str, Tensor] = {}
        if audio is not None:
            masks["audio"] = full_mask(audio, audio_mask)
            audio_projected = self.audio_projection(audio) * masks["audio"][..., None]
        if video is not None:
            masks["video"] = full_mask(video, video_mask)
            features = self.video_front(video, masks["video"]) if video.ndim == 4 else video
            video_projected = self.video_projection(features) * masks["video"][..., None]
        # Early fusion has no encoding of a single stream unless the other is left out: one pass each.
        audio_encoded = None if audio_projected is None else self._encode(audio_projected, None, masks["audio"])
        video_encoded = None if video_projected is None else self._encode(None, video_projected, masks["video"])
        if audio_projected is None or video_projected is None:
            joint = audio_encoded if audio_encoded is not None else video_encoded
            assert joint is not None
            return Encoded(audio_encoded, video_encoded, joint, audio_projected, video_projected)
        early = audio_projected, video_projected
        if keep is not None:
            audio_projected, video_projected = audio_projected * keep[:, :1, None], video_projected * keep[:, 1:, None]
        either = masks["audio"] | masks["video"]
        return Encoded(audio_encoded, video_encoded, self._encode(audio_projected, video_projected, either), *early)

    def _encode(self, audio: Tensor | None, video: Tensor | None, mask: Tensor) -> Tensor:
        return self._fuse(audio, video, mask, self.layer) * mask[..., None]


def rename(keys: dict[str, Any]) -> dict[str, Any]:
    """A published state dict under our names; what only pretraining needs (mask, cluster names) is left out.

    Parameters
    ----------
    keys : dict
        State of fairseq's ``AVHubertModel``, by its names.

    Returns
    -------
    dict
        State for :class:`AVHubert`.
    """
    renamed = {}
    for key, value in keys.items():
        new = _renamed(key)
        if new is not None:
            renamed[new] = value
    return renamed


_PREFIXES = (
    ("feature_extractor_audio.proj.", "audio_projection."),
    ("feature_extractor_video.proj.", "video_projection."),
    ("feature_extractor_video.resnet.frontend3D.", "video_front.stem."),
    ("post_extract_proj.", "fusion."),
    ("layer_norm.", "norm."),
    ("encoder.layer_norm.", "encoder.layer_norm."),
    ("encoder.pos_conv.0.weight_g", "encoder.pos_conv_embed.conv.parametrizations.weight.original0"),
    ("encoder.pos_conv.0.weight_v", "encoder.pos_conv_embed.conv.parametrizations.weight.original1"),
    ("encoder.pos_conv.0.", "encoder.pos_conv_embed.conv."),
)
_LAYER = {
    "self_attn.k_proj": "attention.k_proj",
    "self_attn.v_proj": "attention.v_proj",
    "self_attn.q_proj": "attention.q_proj",
    "self_attn.out_proj": "attention.out_proj",
    "self_attn_layer_norm": "layer_norm",
    "fc1": "feed_forward.intermediate_dense",
    "fc2": "feed_forward.output_dense",
    "final_layer_norm": "final_layer_norm",
}
_BLOCK = {
    "conv1": "first.0",
    "bn1": "first.1",
    "relu1": "first.2",
    "conv2": "second.0",
    "bn2": "second.1",
    "relu2": "activation",
    "downsample.0": "shortcut.0",
    "downsample.1": "shortcut.1",
}


def _renamed(key: str) -> str | None:
    for old, new in _PREFIXES:
        if key.startswith(old):
            return new + key[len(old) :]
    if key.startswith("encoder.layers."):
        number, rest = key.removeprefix("encoder.layers.").split(".", 1)
        part, leaf = rest.rsplit(".", 1)
        return f"encoder.layers.{number}.{_LAYER[part]}.{leaf}"
    if key.startswith("feature_extractor_video.resnet.trunk.layer"):
        stage, block, rest = key.removeprefix("feature_extractor_video.resnet.trunk.layer").split(".", 2)
        part, leaf = rest.rsplit(".", 1)
        return f"video_front.trunk.{2 * (int(stage) - 1) + int(block)}.{_BLOCK[part]}.{leaf}"
    return None
