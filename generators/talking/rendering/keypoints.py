"""Keypoints of the renderer: ten detected without supervision, and landmarks of lips and eyes.

The detected keypoints cover head, hair and shoulders; at the lips landmarks are more accurate. The target of a generated
motion has no image to detect keypoints in, so those of the source are transformed: as points of a rigid head, deformed
linearly by the expression. An unconstrained network that predicts them failed on little data.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .motion import EXPRESSION_SIZE, apply_pose, remove_pose

N_DETECTED = 10  # keypoints that are detected without supervision
LIP_POINTS = (61, 291, 0, 17, 13, 14, 39, 269, 181, 405)
EYE_POINTS = (159, 145, 386, 374)
LANDMARK_POINTS = LIP_POINTS + EYE_POINTS
N_KEYPOINTS = N_DETECTED + len(LANDMARK_POINTS)


def grid(height: int, width: int, like: Tensor) -> Tensor:
    """Pixel centres [height, width, 2] as x and y from -1 to 1."""
    y = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) * 2.0 / height - 1.0
    x = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) * 2.0 / width - 1.0
    return torch.stack([x[None, :].expand(height, width), y[:, None].expand(height, width)], dim=-1)


def heatmaps(points: Tensor, size: int, deviation: float) -> Tensor:
    """Gaussian heatmaps [B, K, size, size] around points [B, K, 2]; the deviation is in units of the crop."""
    away = grid(size, size, points)[None, None] - points[:, :, None, None]
    return torch.exp(-away.square().sum(-1) / (2.0 * deviation**2))


def _conv_block(inside: int, outside: int, stride: int = 2) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inside, outside, 3, stride, 1), nn.GroupNorm(8, outside), nn.SiLU())


class KeypointDetector(nn.Module):
    """Images float [B, 3, 96, 96] in [0, 1] to keypoints [B, 10, 2]: the expectations of heatmaps (soft-argmax).

    Source: Siarohin et al., *First order motion model for image animation*, NeurIPS 2019.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.down, self.deep = _conv_block(3, width, 1), _conv_block(width, 2 * width), _conv_block(2 * width, 3 * width)
        self.middle, self.up = _conv_block(3 * width, 3 * width, 1), _conv_block(5 * width, 2 * width, 1)
        self.last = nn.Conv2d(2 * width, N_DETECTED, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.down(self.first(F.avg_pool2d(image, 2) - 0.5))
        deep = F.interpolate(self.middle(self.deep(x)), scale_factor=2.0, mode="nearest")
        logits = self.last(self.up(torch.cat([deep, x], dim=1))).float()
        weights = (logits.flatten(2) / 0.1).softmax(dim=-1).unflatten(2, logits.shape[2:])
        return (weights[..., None] * grid(logits.shape[2], logits.shape[3], logits)).sum(dim=(2, 3))


class KeypointTransform(nn.Module):
    """Transforms keypoints from one head state to another: points at a learned depth of a rigid head, deformed by the expression.

    Every keypoint follows the head by a learned weight, so those of the background can stay. Compare the keypoint
    transformation of Wang et al., *One-shot free-view neural talking-head synthesis for video conferencing*, CVPR 2021.
    """

    def __init__(self) -> None:
        super().__init__()
        self.depth = nn.Parameter(torch.full((N_DETECTED,), 0.3))
        self.bend = nn.Parameter(torch.zeros(EXPRESSION_SIZE, N_DETECTED * 3))
        self.follows = nn.Parameter(torch.full((N_DETECTED,), 1.5))  # logits

    def forward(self, detected: Tensor, pose: Tensor, expression: Tensor, new_pose: Tensor, new_expression: Tensor) -> Tensor:
        """Keypoints [B, 10, 2] of a head with a pose [B, 6] and expression [B, 32], transformed to another pose and expression."""
        depth = (self.depth * pose[:, 5:6].exp())[..., None]
        resting = remove_pose(torch.cat([detected, depth], dim=-1), pose)
        deformed = resting + ((new_expression - expression) @ self.bend).unflatten(1, (N_DETECTED, 3))
        transformed = apply_pose(deformed, new_pose)[..., :2]
        weight = torch.sigmoid(self.follows)[:, None]
        return weight * transformed + (1.0 - weight) * detected
