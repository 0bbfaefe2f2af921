"""Training of the two face-resynthesis networks on aligned genuine faces, with a patch discriminator in the later part."""

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
from ...media.face.crops import FACE_SIZE
from ...media.speech import log_mel
from ..training import Stateful, discriminator_loss, train_for
from .image_losses import PatchDiscriminator, fine_bands
from .networks import CONTEXT_FRAMES, FaceAutoencoder, LowerFace, ResynthesisConfig, audio_windows, lower_face_mask

_MOUTH_POSITION = (0.5, 0.715)  # x and y of the mouth of the mean face, as shares of the side
MAX_TRIES = 100  # clips without a face drawn in a row after which training fails
MIN_REFERENCE_DISTANCE = 6  # frames between a face and its reference in the same clip


@dataclass(frozen=True)
class ResynthesisTraining:
    """Settings of one training run of either network."""

    seed: int = 0
    minutes: float = 15.0  # of wall clock
    batch: int = 16
    learning_rate: float = 6e-4
    discriminator_rate: float = 3e-4
    discriminator_after: float = 0.35  # share of the training time without discriminator
    discriminator_weight: float = 0.02
    detail_weight: float = 1.0  # of the two finest bands of a Laplacian pyramid
    mouth_weight: float = 1.0  # of the pixels around the mouth, the only ones that depend on the audio
    threads: int = 1
    bf16: bool = True  # autocast; pays where the processor multiplies bf16 matrices
    model: dict[str, Any] = field(default_factory=dict)  # arguments of ResynthesisConfig


@dataclass(frozen=True)
class LowerFaceTraining(ResynthesisTraining):
    """Settings of :class:`LowerFace`, with a higher weight of the mouth: with equal weights the lips stay patchy."""

    minutes: float = 60.0
    discriminator_weight: float = 0.01
    mouth_weight: float = 4.0


@dataclass(frozen=True)
class AlignedFaces:
    """The aligned faces of one clip: an NPZ file with ``faces``, ``usable`` and ``waveform``; and the identity of the person."""

    file: Path
    identity: str


def _mouth_weight(weight: float) -> Tensor:
    """Loss weight of every pixel of an aligned face, float [1, 1, S, S]: ``weight`` at the mouth, 1 far from it."""
    x, y = _MOUTH_POSITION
    across, down = (torch.arange(FACE_SIZE)[None, :] / FACE_SIZE - x) / 0.14, (torch.arange(FACE_SIZE)[:, None] / FACE_SIZE - y) / 0.1
    return (1.0 + (weight - 1.0) * torch.exp(-(across**2) - down**2))[None, None]


def _reconstruction_loss(generated: Tensor, real: Tensor, weight: Tensor, detail_weight: float) -> Tensor:
    loss = ((generated - real).abs() * weight).mean()
    for a, b in zip(fine_bands(generated), fine_bands(real), strict=True):
        loss = loss + detail_weight * ((a - b).abs() * weight).mean()
        weight = F.avg_pool2d(weight, 2)
    return loss


def train_resynthesis(
    kind: str, config: ResynthesisTraining, clips: Sequence[AlignedFaces], run: str | os.PathLike[str]
) -> LowerFace | FaceAutoencoder:
    """Train ``"lower_face"`` or ``"face_autoencoder"``; resumes from a checkpoint in ``run``.

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
    # Channels last: oneDNN's bf16 convolutions are about 1.5 times as fast in that memory format.
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(model.parameters(), config.learning_rate, betas=(0.5, 0.99), weight_decay=1e-3)
    discriminator_optimiser = torch.optim.AdamW(discriminator.parameters(), config.discriminator_rate, betas=(0.5, 0.99), weight_decay=1e-3)
    weight = _mouth_weight(config.mouth_weight)
    counts: dict[str, int] = {}
    for clip in clips:
        counts[clip.identity] = counts.get(clip.identity, 0) + 1
    # Clips are drawn with weight 1 / sqrt(clips of the person): some people have a hundred times the clips of others.
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
            generated = model(real, reference, audio) if isinstance(model, LowerFace) else model(real)
        if isinstance(model, LowerFace):
            region = lower_face_mask(real)
            begin = int((region[0, 0, :, 0] == 0).sum())
            a, b = generated[:, :, begin - begin % 4 :], real[:, :, begin - begin % 4 :]
        else:
            a, b = generated, real
        loss = reconstruction = _reconstruction_loss(a, b, weight[:, :, FACE_SIZE - a.shape[2] :], config.detail_weight)
        losses = {"reconstruction": float(reconstruction.detach()), "discriminator": 0.0, "adversarial": 0.0}
        if progress >= config.discriminator_after:
            with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
                logits = discriminator(torch.cat([b, a.detach()])).float()
            discriminator_hinge = discriminator_loss(*logits.chunk(2))
            discriminator_optimiser.zero_grad(set_to_none=True)
            discriminator_hinge.backward()
            discriminator_optimiser.step()
            discriminator.requires_grad_(False)
            with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
                adversarial = -discriminator(a).float().mean()
            discriminator.requires_grad_(True)
            loss = loss + config.discriminator_weight * adversarial
            losses |= {"discriminator": float(discriminator_hinge.detach()), "adversarial": float(adversarial.detach())}
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
    """A face, a reference of the same clip, and the audio around it [5, 320]; both images are flipped and toned alike."""
    for attempt in range(MAX_TRIES + 1):
        if attempt == MAX_TRIES:
            raise ValueError(f"{MAX_TRIES} clips drawn one after the other show no face: there is nothing to train on")
        clip = clips[int(rng.choice(len(clips), p=weights / weights.sum()))]
        with np.load(clip.file) as data:
            if "faces" not in data or not data["usable"].any():
                continue
            faces, good = data["faces"], np.flatnonzero(data["usable"])
            index = int(rng.choice(good))
            far = good[np.abs(good - index) >= MIN_REFERENCE_DISTANCE]
            face, reference = faces[index], faces[int(rng.choice(far if len(far) else good))]
            waveform = data["waveform"] if "waveform" in data else np.zeros(len(faces) * SAMPLES_PER_FRAME, np.float32)
        break
    audio = log_mel(waveform)
    if len(audio):
        windows = audio_windows(torch.from_numpy(audio))
        window = windows[min(index, len(windows) - 1)].numpy()
    else:
        window = np.zeros((2 * CONTEXT_FRAMES + 1, audio.shape[1]), np.float32)
    gain, bias = rng.uniform(0.8, 1.2), rng.uniform(-20.0, 20.0)
    if rng.random() < 0.5:
        face, reference = face[:, ::-1], reference[:, ::-1]
    face, reference = (np.clip(x * gain + bias, 0, 255).astype(np.uint8) for x in (face, reference))
    return face, reference, window
