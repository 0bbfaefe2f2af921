"""Training of the two face networks on aligned genuine faces, with a patch discriminator in the later part."""

from __future__ import annotations

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

from ...media.clip import SAMPLES_PER_FRAME
from ...media.face.crops import SIDE
from ...media.speech import log_mel
from ..training import Stateful, discriminator_loss, train_for
from .image_losses import PatchDiscriminator, fine_bands
from .networks import CONTEXT, FaceAutoencoder, LowerFace, ResynthesisConfig, audio_windows, lower_face_mask

_MOUTH = (0.5, 0.715)  # where the mean face's mouth lies, as shares of the side
TRIES = 100  # clips without a face in a row that end a training
APART = 6  # frames between a face and the reference of the same clip, at least


@dataclass(frozen=True)
class ResynthesisTraining:
    """One training run of either network."""

    seed: int = 0
    minutes: float = 15.0  # of wall clock
    batch: int = 16
    learning_rate: float = 6e-4
    discriminator_rate: float = 3e-4
    discriminator_after: float = 0.35  # share of the time
    discriminator_weight: float = 0.02
    detail_weight: float = 1.0  # of the two finest bands of a Laplacian pyramid
    mouth_weight: float = 1.0  # of the pixels around the mouth, the only ones that the sound decides
    threads: int = 1
    bf16: bool = True  # autocast; pays where the processor multiplies bf16 matrices
    model: dict[str, Any] = field(default_factory=dict)  # arguments of ResynthesisConfig


@dataclass(frozen=True)
class LowerFaceTraining(ResynthesisTraining):
    """The run of :class:`LowerFace`: lips stay patchy where every pixel counts alike."""

    minutes: float = 60.0
    discriminator_weight: float = 0.01
    mouth_weight: float = 4.0


@dataclass(frozen=True)
class AlignedFaces:
    """Where the aligned faces of one clip lie: an NPZ with ``faces``, ``usable``, ``waveform``; who it shows."""

    file: Path
    identity: str


def _mouth(weight: float) -> Tensor:
    """How much every pixel of an aligned face counts, float [1, 1, S, S]: ``weight`` at the mouth, 1 far from it."""
    x, y = _MOUTH
    across, down = (torch.arange(SIDE)[None, :] / SIDE - x) / 0.14, (torch.arange(SIDE)[:, None] / SIDE - y) / 0.1
    return (1.0 + (weight - 1.0) * torch.exp(-(across**2) - down**2))[None, None]


def _painted(made: Tensor, real: Tensor, weight: Tensor, detail_weight: float) -> Tensor:
    loss = ((made - real).abs() * weight).mean()
    for a, b in zip(fine_bands(made), fine_bands(real), strict=True):
        loss = loss + detail_weight * ((a - b).abs() * weight).mean()
        weight = F.avg_pool2d(weight, 2)
    return loss


def train_resynthesis(
    kind: str, config: ResynthesisTraining, clips: Sequence[AlignedFaces], run: str | os.PathLike[str]
) -> LowerFace | FaceAutoencoder:
    """Train ``"lower_face"`` or ``"face_autoencoder"``; goes on from what it finds in ``run``.

    Raises
    ------
    ValueError
        If there is no clip to train on.
    """
    if not clips:
        raise ValueError("no aligned faces to train on")
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    settings = ResynthesisConfig(**config.model)
    model: LowerFace | FaceAutoencoder = LowerFace(settings) if kind == "lower_face" else FaceAutoencoder(settings)
    discriminator = PatchDiscriminator()
    # Channels last: oneDNN's bf16 convolutions are about half as fast again in that order.
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(model.parameters(), config.learning_rate, betas=(0.5, 0.99), weight_decay=1e-3)
    discriminator_optimiser = torch.optim.AdamW(discriminator.parameters(), config.discriminator_rate, betas=(0.5, 0.99), weight_decay=1e-3)
    weight = _mouth(config.mouth_weight)
    counts: dict[str, int] = {}
    for clip in clips:
        counts[clip.identity] = counts.get(clip.identity, 0) + 1
    # Between one vote for every clip and one for every person: some people have a hundred times the clips of others.
    weights = np.array([counts[clip.identity] ** -0.5 for clip in clips])

    def batch(rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        drawn = [_draw(clips, weights, rng) for _ in range(config.batch)]
        faces, references, audio_batch = (np.stack(column) for column in zip(*drawn, strict=True))
        images = [torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255.0 for x in (faces, references)]
        return images[0], images[1], torch.from_numpy(audio_batch)

    def step(number: int, progress: float, rng: np.random.Generator) -> Mapping[str, float]:
        rate = max(0.02, 0.5 * (1.0 + math.cos(math.pi * progress)) * min(1.0, (number + 1) / 100))
        optimiser.param_groups[0]["lr"], discriminator_optimiser.param_groups[0]["lr"] = (
            rate * config.learning_rate,
            rate * config.discriminator_rate,
        )
        real, reference, audio = batch(rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
            made = model(real, reference, audio) if isinstance(model, LowerFace) else model(real)
        if isinstance(model, LowerFace):
            region = lower_face_mask(real)
            begin = int((region[0, 0, :, 0] == 0).sum())
            a, b = made[:, :, begin - begin % 4 :], real[:, :, begin - begin % 4 :]
        else:
            a, b = made, real
        loss = paint = _painted(a, b, weight[:, :, SIDE - a.shape[2] :], config.detail_weight)
        losses = {"paint": float(paint.detach()), "discriminator": 0.0, "fool": 0.0}
        if progress >= config.discriminator_after:
            with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
                judged = discriminator(torch.cat([b, a.detach()])).float()
            good, bad = judged.chunk(2)
            judgement = discriminator_loss(good, bad)
            discriminator_optimiser.zero_grad(set_to_none=True)
            judgement.backward()
            discriminator_optimiser.step()
            discriminator.requires_grad_(False)
            with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
                fool = -discriminator(a).float().mean()
            discriminator.requires_grad_(True)
            loss = loss + config.discriminator_weight * fool
            losses |= {"discriminator": float(judgement.detach()), "fool": float(fool.detach())}
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        return losses

    parts: dict[str, Stateful] = {
        "model": model,
        "discriminator": discriminator,
        "optimiser": optimiser,
        "discriminator_optimiser": discriminator_optimiser,
    }
    train_for(config.minutes, step, parts, Path(run), seed=config.seed, title=kind.replace("_", " "))
    return model.eval()


def _draw(clips: Sequence[AlignedFaces], weights: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A face, a reference of the same clip, and the sound around it [5, 320]; mirrored and toned alike."""
    for attempt in range(TRIES + 1):
        if attempt == TRIES:
            raise ValueError(f"{TRIES} clips drawn one after the other show no face: nothing to train on")
        clip = clips[int(rng.choice(len(clips), p=weights / weights.sum()))]
        with np.load(clip.file) as data:
            if "faces" not in data or not data["usable"].any():
                continue
            faces, good = data["faces"], np.flatnonzero(data["usable"])
            index = int(rng.choice(good))
            far = good[np.abs(good - index) >= APART]
            face, reference = faces[index], faces[int(rng.choice(far if len(far) else good))]
            waveform = data["waveform"] if "waveform" in data else np.zeros(len(faces) * SAMPLES_PER_FRAME, np.float32)
        break
    audio = log_mel(waveform)
    if len(audio):
        windows = audio_windows(torch.from_numpy(audio))
        heard = windows[min(index, len(windows) - 1)].numpy()
    else:
        heard = np.zeros((2 * CONTEXT + 1, audio.shape[1]), np.float32)
    gain, bias = rng.uniform(0.8, 1.2), rng.uniform(-20.0, 20.0)
    if rng.random() < 0.5:
        face, reference = face[:, ::-1], reference[:, ::-1]
    face, reference = (np.clip(x * gain + bias, 0, 255).astype(np.uint8) for x in (face, reference))
    return face, reference, heard
