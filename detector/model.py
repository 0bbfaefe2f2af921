"""The dual-label model: one backbone, two heads that testify independently, and a count of the fake streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from ..avsr.backbones import build_backbone
from ..avsr.backbones.base import full_mask
from .artefacts import FaceBranch, SoundBranch, spread
from .sync import SyncHead

LABELS = ("dual", "binary")


class DetectorConfig(PretrainedConfig):
    """Everything needed to rebuild a detector: the backbone by name and its sizes, and the calibration of its verdicts.

    Parameters
    ----------
    backbone : str
        Registered name, see :data:`avwitness.avsr.backbones.BACKBONES`.
    backbone_options : dict
        Arguments of that backbone's configuration.
    labels : {"dual", "binary"}
        ``binary`` has one head on the joint encoding that says whether anything is fake: what the dual labels are compared with.
    artefacts : bool
        Whether the two artefact branches are there.
    sync_width : int
        Channels in which the streams are compared.
    calibration : dict
        See :class:`avwitness.detector.calibration.Calibration`.
    notice : str
        What the licence of the weights asks to be said; empty if nothing.
    """

    model_type = "avwitness"

    def __init__(
        self,
        backbone: str = "two_stream",
        backbone_options: dict[str, Any] | None = None,
        labels: str = "dual",
        artefacts: bool = True,
        sync_width: int = 32,
        calibration: dict[str, Any] | None = None,
        notice: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.backbone = backbone
        self.backbone_options = backbone_options or {}
        self.labels = labels
        self.artefacts = artefacts
        self.sync_width = sync_width
        self.calibration = calibration or {}
        self.notice = notice


@dataclass(frozen=True)
class StreamOutput:
    """What is said of one stream.

    Parameters
    ----------
    clip : float [B]
        Logit that the stream is fake somewhere.
    frames : float [B, T]
        Logit that a frame is, at 25 Hz.
    speech, artefacts : float [B] or None
        The parts of ``clip`` that come from the speech encoder and from the artefact branch.
    """

    clip: Tensor
    frames: Tensor
    speech: Tensor
    artefacts: Tensor | None


@dataclass(frozen=True)
class DetectorOutput:
    """Head output; what concerns a missing stream is ``None``.

    Parameters
    ----------
    video, audio : StreamOutput or None
    count : float [B, 3]
        Logits of 0, 1 and 2 fake streams.
    sync : float [B, 2, 31] or None
        Sums of similarities and how many frames were compared, see :class:`avwitness.detector.sync.SyncHead`.
    """

    video: StreamOutput | None
    audio: StreamOutput | None
    count: Tensor
    sync: Tensor | None


class ClassificationHead(nn.Module):
    """One stream's testimony: a logit for every frame, and one for the clip from their mean and spread."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Dropout(0.1))
        self.frame = nn.Linear(width, 1)
        self.clip = nn.Linear(2 * width, 1)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x = self.hidden(x)
        return self.clip(pooled(x, mask)).squeeze(-1), self.frame(x).squeeze(-1)


class CountToken(nn.Module):
    """A learned token that asks the joint encoding how many streams are fake."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.answer = nn.Linear(width, 3)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Encodings [B, T, D] and bool [B, T] to logits [B, 3]; where nothing is known, the first frame stands for it."""
        hidden = ~mask
        hidden = hidden & ~(hidden.all(dim=1, keepdim=True) & (torch.arange(x.shape[1], device=x.device) == 0))
        heard, _ = self.attention(self.token.expand(len(x), -1, -1), x, x, key_padding_mask=hidden, need_weights=False)
        return self.answer(self.norm(heard[:, 0]))


def pooled(x: Tensor, mask: Tensor) -> Tensor:
    """Mean and standard deviation over the unmasked frames: [B, T, D] to [B, 2 D]."""
    mean = masked_mean(x, mask)
    spread_ = masked_mean((x - mean[:, None]).square(), mask)
    return torch.cat([mean, (spread_ + 1e-5).sqrt()], dim=-1)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the unmasked frames of [B, T, D] or [B, T]."""
    weight = mask.to(x.dtype) if x.ndim == 2 else mask[..., None].to(x.dtype)
    return (x * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1.0)


def soft_maximum(x: Tensor, mask: Tensor) -> Tensor:
    """Logarithm of the mean odds of the unmasked frames [B, T]: a forged word shows in a genuine sentence, and noise averages out."""
    lowest = torch.finfo(x.dtype).min / 2
    total = torch.logsumexp(torch.where(mask, x, lowest), dim=1) - mask.sum(dim=1).clamp_min(1).to(x.dtype).log()
    return torch.where(mask.any(dim=1), total, torch.zeros_like(total))


class DualLabelDetector(PreTrainedModel):
    """A backbone with a head for each stream, and beside each an artefact branch.

    The video head reads the video encoding alone and the audio head the audio encoding, so that neither can lean on the
    other stream. A stream's logit is the sum of what its head and its artefact branch say: each is trained to be right by
    itself too. The count of fake streams and the comparison of the streams read both.
    """

    config_class = DetectorConfig
    base_model_prefix = "backbone"
    main_input_name = "audio"

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__(config)
        if config.labels not in LABELS:
            raise ValueError(f"labels must be one of {', '.join(LABELS)}, not {config.labels!r}")
        self.backbone = build_backbone(config.backbone, config.backbone_options)
        width = self.backbone.width
        self.audio_head = ClassificationHead(width)
        self.video_head = ClassificationHead(width)
        self.joint_head = ClassificationHead(width) if config.labels == "binary" else None
        self.sound_branch = SoundBranch() if config.artefacts else None
        self.face_branch = FaceBranch() if config.artefacts else None
        self.count_token = CountToken(width)
        self.sync_head = SyncHead(*self.backbone.early_widths, config.sync_width)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Backbone and heads initialise themselves."""

    def forward(
        self,
        audio: Tensor | None = None,
        video: Tensor | None = None,
        audio_mask: Tensor | None = None,
        video_mask: Tensor | None = None,
        spectrum: Tensor | None = None,
        faces: Tensor | None = None,
    ) -> DetectorOutput:
        """Weigh one or both streams.

        Parameters
        ----------
        audio : float [B, T, F] or None
            Audio features at 25 Hz.
        video : uint8 or float [B, T, S, S] or None
            Grey mouth crops, 0 to 255.
        audio_mask, video_mask : bool [B, T], optional
            False where there is nothing to hear or see.
        spectrum : float [B, T, 1024], optional
            See :func:`avwitness.media.speech.log_spectrum`; without it the artefact branch says nothing.
        faces : uint8 [B, ceil(T / 5), 128, 128, 3], optional
            See :func:`avwitness.media.face.crops.face_crops`.
        """
        encoded = self.backbone.encode(audio, video, audio_mask, video_mask)
        heard = None if encoded.audio is None else full_mask(encoded.audio, audio_mask)
        seen = None if encoded.video is None else full_mask(encoded.video, video_mask)
        either = seen if heard is None else heard if seen is None else heard | seen
        assert either is not None
        count, sync = self.count_token(encoded.joint, either), None
        if self.joint_head is not None:
            clip, frames = self.joint_head(encoded.joint, either)
            said = StreamOutput(clip, frames, clip, None)
            return DetectorOutput(None if seen is None else said, None if heard is None else said, count, None)
        audio_says = video_says = None
        if encoded.audio is not None and heard is not None:
            artefacts = None
            if self.sound_branch is not None and spectrum is not None:
                artefacts = self.sound_branch(spectrum, heard)
            audio_says = _stream_output(self.audio_head, encoded.audio, heard, artefacts)
        if encoded.video is not None and seen is not None:
            artefacts = None
            if self.face_branch is not None and faces is not None:
                artefacts = spread(self.face_branch(faces), seen.shape[1])
            video_says = _stream_output(self.video_head, encoded.video, seen, artefacts)
        if encoded.audio_early is not None and encoded.video_early is not None and heard is not None and seen is not None:
            sync = self.sync_head(encoded.audio_early, encoded.video_early, heard, seen)
        return DetectorOutput(video_says, audio_says, count, sync)


def _stream_output(head: ClassificationHead, x: Tensor, mask: Tensor, artefacts: Tensor | None) -> StreamOutput:
    clip, frames = head(x, mask)
    if artefacts is None:
        return StreamOutput(clip, frames, clip, None)
    traces = soft_maximum(artefacts, mask)
    return StreamOutput(clip + traces, frames + artefacts, clip, traces)
