"""A small neural vocoder, mel to waveform: most voices that are cloned today end in one, so its traces are worth knowing.

The upsampling network of HiFi-GAN (Kong, Kim and Bae, NeurIPS 2020) with the inverse-STFT head of iSTFTNet (Kaneko et
al., ICASSP 2022), at 16 kHz and at a size that two CPU cores can train.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
import torchaudio
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from ...media.clip import SAMPLE_RATE

HOP = 160  # samples between two mel frames, 10 ms
MEL_FFT = 640  # samples, 40 ms: pitch must be readable off the mel
MELS = 80  # up to 8 kHz: everything the sample rate holds
MEL_FLOOR = 1e-5
SLOPE = 0.1  # of the leaky rectifiers


@dataclass(frozen=True)
class VocoderConfig:
    """Sizes. The product of ``rates`` and ``head_hop`` is :data:`HOP`."""

    channels: int = 256
    rates: tuple[int, ...] = (8, 5)
    kernels: tuple[int, ...] = (3, 7)  # of the residual blocks that run side by side
    dilations: tuple[int, ...] = (1, 3, 5)
    head_hop: int = 4  # samples
    head_fft: int = 16  # samples


@lru_cache(maxsize=1)
def _bank() -> Tensor:
    return torchaudio.functional.melscale_fbanks(
        MEL_FFT // 2 + 1, 0.0, SAMPLE_RATE / 2, MELS, SAMPLE_RATE, norm="slaney", mel_scale="slaney"
    )


def mel_spectrogram(waveform: Tensor, fft: int = MEL_FFT, hop: int = HOP, bank: Tensor | None = None) -> Tensor:
    """Natural-log mel magnitudes float [B, 80, S // hop] of waveforms [B, S]; frame ``n`` is centred ``(n + 1/2) hop``."""
    bank = _bank() if bank is None else bank
    margin = (fft - hop) // 2
    padded = F.pad(waveform[:, None], (margin, margin), mode="reflect")[:, 0]
    spectrum = torch.stft(padded, fft, hop, window=torch.hann_window(fft, device=waveform.device), center=False, return_complex=True)
    magnitude = torch.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-9)
    return torch.log((bank.to(waveform.device).T @ magnitude).clamp_min(MEL_FLOOR))


class _Residual(nn.Module):
    """Dilated convolutions around which the signal passes unchanged."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()

        def conv(dilation: int) -> nn.Module:
            return weight_norm(nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2))

        self.wide = nn.ModuleList(conv(d) for d in dilations)
        self.near = nn.ModuleList(conv(1) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for wide, near in zip(self.wide, self.near, strict=True):
            x = x + near(F.leaky_relu(wide(F.leaky_relu(x, SLOPE)), SLOPE))
        return x


class Vocoder(nn.Module):
    """Mel spectrograms [B, 80, N] to waveforms [B, 160 N] at 16 kHz."""

    config_type = VocoderConfig

    def __init__(self, config: VocoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or VocoderConfig()
        self.first = weight_norm(nn.Conv1d(MELS, config.channels, 7, padding=3))
        self.upsample, self.blocks = nn.ModuleList(), nn.ModuleList()
        channels = config.channels
        for rate in config.rates:
            # A kernel of twice the rate (one more where the rate is odd) overlaps evenly.
            kernel = 2 * rate + rate % 2
            self.upsample.append(weight_norm(nn.ConvTranspose1d(channels, channels // 2, kernel, rate, padding=(kernel - rate) // 2)))
            channels //= 2
            self.blocks.append(nn.ModuleList(_Residual(channels, kernel, config.dilations) for kernel in config.kernels))
        self.last = weight_norm(nn.Conv1d(channels, config.head_fft + 2, 7, padding=3))

    def forward(self, mel: Tensor) -> Tensor:
        config = self.config
        x = self.first(mel)
        for upsample, blocks in zip(self.upsample, self.blocks, strict=True):
            x = upsample(F.leaky_relu(x, SLOPE))
            x = torch.stack([block(x) for block in blocks]).mean(dim=0)  # type: ignore[attr-defined]
        # One frame more than there are hops: the inverse STFT takes half a window off both ends.
        x = self.last(F.pad(F.leaky_relu(x, SLOPE), (1, 0), mode="replicate")).float()
        bins = config.head_fft // 2 + 1
        magnitude, phase = torch.exp(x[:, :bins].clamp(max=6.0)), x[:, bins:]
        spectrum = torch.complex(magnitude * torch.cos(phase), magnitude * torch.sin(phase))
        window = torch.hann_window(config.head_fft, device=mel.device)
        return torch.istft(spectrum, config.head_fft, config.head_hop, window=window)
