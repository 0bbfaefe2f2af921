"""The speech encoder, a backbone in a folder of its own, and the speech reader, with heads that write letters."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from .backbones import Encoded, build_backbone
from .text import VOCABULARY

STREAMS = ("audio", "video", "joint")


class EncoderConfig(PretrainedConfig):
    """Everything needed to rebuild a backbone.

    Parameters
    ----------
    backbone : str
        Registered name, see :data:`avwitness.avsr.backbones.BACKBONES`.
    backbone_options : dict
        Arguments of that backbone's configuration.
    notice : str
        What the licence of the weights asks to be said; empty if nothing.
    """

    model_type = "avwitness_encoder"

    def __init__(
        self, backbone: str = "two_stream", backbone_options: dict[str, Any] | None = None, notice: str = "", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.backbone = backbone
        self.backbone_options = backbone_options or {}
        self.notice = notice


class SpeechEncoder(PreTrainedModel):
    """A backbone that ``from_pretrained`` can load: from a converted checkpoint, or out of a speech reader."""

    config_class = EncoderConfig
    base_model_prefix = "backbone"
    main_input_name = "audio"
    _keys_to_ignore_on_load_unexpected = [r"letter_heads\.", r"cluster_heads\.", r"decoder\."]  # noqa: RUF012

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.backbone = build_backbone(config.backbone, config.backbone_options)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """The backbone initialises itself."""

    def forward(self, *streams: Tensor | None, **options: Tensor | None) -> Encoded:
        """Encode one or both streams; arguments as for :meth:`avwitness.avsr.backbones.Backbone.encode`."""
        return self.backbone.encode(*streams, **options)


def load_encoder(folder: str | os.PathLike[str]) -> SpeechEncoder:
    """The speech encoder of a folder that holds one, alone or under the heads of a reader, in float32.

    Raises
    ------
    ValueError
        If weights of the encoder are missing.
    """
    values = PretrainedConfig.get_config_dict(folder)[0]
    # A configuration made here, because that of a reader would be read with a warning about its kind.
    config = EncoderConfig(values["backbone"], values["backbone_options"], values.get("notice", ""))
    encoder, found = SpeechEncoder.from_pretrained(
        folder, config=config, dtype=torch.float32, local_files_only=True, output_loading_info=True
    )
    if found["missing_keys"]:  # or they would stay random
        raise ValueError(f"{folder}: lacks weights of its encoder: {', '.join(sorted(found['missing_keys'])[:5])}")
    return encoder


class AVSRConfig(PretrainedConfig):
    """Everything needed to rebuild a speech reader.

    Parameters
    ----------
    backbone : str
        Registered name, see :data:`avwitness.avsr.backbones.BACKBONES`.
    backbone_options : dict
        Arguments of that backbone's configuration.
    clusters : int
        Sound classes that the masked prediction heads tell apart; 0 builds no such heads.
    rate : int
        Letters that CTC may write in one video frame of 40 ms.
    """

    model_type = "avwitness_reader"

    def __init__(
        self,
        backbone: str = "two_stream",
        backbone_options: dict[str, Any] | None = None,
        clusters: int = 0,
        rate: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.backbone = backbone
        self.backbone_options = backbone_options or {}
        self.clusters = clusters
        self.rate = rate


@dataclass(frozen=True)
class AVSROutput:
    """What the heads say; a stream that was not given has no entry.

    Parameters
    ----------
    letters : dict of str to float [B, T * rate, V]
        Log-probabilities of blank and letters, by stream (audio, video, joint).
    clusters : dict of str to float [B, T, C]
        Logits of the sound classes, by stream.
    """

    letters: dict[str, Tensor]
    clusters: dict[str, Tensor]


class AVSRModel(PreTrainedModel):
    """A backbone, and on each of its representations a CTC head and a sound class head.

    Notes
    -----
    Source of the classes: Shi et al., *Learning audio-visual speech representation by masked multimodal cluster
    prediction*, ICLR 2022. Writing two letters a frame is ours: at 25 Hz fast speech has fewer frames than letters.
    """

    config_class = AVSRConfig
    base_model_prefix = "backbone"
    main_input_name = "audio"

    def __init__(self, config: AVSRConfig) -> None:
        super().__init__(config)
        self.backbone = build_backbone(config.backbone, config.backbone_options)
        width = self.backbone.width
        self.dropout = nn.Dropout(0.1)
        self.letter_heads = nn.ModuleDict({name: nn.Linear(width, VOCABULARY * config.rate) for name in STREAMS})
        self.cluster_heads = nn.ModuleDict({name: nn.Linear(width, config.clusters) for name in STREAMS} if config.clusters else {})
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Backbone and heads initialise themselves."""

    def forward(
        self,
        audio: Tensor | None = None,
        video: Tensor | None = None,
        audio_mask: Tensor | None = None,
        video_mask: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> AVSROutput:
        """Read one or both streams; arguments as for :meth:`avwitness.avsr.backbones.Backbone.encode`."""
        encoded = self.backbone.encode(audio, video, audio_mask, video_mask, keep)
        found = {name: self.dropout(x) for name in STREAMS if (x := getattr(encoded, name)) is not None}
        letters = {name: _letters(self.letter_heads[name](x), self.config.rate) for name, x in found.items()}
        clusters = {name: self.cluster_heads[name](x) for name, x in found.items()} if self.cluster_heads else {}
        return AVSROutput(letters, clusters)


def _letters(logits: Tensor, rate: int) -> Tensor:
    return torch.log_softmax(logits.float().unflatten(2, (rate, VOCABULARY)).flatten(1, 2), dim=-1)
