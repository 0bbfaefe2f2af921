"""Pairs of a speaker and a listener (dyads) for the training of MFR-Net: recorded ones, or simulated ones marked as such.

A simulated listener follows a rule: closed mouth, idle motion of a genuine head, the speaker's head motion mirrored with a
delay, nods or head shakes when the speaker pauses, and a smile or a frown according to its attitude. Training on it shows
that the network can learn the rule, not how people listen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ....media.clip import FRAME_RATE
from ..rendering.head_clips import HeadClip, sampling_weights
from ..rendering.motion import POSE_SIZE, Motion, MotionSpace
from .base import WINDOW, Attitude

MIRROR_SHARE, MIRROR_LAG = 0.3, 8  # share of the speaker's head motion that is mirrored, and the delay in frames
IDLE_SHARE = 0.3  # share of a genuine head's motion that is added as idle motion
NOD = {
    Attitude.positive: (1, 1.6),
    Attitude.neutral: (1, 0.5),
    Attitude.negative: (0, 1.6),
}  # component of the pose (0 yaw, 1 pitch), amplitude in standard deviations
NOD_RATE = (1.4, 2.4)  # Hz
SMILE_STRENGTH = {Attitude.positive: 1.0, Attitude.neutral: 0.0, Attitude.negative: -1.0}
PAUSE_QUANTILE = 0.35  # quantile of the loudness below which the speaker counts as pausing
MOUTH_CORNERS = (61, 291)  # landmarks of the corners of the mouth
CORNER_SHIFT = (
    0.05,
    -0.05,
)  # shift of the corners in a smile, outwards and downwards (negative: up), in distances of the outer eye corners
CORNER_SIGMA = 0.12  # same unit, standard deviation of the shift of the skin around the corners


@dataclass(frozen=True)
class Dyad:
    """A window of a listener and of its speaker.

    Parameters
    ----------
    audio : float32 [T, 320]
        Log-mel of the speaker.
    speaker, listener : Motion
        Pose relative to a source frame each, in standard deviations.
    source_pose, source_expression : float32 [6], [32]
        Of the listener's source frame.
    face : uint8 [96, 96, 3]
    attitude : Attitude
    """

    audio: np.ndarray
    speaker: Motion
    listener: Motion
    source_pose: np.ndarray
    source_expression: np.ndarray
    face: np.ndarray
    attitude: Attitude


class Dyads(ABC):
    """Base class of the sources of dyads."""

    simulated: bool

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Dyad:
        """Draw one window."""


def smile_expression(space: MotionSpace) -> np.ndarray:
    """The expression float32 [32] of a smile: the projection of a mesh whose mouth corners are moved outwards and upwards."""
    mean = space.mean.numpy()
    move = np.zeros_like(mean)
    for corner in MOUTH_CORNERS:
        near = np.exp(-0.5 * np.square(np.linalg.norm(mean - mean[corner], axis=1) / CORNER_SIGMA))
        side = np.sign(mean[corner, 0] - mean[list(MOUTH_CORNERS), 0].mean())
        move[:, 0] += near * side * CORNER_SHIFT[0]
        move[:, 1] += near * CORNER_SHIFT[1]
    return (move.reshape(-1) @ space.projection.numpy()).astype(np.float32)


def loudness(audio: np.ndarray) -> np.ndarray:
    """Mean log-mel [T] of audio [T, 320]."""
    return audio.mean(axis=1)


def simulate_listener(
    audio: np.ndarray,
    speaker: np.ndarray,
    idle: Motion,
    rest: np.ndarray,
    attitude: Attitude,
    smiling: np.ndarray,
    rng: np.random.Generator,
) -> Motion:
    """Motion of a listener by the rule that the module describes.

    Parameters
    ----------
    audio : float32 [T, 320]
    speaker : float32 [T, 6]
        Pose of the speaker, relative, in standard deviations.
    idle : Motion
        Motion of a genuine head of the same length; pose relative, in standard deviations.
    rest : float32 [32]
        Expression of the listener with its mouth closed.
    smiling : float32 [32]
        See :func:`smile_expression`.
    """
    length = len(audio)
    mirrored = np.concatenate([np.zeros((MIRROR_LAG, POSE_SIZE), np.float32), speaker])[:length]
    pose = IDLE_SHARE * gaussian_filter1d(idle.pose, 3.0, axis=0) + MIRROR_SHARE * mirrored
    axis, size = NOD[attitude]
    pauses = gaussian_filter1d(loudness(audio), 2.0)
    pauses = pauses < np.quantile(pauses, PAUSE_QUANTILE)
    # A reaction begins with a pause and decays within about a second.
    begins = np.flatnonzero(pauses & ~np.concatenate([[False], pauses[:-1]]))
    time = np.arange(length) / FRAME_RATE
    for begin in begins[rng.random(len(begins)) < 0.8]:
        since = time - time[begin]
        swing = np.sin(2.0 * np.pi * rng.uniform(*NOD_RATE) * since) * np.exp(-since / 0.5) * (since >= 0.0)
        pose[:, axis] += (size * rng.uniform(0.7, 1.3) * swing).astype(np.float32)
    # The smile or frown starts at the first pause, or at the beginning if there is none.
    onset = begins[0] if len(begins) else 0
    strength = SMILE_STRENGTH[attitude] * gaussian_filter1d((np.arange(length) >= onset).astype(np.float32), 4.0) * rng.uniform(0.7, 1.1)
    idle_expression = 0.2 * gaussian_filter1d(idle.expression - idle.expression.mean(axis=0), 2.0, axis=0)
    expression = rest + strength[:, None] * smiling + idle_expression
    return Motion(pose.astype(np.float32), expression.astype(np.float32))


class SimulatedDyads(Dyads):
    """Dyads of genuine clips as speakers and simulated listeners with the faces of other clips."""

    simulated = True

    def __init__(self, clips: Sequence[HeadClip], space: MotionSpace) -> None:
        self.clips = [clip for clip in clips if len(clip) >= WINDOW and clip.usable.all() and clip.audio.any()]
        if not self.clips:
            raise ValueError(f"no clip has a tracked face and audio for {WINDOW} frames: listeners cannot be simulated")
        self.weights, self.smiling = sampling_weights(self.clips), smile_expression(space)
        self.scale = space.pose_scale.numpy()
        self.motions = [Motion(clip.pose, space.expression(clip.points, clip.pose)) for clip in self.clips]
        self.opening = [np.linalg.norm(clip.points[:, 13] - clip.points[:, 14], axis=1) for clip in self.clips]

    def draw(self, rng: np.random.Generator, attitude: Attitude | None = None) -> Dyad:
        attitude = attitude or list(Attitude)[int(rng.integers(len(Attitude)))]
        speaking, listening = rng.choice(len(self.clips), 2, p=self.weights)
        begin, idle = (int(rng.integers(0, len(self.clips[i]) - WINDOW + 1)) for i in (speaking, listening))
        speaker, listener = self.motions[speaking], self.motions[listening]
        # The source frame of a listener has a closed or nearly closed mouth.
        still = int(rng.choice(np.argsort(self.opening[listening])[: max(3, len(listener) // 8)]))
        audio = self.clips[speaking].audio[begin : begin + WINDOW]
        speaker_motion = Motion(self._relative(speaker.pose[begin : begin + WINDOW]), speaker.expression[begin : begin + WINDOW])
        idle_motion = Motion(self._relative(listener.pose[idle : idle + WINDOW]), listener.expression[idle : idle + WINDOW])
        rest = listener.expression[still]
        simulated = simulate_listener(audio, speaker_motion.pose, idle_motion, rest, attitude, self.smiling, rng)
        return Dyad(audio, speaker_motion, simulated, listener.pose[still], rest, self.clips[listening].heads[still], attitude)

    def _relative(self, pose: np.ndarray) -> np.ndarray:
        return ((pose - pose[0]) / self.scale).astype(np.float32)


class RecordedDyads(Dyads):
    """Recorded dyads: synchronous clips of listener and speaker, and the listener's attitude."""

    simulated = False

    def __init__(self, pairs: Sequence[tuple[HeadClip, HeadClip, Attitude]], space: MotionSpace) -> None:
        begins = [_begins(listener, speaker) for listener, speaker, _ in pairs]
        self.pairs = [pair for pair, found in zip(pairs, begins, strict=True) if len(found)]
        self.begins = [found for found in begins if len(found)]
        if not self.pairs:
            raise ValueError(f"no pair has tracked faces of listener and speaker for {WINDOW} frames")
        self.scale = space.pose_scale.numpy()
        self.expressions = [tuple(space.expression(clip.points, clip.pose) for clip in pair[:2]) for pair in self.pairs]

    def draw(self, rng: np.random.Generator) -> Dyad:
        index = int(rng.integers(len(self.pairs)))
        (listener, speaker, attitude), (listening, speaking) = self.pairs[index], self.expressions[index]
        begin = int(rng.choice(self.begins[index]))
        span = slice(begin, begin + WINDOW)
        source = int(rng.choice(np.flatnonzero(listener.usable)))
        return Dyad(
            speaker.audio[span],
            Motion(((speaker.pose[span] - speaker.pose[begin]) / self.scale).astype(np.float32), speaking[span]),
            Motion(((listener.pose[span] - listener.pose[source]) / self.scale).astype(np.float32), listening[span]),
            listener.pose[source],
            listening[source],
            listener.heads[source],
            attitude,
        )


def _begins(listener: HeadClip, speaker: HeadClip) -> np.ndarray:
    """Frames at which a window can begin: both faces are tracked throughout it."""
    length = min(len(listener), len(speaker))
    if length < WINDOW:
        return np.zeros(0, dtype=int)
    both = listener.usable[:length] & speaker.usable[:length]
    return np.flatnonzero(np.lib.stride_tricks.sliding_window_view(both, WINDOW).all(axis=1))


def motion_array(motion: Motion) -> np.ndarray:
    """Pose and expression concatenated, float32 [T, 38]."""
    return np.concatenate([motion.pose, motion.expression], axis=1)
