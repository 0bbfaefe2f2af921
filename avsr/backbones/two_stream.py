"""The bundled backbone: an audio encoder, a video encoder and a joint encoder."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ...media.face.mouth import INPUT_SIZE
from ...media.speech import LOG_MEL_BINS, STACK
from .base import Backbone, Encoded, check_streams, full_mask
from .hubert import attend, hubert_encoder
from .visual import VisualFrontEnd


@dataclass
class TwoStreamConfig:
    """Sizes of a :class:`TwoStream` backbone; the defaults are the bundled one."""

    width: int = 192  # channels of every encoder
    heads: int = 4
    feed_forward: int = 768  # channels
    audio_layers: int = 2
    video_layers: int = 2
    joint_layers: int = 1
    visual_widths: tuple[int, ...] = (16, 32, 64, 128)  # channels of the visual front end
    visual_blocks: int = 2  # residual blocks a stage
    visual_half_size: bool = False  # see VisualFrontEnd
    position_kernel: int = 31  # frames that the convolutional position embedding spans
    dropout: float = 0.1


class AudioFrontEnd(nn.Module):
    """Stacked log-mel [B, T, 320] at 25 Hz to [B, T, D], by convolutions over the 10-ms frames inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.Conv1d(LOG_MEL_BINS, width, 5, 1, 2), nn.Conv1d(width, width, 5, 2, 2), nn.Conv1d(width, width, 5, 2, 2)]
        )
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in self.layers])

    def forward(self, audio: Tensor, mask: Tensor) -> Tensor:
        x = audio.unflatten(2, (STACK, LOG_MEL_BINS)).flatten(1, 2)
        keep = mask.repeat_interleave(STACK, dim=1)[..., None]
        x = x * keep
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = nn.functional.gelu(norm(layer(x.transpose(1, 2)).transpose(1, 2)))
            keep = keep[:, :: keep.shape[1] // x.shape[1]]
            x = x * keep
        return x


class TwoStream(Backbone):
    """Audio encoder, video encoder and joint encoder, each a HuBERT transformer with layer norm first.

    The input of the joint encoder is the sum of the encodings of the streams that are given.

    Notes
    -----
    Source: the structure that modality-agnostic audio-visual deepfake detection was published with (Yu et al., *A
    modality-agnostic audio-visual deepfake detection*, 2023); transformer layers are those of ``transformers``.
    """

    def __init__(self, config: TwoStreamConfig) -> None:
        super().__init__()
        self.width, self.audio_features, self.crop = config.width, LOG_MEL_BINS * STACK, INPUT_SIZE
        self.early_widths = (config.width, tuple(config.visual_widths)[-1])
        self.audio_front = AudioFrontEnd(config.width)
        self.video_front = VisualFrontEnd(tuple(config.visual_widths), config.visual_blocks, config.visual_half_size)
        self.video_projection = nn.Sequential(nn.LayerNorm(self.video_front.width), nn.Linear(self.video_front.width, config.width))
        self.audio_encoder = _transformer(config, config.audio_layers)
        self.video_encoder = _transformer(config, config.video_layers)
        self.joint_encoder = _transformer(config, config.joint_layers)
        self.audio_to_joint = nn.Linear(config.width, config.width)
        self.video_to_joint = nn.Linear(config.width, config.width)

    def encode(
        self,
        audio: Tensor | None,
        video: Tensor | None,
        audio_mask: Tensor | None = None,
        video_mask: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> Encoded:
        check_streams(audio, video)
        parts: list[Tensor] = []
        masks: list[Tensor] = []
        audio_encoded = video_encoded = audio_early = video_early = None
        if audio is not None:
            mask = full_mask(audio, audio_mask)
            audio_early = self.audio_front(audio, mask)
            audio_encoded = _masked_attend(self.audio_encoder, audio_early, mask)
            kept = mask if keep is None else mask & keep[:, :1]
            parts.append(self.audio_to_joint(audio_encoded) * kept[..., None])
            masks.append(kept)
        if video is not None:
            mask = full_mask(video, video_mask)
            video_early = self.video_front(video, mask) if video.ndim == 4 else video
            video_encoded = _masked_attend(self.video_encoder, self.video_projection(video_early), mask)
            kept = mask if keep is None else mask & keep[:, 1:]
            parts.append(self.video_to_joint(video_encoded) * kept[..., None])
            masks.append(kept)
        either = masks[0] if len(masks) == 1 else masks[0] | masks[1]
        joint = _masked_attend(self.joint_encoder, parts[0] if len(parts) == 1 else parts[0] + parts[1], either)
        return Encoded(audio_encoded, video_encoded, joint, audio_early, video_early)


def _masked_attend(encoder: nn.Module, x: Tensor, mask: Tensor) -> Tensor:
    return attend(encoder, x, mask) * mask[..., None]


def _transformer(config: TwoStreamConfig, layers: int) -> nn.Module:
    return hubert_encoder(
        config.width, layers, config.heads, config.feed_forward, config.position_kernel, config.width // 16, config.dropout
    )
