"""OSM-Net: one-to-many talking-head generation; head motions are sampled around a point of a space of clip-level motions.

Paper: Liu et al., *OSM-Net: One-to-Many One-shot Talking Head Generation with Spontaneous Head Motions*, arXiv 2309.16148,
2023. It describes a motion space whose bases are clip-level head motions, a mapping of audio into it, motions sampled
around the mapped point within a reasonable range, an expression predicted from a window of audio under a landmark
constraint, and a generator. Neither code nor hyperparameters are public.

Ours: bases by principal component analysis of one-second windows, the range (the residual of the mapping in training, at
most two standard deviations, and within 2.5 of the mean of the space; all deviations are estimated robustly), all sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad, smooth_l1_loss

from ..rendering.motion import EXPRESSION_SIZE, POSE_SIZE, Motion
from .base import WINDOW, Batch, DrivingSignals, Portrait, TalkingHead, crossfade_windows, window_spans
from .sequences import FACE_FEATURES, AudioEncoder, FaceEncoder, TemporalNetwork, velocity

CONTEXT_FRAMES = 5  # audio frames on either side of a frame from which its expression is predicted
MAX_DEVIATION = 2.0  # limit of the sampled offset from the mapped point, in standard deviations, along every basis
MAX_COEFFICIENT = 2.5  # limit of the coefficients, in standard deviations from the mean of the space
START_SHARE = 0.5  # share of the current pose offset from which the next window starts
MEDIAN_TO_DEVIATION = 0.6745  # median magnitude of a normal variable, in standard deviations
AVERAGING_RATE = 0.02  # of the running estimate of the residual deviation, per batch


@dataclass(frozen=True)
class OsmNetConfig:
    """Sizes. With ``space=False`` poses are a deterministic regression from audio: the ablation of the paper's claim."""

    width: int = 96
    bases: int = 16
    space: bool = True


class OsmNet(TalkingHead):
    """The OSM-Net model, see the module docstring."""

    name = "osm-net"
    config_type = OsmNetConfig

    def __init__(self, config: OsmNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or OsmNetConfig()
        width = config.width
        self.register_buffer("bases", torch.zeros(config.bases, WINDOW * POSE_SIZE))  # scaled to unit (robust) standard deviation
        self.register_buffer("projection", torch.zeros(WINDOW * POSE_SIZE, config.bases))
        self.register_buffer("residual_deviation", torch.ones(config.bases))  # standard deviation around the mapped point
        self.pose_audio = AudioEncoder(width)
        self.mapping = TemporalNetwork(width + FACE_FEATURES, width, config.bases)
        self.regression = TemporalNetwork(width + FACE_FEATURES, width, POSE_SIZE)
        self.face = FaceEncoder()
        self.mouth = nn.Sequential(
            nn.Linear((2 * CONTEXT_FRAMES + 1) * width + EXPRESSION_SIZE + FACE_FEATURES, 3 * width),
            nn.SiLU(),
            nn.Dropout(0.1),
            nn.Linear(3 * width, 2 * width),
            nn.SiLU(),
            nn.Linear(2 * width, EXPRESSION_SIZE),
        )
        self.mouth_audio = AudioEncoder(width, 1)

    bases: Tensor
    projection: Tensor
    residual_deviation: Tensor

    def fit_statistics(self, batches: list[Batch]) -> None:
        """Bases of the motion space: principal components of the poses relative to the first frame of a window."""
        offsets = torch.cat([(b.pose - b.pose[:, :1]).flatten(1) for b in batches])
        _, _, vectors = torch.linalg.svd(offsets, full_matrices=False)
        vectors = vectors[: self.config.bases]
        # Most heads hardly move and a few move much: RMS values would make every sampled head one of the few.
        deviation = ((offsets @ vectors.T).abs().median(dim=0).values / MEDIAN_TO_DEVIATION).clamp_min(1e-6)
        self.bases.copy_(deviation[:, None] * vectors)
        self.projection.copy_((vectors / deviation[:, None]).T)

    def predict_coefficients(self, audio: Tensor, face: Tensor) -> Tensor:
        """Coefficients [B, bases] in the motion space to which log-mel [B, T, 320] is mapped."""
        return self.mapping(self.pose_audio(audio), face).mean(dim=1)

    def predict_expression(self, audio: Tensor, source: Tensor, face: Tensor) -> Tensor:
        """Expressions [B, T, 32], each from a window of audio."""
        encoded = self.mouth_audio(audio)
        padded = pad(encoded, (0, 0, CONTEXT_FRAMES, CONTEXT_FRAMES))
        around = padded.unfold(1, 2 * CONTEXT_FRAMES + 1, 1).flatten(2)
        still = torch.cat([source, face], dim=1)[:, None].expand(-1, audio.shape[1], -1)
        return source[:, None] + self.mouth(torch.cat([around, still], dim=2))

    def losses(self, batch: Batch, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        face = self.face(batch.face)
        offset = batch.pose - batch.pose[:, :1]
        if self.config.space:
            target, coefficients = offset.flatten(1) @ self.projection, self.predict_coefficients(batch.audio, face)
            with torch.no_grad():
                self.residual_deviation.lerp_((target - coefficients).abs().median(dim=0).values / MEDIAN_TO_DEVIATION, AVERAGING_RATE)
            pose_losses = {"coefficients": smooth_l1_loss(coefficients, target)}
        else:
            predicted = self._regress(batch.audio, face)
            pose_losses = {"coefficients": (predicted - offset).abs().mean() + 2.0 * (velocity(predicted) - velocity(offset)).abs().mean()}
        return {**pose_losses, **self.expression_losses(self.predict_expression(batch.audio, batch.source_expression, face), batch)}

    def _regress(self, audio: Tensor, face: Tensor) -> Tensor:
        predicted = self.regression(self.pose_audio(audio), face)
        return predicted - predicted[:, :1]

    def sample(self, audio: Tensor, face: Tensor, rng: np.random.Generator) -> Tensor:
        """Sample one pose sequence [WINDOW, 6] around the point to which log-mel [1, T, 320] is mapped."""
        noise = torch.from_numpy(rng.standard_normal((1, self.config.bases)).astype(np.float32))
        coefficients = (
            self.predict_coefficients(audio, face) + self.residual_deviation * noise.clamp(-MAX_DEVIATION, MAX_DEVIATION)
        ).clamp(-MAX_COEFFICIENT, MAX_COEFFICIENT)
        offset = (coefficients @ self.bases).unflatten(1, (WINDOW, POSE_SIZE))[0]
        return offset - offset[:1]

    def predict_motion(self, portrait: Portrait, driving: DrivingSignals, rng: np.random.Generator) -> Motion:
        face, spans = self.face(portrait.image), window_spans(len(driving.audio), WINDOW)
        parts: list[np.ndarray] = []
        for index, (begin, end) in enumerate(spans):
            audio = torch.from_numpy(driving.audio[None, begin:end])
            offset = self.sample(audio, face, rng)[: end - begin] if self.config.space else self._regress(audio, face)[0]
            start = parts[-1][begin - spans[index - 1][0]] if index else np.zeros(POSE_SIZE, np.float32)
            # Motions of the space begin at zero; without decay of the start, consecutive windows would drift away.
            parts.append(offset.numpy() + START_SHARE * start if index else offset.numpy())
        expression = self.predict_expression(torch.from_numpy(driving.audio[None]), portrait.expression, face)
        return Motion(crossfade_windows(parts, spans), expression[0].numpy())
