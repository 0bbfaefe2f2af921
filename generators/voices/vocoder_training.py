"""Training of vocoders and codec: multi-resolution spectral loss, and after a fifth of the time period and spectrogram discriminators."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..training import Stateful, discriminator_loss, train_for
from .discriminators import Discriminators, feature_matching_loss, spectral_loss
from .vocoder import SpeechGenerator

SEGMENT_MULTIPLE = 320  # samples; the longest hop of the networks

Generator = TypeVar("Generator", bound=SpeechGenerator)


@dataclass(frozen=True)
class VocoderTraining:
    """One training run of a vocoder or of the codec."""

    seed: int = 0
    minutes: float = 70.0  # of wall clock
    batch: int = 16
    samples: int = 8000  # of one training segment, half a second
    learning_rate: float = 8e-4
    discriminator_rate: float = 4e-4
    discriminator_batch: int = 8  # segments of a batch that are given to the discriminators
    discriminator_after: float = 0.2  # share of the training time with the spectral loss alone
    mel_weight: float = 15.0
    match_weight: float = 2.0  # of the feature-matching loss
    threads: int = 1
    bf16: bool = True  # autocast; pays where the processor multiplies bf16 matrices
    model: dict[str, Any] = field(default_factory=dict)  # arguments of the network's configuration


def train_vocoder(kind: type[Generator], config: VocoderTraining, speech: Sequence[np.ndarray], run: str | os.PathLike[str]) -> Generator:
    """Train a network of one kind on waveforms float32 [S] at 16 kHz; resumes from a checkpoint in ``run``.

    Raises
    ------
    ValueError
        If no waveform is long enough.
    """
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    vocoder, discriminators = kind(kind.config_type(**config.model)), Discriminators()
    optimiser = torch.optim.AdamW(vocoder.parameters(), config.learning_rate, betas=(0.8, 0.99), weight_decay=1e-3)
    discriminator_optimiser = torch.optim.AdamW(
        discriminators.parameters(), config.discriminator_rate, betas=(0.8, 0.99), weight_decay=1e-3
    )
    speech = [w for w in speech if len(w) >= config.samples]
    if not speech:
        raise ValueError(f"no clip holds {config.samples} samples of speech to train on")
    weights = np.sqrt([len(w) for w in speech])

    def batch(rng: np.random.Generator) -> Tensor:
        rows = []
        for index in rng.choice(len(speech), config.batch, p=weights / weights.sum()):
            begin = int(rng.integers(0, len(speech[index]) - config.samples + 1))
            piece = speech[index][begin : begin + config.samples]
            # Random levels: a network trained at one level would leave artefacts at the others.
            rows.append(piece * (10.0 ** (rng.uniform(-25.0, -1.0) / 20.0) / max(float(np.abs(piece).max()), 1e-3)))
        return torch.from_numpy(np.stack(rows).astype(np.float32))

    def step(number: int, progress: float, rng: np.random.Generator) -> Mapping[str, float]:
        rate = 0.5 * (1.0 + math.cos(math.pi * progress)) * min(1.0, (number + 1) / 100)
        for group, base in ((optimiser, config.learning_rate), (discriminator_optimiser, config.discriminator_rate)):
            group.param_groups[0]["lr"] = max(0.02, rate) * base
        real = batch(rng)
        length = real.shape[1] // SEGMENT_MULTIPLE * SEGMENT_MULTIPLE
        real = real[:, :length]
        losses: dict[str, float] = {}
        adversarial, few = progress >= config.discriminator_after, config.discriminator_batch
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
            generated, own_loss = vocoder.resynthesise(real)
        if adversarial:
            with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
                outputs = discriminators(torch.cat([real[:few], generated[:few].detach()]))
            hinge = torch.stack([discriminator_loss(*f[-1].float().chunk(2)) for f in outputs]).mean()
            discriminator_optimiser.zero_grad(set_to_none=True)
            hinge.backward()
            nn.utils.clip_grad_norm_(discriminators.parameters(), 10.0)
            discriminator_optimiser.step()
            losses["discriminator"] = float(hinge.detach())
        mel = spectral_loss(generated, real)
        loss = config.mel_weight * mel + own_loss
        losses |= {"mel": float(mel.detach()), "own": float(own_loss.detach())}
        if adversarial:
            discriminators.requires_grad_(False)
            with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
                with torch.no_grad():
                    real_features = discriminators(real[:few])
                outputs = discriminators(generated[:few])
            discriminators.requires_grad_(True)
            adversarial_loss = torch.stack([-f[-1].float().mean() for f in outputs]).mean()
            feature_matching = feature_matching_loss(real_features, outputs)
            loss = loss + adversarial_loss + config.match_weight * feature_matching
            losses |= {"adversarial": float(adversarial_loss.detach()), "feature_matching": float(feature_matching.detach())}
        else:
            losses |= {"discriminator": 0.0, "adversarial": 0.0, "feature_matching": 0.0}
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(vocoder.parameters(), 100.0)
        optimiser.step()
        return {name: losses[name] for name in ("mel", "own", "discriminator", "adversarial", "feature_matching")}

    parts: dict[str, Stateful] = {
        "vocoder": vocoder,
        "discriminators": discriminators,
        "optimiser": optimiser,
        "discriminator_optimiser": discriminator_optimiser,
    }
    train_for(config.minutes, step, parts, Path(run), seed=config.seed, title="vocoder")
    return vocoder.eval()
