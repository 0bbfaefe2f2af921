"""The dual-label model: a backbone, one classification head for each stream, and a head for the number of fake streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from ..avsr.backbones import build_backbone
from ..avsr.backbones.base import full_mask
from ..avsr.sync_network import SyncNetwork, SyncNetworkConfig
from .artefacts import FaceBranch, SoundBranch, repeat_to_frames
from .audio_classifier import AudioClassifier, AudioClassifierConfig
from .sync import SyncHead
from .video_classifier import VideoClassifier, VideoClassifierConfig, spread_to_frames

LABELS = ("dual", "binary")
RENAMED_KEYS = {  # regular expressions of state-dict names in published weights, and what they are now
    r"^sync_head\.hear\.": "sync_head.audio_projection.",
    r"^sync_head\.see\.": "sync_head.video_projection.",
}


class DetectorConfig(PretrainedConfig):
    """Configuration of a detector: the backbone by name, its sizes, and the calibration.

    Parameters
    ----------
    backbone : str
        Registered name, see :data:`avwitness.avsr.backbones.BACKBONES`.
    backbone_options : dict
        Arguments of that backbone's configuration.
    labels : {"dual", "binary"}
        ``dual`` has a head for each stream; ``binary`` has one head on the joint encoding for whether any stream is fake, as a
        baseline.
    artefacts : bool
        Whether the two artefact branches are built.
    sync_width : int
        Channels of the space in which the streams are compared.
    audio_classifier : dict, optional
        See :class:`avwitness.detector.audio_classifier.AudioClassifierConfig`; without it the backbone and the sound branch
        classify the audio.
    video_classifier : dict, optional
        See :class:`avwitness.detector.video_classifier.VideoClassifierConfig`; without it the backbone and the face branch
        classify the video.
    sync_network : dict, optional
        See :class:`avwitness.avsr.sync_network.SyncNetworkConfig`; it needs an audio classifier, on whose encoder it rests. Without
        it the sync head compares the streams.
    calibration : dict
        See :class:`avwitness.detector.calibration.Calibration`.
    notice : str
        Attribution that the licence of the weights requires; empty if none.
    """

    model_type = "avwitness"

    def __init__(
        self,
        backbone: str = "two_stream",
        backbone_options: dict[str, Any] | None = None,
        labels: str = "dual",
        artefacts: bool = True,
        sync_width: int = 32,
        audio_classifier: dict[str, Any] | None = None,
        video_classifier: dict[str, Any] | None = None,
        sync_network: dict[str, Any] | None = None,
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
        self.audio_classifier = audio_classifier
        self.video_classifier = video_classifier
        self.sync_network = sync_network
        self.calibration = calibration or {}
        self.notice = notice


@dataclass(frozen=True)
class StreamOutput:
    """Output for one stream.

    Parameters
    ----------
    clip : float [B]
        Logit that the stream is fake in at least one place.
    frames : float [B, T]
        Logit of every frame, at 25 Hz.
    speech, artefacts : float [B] or None
        The terms of ``clip`` that come from the speech encoder and from the artefact branch.
    """

    clip: Tensor
    frames: Tensor
    speech: Tensor
    artefacts: Tensor | None


@dataclass(frozen=True)
class DetectorOutput:
    """Output of all heads; fields of a missing stream are ``None``.

    Parameters
    ----------
    video, audio : StreamOutput or None
    count : float [B, 3]
        Logits of 0, 1 and 2 fake streams.
    sync : float [B, 2, 31] or None
        Sums of similarities and counts of compared frames by offset, see :class:`avwitness.avsr.sync_network.SyncNetwork`.
    """

    video: StreamOutput | None
    audio: StreamOutput | None
    count: Tensor
    sync: Tensor | None


class ClassificationHead(nn.Module):
    """Encodings of one stream to a logit for every frame, and one for the clip from mean and standard deviation over the frames."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Dropout(0.1))
        self.frame = nn.Linear(width, 1)
        self.clip = nn.Linear(2 * width, 1)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x = self.hidden(x)
        return self.clip(pooled(x, mask)).squeeze(-1), self.frame(x).squeeze(-1)


class CountToken(nn.Module):
    """Attention pooling of the joint encoding with a learned query, to logits of 0, 1 and 2 fake streams."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.answer = nn.Linear(width, 3)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Encodings [B, T, D] and mask [B, T] to logits [B, 3]; of an item without unmasked frames the first frame is used."""
        hidden = ~mask
        hidden = hidden & ~(hidden.all(dim=1, keepdim=True) & (torch.arange(x.shape[1], device=x.device) == 0))
        attended, _ = self.attention(self.token.expand(len(x), -1, -1), x, x, key_padding_mask=hidden, need_weights=False)
        return self.answer(self.norm(attended[:, 0]))


def pooled(x: Tensor, mask: Tensor) -> Tensor:
    """Mean and standard deviation over the unmasked frames: [B, T, D] to [B, 2 D]."""
    mean = masked_mean(x, mask)
    variance = masked_mean((x - mean[:, None]).square(), mask)
    return torch.cat([mean, (variance + 1e-5).sqrt()], dim=-1)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the unmasked frames of [B, T, D] or [B, T]."""
    weight = mask.to(x.dtype) if x.ndim == 2 else mask[..., None].to(x.dtype)
    return (x * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1.0)


def soft_maximum(x: Tensor, mask: Tensor) -> Tensor:
    """Logarithm of the mean odds of the unmasked frames [B, T]; a few fake frames suffice for a high value, and noise averages out."""
    lowest = torch.finfo(x.dtype).min / 2
    total = torch.logsumexp(torch.where(mask, x, lowest), dim=1) - mask.sum(dim=1).clamp_min(1).to(x.dtype).log()
    return torch.where(mask.any(dim=1), total, torch.zeros_like(total))


class DualLabelDetector(PreTrainedModel):
    """A backbone with a classification head and an artefact branch for each stream.

    The input of the audio head is the audio encoding alone, that of the video head the video encoding alone, so neither depends
    on the other stream. A stream's logit is the sum of the logits of its head and its artefact branch; both have a loss of their
    own too. The count of fake streams and the sync head use both streams.
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
        options = config.audio_classifier
        self.audio_classifier = AudioClassifier(AudioClassifierConfig.from_dict(options)) if options else None
        options = config.video_classifier
        self.video_classifier = VideoClassifier(VideoClassifierConfig.from_dict(options)) if options else None
        if config.sync_network and not config.audio_classifier:
            raise ValueError("a sync network needs an audio classifier: it embeds the features of its encoder")
        self.sync_network = SyncNetwork(SyncNetworkConfig(**config.sync_network)) if config.sync_network else None
        self.count_token = CountToken(width)
        self.sync_head = SyncHead(*self.backbone.early_widths, config.sync_width) if self.sync_network is None else None
        self.post_init()

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As the method of ``transformers``; published weights are read under their names."""
        return super().from_pretrained(*args, **{"key_mapping": RENAMED_KEYS, **kwargs})

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: backbone and heads are initialised by their constructors."""

    def forward(
        self,
        audio: Tensor | None = None,
        video: Tensor | None = None,
        audio_mask: Tensor | None = None,
        video_mask: Tensor | None = None,
        spectrum: Tensor | None = None,
        faces: Tensor | None = None,
        waveform: Tensor | None = None,
        portraits: Tensor | None = None,
        portrait_numbers: Tensor | None = None,
        lips: Tensor | None = None,
    ) -> DetectorOutput:
        """Predict one or both streams.

        Parameters
        ----------
        audio : float [B, T, F] or None
            Audio features at 25 Hz.
        video : uint8 or float [B, T, S, S] or None
            Grey mouth crops, 0 to 255.
        audio_mask, video_mask : bool [B, T], optional
            False in padding and gaps.
        spectrum : float [B, T, 1024], optional
            See :func:`avwitness.media.speech.log_spectrum`; without it the audio logit has no artefact term.
        faces : uint8 [B, ceil(T / 5), 128, 128, 3], optional
            See :func:`avwitness.media.face.crops.face_crops`.
        waveform : float [B, S], optional
            Audio at 16 kHz, for detectors with an audio classifier.
        portraits : uint8 [B, N, 224, 224, 3], optional
            See :func:`avwitness.media.face.portraits.portrait_crops`; for detectors with a video classifier.
        portrait_numbers : int [B, N], optional
            Frames that they show.
        lips : float [B, T, 40, 2], optional
            Lip landmarks in pixels of the mouth crop, for detectors with a sync network.
        """
        encoded = self.backbone.encode(audio, video, audio_mask, video_mask)
        audio_mask = None if encoded.audio is None else full_mask(encoded.audio, audio_mask)
        video_mask = None if encoded.video is None else full_mask(encoded.video, video_mask)
        either = video_mask if audio_mask is None else audio_mask if video_mask is None else audio_mask | video_mask
        assert either is not None
        count, sync = self.count_token(encoded.joint, either), None
        if self.joint_head is not None:
            clip, frames = self.joint_head(encoded.joint, either)
            joint = StreamOutput(clip, frames, clip, None)
            return DetectorOutput(None if video_mask is None else joint, None if audio_mask is None else joint, count, None)
        audio_output = video_output = None
        if self.audio_classifier is not None and waveform is not None and audio_mask is not None:
            layers = self.audio_classifier.encoder(waveform)
            clip, frames = self.audio_classifier.classify_layers(layers)
            audio_output = StreamOutput(clip, fit_length(frames, audio_mask.shape[1]), clip, None)
            if self.sync_network is not None and lips is not None and video_mask is not None:
                sync = self.sync_network(layers[self.sync_network.config.layer], lips, audio_mask, video_mask)
        elif encoded.audio is not None and audio_mask is not None:
            artefacts = None
            if self.sound_branch is not None and spectrum is not None:
                artefacts = self.sound_branch(spectrum, audio_mask)
            audio_output = _stream_output(self.audio_head, encoded.audio, audio_mask, artefacts)
        if self.video_classifier is not None and portraits is not None and portrait_numbers is not None and video_mask is not None:
            clip, single = self.video_classifier(portraits)
            frames = spread_to_frames(single, portrait_numbers, video_mask.shape[1])
            video_output = StreamOutput(clip, frames, clip, None)
        elif encoded.video is not None and video_mask is not None:
            artefacts = None
            if self.face_branch is not None and faces is not None:
                artefacts = repeat_to_frames(self.face_branch(faces), video_mask.shape[1])
            video_output = _stream_output(self.video_head, encoded.video, video_mask, artefacts)
        early = encoded.audio_early, encoded.video_early
        if self.sync_head is not None and None not in early and audio_mask is not None and video_mask is not None:
            sync = self.sync_head(*early, audio_mask, video_mask)
        return DetectorOutput(video_output, audio_output, count, sync)


def fit_length(x: Tensor, length: int) -> Tensor:
    """Frames [B, T] cut or padded at the end, with the last one, to a length."""
    return F.pad(x[:, :length], (0, max(length - x.shape[1], 0)), mode="replicate")


def _stream_output(head: ClassificationHead, x: Tensor, mask: Tensor, artefacts: Tensor | None) -> StreamOutput:
    clip, frames = head(x, mask)
    if artefacts is None:
        return StreamOutput(clip, frames, clip, None)
    artefact_clip = soft_maximum(artefacts, mask)
    return StreamOutput(clip + artefact_clip, frames + artefacts, clip, artefact_clip)
