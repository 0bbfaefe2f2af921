"""Training of the four talking-head models, and fine-tuning of the renderer of MFR-Net."""

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

from ....media.speech import LOG_MEL_BINS, STACK
from ...training import CHECKPOINT, train_for
from ..models.base import WINDOW, Batch, DrivingSignals, Portrait, TalkingHead
from ..models.dyads import Dyads, SimulatedDyads
from ..models.mfr_net import DyadBatch, MfrNet
from ..rendering.head_clips import HeadClip, sampling_weights
from ..rendering.identity import IdentityNetwork, face_maps
from ..rendering.motion import Motion, MotionSpace
from ..rendering.renderer import Renderer
from ..synthesis import render
from .renderer_training import STRIPS, FramePairSampler, RendererTraining, mouth_weight, reconstruction_loss
from .strips import write_strip

RESTING_QUANTILE = 0.25  # quantile of a clip's mouth openings below which the mouth counts as closed
N_STATISTICS_BATCHES = 40  # batches from which a model estimates its statistics before training


@dataclass(frozen=True)
class HeadTraining:
    """Settings of one training run of a talking-head model."""

    seed: int = 0
    minutes: float = 8.0  # of wall clock
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    threads: int = 1
    strip_every: int = 500  # steps
    model: dict[str, Any] = field(default_factory=dict)  # arguments of the configuration of the model


@dataclass(frozen=True)
class ListenerTraining(HeadTraining):
    """Settings of MFR-Net: motion first, then fine-tuning of its renderer."""

    minutes: float = 20.0
    rendering_after: float = 0.4  # share of the training time after which the renderer is fine-tuned
    rendering_batch: int = 12
    rendering_rate: float = 1e-4
    identity_weight: float = 0.5


def _random_colouration(rng: np.random.Generator) -> np.ndarray:
    """Augmentation: a random level and smooth spectral envelope float64 [320] to add to log-mel."""
    bands = np.interp(np.arange(LOG_MEL_BINS), np.linspace(0, LOG_MEL_BINS - 1, 8), rng.normal(0.0, 0.12, 8))
    return np.tile(rng.normal(0.0, 0.12) + bands, STACK)


class WindowSampler:
    """Draws training windows with a source frame of the same clip, mostly one with a closed mouth."""

    def __init__(self, clips: Sequence[HeadClip], space: MotionSpace) -> None:
        self.clips = [clip for clip in clips if len(clip) >= WINDOW and clip.usable.mean() > 0.9 and clip.audio.any()]
        if not self.clips:
            raise ValueError(f"no clip has a tracked face and audio for {WINDOW} frames: there is nothing to train on")
        self.weights, self.scale = sampling_weights(self.clips), space.pose_scale.numpy()
        self.expressions = [space.expression(clip.points, clip.pose) for clip in self.clips]
        self.means = [expression.mean(axis=0) for expression in self.expressions]
        opening = [np.linalg.norm(clip.points[:, 13] - clip.points[:, 14], axis=1) for clip in self.clips]
        self.resting = [
            np.flatnonzero(c.usable & (o <= np.quantile(o[c.usable], RESTING_QUANTILE))) for c, o in zip(self.clips, opening, strict=True)
        ]
        names = sorted({clip.identity for clip in self.clips})
        self.person_ids = [names.index(clip.identity) for clip in self.clips]

    def draw(self, count: int, rng: np.random.Generator) -> Batch:
        """Draw a batch of ``count`` windows."""
        rows = []
        for index in rng.choice(len(self.clips), count, p=self.weights):
            clip, expression = self.clips[index], self.expressions[index]
            begin = int(rng.integers(0, len(clip) - WINDOW + 1))
            # Source frames mostly have a closed mouth, as portraits do.
            source = int(rng.choice(self.resting[index] if rng.random() < 0.7 else np.flatnonzero(clip.usable)))
            span = slice(begin, begin + WINDOW)
            # Augmentation against the few identities: the mean expression is shifted towards that of another clip.
            if rng.random() < 0.5:
                expression = expression + rng.uniform(0.0, 1.0) * (
                    self.means[int(rng.choice(len(self.means), p=self.weights))] - self.means[index]
                )
            audio = clip.audio[span] + _random_colouration(rng)
            pose = (clip.pose[span] - clip.pose[source]) / self.scale
            rows.append((audio, pose, expression[span], clip.pose[source], expression[source], clip.heads[source], self.person_ids[index]))
        columns = [np.stack([np.asarray(row[i]) for row in rows]) for i in range(7)]
        audio_batch, poses, expressions, source_poses, source_expressions = (torch.from_numpy(x.astype(np.float32)) for x in columns[:5])
        face = torch.from_numpy(columns[5]).permute(0, 3, 1, 2).float() / 255.0
        return Batch(audio_batch, poses, expressions, source_poses, source_expressions, face, torch.from_numpy(columns[6]))


def train_head(
    model: TalkingHead,
    config: HeadTraining,
    clips: Sequence[HeadClip],
    renderer: Renderer,
    run: str | os.PathLike[str],
    dyads: Dyads | None = None,
    identity: IdentityNetwork | None = None,
) -> TalkingHead:
    """Train a talking-head model; resumes from a checkpoint in ``run``.

    Parameters
    ----------
    renderer : Renderer
        Provides the motion space; MFR-Net fine-tunes a copy.
    dyads : Dyads, optional
        For MFR-Net; simulated from the clips by default.
    identity : IdentityNetwork, optional
        For the identity-consistency loss of MFR-Net.

    Raises
    ------
    ValueError
        If no clip is long enough.
    """
    torch.set_num_threads(config.threads)
    model.space.load_state_dict(renderer.space.state_dict())
    if isinstance(model, MfrNet):
        assert isinstance(config, ListenerTraining) and identity is not None
        return _train_listener(model, config, clips, renderer, run, dyads or SimulatedDyads(clips, model.space), identity)
    windows = WindowSampler(clips, model.space)
    if not (Path(run) / CHECKPOINT).exists():
        model.fit_statistics([windows.draw(config.batch, np.random.default_rng((config.seed, 1, n))) for n in range(N_STATISTICS_BATCHES)])
    optimiser = torch.optim.AdamW(model.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    sample = windows.clips[int(np.random.default_rng(config.seed).choice(len(windows.clips), p=windows.weights))]

    def step(number: int, progress: float, rng: np.random.Generator) -> Mapping[str, float]:
        optimiser.param_groups[0]["lr"] = config.learning_rate * _rate_factor(number, progress)
        torch.manual_seed(int(rng.integers(2**31)))  # for dropout
        parts = model.losses(windows.draw(config.batch, rng), rng, progress)
        _optimise(parts, model, optimiser)
        if number % config.strip_every == 0:
            _write_sample_strip(model, renderer, sample, Path(run) / STRIPS / f"{number:06d}.jpg")
        return {name: float(value.detach()) for name, value in parts.items()}

    model.train()
    train_for(config.minutes, step, {"model": model, "optimiser": optimiser}, run, seed=config.seed, title=model.name)
    return model.eval()


def _write_sample_strip(model: TalkingHead, renderer: Renderer, clip: HeadClip, file: Path) -> None:
    """Write a strip of a clip's frames and of its first frame animated by the model."""
    model.eval()
    first = int(np.flatnonzero(clip.usable)[0])
    portrait = Portrait.from_crop(clip.heads[first], clip.points[first], model.space)
    motion = model.generate_motion(portrait, DrivingSignals(clip.audio[first:], clip.pose[first:]), np.random.default_rng(0))
    selected = np.linspace(0, min(len(motion), 2 * WINDOW) - 1, 10).astype(int)
    some = Motion(motion.pose[selected], motion.expression[selected])
    rows = [clip.heads[first:][selected], render(model, renderer, portrait, some)]
    write_strip(file, [torch.from_numpy(row).permute(0, 3, 1, 2).float() / 255.0 for row in rows])
    model.train()


def _rate_factor(number: int, progress: float) -> float:
    return max(0.02, 0.5 * (1.0 + math.cos(math.pi * progress))) * min(1.0, (number + 1) / 100)


def _optimise(parts: Mapping[str, Tensor], model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad(set_to_none=True)
    torch.stack(list(parts.values())).sum().backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()


def _train_listener(
    model: MfrNet,
    config: ListenerTraining,
    clips: Sequence[HeadClip],
    renderer: Renderer,
    run: str | os.PathLike[str],
    dyads: Dyads,
    identity: IdentityNetwork,
) -> MfrNet:
    if not (Path(run) / CHECKPOINT).exists():
        model.renderer.load_state_dict(renderer.state_dict())
    pairs, rendering_config = FramePairSampler(clips, model.space), RendererTraining()
    rendering_parameters = [*model.renderer.decoder.parameters(), *model.renderer.dense_motion.parameters(), *model.style.parameters()]
    known = {id(p) for p in rendering_parameters}
    motion_parameters = [p for name, p in model.named_parameters() if not name.startswith("renderer.") and id(p) not in known]
    optimiser = torch.optim.AdamW(
        [{"params": motion_parameters}, {"params": rendering_parameters}], config.learning_rate, weight_decay=config.weight_decay
    )
    identity.requires_grad_(False)
    samples = pairs.draw(8, np.random.default_rng(config.seed), tones=False)

    def step(number: int, progress: float, rng: np.random.Generator) -> Mapping[str, float]:
        torch.manual_seed(int(rng.integers(2**31)))
        names = ("pose", "expression", "speed", "reconstruction", "identity")
        if progress < config.rendering_after:
            rate = config.learning_rate * _rate_factor(number, progress / config.rendering_after)
            optimiser.param_groups[0]["lr"], optimiser.param_groups[1]["lr"] = rate, 0.0
            parts = model.denoising_losses(DyadBatch.from_dyads([dyads.draw(rng) for _ in range(config.batch)]), rng)
        else:
            rate = config.rendering_rate * _rate_factor(number, (progress - config.rendering_after) / (1.0 - config.rendering_after))
            optimiser.param_groups[0]["lr"], optimiser.param_groups[1]["lr"] = 0.0, rate
            pair = pairs.draw(config.rendering_batch, rng)
            generated = model.render(pair.source, pair.source_state, pair.target_state).image
            maps = torch.from_numpy(face_maps(pair.points))
            apart = 1.0 - (identity(generated, maps) * identity(pair.target, maps)).sum(dim=1)
            weight = mouth_weight(pair.target_state.points, rendering_config.mouth, generated.shape[2])
            parts = {
                "reconstruction": reconstruction_loss(generated, pair.target, weight, rendering_config),
                "identity": config.identity_weight * apart.mean(),
            }
        _optimise(parts, model, optimiser)
        if number % config.strip_every == 0:
            with torch.no_grad():
                selected = model.render(samples.source, samples.source_state, samples.target_state)
            write_strip(Path(run) / STRIPS / f"{number:06d}.jpg", [samples.source, samples.target, selected.image])
        return {name: float(parts[name].detach()) if name in parts else 0.0 for name in names}

    model.train()
    train_for(config.minutes, step, {"model": model, "optimiser": optimiser}, run, seed=config.seed, title=model.name)
    return model.eval()
