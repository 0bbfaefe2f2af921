"""Base class of the talking-head models: from a portrait and driving signals to head motion; and their inputs and batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ....media.face.landmarks import LIPS
from ..rendering.head_crops import Box, crop_heads, head_box
from ..rendering.motion import Motion, MotionSpace
from ..rendering.renderer import HeadState

WINDOW = 24  # frames of one training or inference window; a quarter of the training clips is hardly longer
OVERLAP = 6  # frames of the crossfade between two windows of motion


class Attitude(StrEnum):
    """Attitude of a listener towards the speaker (Zhou et al., *Responsive listening head generation*, ECCV 2022)."""

    positive = "positive"
    neutral = "neutral"
    negative = "negative"


@dataclass(frozen=True)
class Portrait:
    """The source image: a head with its landmarks, motion and identity.

    Parameters
    ----------
    head : uint8 [96, 96, 3]
    points : float32 [478, 3]
        Landmarks in units of the crop.
    motion : Motion
        Pose and expression of this frame, T = 1.
    identity : float32 [478, 3]
        Mesh at rest without the mean mesh and the expression.
    box : Box
        Position of the head in its frame.
    """

    head: np.ndarray
    points: np.ndarray
    motion: Motion
    identity: np.ndarray
    box: Box

    @classmethod
    def from_frame(cls, frame: np.ndarray, landmarks: np.ndarray, space: MotionSpace, box: Box | None = None) -> Portrait:
        """From a frame uint8 [H, W, 3] and its landmarks float32 [478, 3] in pixels; the box is that of the head unless given."""
        box = box or head_box(landmarks[None])
        points = box.to_unit(landmarks)
        motion = space.motion(points[None])
        return cls(crop_heads(frame[None], box)[0], points, motion, space.identity(points, motion), box)

    @classmethod
    def from_crop(cls, head: np.ndarray, points: np.ndarray, space: MotionSpace) -> Portrait:
        """From a cropped head uint8 [96, 96, 3] and its landmarks float32 [478, 3] in units of the crop."""
        motion = space.motion(points[None])
        return cls(head, points, motion, space.identity(points, motion), Box(0.0, 0.0, float(len(head))))

    @property
    def image(self) -> Tensor:
        """The head as float [1, 3, 96, 96] in [0, 1]."""
        return torch.from_numpy(np.ascontiguousarray(self.head)).permute(2, 0, 1)[None].float() / 255.0

    @property
    def pose(self) -> Tensor:
        """Pose float [1, 6]."""
        return torch.from_numpy(self.motion.pose)

    @property
    def expression(self) -> Tensor:
        """Expression float [1, 32]."""
        return torch.from_numpy(self.motion.expression)

    def as_state(self) -> HeadState:
        """The state of the head that is the renderer's input."""
        return HeadState(self.pose, self.expression, torch.from_numpy(self.points[None, :, :2].copy()))


@dataclass(frozen=True)
class DrivingSignals:
    """The inputs that drive a head.

    Parameters
    ----------
    audio : float32 [T, 320]
        Log-mel of the speech: of the head itself or, for a listener, of its speaker.
    pose : float32 [N, 6] or None
        Pose of a reference clip to follow, relative to its first frame.
    speaker : Motion or None
        Motion of the speaker to whom a listener reacts.
    attitude : Attitude
        Of the listener.
    """

    audio: np.ndarray
    pose: np.ndarray | None = None
    speaker: Motion | None = None
    attitude: Attitude = Attitude.neutral


@dataclass(frozen=True)
class Batch:
    """A training batch of windows.

    Parameters
    ----------
    audio : float [B, T, 320]
    pose : float [B, T, 6]
        Relative to the source frame, in standard deviations.
    expression : float [B, T, 32]
    source_pose, source_expression : float [B, 6], [B, 32]
    face : float [B, 3, 96, 96]
        Image of the source frame.
    identity : int [B]
        Number of the person.
    """

    audio: Tensor
    pose: Tensor
    expression: Tensor
    source_pose: Tensor
    source_expression: Tensor
    face: Tensor
    identity: Tensor


class TalkingHead(nn.Module, ABC):
    """Base class of the four talking-head models, which predict head motion.

    Attributes
    ----------
    name : str
        Name in the registry and of the bundled weights.
    needs : frozenset of str
        Driving signals that are required beside the audio: ``pose`` or ``speaker``.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()
    config_type: ClassVar[type]

    def __init__(self) -> None:
        super().__init__()
        self.space = MotionSpace()

    @abstractmethod
    def losses(self, batch: Batch, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        """Training losses by name; ``progress`` in [0, 1] is the share of the training time that has passed."""

    @abstractmethod
    def predict_motion(self, portrait: Portrait, driving: DrivingSignals, rng: np.random.Generator) -> Motion:
        """The motion [T, ...] of a head, with the pose relative to the portrait's in standard deviations."""

    def fit_statistics(self, batches: list[Batch]) -> None:
        """Estimate parameters that are not trained by gradient descent from some batches; nothing by default."""

    @torch.inference_mode()
    def generate_motion(self, portrait: Portrait, driving: DrivingSignals, rng: np.random.Generator) -> Motion:
        """Generate the motion of the head.

        Parameters
        ----------
        rng : Generator
            Of what the model samples; other seeds give other motions.

        Returns
        -------
        Motion
            As many frames as the audio has; pose in units of the portrait's crop.

        Raises
        ------
        ValueError
            If a required driving signal is missing, or the audio is empty.
        """
        if not len(driving.audio):
            raise ValueError(f"{self.name}: the audio is empty: it must last at least 0.04 s")
        for need in sorted(self.needs):
            given = getattr(driving, need)
            if given is None or not len(given):
                raise ValueError(f"{self.name} needs a {NEEDS[need]}")
        predicted = self.predict_motion(portrait, driving, rng)
        pose = portrait.motion.pose + predicted.pose * self.space.pose_scale.numpy()
        return Motion(pose.astype(np.float32), predicted.expression.astype(np.float32))

    def lip_distance(self, expression: Tensor, target: Tensor) -> Tensor:
        """Mean distance of the lip landmarks of two expressions [..., 32], in hundredths of the distance of the outer eye corners."""
        basis = self.space.basis.unflatten(1, (-1, 3))[:, list(LIPS), :2].flatten(1)
        return 100.0 * ((expression - target) @ basis).unflatten(-1, (-1, 2)).norm(dim=-1).mean()

    def expression_losses(self, predicted: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Losses of a predicted expression [B, T, 32]: of its components, of the lips, and of their velocity."""
        step, target = predicted[:, 1:] - predicted[:, :-1], batch.expression[:, 1:] - batch.expression[:, :-1]
        return {
            "expression": (predicted - batch.expression).abs().mean(),
            "lips": 0.3 * self.lip_distance(predicted, batch.expression),
            "lip_speed": 0.3 * self.lip_distance(step, target),
        }


NEEDS = {"pose": "reference clip for its head pose (--pose)", "speaker": "clip of the speaker (--speaker)"}


def window_spans(length: int, window: int = WINDOW, overlap: int = OVERLAP) -> list[tuple[int, int]]:
    """Begin and end of the windows that cover a sequence; each begins ``overlap`` frames before the end of the previous one."""
    out = [(0, min(window, length))]
    while out[-1][1] < length:
        begin = out[-1][1] - overlap
        out.append((begin, min(begin + window, length)))
    return out


def crossfade_windows(parts: list[np.ndarray], spans: list[tuple[int, int]]) -> np.ndarray:
    """Join windows [T, D] with a crossfade where they overlap; float32 [T, D]."""
    out = np.zeros((spans[-1][1], parts[0].shape[1]), dtype=np.float32)
    for part, (begin, end) in zip(parts, spans, strict=True):
        shared = spans[spans.index((begin, end)) - 1][1] - begin if begin else 0
        ramp = np.ones((end - begin, 1), dtype=np.float32)
        ramp[:shared, 0] = (np.arange(shared) + 1.0) / (shared + 1.0)
        out[begin:end] = (1.0 - ramp) * out[begin:end] + ramp * part[: end - begin]
    return out
