"""The dual-label model: one backbone, two heads that testify independently, and a count of the fake streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from ..avsr.backbones import build_backbone
from ..avsr.backbones.base import full_mask
from .artefacts import SeamBranch

MAX_OFFSET = 15  # frames (0.6 s) by which sound and picture are compared either way


class DetectorConfig(PretrainedConfig):
    """Everything needed to rebuild a detector: the backbone by name and its sizes, and the calibration of its verdicts.

    Parameters
    ----------
    backbone : str
        Registered name, see :data:`avwitness.avsr.backbones.BACKBONES`.
    backbone_options : dict
        Arguments of that backbone's configuration.
    sync_width : int
        Channels in which the streams are compared.
    calibration : dict
        See :class:`avwitness.detector.calibration.Calibration`.
    """

    model_type = "avwitness"

    def __init__(
        self,
        backbone: str = "two_stream",
        backbone_options: dict[str, Any] | None = None,
        sync_width: int = 64,
        calibration: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.backbone = backbone
        self.backbone_options = backbone_options or {}
        self.sync_width = sync_width
        self.calibration = calibration or {}


@dataclass(frozen=True)
class Evidence:
    """Head output; what concerns a missing stream is ``None``.

    Parameters
    ----------
    video, audio : float [B] or None
        Logit that the stream is fake.
    video_frames, audio_frames : float [B, T] or None
        The same for every frame at 25 Hz.
    count : float [B, 3]
        Logits of 0, 1 and 2 fake streams.
    sync : float [B, 31] or None
        Similarity of the streams when the sound is taken 15 frames earlier ... 15 frames later than the picture.
    similarity : float [B, T, T] or None
        Similarity of every sound frame (rows) with every picture frame, before averaging.
    seams : float [B, T / 3, 11, 11] or None
        Logits of a seam in every cell of every third frame.
    """

    video: Tensor | None
    audio: Tensor | None
    video_frames: Tensor | None
    audio_frames: Tensor | None
    count: Tensor
    sync: Tensor | None
    similarity: Tensor | None
    seams: Tensor | None


class WitnessHead(nn.Module):
    """One stream's testimony: a logit for every frame, and one for the clip from their mean, spread and maximum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Dropout(0.1))
        self.frame = nn.Linear(width, 1)
        self.clip = nn.Linear(2 * width, 1)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x = self.hidden(x)
        return self.clip(pooled(x, mask)).squeeze(-1), self.frame(x).squeeze(-1)


def pooled(x: Tensor, mask: Tensor) -> Tensor:
    """Mean and standard deviation over the unmasked frames: [B, T, D] to [B, 2 D]."""
    weight = mask[..., None].to(x.dtype)
    total = weight.sum(dim=1).clamp_min(1.0)
    mean = (x * weight).sum(dim=1) / total
    spread = ((x - mean[:, None]).square() * weight).sum(dim=1) / total
    return torch.cat([mean, (spread + 1e-5).sqrt()], dim=-1)


class DualLabelDetector(PreTrainedModel):
    """A backbone with a head for each stream.

    The video head reads the video encoding and the seam branch, the audio head the audio encoding, so that neither can
    lean on the other stream; the count of fake streams and the comparison of the streams read both.
    """

    config_class = DetectorConfig
    base_model_prefix = "backbone"
    main_input_name = "audio"

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__(config)
        self.backbone = build_backbone(config.backbone, config.backbone_options)
        width = self.backbone.width
        self.audio_head = WitnessHead(width)
        self.video_head = WitnessHead(width)
        self.seam_branch = SeamBranch(width)
        self.count_head = nn.Linear(2 * width, 3)
        self.audio_sync = nn.Linear(width, config.sync_width)
        self.video_sync = nn.Linear(width, config.sync_width)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Backbone and heads initialise themselves."""

    def forward(
        self,
        audio: Tensor | None = None,
        video: Tensor | None = None,
        audio_mask: Tensor | None = None,
        video_mask: Tensor | None = None,
    ) -> Evidence:
        """Weigh one or both streams.

        Parameters
        ----------
        audio : float [B, T, F] or None
            Audio features at 25 Hz.
        video : uint8 or float [B, T, S, S] or None
            Grey mouth crops, 0 to 255.
        audio_mask, video_mask : bool [B, T], optional
            False where there is nothing to hear or see.
        """
        encoded = self.backbone.encode(audio, video, audio_mask, video_mask)
        heard = seen = None
        audio_clip = audio_frames = video_clip = video_frames = sync = similarity = seams = None
        if encoded.audio is not None:
            heard = full_mask(encoded.audio, audio_mask)
            audio_clip, audio_frames = self.audio_head(encoded.audio, heard)
        if encoded.video is not None and video is not None:
            seen = full_mask(encoded.video, video_mask)
            seams, artefacts, _ = self.seam_branch(video)
            video_clip, video_frames = self.video_head(encoded.video + artefacts, seen)
        if encoded.audio is not None and encoded.video is not None:
            assert heard is not None and seen is not None
            a = nn.functional.normalize(self.audio_sync(encoded.audio), dim=-1)
            v = nn.functional.normalize(self.video_sync(encoded.video), dim=-1)
            similarity = a @ v.transpose(1, 2)
            sync = diagonal_means(similarity, heard[:, :, None] & seen[:, None, :])
        either = seen if heard is None else heard if seen is None else heard | seen
        assert either is not None
        count = self.count_head(pooled(encoded.joint, either))
        return Evidence(video_clip, audio_clip, video_frames, audio_frames, count, sync, similarity, seams)


def diagonal_means(similarity: Tensor, mask: Tensor) -> Tensor:
    """Mean similarity at every offset: [B, T, T] to [B, 31]; entry ``15 + d`` compares sound ``t + d`` with picture ``t``."""
    means = []
    for offset in range(-MAX_OFFSET, MAX_OFFSET + 1):
        values = torch.diagonal(similarity, -offset, 1, 2)
        weight = torch.diagonal(mask, -offset, 1, 2).to(values.dtype)
        means.append((values * weight).sum(-1) / weight.sum(-1).clamp_min(1.0))
    return torch.stack(means, dim=-1)
