"""The speech encoder (a backbone that can be saved and loaded) and the AVSR model (a backbone with CTC heads)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from .backbones import Encoded, build_backbone
from .text import VOCABULARY_SIZE

REPRESENTATIONS = ("audio", "video", "joint")  # of a backbone; each has heads of its own


class EncoderConfig(PretrainedConfig):
    """Everything needed to rebuild a speech encoder.

    Parameters
    ----------
    backbone : str
        Registered name, see :data:`avwitness.avsr.backbones.BACKBONES`.
    backbone_options : dict
        Arguments of that backbone's configuration.
    notice : str
        Notice that the licence of the weights requires; empty if none.
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
    """A backbone that ``from_pretrained`` can load: from a converted checkpoint, or from an AVSR model without its heads."""

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
    """The speech encoder of a folder, alone or as part of an AVSR model, in float32.

    Raises
    ------
    ValueError
        If weights of the encoder are missing.
    """
    values = PretrainedConfig.get_config_dict(folder)[0]
    # A configuration made here: transformers would warn about the model type of an AVSR model.
    config = EncoderConfig(values["backbone"], values["backbone_options"], values.get("notice", ""))
    encoder, found = SpeechEncoder.from_pretrained(
        folder, config=config, dtype=torch.float32, local_files_only=True, output_loading_info=True
    )
    if found["missing_keys"]:  # they would keep random values
        raise ValueError(f"{folder}: lacks weights of its encoder: {', '.join(sorted(found['missing_keys'])[:5])}")
    return encoder


class AVSRConfig(PretrainedConfig):
    """Everything needed to rebuild an AVSR model.

    Parameters
    ----------
    backbone : str
        Registered name, see :data:`avwitness.avsr.backbones.BACKBONES`.
    backbone_options : dict
        Arguments of that backbone's configuration.
    clusters : int
        Classes of the masked prediction heads (k-means clusters); 0 builds no such heads.
    rate : int
        CTC outputs for one video frame of 40 ms.
    """

    model_type = "avwitness_reader"  # published in config.json

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
    """Output of the heads; a stream that was not given has no entry.

    Parameters
    ----------
    characters : dict of str to float [B, T * rate, V]
        CTC log-probabilities of blank and characters, by representation (audio, video, joint).
    clusters : dict of str to float [B, T, C]
        Masked prediction logits of the clusters, by representation.
    """

    characters: dict[str, Tensor]
    clusters: dict[str, Tensor]


class AVSRModel(PreTrainedModel):
    """A backbone with a CTC head, and for pretraining a masked prediction head, on each of its representations.

    Notes
    -----
    Source of masked prediction: Shi et al., *Learning audio-visual speech representation by masked multimodal cluster
    prediction*, ICLR 2022. Two CTC outputs a frame are our choice: fast speech has more than 25 characters a second.
    """

    config_class = AVSRConfig
    base_model_prefix = "backbone"
    main_input_name = "audio"

    def __init__(self, config: AVSRConfig) -> None:
        super().__init__(config)
        self.backbone = build_backbone(config.backbone, config.backbone_options)
        width = self.backbone.width
        self.dropout = nn.Dropout(0.1)
        # CTC heads; attributes name the weights that are published.
        self.letter_heads = nn.ModuleDict({name: nn.Linear(width, VOCABULARY_SIZE * config.rate) for name in REPRESENTATIONS})
        self.cluster_heads = nn.ModuleDict({name: nn.Linear(width, config.clusters) for name in REPRESENTATIONS} if config.clusters else {})
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
        """CTC and masked prediction outputs for one or both streams; arguments as for :meth:`avwitness.avsr.backbones.Backbone.encode`."""
        encoded = self.backbone.encode(audio, video, audio_mask, video_mask, keep)
        features = {name: self.dropout(x) for name in REPRESENTATIONS if (x := getattr(encoded, name)) is not None}
        characters = {name: _log_probabilities(self.letter_heads[name](x), self.config.rate) for name, x in features.items()}
        clusters = {name: self.cluster_heads[name](x) for name, x in features.items()} if self.cluster_heads else {}
        return AVSROutput(characters, clusters)


def _log_probabilities(logits: Tensor, rate: int) -> Tensor:
    """Logits [B, T, rate * V] to log-probabilities [B, T * rate, V]."""
    return torch.log_softmax(logits.float().unflatten(2, (rate, VOCABULARY_SIZE)).flatten(1, 2), dim=-1)
