"""Head motion: pose by Procrustes alignment, and expression as principal components of the face mesh."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ....media.face.geometry import mean_face, rigid_motion
from ....media.face.landmarks import LANDMARKS, LIPS, RIGID

POSE_SIZE = 6  # values: yaw, pitch, roll (radians), x, y (units of the crop), log scale
EXPRESSION_SIZE = 32  # values, of about unit variance within a clip
EYES = (33, 160, 158, 133, 153, 144, 159, 145, 263, 387, 385, 362, 380, 373, 386, 374)
LIP_WEIGHT, EYE_WEIGHT, DEPTH_WEIGHT = 3.0, 2.0, 0.4  # of landmarks and of depth in the principal components; depth is only estimated


@dataclass(frozen=True)
class Motion:
    """Motion of a head over time.

    Parameters
    ----------
    pose : float32 [T, 6]
    expression : float32 [T, 32]
    """

    pose: np.ndarray
    expression: np.ndarray

    def __len__(self) -> int:
        return len(self.pose)


def rotations(pose: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] of poses [..., 6]: yaw, then pitch, then roll."""
    yaw, pitch, roll = pose[..., 0], pose[..., 1], pose[..., 2]
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)

    def matrix(*entries: Tensor) -> Tensor:
        return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))

    about_y = matrix(yaw.cos(), zero, yaw.sin(), zero, one, zero, -yaw.sin(), zero, yaw.cos())
    about_x = matrix(one, zero, zero, zero, pitch.cos(), -pitch.sin(), zero, pitch.sin(), pitch.cos())
    about_z = matrix(roll.cos(), -roll.sin(), zero, roll.sin(), roll.cos(), zero, zero, zero, one)
    return about_z @ about_x @ about_y


def apply_pose(points: Tensor, pose: Tensor) -> Tensor:
    """Apply poses [..., 6] to points [..., N, 3] of a head at rest; in units of the crop."""
    shift = torch.cat([pose[..., 3:5], torch.zeros_like(pose[..., :1])], dim=-1)
    return pose[..., 5].exp()[..., None, None] * points @ rotations(pose).transpose(-1, -2) + shift[..., None, :]


def remove_pose(points: Tensor, pose: Tensor) -> Tensor:
    """The inverse of :func:`apply_pose`."""
    shift = torch.cat([pose[..., 3:5], torch.zeros_like(pose[..., :1])], dim=-1)
    return (points - shift[..., None, :]) @ rotations(pose) * (-pose[..., 5]).exp()[..., None, None]


def point_weights() -> np.ndarray:
    """Weight of every coordinate in the principal components, float64 [478, 3]."""
    weights = np.ones((LANDMARKS, 3))
    weights[list(LIPS)] = LIP_WEIGHT
    weights[list(EYES)] = EYE_WEIGHT
    weights[:, 2] *= DEPTH_WEIGHT
    return weights


class MotionSpace(nn.Module):
    """Conversion between face meshes and motion.

    A mesh at rest is ``mean + identity + expression``; the expression lies in the span of the principal components of the
    variation within clips, and the identity is the residual of the source image.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(mean_face().astype(np.float32)))
        self.register_buffer("projection", torch.zeros(LANDMARKS * 3, EXPRESSION_SIZE))  # mesh to expression
        self.register_buffer("basis", torch.zeros(EXPRESSION_SIZE, LANDMARKS * 3))  # and back
        self.register_buffer("pose_scale", torch.ones(POSE_SIZE))  # standard deviation of a pose within clips

    mean: Tensor
    projection: Tensor
    basis: Tensor
    pose_scale: Tensor

    def fit(self, clips: Iterable[tuple[np.ndarray, np.ndarray]]) -> MotionSpace:
        """Fit the principal components to landmarks float [T, 478, 3] of clips, in units of their crops, with their poses [T, 6]."""
        weights = point_weights().reshape(-1)
        covariance = np.zeros((LANDMARKS * 3, LANDMARKS * 3))
        total, spread = 0, np.full(POSE_SIZE, 1e-12)
        for landmarks, pose in clips:
            resting = self.to_rest(torch.from_numpy(landmarks), torch.from_numpy(pose)).numpy().reshape(len(landmarks), -1)
            change = ((resting - resting.mean(axis=0)) * weights).astype(np.float32)
            covariance += change.T @ change
            spread += np.square(pose - pose.mean(axis=0)).sum(axis=0)
            total += len(landmarks)
        if total < 2:
            raise ValueError("no tracked face to fit the motion space to")
        values, vectors = np.linalg.eigh(covariance / total)
        values, vectors = values[::-1][:EXPRESSION_SIZE], vectors[:, ::-1][:, :EXPRESSION_SIZE]
        deviation = np.sqrt(np.maximum(values, 1e-8))
        self.projection.copy_(torch.from_numpy(weights[:, None] * vectors / deviation))
        self.basis.copy_(torch.from_numpy((vectors * deviation).T / weights))
        self.pose_scale.copy_(torch.from_numpy(np.sqrt(spread / total)))
        return self

    def motion(self, landmarks: np.ndarray) -> Motion:
        """The motion of landmarks float [T, 478, 3] in units of the crop."""
        pose = rigid_motion(landmarks).astype(np.float32)
        return Motion(pose, self.expression(landmarks, pose))

    def expression(self, landmarks: np.ndarray, pose: np.ndarray) -> np.ndarray:
        """The expression float32 [T, 32] of landmarks float [T, 478, 3] whose pose [T, 6] is known."""
        with torch.no_grad():
            resting = self.to_rest(torch.from_numpy(np.asarray(landmarks, np.float32)), torch.from_numpy(pose))
            return ((resting - self.mean).flatten(-2) @ self.projection).numpy()

    def identity(self, landmarks: np.ndarray, motion: Motion) -> np.ndarray:
        """Residual float32 [478, 3] of a mesh float [478, 3] after its motion (of one frame) is removed."""
        with torch.no_grad():
            resting = self.to_rest(torch.from_numpy(np.asarray(landmarks, np.float32)), torch.from_numpy(motion.pose[0]))
            return (resting - self.mean - self.expression_offsets(torch.from_numpy(motion.expression[0]))).numpy()

    def to_rest(self, points: Tensor, pose: Tensor) -> Tensor:
        """Meshes [..., 478, 3] with the pose removed.

        The origin of depth is the centre of the head in the landmark model and between the eyes in the mean face; without
        correction the difference would turn with the head and appear as an expression.
        """
        rigid = list(RIGID)
        depth = (points[..., rigid, 2] - apply_pose(self.mean[rigid], pose)[..., 2]).mean(dim=-1)
        return remove_pose(torch.cat([points[..., :2], points[..., 2:] - depth[..., None, None]], dim=-1), pose)

    def expression_offsets(self, expression: Tensor) -> Tensor:
        """Offsets [..., 478, 3] of the mesh at rest by expressions [..., 32]."""
        return (expression @ self.basis).unflatten(-1, (LANDMARKS, 3))

    def mesh(self, identity: Tensor, pose: Tensor, expression: Tensor) -> Tensor:
        """Landmarks [..., 478, 3] in units of the crop, of an identity [..., 478, 3] with pose and expression."""
        return apply_pose(self.mean + identity + self.expression_offsets(expression), pose)
