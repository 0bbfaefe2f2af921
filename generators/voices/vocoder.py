"""A small neural vocoder, mel spectrogram to waveform; most voice-cloning systems end in one, so detectors must know its artefacts.

The upsampling network of HiFi-GAN (Kong, Kim and Bae, *HiFi-GAN: generative adversarial networks for efficient and high
fidelity speech synthesis*, NeurIPS 2020) with the inverse-STFT head of iSTFTNet (Kaneko et al., *iSTFTNet: fast and
lightweight mel-spectrogram vocoder incorporating inverse short-time Fourier transform*, ICASSP 2022), at 16 kHz. Ours are
the sizes, small enough to train on two CPU cores.
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
MEL_FFT = 640  # samples, 40 ms: resolves the harmonics of the pitch
MEL_BINS = 80  # mel bands up to 8 kHz, the Nyquist frequency
MEL_FLOOR = 1e-5  # magnitude below which the logarithm is clipped
LEAKY_SLOPE = 0.1  # of the leaky ReLUs


@dataclass(frozen=True)
class VocoderConfig:
    """Sizes of the network. The product of ``rates`` and ``head_hop`` is :data:`HOP`."""

    channels: int = 256
    rates: tuple[int, ...] = (8, 5)
    kernels: tuple[int, ...] = (3, 7)  # of the parallel residual blocks
    dilations: tuple[int, ...] = (1, 3, 5)
    head_hop: int = 4  # samples
    head_fft: int = 16  # samples


@lru_cache(maxsize=1)
def _bank() -> Tensor:
    return torchaudio.functional.melscale_fbanks(
        MEL_FFT // 2 + 1, 0.0, SAMPLE_RATE / 2, MEL_BINS, SAMPLE_RATE, norm="slaney", mel_scale="slaney"
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
    """Residual block of dilated convolutions; state-dict names ``wide`` (dilated) and ``near`` (dilation 1)."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()

        def conv(dilation: int) -> nn.Module:
            return weight_norm(nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2))

        self.wide = nn.ModuleList(conv(d) for d in dilations)
        self.near = nn.ModuleList(conv(1) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for wide, near in zip(self.wide, self.near, strict=True):
            x = x + near(F.leaky_relu(wide(F.leaky_relu(x, LEAKY_SLOPE)), LEAKY_SLOPE))
        return x


class Vocoder(nn.Module):
    """Mel spectrograms [B, 80, N] to waveforms [B, 160 N] at 16 kHz."""

    config_type = VocoderConfig

    def __init__(self, config: VocoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or VocoderConfig()
        self.first = weight_norm(nn.Conv1d(MEL_BINS, config.channels, 7, padding=3))
        self.upsample, self.blocks = nn.ModuleList(), nn.ModuleList()
        channels = config.channels
        for rate in config.rates:
            # A kernel of twice the rate (one more for odd rates) overlaps evenly.
            kernel = 2 * rate + rate % 2
            self.upsample.append(weight_norm(nn.ConvTranspose1d(channels, channels // 2, kernel, rate, padding=(kernel - rate) // 2)))
            channels //= 2
            self.blocks.append(nn.ModuleList(_Residual(channels, kernel, config.dilations) for kernel in config.kernels))
        self.last = weight_norm(nn.Conv1d(channels, config.head_fft + 2, 7, padding=3))

    def forward(self, mel: Tensor) -> Tensor:
        config = self.config
        x = self.first(mel)
        for upsample, blocks in zip(self.upsample, self.blocks, strict=True):
            x = upsample(F.leaky_relu(x, LEAKY_SLOPE))
            x = torch.stack([block(x) for block in blocks]).mean(dim=0)  # type: ignore[attr-defined]
        # One frame more than there are hops: the inverse STFT drops half a window at both ends.
        x = self.last(F.pad(F.leaky_relu(x, LEAKY_SLOPE), (1, 0), mode="replicate")).float()
        bins = config.head_fft // 2 + 1
        magnitude, phase = torch.exp(x[:, :bins].clamp(max=6.0)), x[:, bins:]
        spectrum = torch.complex(magnitude * torch.cos(phase), magnitude * torch.sin(phase))
        window = torch.hann_window(config.head_fft, device=mel.device)
        return torch.istft(spectrum, config.head_fft, config.head_hop, window=window)
