"""Training of the renderer on pairs of frames of genuine clips: the source frame is transformed into the target frame."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ....media.face.landmarks import LIPS
from ...faces.image_losses import PatchDiscriminator, fine_bands, pyramid_l1, ssim_loss
from ...training import CHECKPOINT, Stateful, discriminator_loss, train_for
from ..rendering.head_clips import HeadClip, sampling_weights
from ..rendering.keypoints import KeypointDetector
from ..rendering.lips import load_lip_loss, mouth_maps
from ..rendering.motion import Motion, MotionSpace
from ..rendering.renderer import HeadState, Renderer, RendererConfig, warp
from .strips import write_strip

MIN_SPACING = 0.2  # units of the crop, distance below which two detected keypoints are penalised
N_CANDIDATES = 4  # frames of which one is chosen as target
STRIPS = "strips"  # folder of sample images in a run


@dataclass(frozen=True)
class RendererTraining:
    """Settings of one training run of the renderer, with the weights of its losses."""

    seed: int = 0
    minutes: float = 60.0  # of wall clock
    batch: int = 16
    learning_rate: float = 5e-4
    threads: int = 1  # two are slower than one on a machine with other load
    transformed: float = (
        0.7  # share of the pairs rendered with transformed keypoints, as in use, instead of keypoints detected in the target
    )
    structure: float = 0.4  # structural similarity
    detail: float = 1.0  # two finest Laplacian bands
    mouth: float = 4.0  # weight of the pixels around the mouth
    flow: float = 0.5  # source warped by the flow alone
    equivariance: float = 0.5
    spacing: float = 0.5
    transform: float = 1.0
    lips: float = 0.3
    lips_after: float = 0.3  # share of the training time without the lip loss
    discriminator_rate: float = 3e-4
    discriminator_after: float = 0.8  # share of the training time without discriminator, which makes a step 1.5 times as long
    discriminator_weight: float = 0.02
    discriminator_width: int = 32
    strip_every: int = 500  # steps
    model: dict[str, Any] = field(default_factory=dict)  # arguments of RendererConfig


@dataclass(frozen=True)
class FramePairs:
    """A batch of frame pairs: images float [B, 3, 96, 96], head states, and landmarks of the targets float32 [B, 478, 3]."""

    source: Tensor
    target: Tensor
    source_state: HeadState
    target_state: HeadState
    points: np.ndarray


def head_states(motion: Motion, points: np.ndarray, rows: Sequence[int]) -> HeadState:
    """Head states of some frames of a clip."""
    return HeadState(*(torch.from_numpy(np.ascontiguousarray(x[list(rows)])) for x in (motion.pose, motion.expression, points[..., :2])))


class FramePairSampler:
    """Draws pairs of frames of the same clip."""

    def __init__(self, clips: Sequence[HeadClip], space: MotionSpace) -> None:
        self.clips, self.weights = clips, sampling_weights(clips)
        self.motions = [Motion(clip.pose, space.expression(clip.points, clip.pose)) for clip in clips]

    def draw(self, count: int, rng: np.random.Generator, tones: bool = True) -> FramePairs:
        """Draw ``count`` pairs; with ``tones``, both images of a pair get the same random tone."""
        images, poses, points = [], [], []
        for index in rng.choice(len(self.clips), count, p=self.weights):
            clip, motion = self.clips[index], self.motions[index]
            a, *others = rng.choice(np.flatnonzero(clip.usable), 1 + N_CANDIDATES)
            # Most frames of a short clip are alike: for every other pair, the most different of a few candidates.
            distances = [np.abs(motion.expression[b] - motion.expression[a]).mean() for b in others]
            b = others[int(np.argmax(distances))] if rng.random() < 0.5 else others[0]
            gain, bias = (rng.uniform(0.8, 1.2, 3), rng.uniform(-0.08, 0.08)) if tones else (1.0, 0.0)
            images.append(np.clip(clip.heads[[a, b]] / 255.0 * gain + bias, 0.0, 1.0).astype(np.float32))
            poses.append([(motion.pose[i], motion.expression[i], clip.points[i, :, :2]) for i in (a, b)])
            points.append(clip.points[b])
        both = torch.from_numpy(np.stack(images)).permute(1, 0, 4, 2, 3).contiguous()
        source_state, target_state = (
            HeadState(*(torch.from_numpy(np.stack([p[side][part] for p in poses])) for part in range(3))) for side in (0, 1)
        )
        return FramePairs(both[0], both[1], source_state, target_state, np.stack(points))


def mouth_weight(points: Tensor, weight: float, size: int) -> Tensor:
    """Loss weight of every pixel [B, 1, size, size]: ``weight`` at the mouth, 1 far from it."""
    lips = points[:, list(LIPS)]
    middle, spread = lips.mean(dim=1), lips.std(dim=1)
    axis = (torch.arange(size) + 0.5) * 2.0 / size - 1.0
    x, y = ((axis - middle[:, i, None]) / (1.8 * spread[:, i, None] + 0.02) for i in (0, 1))
    return (1.0 + (weight - 1.0) * torch.exp(-0.5 * (x[:, None, :] ** 2 + y[:, :, None] ** 2)))[:, None]


def equivariance_loss(keypoint_detector: KeypointDetector, image: Tensor, detected: Tensor, rng: np.random.Generator) -> Tensor:
    """Equivariance of the keypoint detector: distance of keypoints after a random affine transform of the image.

    Source: Siarohin et al. 2019; affine maps instead of splines.
    """
    angle, scale = rng.uniform(-0.3, 0.3, len(image)), rng.uniform(0.85, 1.2, len(image))
    linear = np.stack([[scale * np.cos(angle), -scale * np.sin(angle)], [scale * np.sin(angle), scale * np.cos(angle)]]).transpose(2, 0, 1)
    a = torch.from_numpy(linear.astype(np.float32))
    shift = torch.from_numpy(rng.uniform(-0.15, 0.15, (len(image), 1, 2)).astype(np.float32))
    axis = (torch.arange(32) + 0.5) / 16.0 - 1.0
    where = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).flatten(0, 1)
    moved = warp(image, (where @ a.transpose(1, 2) + shift).unflatten(1, (32, 32)))
    # The point p of the transformed image corresponds to A p + s in the original.
    return (keypoint_detector(moved) @ a.transpose(1, 2) + shift - detected).abs().mean()


def keypoint_spacing_loss(detected: Tensor) -> Tensor:
    """Mean amount by which keypoints [B, K, 2] are nearer to each other than :data:`MIN_SPACING`."""
    distances = torch.cdist(detected, detected) + 10.0 * torch.eye(detected.shape[1])
    return torch.relu(MIN_SPACING - distances).sum(dim=(1, 2)).mean() / detected.shape[1]


def reconstruction_loss(generated: Tensor, real: Tensor, weight: Tensor, config: RendererTraining) -> Tensor:
    """Image loss: pyramid L1, structural similarity and fine Laplacian bands, weighted per pixel."""
    loss = pyramid_l1(generated, real, weight) + config.structure * ssim_loss(generated, real)
    for a, b in zip(fine_bands(generated), fine_bands(real), strict=True):
        loss = loss + config.detail * ((a - b).abs() * weight).mean() / weight.mean()
        weight = nn.functional.avg_pool2d(weight, 2)
    return loss


def train_renderer(config: RendererTraining, clips: Sequence[HeadClip], run: str | os.PathLike[str]) -> Renderer:
    """Train the renderer; resumes from a checkpoint in ``run``, and writes strips of sample images there.

    Raises
    ------
    ValueError
        If there is no clip to train on.
    """
    if not clips:
        raise ValueError("no clip with a tracked face: nothing to train on")
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    run = Path(run)
    model, discriminator, lips = Renderer(RendererConfig(**config.model)), PatchDiscriminator(config.discriminator_width), load_lip_loss()
    if not (run / CHECKPOINT).exists():
        model.space.fit((clip.points[clip.usable], clip.pose[clip.usable]) for clip in clips)
    else:  # the fitted motion space is restored before pairs are made
        state = torch.load(run / CHECKPOINT, weights_only=True)["parts"]["model"]
        model.load_state_dict(state)
    pairs = FramePairSampler(clips, model.space)
    samples = pairs.draw(8, np.random.default_rng(config.seed), tones=False)
    optimiser = torch.optim.AdamW(model.parameters(), config.learning_rate, betas=(0.5, 0.99), weight_decay=1e-3)
    discriminator_optimiser = torch.optim.AdamW(discriminator.parameters(), config.discriminator_rate, betas=(0.5, 0.99), weight_decay=1e-3)

    def step(number: int, progress: float, rng: np.random.Generator) -> Mapping[str, float]:
        rate = max(0.02, 0.5 * (1.0 + math.cos(math.pi * progress))) * min(1.0, (number + 1) / 100)
        optimiser.param_groups[0]["lr"], discriminator_optimiser.param_groups[0]["lr"] = (
            rate * config.learning_rate,
            rate * config.discriminator_rate,
        )
        pair = pairs.draw(config.batch, rng)
        source, target = model.keypoint_detector(torch.cat([pair.source, pair.target])).chunk(2)
        transformed = model.keypoint_transform(source, *pair.source_state[:2], *pair.target_state[:2])
        use_transformed = torch.from_numpy(rng.random(config.batch) < config.transformed)[:, None, None]
        generated = model.render(
            pair.source, source, pair.source_state, torch.where(use_transformed, transformed, target), pair.target_state
        )
        weight = mouth_weight(pair.target_state.points, config.mouth, generated.image.shape[2])
        parts = {
            "reconstruction": reconstruction_loss(generated.image, pair.target, weight, config),
            "flow": config.flow * pyramid_l1(generated.warped, pair.target, weight),
            "equivariance": config.equivariance * equivariance_loss(model.keypoint_detector, pair.target, target, rng),
            "spacing": config.spacing * keypoint_spacing_loss(target),
            "transform": config.transform * (transformed - target.detach()).abs().mean(),
        }
        if progress >= config.lips_after:
            parts["lips"] = config.lips * lips(generated.image, pair.target, torch.from_numpy(mouth_maps(pair.points)))
        losses = {"lips": 0.0} | {name: float(value.detach()) for name, value in parts.items()} | {"discriminator": 0.0}
        loss = torch.stack(list(parts.values())).sum()
        if progress >= config.discriminator_after:
            discriminator_hinge = discriminator_loss(*discriminator(torch.cat([pair.target, generated.image.detach()])).chunk(2))
            discriminator_optimiser.zero_grad(set_to_none=True)
            discriminator_hinge.backward()
            discriminator_optimiser.step()
            discriminator.requires_grad_(False)
            loss = loss - config.discriminator_weight * discriminator(generated.image).mean()
            discriminator.requires_grad_(True)
            losses["discriminator"] = float(discriminator_hinge.detach())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if number % config.strip_every == 0:
            with torch.no_grad():
                shown = model(samples.source, samples.source_state, samples.target_state)
            write_strip(run / STRIPS / f"{number:06d}.jpg", [samples.source, samples.target, shown.image, shown.warped])
        return losses

    parts: dict[str, Stateful] = {
        "model": model,
        "discriminator": discriminator,
        "optimiser": optimiser,
        "discriminator_optimiser": discriminator_optimiser,
    }
    train_for(config.minutes, step, parts, run, seed=config.seed, title="renderer")
    return model.eval()
