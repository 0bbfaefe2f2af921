"""OPT: talking-head generation with the pose of a reference video and a mouth driven by speaker-independent speech content.

Paper: Liu et al., *OPT: One-shot Pose-Controllable Talking Head Generation*, ICASSP 2023. It describes an audio feature
disentanglement module that keeps the content of the audio and removes the speaker, a mouth expression predicted from content
and source face under a landmark loss, the head pose of a reference video, and a generator that takes all of them. Neither
code nor hyperparameters are public.

Ours: how the speaker is removed (every mel band and every content dimension is normalised over the clip, the content has few
dimensions, and a speaker classifier is trained against it through a gradient reversal layer, Ganin and Lempitsky,
*Unsupervised domain adaptation by backpropagation*, ICML 2015), the reconstruction loss that keeps the content, and all sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....media.speech import LOG_MEL_BINS, STACK, STACKED_BINS
from ..rendering.motion import EXPRESSION_SIZE, Motion
from .base import Batch, DrivingSignals, Portrait, TalkingHead
from .sequences import FACE_FEATURES, AudioEncoder, FaceEncoder, TemporalNetwork

MAX_REVERSAL = 2.0  # limit of the strength of the gradient reversal


@dataclass(frozen=True)
class OptConfig:
    """Sizes. With ``disentangled=False`` the speaker is not removed: the ablation of the paper's claim."""

    width: int = 96
    content: int = 12  # content dimensions of a frame
    voice: int = 32  # dimensions of the speaker embedding
    speakers: int = 64  # classes of the speaker classifier
    disentangled: bool = True


class _GradientReversal(torch.autograd.Function):
    """Gradient reversal layer: identity forwards, gradient times -strength backwards."""

    @staticmethod
    def forward(context: Any, x: Tensor, strength: float) -> Tensor:
        context.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -context.strength * gradients[0], None


def normalise_bands(audio: Tensor) -> Tensor:
    """Normalise every band of log-mel [B, T, 320] to zero mean and unit variance over the sequence; removes long-term timbre."""
    bands = audio.unflatten(2, (STACK, LOG_MEL_BINS)).flatten(1, 2)
    mean, deviation = bands.mean(dim=1, keepdim=True), bands.std(dim=1, keepdim=True)
    return ((bands - mean) / (deviation + 0.1)).unflatten(1, (-1, STACK)).flatten(2)


class Opt(TalkingHead):
    """The OPT model, see the module docstring."""

    name = "opt"
    needs = frozenset({"pose"})
    config_type = OptConfig

    def __init__(self, config: OptConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or OptConfig()
        width = config.width
        self.audio = AudioEncoder(width)
        self.content_projection = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, config.content))
        self.voice_audio, self.voice = AudioEncoder(width // 2, 1), nn.Linear(width // 2, config.voice)
        self.reconstruct = TemporalNetwork(config.content + config.voice, width, STACKED_BINS)
        self.from_voice = nn.Linear(config.voice, config.speakers)
        self.from_content = TemporalNetwork(config.content, width, config.speakers)
        self.face = FaceEncoder()
        self.mouth = TemporalNetwork(config.content + EXPRESSION_SIZE + FACE_FEATURES, width, EXPRESSION_SIZE)

    def content(self, audio: Tensor) -> Tensor:
        """Speech content [B, T, content] of log-mel [B, T, 320], of about unit variance."""
        if not self.config.disentangled:
            predicted = self.content_projection(self.audio(audio))
        else:  # what is constant over the clip belongs to the voice, not to the content
            predicted = self.content_projection(self.audio(normalise_bands(audio)))
            predicted = (predicted - predicted.mean(dim=1, keepdim=True)) / (predicted.std(dim=1, keepdim=True, correction=0) + 0.1)
        return F.layer_norm(predicted, predicted.shape[-1:])

    def predict_expression(self, content: Tensor, source: Tensor, face: Tensor) -> Tensor:
        """Expressions [B, T, 32] given content, source expression and source face."""
        return source[:, None] + self.mouth(content, source, face)

    def losses(self, batch: Batch, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        content = self.content(batch.audio)
        voice = self.voice(self.voice_audio(batch.audio).mean(dim=1))
        speaker = batch.identity % self.config.speakers
        predicted = self.predict_expression(content, batch.source_expression, self.face(batch.face))
        extra = {}
        if self.config.disentangled:
            strength = MAX_REVERSAL * min(1.0, 4.0 * progress)
            speaker_logits = self.from_content(_GradientReversal.apply(content, strength))
            # For every frame and for the mean over the window, which may reveal the speaker where single frames do not.
            extra = {
                "speaker_in_content": 0.5 * F.cross_entropy(speaker_logits.mean(dim=1), speaker)
                + 0.5 * F.cross_entropy(speaker_logits.flatten(0, 1), speaker.repeat_interleave(speaker_logits.shape[1])),
            }
        return {
            **self.expression_losses(predicted, batch),
            "reconstruction": 0.5 * (self.reconstruct(content, voice) - batch.audio).abs().mean(),
            "speaker_in_voice": 0.1 * F.cross_entropy(self.from_voice(voice), speaker),
            **extra,
        }

    def predict_motion(self, portrait: Portrait, driving: DrivingSignals, rng: np.random.Generator) -> Motion:
        assert driving.pose is not None
        content = self.content(torch.from_numpy(driving.audio[None]))
        expression = self.predict_expression(content, portrait.expression, self.face(portrait.image))
        return Motion(follow_reference(driving.pose, len(driving.audio)) / self.space.pose_scale.numpy(), expression[0].numpy())


def follow_reference(pose: np.ndarray, length: int) -> np.ndarray:
    """Reference poses [N, 6] relative to the first, played forwards and backwards to the given length: float32 [length, 6]."""
    indices = np.concatenate([np.arange(len(pose)), np.arange(len(pose))[-2:0:-1]])
    return (pose - pose[0])[np.resize(indices, length)].astype(np.float32)
