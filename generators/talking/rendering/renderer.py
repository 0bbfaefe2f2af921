"""The renderer that all four talking-head models share: an image of a head and two head states in, the moved head out.

A dense flow is a softmax-weighted combination of the keypoint motions, occlusion maps mark what the source does not show,
and an image decoder generates the target from the warped features.

Paper: Siarohin et al., *First order motion model for image animation*, NeurIPS 2019. Ours: the local motions (rotation and
scale are known from the pose, not learned), the landmarks among the keypoints, and all sizes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .keypoints import LANDMARK_POINTS, N_DETECTED, N_KEYPOINTS, KeypointDetector, KeypointTransform, grid, heatmaps
from .motion import MotionSpace, rotations

FLOW_SIZE = 32  # pixels, side of the dense flow; with 48 it would take a third of a training step
DETECTED_SIGMA, LANDMARK_SIGMA = (
    0.12,
    0.06,
)  # standard deviations of the heatmaps of detected keypoints and of landmarks, in units of the crop


@dataclass(frozen=True)
class RendererConfig:
    """Sizes in channels."""

    keypoint_detector: int = 16
    flow: tuple[int, ...] = (24, 48, 80)  # at 32, 16 and 8 pixels
    decoder: tuple[int, ...] = (24, 64, 112)  # at 48, 24 and 12 pixels
    blocks: int = 2  # residual blocks at 24 pixels


class HeadState(NamedTuple):
    """Pose, expression and landmarks of a head in one frame.

    Parameters
    ----------
    pose : float [B, 6]
    expression : float [B, 32]
    points : float [B, 478, 2]
        Landmarks in units of the crop.
    """

    pose: Tensor
    expression: Tensor
    points: Tensor


class RendererOutput(NamedTuple):
    """Output of the renderer: the image, the source warped by the flow alone, and the weight of the warped source in the image."""

    image: Tensor  # [B, 3, 96, 96] in [0, 1]
    warped: Tensor  # [B, 3, 96, 96]
    source_weight: Tensor  # [B, 1, 96, 96] in [0, 1]


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(8, channels)


class _Block(nn.Module):
    """Residual block of two convolutions."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.first_norm, self.first = _norm(inside), nn.Conv2d(inside, outside, 3, padding=1)
        self.norm, self.second = _norm(outside), nn.Conv2d(outside, outside, 3, padding=1)
        self.skip = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.second(F.silu(self.norm(self.first(F.silu(self.first_norm(x))))))


def _up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """Sample images [B, C, H, W] at the positions of a flow [B, h, w, 2], in units of the crop."""
    if flow.shape[1] != x.shape[2]:
        flow = F.interpolate(flow.permute(0, 3, 1, 2), size=x.shape[2:], mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
    return F.grid_sample(x.float(), flow, mode="bilinear", padding_mode="border", align_corners=False)


def keypoint_sigmas() -> Tensor:
    """Standard deviation of the heatmap of every keypoint [K, 1, 1], in units of the crop."""
    return torch.tensor([DETECTED_SIGMA] * N_DETECTED + [LANDMARK_SIGMA] * len(LANDMARK_POINTS))[:, None, None]


class DenseMotion(nn.Module):
    """Keypoints of source and target to a flow [B, 32, 32, 2] and occlusion maps [B, 2, 32, 32]."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.first = nn.Conv2d(4 * (N_KEYPOINTS + 1), widths[0], 3, padding=1)
        self.downs = nn.ModuleList(nn.Sequential(nn.AvgPool2d(2), _Block(a, b)) for a, b in itertools.pairwise(widths))
        self.ups = nn.ModuleList(_Block(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.last = nn.Sequential(_norm(widths[0]), nn.SiLU(), nn.Conv2d(widths[0], N_KEYPOINTS + 3, 3, padding=1))

    def forward(self, image: Tensor, source: Tensor, target: Tensor, jacobian: Tensor) -> tuple[Tensor, Tensor]:
        batch = len(image)
        small = F.interpolate(image, size=(FLOW_SIZE, FLOW_SIZE), mode="bilinear", align_corners=False, antialias=False)
        positions = grid(FLOW_SIZE, FLOW_SIZE, source)
        offsets = positions[None, None] - target[:, :, None, None]  # [B, K, h, w, 2]
        moved = torch.einsum("bij,bkhwj->bkhwi", jacobian, offsets) + source[:, :, None, None]
        motions = torch.cat([positions.expand(batch, 1, FLOW_SIZE, FLOW_SIZE, 2), moved], dim=1)
        copies = small[:, None].expand(-1, N_KEYPOINTS + 1, -1, -1, -1).flatten(0, 1)
        warped = warp(copies, motions.flatten(0, 1)).unflatten(0, (batch, N_KEYPOINTS + 1))
        spread = 2.0 * keypoint_sigmas().to(offsets).square()
        heat = torch.exp(-offsets.square().sum(-1) / spread) - torch.exp(-(positions - source[:, :, None, None]).square().sum(-1) / spread)
        heat = torch.cat([torch.zeros_like(heat[:, :1]), heat], dim=1)
        x = self.first(torch.cat([heat[:, :, None], warped - 0.5], dim=2).flatten(1, 2))
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(x)
        for up in self.ups:
            x = up(torch.cat([_up(x), skips.pop()], dim=1))
        out = self.last(x).float()
        choice = out[:, : N_KEYPOINTS + 1].softmax(dim=1)
        return (choice[..., None] * motions).sum(dim=1), torch.sigmoid(out[:, N_KEYPOINTS + 1 :])


class ImageDecoder(nn.Module):
    """Encodes the source image, warps the features by the flow, and decodes the target image.

    ``style`` [B, 2 * widths[2]] scales and shifts the deepest features, for models that condition the decoder.
    """

    def __init__(self, widths: tuple[int, ...], blocks: int) -> None:
        super().__init__()
        a, b, c = widths
        self.first = nn.Conv2d(3 * 4, a, 3, padding=1)
        self.down, self.deep = nn.Sequential(nn.Conv2d(a, b, 4, 2, 1), _Block(b, b)), nn.Sequential(nn.Conv2d(b, c, 4, 2, 1), _Block(c, c))
        self.middle = nn.ModuleList([_Block(c + N_KEYPOINTS, c), _Block(c, c)])
        self.wide = nn.ModuleList([_Block(b + c + N_KEYPOINTS, b), *(_Block(b, b) for _ in range(blocks - 1))])
        self.fine = _Block(a + b, a)
        self.last = nn.Sequential(_norm(a), nn.SiLU(), nn.Conv2d(a, 4 * 4, 3, padding=1), nn.PixelShuffle(2))

    def encode(self, image: Tensor) -> list[Tensor]:
        """Features at 48, 24 and 12 pixels."""
        fine = self.first(F.pixel_unshuffle(image - 0.5, 2))
        wide = self.down(fine)
        return [fine, wide, self.deep(wide)]

    def forward(self, image: Tensor, flow: Tensor, occlusion: Tensor, target: Tensor, style: Tensor | None = None) -> RendererOutput:
        fine, wide, deep = (self._warp_features(x, flow, occlusion[:, :1]) for x in self.encode(image))
        x = self.middle[0](torch.cat([deep, heatmaps(target, deep.shape[2], DETECTED_SIGMA)], dim=1))
        if style is not None:
            gain, bias = style.chunk(2, dim=1)
            x = x * (1.0 + gain[..., None, None]) + bias[..., None, None]
        x = self.middle[1](x)
        x = torch.cat([_up(x), wide, heatmaps(target, wide.shape[2], LANDMARK_SIGMA)], dim=1)
        for block in self.wide:
            x = block(x)
        out = self.last(self.fine(torch.cat([_up(x), fine], dim=1))).float()
        warped = warp(image, flow)
        source_visible = F.interpolate(occlusion[:, 1:], size=image.shape[2:], mode="bilinear", align_corners=False)
        source_weight = torch.sigmoid(out[:, 3:]) * source_visible
        return RendererOutput(source_weight * warped + (1.0 - source_weight) * torch.sigmoid(out[:, :3]), warped, source_weight)

    @staticmethod
    def _warp_features(x: Tensor, flow: Tensor, occlusion: Tensor) -> Tensor:
        return warp(x, flow) * F.interpolate(occlusion, size=x.shape[2:], mode="bilinear", align_corners=False)


class Renderer(nn.Module):
    """Keypoint detector, keypoint transform, dense motion and image decoder: moves a head from one state to another."""

    config_type = RendererConfig

    def __init__(self, config: RendererConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or RendererConfig()
        self.space = MotionSpace()
        self.keypoint_detector = KeypointDetector(config.keypoint_detector)
        self.keypoint_transform = KeypointTransform()
        self.dense_motion = DenseMotion(config.flow)
        self.decoder = ImageDecoder(config.decoder, config.blocks)

    def keypoints(self, detected: Tensor, points: Tensor) -> Tensor:
        """All keypoints [B, 24, 2]: the detected ones, and landmarks of lips and eyes."""
        return torch.cat([detected, points[:, list(LANDMARK_POINTS), :2]], dim=1)

    def forward(self, image: Tensor, source: HeadState, target: HeadState, style: Tensor | None = None) -> RendererOutput:
        """Move the heads of images float [B, 3, 96, 96] in [0, 1] from one state to another; keypoints are transformed."""
        detected = self.keypoint_detector(image)
        return self.render(image, detected, source, self.keypoint_transform(detected, *source[:2], *target[:2]), target, style)

    def render(
        self, image: Tensor, detected: Tensor, source: HeadState, new_detected: Tensor, target: HeadState, style: Tensor | None = None
    ) -> RendererOutput:
        """The same, given the detected keypoints [B, 10, 2] of source and target."""
        source_keypoints, target_keypoints = self.keypoints(detected, source.points), self.keypoints(new_detected, target.points)
        flow, occlusion = self.dense_motion(image, source_keypoints, target_keypoints, _local_jacobian(source.pose, target.pose))
        return self.decoder(image, flow, occlusion, target_keypoints, style)


def _local_jacobian(source: Tensor, target: Tensor) -> Tensor:
    """Local rotation and scale from target to source in the image plane: [B, 2, 2]."""
    a, b = (pose[:, 5].exp()[:, None, None] * rotations(pose)[:, :2, :2] for pose in (source, target))
    return a @ torch.linalg.pinv(b, rcond=1e-3)
