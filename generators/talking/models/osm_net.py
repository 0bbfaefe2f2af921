"""OSM-Net: one source and one sound, many head motions: drawn around a point of a space of clip-level motions.

As published (Liu et al., *OSM-Net: One-to-Many One-shot Talking Head Generation with Spontaneous Head Motions*, 2023): a
motion space whose bases are clip-level head motions; sound is mapped into it, and motions are drawn around it within a
reasonable range; the expression hears a window of time, under a landmark constraint; a generator renders. Nothing of its code or
numbers is public. Ours are: bases by principal components of one-second windows, the range (what the mapping leaves
unexplained in training, at most two deviations off, and hardly beyond what was seen; deviations are robust), and all sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad, smooth_l1_loss

from ..rendering.motion import EXPRESSION, POSE, Motion
from .base import WINDOW, Batch, DrivingSignals, Portrait, TalkingHead, crossfade_windows, window_spans
from .sequences import FACE, AudioEncoder, FaceEncoder, TemporalNetwork, velocity

REACH = 5  # frames of sound on either side that an expression hears
FAR = 2.0  # deviations from where the sound points to, at most, along every basis
SEEN = 2.5  # deviations from the middle of the space, at most
CARRIED = 0.5  # share of where a head has got to that the next window begins with
MEDIAN = 0.6745  # of the magnitude of a normal variable, in deviations
EASE = 0.02  # by which the estimate of what the mapping leaves unexplained follows a batch


@dataclass(frozen=True)
class OsmNetConfig:
    """Sizes; without ``space`` poses are a plain regression from sound, the ablation of the paper's claim."""

    width: int = 96
    bases: int = 16
    space: bool = True


class OsmNet(TalkingHead):
    """The generator; see the module."""

    name = "osm-net"
    config_type = OsmNetConfig

    def __init__(self, config: OsmNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or OsmNetConfig()
        width = config.width
        self.register_buffer("bases", torch.zeros(config.bases, WINDOW * POSE))  # half of what was seen lies within 0.67 along each
        self.register_buffer("projection", torch.zeros(WINDOW * POSE, config.bases))
        self.register_buffer("unexplained", torch.ones(config.bases))  # deviations around where the sound points to
        self.pose_audio = AudioEncoder(width)
        self.mapping = TemporalNetwork(width + FACE, width, config.bases)
        self.regression = TemporalNetwork(width + FACE, width, POSE)
        self.face = FaceEncoder()
        self.mouth = nn.Sequential(
            nn.Linear((2 * REACH + 1) * width + EXPRESSION + FACE, 3 * width),
            nn.SiLU(),
            nn.Dropout(0.1),
            nn.Linear(3 * width, 2 * width),
            nn.SiLU(),
            nn.Linear(2 * width, EXPRESSION),
        )
        self.mouth_front = AudioEncoder(width, 1)

    bases: Tensor
    projection: Tensor
    unexplained: Tensor

    def fit_statistics(self, batches: list[Batch]) -> None:
        """Bases of the space: principal components of how far heads get from where a window begins."""
        moves = torch.cat([(b.pose - b.pose[:, :1]).flatten(1) for b in batches])
        _, _, vectors = torch.linalg.svd(moves, full_matrices=False)
        vectors = vectors[: self.config.bases]
        # Most heads hardly move and a few move a lot: with root mean squares, every head drawn would be one of the few.
        deviation = ((moves @ vectors.T).abs().median(dim=0).values / MEDIAN).clamp_min(1e-6)
        self.bases.copy_(deviation[:, None] * vectors)
        self.projection.copy_((vectors / deviation[:, None]).T)

    def place(self, audio: Tensor, face: Tensor) -> Tensor:
        """Where in the space a sound [B, T, 320] points to: [B, bases]."""
        return self.mapping(self.pose_audio(audio), face).mean(dim=1)

    def predict_expression(self, audio: Tensor, source: Tensor, face: Tensor) -> Tensor:
        """Expressions [B, T, 32], each from a window of sound."""
        heard = self.mouth_front(audio)
        padded = pad(heard, (0, 0, REACH, REACH))
        around = padded.unfold(1, 2 * REACH + 1, 1).flatten(2)
        still = torch.cat([source, face], dim=1)[:, None].expand(-1, audio.shape[1], -1)
        return source[:, None] + self.mouth(torch.cat([around, still], dim=2))

    def losses(self, batch: Batch, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        face = self.face(batch.face)
        move = batch.pose - batch.pose[:, :1]
        if self.config.space:
            wanted, place = move.flatten(1) @ self.projection, self.place(batch.audio, face)
            with torch.no_grad():
                self.unexplained.lerp_((wanted - place).abs().median(dim=0).values / MEDIAN, EASE)
            pose_losses = {"place": smooth_l1_loss(place, wanted)}
        else:
            made = self._regressed(batch.audio, face)
            pose_losses = {"place": (made - move).abs().mean() + 2.0 * (velocity(made) - velocity(move)).abs().mean()}
        return {**pose_losses, **self.expression_losses(self.predict_expression(batch.audio, batch.source_expression, face), batch)}

    def _regressed(self, audio: Tensor, face: Tensor) -> Tensor:
        made = self.regression(self.pose_audio(audio), face)
        return made - made[:, :1]

    def drawn(self, audio: Tensor, face: Tensor, rng: np.random.Generator) -> Tensor:
        """One motion [WINDOW, 6] from the neighbourhood of where a sound [1, T, 320] points to."""
        noise = torch.from_numpy(rng.standard_normal((1, self.config.bases)).astype(np.float32))
        place = (self.place(audio, face) + self.unexplained * noise.clamp(-FAR, FAR)).clamp(-SEEN, SEEN)
        move = (place @ self.bases).unflatten(1, (WINDOW, POSE))[0]
        return move - move[:1]

    def windows(self, portrait: Portrait, cue: DrivingSignals, rng: np.random.Generator) -> Motion:
        face, where = self.face(portrait.image), window_spans(len(cue.audio), WINDOW)
        parts: list[np.ndarray] = []
        for index, (begin, end) in enumerate(where):
            audio = torch.from_numpy(cue.audio[None, begin:end])
            move = self.drawn(audio, face, rng)[: end - begin] if self.config.space else self._regressed(audio, face)[0]
            start = parts[-1][begin - where[index - 1][0]] if index else np.zeros(POSE, np.float32)
            # The motions of a space begin at rest; those that follow one another would wander off for good.
            parts.append(move.numpy() + CARRIED * start if index else move.numpy())
        expression = self.predict_expression(torch.from_numpy(cue.audio[None]), portrait.expression, face)
        return Motion(crossfade_windows(parts, where), expression[0].numpy())
