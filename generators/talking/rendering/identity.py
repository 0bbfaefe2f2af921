"""A small face embedding of our own, for the identity-consistency loss and for evaluation, and its training.

It was trained on a few dozen people; its similarities are not comparable to those of published face-recognition models.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....media.face.crops import face_transforms
from ...training import train_for
from .head_clips import HeadClip, sampling_weights
from .head_crops import HEAD_SIZE
from .keypoints import grid

FACE_SIZE = 64  # pixels, side of the aligned face that is the input
COSINE_MARGIN, COSINE_SCALE = 0.2, 16.0  # of the softmax over cosines


@dataclass(frozen=True)
class IdentityConfig:
    """Sizes of the network; ``dimensions`` are those of the embedding."""

    widths: tuple[int, ...] = (24, 48, 96, 128)
    dimensions: int = 64


@dataclass(frozen=True)
class IdentityTraining:
    """Settings of one training run."""

    seed: int = 0
    minutes: float = 5.0
    batch: int = 48
    learning_rate: float = 1e-3
    threads: int = 1
    model: dict[str, Any] = field(default_factory=dict)  # arguments of IdentityConfig


def face_maps(points: np.ndarray) -> np.ndarray:
    """Affine maps float32 [B, 2, 3] from aligned faces to head crops, see :func:`.lips.mouth_maps`.

    Parameters
    ----------
    points : float32 [B, 478, 3]
        Landmarks in units of the head crop.
    """
    out = np.empty((len(points), 2, 3), dtype=np.float32)
    half = FACE_SIZE / 2
    units = np.array([[half, 0.0, half], [0.0, half, half], [0.0, 0.0, 1.0]])
    heads = np.array([[2.0 / HEAD_SIZE, 0.0, -1.0], [0.0, 2.0 / HEAD_SIZE, -1.0], [0.0, 0.0, 1.0]])
    for index, face in enumerate((np.asarray(points, np.float64) + 1.0) * HEAD_SIZE / 2):
        to_face = np.vstack([face_transforms(face[None], FACE_SIZE)[0], (0.0, 0.0, 1.0)])
        out[index] = (heads @ np.linalg.inv(to_face) @ units)[:2]
    return out


class IdentityNetwork(nn.Module):
    """Heads float [B, 3, 96, 96] in [0, 1] and maps [B, 2, 3] of :func:`face_maps` to embeddings [B, 64] of unit norm."""

    config_type = IdentityConfig

    def __init__(self, config: IdentityConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or IdentityConfig()
        sizes = (3, *config.widths)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(a, b, 3, 2, 1), nn.GroupNorm(8, b), nn.SiLU(), nn.Conv2d(b, b, 3, 1, 1), nn.GroupNorm(8, b), nn.SiLU()
                )
                for a, b in itertools.pairwise(sizes)
            )
        )
        self.last = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(16 * config.widths[-1], config.dimensions))

    def forward(self, heads: Tensor, maps: Tensor) -> Tensor:
        where = grid(FACE_SIZE, FACE_SIZE, heads).flatten(0, 1) @ maps[:, :, :2].transpose(1, 2) + maps[:, None, :, 2]
        faces = F.grid_sample(heads, where.unflatten(1, (FACE_SIZE, FACE_SIZE)), padding_mode="border", align_corners=False)
        # Normalised for light and colour.
        mean, deviation = faces.mean(dim=(2, 3), keepdim=True), faces.std(dim=(1, 2, 3), keepdim=True)
        return F.normalize(self.last(self.layers((faces - mean) / (deviation + 0.05))), dim=1)


def train_identity(config: IdentityTraining, clips: Sequence[HeadClip], run: str | os.PathLike[str]) -> IdentityNetwork:
    """Train on the people of some clips with an additive cosine margin; resumes from a checkpoint in ``run``.

    Source: Wang et al., *CosFace: large margin cosine loss for deep face recognition*, CVPR 2018.
    """
    names = sorted({clip.identity for clip in clips})
    if len(names) < 2:
        raise ValueError("a face embedding needs clips of at least two people")
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    network = IdentityNetwork(IdentityConfig(**config.model))
    class_centres = nn.Linear(network.config.dimensions, len(names), bias=False)
    optimiser = torch.optim.AdamW([*network.parameters(), *class_centres.parameters()], config.learning_rate, weight_decay=0.02)
    weights = sampling_weights(clips)

    def step(number: int, progress: float, rng: np.random.Generator) -> Mapping[str, float]:
        optimiser.param_groups[0]["lr"] = config.learning_rate * max(0.02, 0.5 * (1.0 + math.cos(math.pi * progress)))
        torch.manual_seed(int(rng.integers(2**31)))  # for dropout
        heads, points, person_ids = [], [], []
        for index in rng.choice(len(clips), config.batch, p=weights):
            clip = clips[index]
            frame = int(rng.choice(np.flatnonzero(clip.usable)))
            gain, bias = rng.uniform(0.75, 1.25, 3), rng.uniform(-20.0, 20.0)
            heads.append(np.clip(clip.heads[frame] * gain + bias, 0.0, 255.0).astype(np.float32))
            points.append(clip.points[frame] + rng.normal(0.0, 0.006, (1, 3)).astype(np.float32))
            person_ids.append(names.index(clip.identity))
        images = torch.from_numpy(np.stack(heads)).permute(0, 3, 1, 2) / 255.0
        # Augmentation: as soft as a generated image may be.
        if rng.random() < 0.5:
            side = int(rng.integers(40, HEAD_SIZE))
            images = F.interpolate(F.interpolate(images, size=side, mode="area"), size=HEAD_SIZE, mode="bilinear")
        labels = torch.tensor(person_ids)
        cosine = network(images, torch.from_numpy(face_maps(np.stack(points)))) @ F.normalize(class_centres.weight, dim=1).T
        loss = F.cross_entropy(COSINE_SCALE * (cosine - COSINE_MARGIN * F.one_hot(labels, len(names))), labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return {"loss": float(loss.detach()), "accuracy": float((cosine.argmax(dim=1) == labels).float().mean())}

    train_for(
        config.minutes,
        step,
        {"network": network, "centres": class_centres, "optimiser": optimiser},
        Path(run),
        seed=config.seed,
        title="identity",
    )
    return network.eval()
