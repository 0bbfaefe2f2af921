"""What every talking or listening head is: from a portrait and what drives it to the motion of the head."""

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

WINDOW = 24  # frames of a clip that are learned and made at once; a quarter of the training clips is hardly longer
OVERLAP = 6  # frames over which one window of motion fades into the next


class Attitude(StrEnum):
    """How a listener takes what is said."""

    positive = "positive"
    neutral = "neutral"
    negative = "negative"


@dataclass(frozen=True)
class Portrait:
    """The picture that is brought to life.

    Parameters
    ----------
    head : uint8 [96, 96, 3]
    points : float32 [478, 3]
        Landmarks in units of the crop.
    motion : Motion
        Of this one frame.
    identity : float32 [478, 3]
        What the mesh at rest has beside mean and expression.
    box : Box
        Where the head lies in its frame.
    """

    head: np.ndarray
    points: np.ndarray
    motion: Motion
    identity: np.ndarray
    box: Box

    @classmethod
    def from_frame(cls, frame: np.ndarray, landmarks: np.ndarray, space: MotionSpace, box: Box | None = None) -> Portrait:
        """Of a frame uint8 [H, W, 3] and its landmarks float32 [478, 3] in pixels; the box is drawn around the head unless given."""
        box = box or head_box(landmarks[None])
        points = box.to_unit(landmarks)
        motion = space.motion(points[None])
        return cls(crop_heads(frame[None], box)[0], points, motion, space.identity(points, motion), box)

    @classmethod
    def from_crop(cls, head: np.ndarray, points: np.ndarray, space: MotionSpace) -> Portrait:
        """Of a head uint8 [96, 96, 3] that is cropped already, and its landmarks float32 [478, 3] in units of the crop."""
        motion = space.motion(points[None])
        return cls(head, points, motion, space.identity(points, motion), Box(0.0, 0.0, float(len(head))))

    @property
    def image(self) -> Tensor:
        """The head as float [1, 3, 96, 96] in [0, 1]."""
        return torch.from_numpy(np.ascontiguousarray(self.head)).permute(2, 0, 1)[None].float() / 255.0

    @property
    def pose(self) -> Tensor:
        """Float [1, 6]."""
        return torch.from_numpy(self.motion.pose)

    @property
    def expression(self) -> Tensor:
        """Float [1, 32]."""
        return torch.from_numpy(self.motion.expression)

    def as_state(self) -> HeadState:
        """As the renderer takes it."""
        return HeadState(self.pose, self.expression, torch.from_numpy(self.points[None, :, :2].copy()))


@dataclass(frozen=True)
class DrivingSignals:
    """What drives a head.

    Parameters
    ----------
    audio : float32 [T, 320]
        Log-mel of what is said: by the head itself, or by the one it listens to.
    pose : float32 [N, 6] or None
        Of a reference clip that is to be followed; its first frame counts as where the portrait is.
    speaker : Motion or None
        Of the one to whom the head listens.
    attitude : Attitude
        Of the listener.
    """

    audio: np.ndarray
    pose: np.ndarray | None = None
    speaker: Motion | None = None
    attitude: Attitude = Attitude.neutral


@dataclass(frozen=True)
class Batch:
    """Windows of clips as motion networks learn from them.

    Parameters
    ----------
    audio : float [B, T, 320]
    pose : float [B, T, 6]
        Relative to the source face, in standard deviations.
    expression : float [B, T, 32]
    source_pose, source_expression : float [B, 6], [B, 32]
    face : float [B, 3, 96, 96]
        The source face.
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
    """Base class of the four generators of motion.

    Attributes
    ----------
    name : str
        Under which it is registered and its weights lie.
    needs : frozenset of str
        What a cue must hold beside the sound: ``pose`` or ``speaker``.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()
    config_type: ClassVar[type]

    def __init__(self) -> None:
        super().__init__()
        self.space = MotionSpace()

    @abstractmethod
    def losses(self, batch: Batch, rng: np.random.Generator, progress: float) -> dict[str, Tensor]:
        """What is to be made small; ``progress`` in [0, 1] is the share of the training that is over."""

    @abstractmethod
    def predict_motion(self, portrait: Portrait, driving: DrivingSignals, rng: np.random.Generator) -> Motion:
        """The motion [T, ...] of a head; pose relative to the portrait's in standard deviations."""

    def fit_statistics(self, batches: list[Batch]) -> None:
        """Take from some batches what is not learned by descent; nothing by default."""

    @torch.inference_mode()
    def generate_motion(self, portrait: Portrait, driving: DrivingSignals, rng: np.random.Generator) -> Motion:
        """How the head moves.

        Parameters
        ----------
        rng : Generator
            Draws what is left to chance; other seeds move the head in other ways.

        Returns
        -------
        Motion
            Of as many frames as the cue has sound; pose in units of the portrait's crop.

        Raises
        ------
        ValueError
            If the cue lacks something that is needed, or holds no sound.
        """
        if not len(driving.audio):
            raise ValueError(f"{self.name}: there is no sound to move to: it must last at least 0.04 s")
        for need in sorted(self.needs):
            given = getattr(driving, need)
            if given is None or not len(given):
                raise ValueError(f"{self.name} needs a {NEEDS[need]}")
        predicted = self.predict_motion(portrait, driving, rng)
        pose = portrait.motion.pose + predicted.pose * self.space.pose_scale.numpy()
        return Motion(pose.astype(np.float32), predicted.expression.astype(np.float32))

    def lip_distance(self, expression: Tensor, wanted: Tensor) -> Tensor:
        """Mean distance of the lips of two expressions [..., 32], in hundredths of the distance of the outer eye corners."""
        basis = self.space.basis.unflatten(1, (-1, 3))[:, list(LIPS), :2].flatten(1)
        return 100.0 * ((expression - wanted) @ basis).unflatten(-1, (-1, 2)).norm(dim=-1).mean()

    def expression_losses(self, predicted: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What an expression [B, T, 32] is off: every component, the lips, and how they move."""
        step, wanted = predicted[:, 1:] - predicted[:, :-1], batch.expression[:, 1:] - batch.expression[:, :-1]
        return {
            "expression": (predicted - batch.expression).abs().mean(),
            "lips": 0.3 * self.lip_distance(predicted, batch.expression),
            "lip_speed": 0.3 * self.lip_distance(step, wanted),
        }


NEEDS = {"pose": "reference clip for its head pose (--pose)", "speaker": "clip of the speaker (--speaker)"}


def window_spans(length: int, window: int = WINDOW, overlap: int = OVERLAP) -> list[tuple[int, int]]:
    """Begin and end of the windows that cover a sequence, each beginning ``overlap`` frames before the one before it ends."""
    out = [(0, min(window, length))]
    while out[-1][1] < length:
        begin = out[-1][1] - overlap
        out.append((begin, min(begin + window, length)))
    return out


def crossfade_windows(parts: list[np.ndarray], spans: list[tuple[int, int]]) -> np.ndarray:
    """Windows [T, D] put together, fading from one into the next where they overlap."""
    out = np.zeros((spans[-1][1], parts[0].shape[1]), dtype=np.float32)
    for part, (begin, end) in zip(parts, spans, strict=True):
        shared = spans[spans.index((begin, end)) - 1][1] - begin if begin else 0
        ramp = np.ones((end - begin, 1), dtype=np.float32)
        ramp[:shared, 0] = (np.arange(shared) + 1.0) / (shared + 1.0)
        out[begin:end] = (1.0 - ramp) * out[begin:end] + ramp * part[: end - begin]
    return out
