"""MFR-Net: listening-head generation; the motion of a listener is sampled by a denoising diffusion model given its speaker.

Paper: Liu et al., *MFR-Net: Multi-faceted Responsive Listening Head Generation via Denoising Diffusion Model*, ACM
Multimedia 2023. It describes a denoising diffusion model that predicts diverse poses and expressions of the listener from
the speaker's video and one image of the listener, a feature aggregation module that enhances the listener's identity
features and fuses them with the speaker's, a renderer fine-tuned with an identity-consistency loss, and a selectable
attitude. Neither code nor hyperparameters are public.

Ours: attention as the aggregation, its influence on the renderer by scale and shift of the deepest features, the diffusion
schedule, and all sizes.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...weights import renamed_config
from ..rendering.motion import EXPRESSION_SIZE, POSE_SIZE, Motion
from ..rendering.renderer import Renderer, RendererConfig, RendererOutput
from .base import WINDOW, Attitude, Batch, DrivingSignals, Portrait, TalkingHead, crossfade_windows, window_spans
from .dyads import Dyad, motion_array
from .sequences import AudioEncoder, TemporalNetwork

MOTION_SIZE = POSE_SIZE + EXPRESSION_SIZE  # values per frame that are sampled
DIFFUSION_STEPS = 100  # steps of the diffusion in training
SAMPLING_STEPS = 20  # of these that are used in sampling
TIME_FEATURES = 32  # dimensions of the embedding of a diffusion step


@dataclass(frozen=True)
class MfrNetConfig:
    """Sizes. With ``aggregation=False`` the listener's image influences neither motion nor renderer: the ablation of the paper's claim."""

    width: int = 96
    aggregation: bool = True
    renderer: RendererConfig | dict[str, Any] | None = None


@dataclass(frozen=True)
class DyadBatch:
    """A training batch of dyads.

    Parameters
    ----------
    audio : float [B, T, 320]
        Log-mel of the speaker.
    speaker, listener : float [B, T, 38]
        Pose and expression; the expression of the speaker relative to its first frame, that of the listener to its source.
    source_expression : float [B, 32]
    face : float [B, 3, 96, 96]
        Source image of the listener.
    attitude : int [B]
    """

    audio: Tensor
    speaker: Tensor
    listener: Tensor
    source_expression: Tensor
    face: Tensor
    attitude: Tensor

    @staticmethod
    def from_dyads(dyads: list[Dyad]) -> DyadBatch:
        """Stack windows."""
        speaker = np.stack([speaker_array(d.speaker) for d in dyads])
        listener = np.stack([motion_array(Motion(d.listener.pose, d.listener.expression - d.source_expression)) for d in dyads])
        arrays = (np.stack([d.audio for d in dyads]), speaker, listener, np.stack([d.source_expression for d in dyads]))
        faces = torch.from_numpy(np.stack([d.face for d in dyads])).permute(0, 3, 1, 2).float() / 255.0
        attitudes = torch.tensor([list(Attitude).index(d.attitude) for d in dyads])
        audio, speaker_motion, encoded, source = (torch.from_numpy(np.ascontiguousarray(x)) for x in arrays)
        return DyadBatch(audio, speaker_motion, encoded, source, faces, attitudes)


def speaker_array(motion: Motion) -> np.ndarray:
    """A speaker's motion [T, 38] with the expression relative to the first frame, which removes most of the speaker's identity."""
    return motion_array(Motion(motion.pose, motion.expression - motion.expression[:1]))


class FeatureAggregation(nn.Module):
    """Extracts identity features of the listener from an image and fuses them with features of the speaker.

    Self-attention between image patches, gated by their mean (enhancement), then cross-attention from every frame of the
    speaker to the patches (fusion).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = (3, width // 4, width // 2, width)
        self.parts = nn.Sequential(
            nn.AvgPool2d(2),
            *(nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.GroupNorm(8, b), nn.SiLU()) for a, b in itertools.pairwise(sizes)),
        )
        self.positions = nn.Parameter(0.02 * torch.randn(36, width))
        self.boost = nn.MultiheadAttention(width, 4, batch_first=True)
        self.gate = nn.Linear(2 * width, width)
        self.fuse = nn.MultiheadAttention(width, 4, batch_first=True)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, face: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor]:
        """Faces [B, 3, 96, 96] and speaker features [B, T, D] to the listener's identity [B, D] and fused features [B, T, D]."""
        parts = self.parts(face - 0.5).flatten(2).transpose(1, 2) + self.positions
        inner = self.norms[0](parts)
        parts = parts + self.boost(inner, inner, inner, need_weights=False)[0]
        whole = parts.mean(dim=1, keepdim=True)
        parts = parts * (1.0 + torch.sigmoid(self.gate(torch.cat([parts, whole.expand_as(parts)], dim=2))))
        parts = self.norms[1](parts)
        return parts.mean(dim=1), speaker + self.fuse(self.norms[2](speaker), parts, parts, need_weights=False)[0]


class Denoiser(nn.Module):
    """Predicts clean motions [B, T, 38] from noisy ones, given fused features, source expression and attitude."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attitude = nn.Embedding(len(Attitude), 16)
        self.network = TemporalNetwork(MOTION_SIZE + width + EXPRESSION_SIZE + 16 + TIME_FEATURES, width + 32, MOTION_SIZE)

    def forward(self, noisy: Tensor, step: Tensor, fused: Tensor, source: Tensor, attitude: Tensor) -> Tensor:
        rates = torch.exp(torch.linspace(0.0, math.log(1000.0), TIME_FEATURES // 2))
        phase = (step.float() / DIFFUSION_STEPS)[:, None] * rates
        time = torch.cat([phase.sin(), phase.cos()], dim=1)
        return self.network(noisy, fused, source, self.attitude(attitude), time)


def alphas_cumprod() -> Tensor:
    """Cumulative product of the alphas [DIFFUSION_STEPS + 1]: the signal power after every step of the diffusion.

    Source: Nichol and Dhariwal, *Improved denoising diffusion probabilistic models*, ICML 2021 (cosine schedule).
    """
    time = (torch.arange(DIFFUSION_STEPS + 1) / DIFFUSION_STEPS + 0.008) / 1.008
    alphas_cumprod = torch.cos(time * math.pi / 2.0).square()
    return (alphas_cumprod / alphas_cumprod[0]).clamp(1e-4, 1.0)


def _sizes(given: RendererConfig | dict[str, Any] | None) -> RendererConfig:
    """The configuration of the renderer, also from the mapping of a card or a YAML file."""
    if not isinstance(given, dict):
        return given or RendererConfig()
    return RendererConfig(**renamed_config(given))


class MfrNet(TalkingHead):
    """The MFR-Net model, see the module docstring."""

    name = "mfr-net"
    needs = frozenset({"speaker"})
    config_type = MfrNetConfig

    def __init__(self, config: MfrNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MfrNetConfig()
        width = config.width
        self.audio, self.speaker_motion = AudioEncoder(width), TemporalNetwork(MOTION_SIZE, width, width)
        self.aggregation, self.denoiser = FeatureAggregation(width), Denoiser(width)
        self.renderer = Renderer(_sizes(config.renderer))
        self.style = nn.Linear(width, 2 * self.renderer.config.decoder[2])
        nn.init.zeros_(self.style.weight)
        nn.init.zeros_(self.style.bias)

    def aggregate(self, face: Tensor, audio: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor]:
        """Identity features [B, D] of the listener, and features [B, T, D] fused of the speaker and the listener."""
        encoded = self.audio(audio) + self.speaker_motion(speaker)
        if not self.config.aggregation:
            return encoded.new_zeros(len(encoded), encoded.shape[2]), encoded
        return self.aggregation(face, encoded)

    def losses(self, batch: Batch, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        raise TypeError("MFR-Net is trained on dyads, see denoising_losses")

    def denoising_losses(self, batch: DyadBatch, rng: np.random.Generator) -> dict[str, Tensor]:
        """Losses of the denoised motions of a batch of dyads."""
        _, fused = self.aggregate(batch.face, batch.audio, batch.speaker)
        step = torch.from_numpy(rng.integers(1, DIFFUSION_STEPS + 1, len(batch.audio)))
        alpha = alphas_cumprod().to(batch.audio.device)[step][:, None, None]
        noise = torch.from_numpy(rng.standard_normal(batch.listener.shape).astype(np.float32))
        noisy = alpha.sqrt() * batch.listener + (1.0 - alpha).sqrt() * noise
        predicted = self.denoiser(noisy, step, fused, batch.source_expression, batch.attitude)
        speed = (predicted[:, 1:] - predicted[:, :-1]) - (batch.listener[:, 1:] - batch.listener[:, :-1])
        return {
            "pose": F.mse_loss(predicted[..., :POSE_SIZE], batch.listener[..., :POSE_SIZE]),
            "expression": F.mse_loss(predicted[..., POSE_SIZE:], batch.listener[..., POSE_SIZE:]),
            "speed": 2.0 * speed.square().mean(),
        }

    def sample(self, fused: Tensor, source: Tensor, attitude: Tensor, rng: np.random.Generator) -> Tensor:
        """Sample listener motions [B, T, 38].

        Source: Song et al., *Denoising diffusion implicit models*, ICLR 2021, with the noise of the original process (eta = 1).
        """
        shape = (*fused.shape[:2], MOTION_SIZE)

        def noise() -> Tensor:
            return torch.from_numpy(rng.standard_normal(shape).astype(np.float32))

        x, alpha = noise(), alphas_cumprod()
        times = torch.linspace(DIFFUSION_STEPS, 0, SAMPLING_STEPS + 1).round().long()
        for now, then in itertools.pairwise(times):
            clean = self.denoiser(x, now.expand(len(fused)), fused, source, attitude)
            a, b = alpha[now], alpha[then]
            if then == 0:
                return clean
            guess = (x - a.sqrt() * clean) / (1.0 - a).sqrt()
            spread = ((1.0 - b) / (1.0 - a) * (1.0 - a / b)).clamp_min(0.0).sqrt()
            x = b.sqrt() * clean + (1.0 - b - spread**2).clamp_min(0.0).sqrt() * guess + spread * noise()
        return x

    def predict_motion(self, portrait: Portrait, driving: DrivingSignals, rng: np.random.Generator) -> Motion:
        assert driving.speaker is not None
        length = len(driving.audio)
        speaker_motion = driving.speaker
        if len(speaker_motion) < length:  # a speaker whose video is shorter than its audio is held still
            more = length - len(speaker_motion)
            speaker_motion = Motion(
                *(np.pad(x, ((0, more), (0, 0)), mode="edge") for x in (speaker_motion.pose, speaker_motion.expression))
            )
        attitude = torch.tensor([list(Attitude).index(driving.attitude)])
        spans, parts = window_spans(length, WINDOW), []
        for begin, end in spans:
            # As in training, poses of the speaker are relative to the begin of the window.
            pose = (speaker_motion.pose[begin:end] - speaker_motion.pose[begin]) / self.space.pose_scale.numpy()
            speaker = speaker_array(Motion(pose.astype(np.float32), speaker_motion.expression[begin:end]))
            tensors = (torch.from_numpy(np.ascontiguousarray(x[None])) for x in (driving.audio[begin:end], speaker))
            _, fused = self.aggregate(portrait.image, *tensors)
            parts.append(self.sample(fused, portrait.expression, attitude, rng)[0].numpy())
        predicted = crossfade_windows(parts, spans)
        return Motion(predicted[:, :POSE_SIZE], predicted[:, POSE_SIZE:] + portrait.motion.expression)

    def style_parameters(self, image: Tensor, face: Tensor) -> Tensor | None:
        """Scale and shift of the renderer's deepest features by the listener's identity; ``None`` without aggregation."""
        if not self.config.aggregation:
            return None
        identity, _ = self.aggregation(face, image.new_zeros(len(face), 1, self.config.width))
        return self.style(identity)

    def render(self, image: Tensor, source: Any, target: Any) -> RendererOutput:
        """As :meth:`Renderer.forward`, with the fine-tuned renderer."""
        return self.renderer(image, source, target, self.style_parameters(image, image))
