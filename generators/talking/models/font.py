"""FONT: talking-head generation with sampled head poses and keypoints predicted from audio and pose.

Paper: Liu et al., *FONT: Flow-guided One-shot Talking Head Generation with Natural Head Motions*, ICME 2023. It describes a
probabilistic head-pose predictor given source face and audio (a conditional variational autoencoder with a structural
similarity constraint on the pose sequence), a predictor of unsupervised keypoints given source face, audio and pose, and a
flow-guided, occlusion-aware generator (here :mod:`..rendering.renderer`). Neither code nor hyperparameters are public.

Ours: all sizes, the windows, and that the keypoint predictor outputs an expression from which
:class:`..rendering.keypoints.KeypointTransform` computes the keypoints, since an unconstrained network fails on little data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..rendering.motion import EXPRESSION_SIZE, POSE_SIZE, Motion
from .base import WINDOW, Batch, DrivingSignals, Portrait, TalkingHead, crossfade_windows, window_spans
from .sequences import FACE_FEATURES, AudioEncoder, FaceEncoder, TemporalNetwork, velocity

SSIM_WINDOW = 7  # frames of the window of the temporal structural similarity
SSIM_C1, SSIM_C2 = 0.1, 0.3  # constants of the temporal structural similarity, for sequences of about unit variance
FREE_NATS = 0.5  # nats of free divergence per latent dimension (free bits); with 0.02 the posterior collapsed and heads did not move


@dataclass(frozen=True)
class FontConfig:
    """Sizes. With ``sampling=False`` the pose predictor is a deterministic regression: the ablation of the paper's claim."""

    width: int = 96
    latent: int = 8
    sampling: bool = True


def temporal_ssim_loss(predicted: Tensor, real: Tensor) -> Tensor:
    """1 - SSIM over time of sequences [B, T, D], in windows of 7 frames."""
    a, b = predicted.transpose(1, 2), real.transpose(1, 2)
    mean_a, mean_b = (F.avg_pool1d(x, SSIM_WINDOW, 1) for x in (a, b))
    var_a = F.avg_pool1d(a * a, SSIM_WINDOW, 1) - mean_a**2
    var_b = F.avg_pool1d(b * b, SSIM_WINDOW, 1) - mean_b**2
    both = F.avg_pool1d(a * b, SSIM_WINDOW, 1) - mean_a * mean_b
    return (
        1.0
        - ((2 * mean_a * mean_b + SSIM_C1) * (2 * both + SSIM_C2) / ((mean_a**2 + mean_b**2 + SSIM_C1) * (var_a + var_b + SSIM_C2))).mean()
    )


class PosePredictor(nn.Module):
    """Conditional variational autoencoder of pose sequences [B, T, 6], given audio, source face and start pose."""

    def __init__(self, config: FontConfig) -> None:
        super().__init__()
        width, self.latent = config.width, config.latent
        self.audio = AudioEncoder(width)
        self.posterior = TemporalNetwork(width + POSE_SIZE, width, width)
        self.moments = nn.Linear(width, 2 * config.latent)
        self.decoder = TemporalNetwork(width + FACE_FEATURES + 2 * POSE_SIZE + config.latent, width, POSE_SIZE)

    def encode(self, audio: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance [B, latent] of the posterior, given audio [B, T, 320] and poses [B, T, 6]."""
        mean, log_variance = self.moments(self.posterior(self.audio(audio), pose).mean(dim=1)).chunk(2, dim=1)
        return mean, log_variance.clamp(-8.0, 4.0)

    def forward(self, audio: Tensor, face: Tensor, source: Tensor, start: Tensor, latent: Tensor) -> Tensor:
        return start[:, None] + self.decoder(self.audio(audio), face, source, start, latent)


class Font(TalkingHead):
    """The FONT model, see the module docstring."""

    name = "font"
    config_type = FontConfig

    def __init__(self, config: FontConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or FontConfig()
        self.face = FaceEncoder()
        self.poses = PosePredictor(config)
        self.audio = AudioEncoder(config.width)
        self.keypoints = TemporalNetwork(config.width + POSE_SIZE + EXPRESSION_SIZE + FACE_FEATURES, config.width, EXPRESSION_SIZE)

    def predict_expression(self, audio: Tensor, pose: Tensor, source: Tensor, face: Tensor) -> Tensor:
        """The keypoint predictor: expressions [B, T, 32] given audio, poses, source expression and source face."""
        return source[:, None] + self.keypoints(self.audio(audio), pose, source, face)

    def losses(self, batch: Batch, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        face = self.face(batch.face)
        start = batch.pose[:, 0]
        extra = {}
        if self.config.sampling:
            mean, log_variance = self.poses.encode(batch.audio, batch.pose)
            noise = torch.from_numpy(rng.standard_normal(mean.shape).astype(np.float32))
            latent = mean + noise * (0.5 * log_variance).exp()
            divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).mean(dim=0)
            extra["divergence"] = min(1.0, 2.0 * progress) * 0.05 * divergence.clamp_min(FREE_NATS).sum()
        else:
            latent = batch.pose.new_zeros(len(batch.pose), self.config.latent)
        pose = self.poses(batch.audio, face, _rotation_only(batch.source_pose), start, latent)
        predicted = self.predict_expression(batch.audio, batch.pose, batch.source_expression, face)
        return {
            "pose": (pose - batch.pose).abs().mean(),
            "pose_speed": 2.0 * (velocity(pose) - velocity(batch.pose)).abs().mean(),
            "pose_shape": 0.3 * temporal_ssim_loss(pose, batch.pose),
            **self.expression_losses(predicted, batch),
            **extra,
        }

    def predict_motion(self, portrait: Portrait, driving: DrivingSignals, rng: np.random.Generator) -> Motion:
        face, spans = self.face(portrait.image), window_spans(len(driving.audio), WINDOW)
        start = torch.zeros(1, POSE_SIZE)
        poses: list[np.ndarray] = []
        for index, (begin, end) in enumerate(spans):
            latent = torch.from_numpy(rng.standard_normal((1, self.config.latent)).astype(np.float32))
            latent = latent if self.config.sampling else torch.zeros_like(latent)
            if index:  # start at the pose of the previous window at this frame
                start = torch.from_numpy(poses[-1][begin - spans[index - 1][0]][None])
            predicted = self.poses(torch.from_numpy(driving.audio[None, begin:end]), face, _rotation_only(portrait.pose), start, latent)
            poses.append((predicted[0] - predicted[0, 0] + start[0]).numpy())
        pose = crossfade_windows(poses, spans)
        expression = self.predict_expression(torch.from_numpy(driving.audio[None]), torch.from_numpy(pose[None]), portrait.expression, face)
        return Motion(pose, expression[0].numpy())


def _rotation_only(pose: Tensor) -> Tensor:
    """A source pose [B, 6] with position and scale set to zero, since these depend on the crop."""
    return torch.cat([pose[:, :3], torch.zeros_like(pose[:, 3:])], dim=1)
