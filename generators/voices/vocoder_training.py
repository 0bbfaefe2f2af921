"""Training of the vocoder: multi-resolution spectral loss, and after a fifth of the time period and spectrogram discriminators."""

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
import torchaudio
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from ...media.clip import SAMPLE_RATE
from ..training import Stateful, discriminator_loss, train_for
from .vocoder import HOP, LEAKY_SLOPE, Vocoder, VocoderConfig, mel_spectrogram

PERIODS = (2, 5, 11)  # samples; three of the five of HiFi-GAN (Kong et al., NeurIPS 2020), since discriminators take most of the time
RESOLUTIONS = ((1024, 256), (256, 64))  # FFT size and hop in samples; two of the three of UnivNet (Jang et al., Interspeech 2021)
SCALES = (
    (32, 5),
    (64, 10),
    (128, 20),
    (256, 40),
    (512, 80),
    (1024, 80),
)  # FFT size and mel bins of the spectral loss; the hop is a quarter


@dataclass(frozen=True)
class VocoderTraining:
    """One training run of the vocoder."""

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
    model: dict[str, Any] = field(default_factory=dict)  # arguments of VocoderConfig


class _PeriodDiscriminator(nn.Module):
    """Discriminator of every p-th sample (HiFi-GAN)."""

    def __init__(self, period: int, widths: Sequence[int] = (16, 64, 128, 256)) -> None:
        super().__init__()
        self.period = period
        layers = [weight_norm(nn.Conv2d(a, b, (5, 1), (3, 1), (2, 0))) for a, b in zip((1, *widths), widths, strict=False)]
        self.layers = nn.ModuleList([*layers, weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))])

    def forward(self, waveform: Tensor) -> list[Tensor]:
        short = -waveform.shape[1] % self.period
        x = F.pad(waveform[:, None], (0, short), mode="reflect").unflatten(2, (-1, self.period))
        return _features(self.layers, x)


class _SpectrumDiscriminator(nn.Module):
    """Discriminator of the complex spectrogram at one resolution (UnivNet)."""

    def __init__(self, fft: int, hop: int, width: int = 16) -> None:
        super().__init__()
        self.fft, self.hop = fft, hop
        shapes = ((2, 2), (width, 2), (width, 2), (width, 2), (width, 1))
        layers = [weight_norm(nn.Conv2d(a, width, (3, 7), (1, stride), (1, 3))) for a, stride in shapes]
        self.layers = nn.ModuleList([*layers, weight_norm(nn.Conv2d(width, 1, 3, padding=1))])

    def forward(self, waveform: Tensor) -> list[Tensor]:
        spectrum = torch.stft(waveform, self.fft, self.hop, window=torch.hann_window(self.fft), return_complex=True)
        # Square root of the magnitude: compresses the range between loud and quiet bins.
        x = torch.view_as_real(spectrum / spectrum.abs().clamp_min(1e-4).sqrt()).permute(0, 3, 2, 1)
        return _features(self.layers, x)


def _features(layers: nn.ModuleList, x: Tensor) -> list[Tensor]:
    out = []
    for index, layer in enumerate(layers):
        x = layer(x)
        if index + 1 < len(layers):
            x = F.leaky_relu(x, LEAKY_SLOPE)
        out.append(x)
    return out


class Discriminators(nn.ModuleList):
    """All discriminators; each returns its intermediate features, with the logits last."""

    def __init__(self) -> None:
        super().__init__([*(_PeriodDiscriminator(p) for p in PERIODS), *(_SpectrumDiscriminator(*r) for r in RESOLUTIONS)])

    def forward(self, waveform: Tensor) -> list[list[Tensor]]:
        return [discriminator(waveform) for discriminator in self]


def spectral_loss(generated: Tensor, real: Tensor) -> Tensor:
    """L1 distance of log-mel spectrograms at six resolutions.

    Source: Kumar et al., *High-fidelity audio compression with improved RVQGAN* (Descript audio codec), NeurIPS 2023.
    """
    total = generated.new_zeros(())
    for fft, bins in SCALES:
        bank = torchaudio.functional.melscale_fbanks(fft // 2 + 1, 0.0, SAMPLE_RATE / 2, bins, SAMPLE_RATE)
        a, b = (mel_spectrogram(x, fft, fft // 4, bank) for x in (generated, real))
        total = total + F.l1_loss(a, b)
    return total / len(SCALES)


def train_vocoder(config: VocoderTraining, speech: Sequence[np.ndarray], run: str | os.PathLike[str]) -> Vocoder:
    """Train on waveforms float32 [S] at 16 kHz; resumes from a checkpoint in ``run``.

    Raises
    ------
    ValueError
        If no waveform is long enough.
    """
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    vocoder, discriminators = Vocoder(VocoderConfig(**config.model)), Discriminators()
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
        length = real.shape[1] // HOP * HOP
        real = real[:, :length]
        losses: dict[str, float] = {}
        adversarial, few = progress >= config.discriminator_after, config.discriminator_batch
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
            generated = vocoder(mel_spectrogram(real))
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
        loss = config.mel_weight * mel
        losses["mel"] = float(mel.detach())
        if adversarial:
            discriminators.requires_grad_(False)
            with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
                with torch.no_grad():
                    real_features = discriminators(real[:few])
                outputs = discriminators(generated[:few])
            discriminators.requires_grad_(True)
            adversarial_loss = torch.stack([-f[-1].float().mean() for f in outputs]).mean()
            feature_matching = torch.stack(
                [
                    _feature_distance(a.float(), b.float())
                    for f, g in zip(real_features, outputs, strict=True)
                    for a, b in zip(f[:-1], g[:-1], strict=True)
                ]
            ).mean()
            loss = loss + adversarial_loss + config.match_weight * feature_matching
            losses |= {"adversarial": float(adversarial_loss.detach()), "feature_matching": float(feature_matching.detach())}
        else:
            losses |= {"discriminator": 0.0, "adversarial": 0.0, "feature_matching": 0.0}
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(vocoder.parameters(), 100.0)
        optimiser.step()
        return {name: losses[name] for name in ("mel", "discriminator", "adversarial", "feature_matching")}

    parts: dict[str, Stateful] = {
        "vocoder": vocoder,
        "discriminators": discriminators,
        "optimiser": optimiser,
        "discriminator_optimiser": discriminator_optimiser,
    }
    train_for(config.minutes, step, parts, Path(run), seed=config.seed, title="vocoder")
    return vocoder.eval()


def _feature_distance(real: Tensor, generated: Tensor) -> Tensor:
    return F.l1_loss(generated, real) / (real.abs().mean() + 1e-4)
