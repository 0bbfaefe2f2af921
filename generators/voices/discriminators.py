"""Discriminators and reconstruction losses with which the networks that generate speech are trained."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
import torchaudio
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from ...media.clip import SAMPLE_RATE
from .vocoder import LEAKY_SLOPE, mel_spectrogram

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


def feature_matching_loss(real: Sequence[Sequence[Tensor]], generated: Sequence[Sequence[Tensor]]) -> Tensor:
    """Mean relative L1 distance of the discriminators' intermediate features."""
    distances = [
        F.l1_loss(b.float(), a.float()) / (a.float().abs().mean() + 1e-4)
        for f, g in zip(real, generated, strict=True)
        for a, b in zip(f[:-1], g[:-1], strict=True)
    ]
    return torch.stack(distances).mean()


@lru_cache(maxsize=len(SCALES))
def _bank(fft: int, bins: int) -> Tensor:
    return torchaudio.functional.melscale_fbanks(fft // 2 + 1, 0.0, SAMPLE_RATE / 2, bins, SAMPLE_RATE)


def spectral_loss(generated: Tensor, real: Tensor) -> Tensor:
    """L1 distance of log-mel spectrograms at six resolutions.

    Source: Kumar et al., *High-fidelity audio compression with improved RVQGAN* (Descript audio codec), NeurIPS 2023.
    """
    total = generated.new_zeros(())
    for fft, bins in SCALES:
        a, b = (mel_spectrogram(x, fft, fft // 4, _bank(fft, bins)) for x in (generated, real))
        total = total + F.l1_loss(a, b)
    return total / len(SCALES)
