"""A small neural vocoder, mel spectrogram to waveform; most voice-cloning systems end in one, so detectors must know its artefacts.

The upsampling network of HiFi-GAN (Kong, Kim and Bae, *HiFi-GAN: generative adversarial networks for efficient and high
fidelity speech synthesis*, NeurIPS 2020), at 16 kHz, in two variants: up to the waveform as in that paper, or with the
inverse-STFT head of iSTFTNet (Kaneko et al., *iSTFTNet: fast and lightweight mel-spectrogram vocoder incorporating inverse
short-time Fourier transform*, ICASSP 2022). Ours are the sizes, small enough to train on two CPU cores.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

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
    """Sizes of the network. The product of ``rates`` and ``head_hop`` is :data:`HOP`; a ``head_fft`` of 0 is no inverse-STFT head."""

    channels: int = 256
    rates: tuple[int, ...] = (8, 5)
    kernels: tuple[int, ...] = (3, 7)  # of the parallel residual blocks
    dilations: tuple[int, ...] = (1, 3, 5)
    head_hop: int = 4  # samples
    head_fft: int = 16  # samples
    mel_mean: float = 0.0  # subtracted from the log mel spectrogram
    mel_deviation: float = 1.0  # by which it is divided then


@dataclass(frozen=True)
class HifiGanConfig(VocoderConfig):
    """Sizes of the variant without an inverse-STFT head."""

    channels: int = 128
    rates: tuple[int, ...] = (8, 5, 4)
    head_hop: int = 1
    head_fft: int = 0
    mel_mean: float = -6.0  # of speech; with standardised input the network learns in half the steps
    mel_deviation: float = 2.0


class SpeechGenerator(nn.Module):
    """Base class of the networks that analyse speech and generate it again."""

    config_type: ClassVar[type[Any]]

    @abstractmethod
    def resynthesise(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """One step of training: speech [B, S] at 16 kHz, analysed and generated; and the network's own loss, zero where it has none.

        ``S`` is a multiple of 320.
        """


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


def inverse_stft(x: Tensor, fft: int, hop: int) -> Tensor:
    """Waveforms [B, hop N] from log magnitudes and phases [B, fft + 2, N + 1] at every hop (the head of iSTFTNet and of Vocos)."""
    log_magnitude, phase = x.float().chunk(2, dim=1)
    magnitude = torch.exp(log_magnitude.clamp(max=6.0))
    spectrum = torch.complex(magnitude * torch.cos(phase), magnitude * torch.sin(phase))
    return torch.istft(spectrum, fft, hop, window=torch.hann_window(fft, device=x.device))


class ConvNextBlock(nn.Module):
    """Block of a depthwise convolution over time and two linear layers, [B, C, N] to [B, C, N].

    Source: Liu et al., *A ConvNet for the 2020s*, CVPR 2022, over time as in Siuzdak, *Vocos: closing the gap between
    time-domain and Fourier-based neural vocoders for high-quality audio synthesis*, ICLR 2024.
    """

    def __init__(self, channels: int, kernel: int = 7, expansion: int = 3) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, expansion * channels)
        self.project = nn.Linear(expansion * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).transpose(1, 2))
        return x + (self.scale * self.project(F.gelu(self.expand(y)))).transpose(1, 2)


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


class Vocoder(SpeechGenerator):
    """Mel spectrograms [B, 80, N] to waveforms [B, 160 N] at 16 kHz."""

    config_type = VocoderConfig

    def __init__(self, config: VocoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or self.config_type()
        self.first = weight_norm(nn.Conv1d(MEL_BINS, config.channels, 7, padding=3))
        self.upsample, self.blocks = nn.ModuleList(), nn.ModuleList()
        channels = config.channels
        for rate in config.rates:
            # A kernel of twice the rate (one more for odd rates) overlaps evenly.
            kernel = 2 * rate + rate % 2
            self.upsample.append(weight_norm(nn.ConvTranspose1d(channels, channels // 2, kernel, rate, padding=(kernel - rate) // 2)))
            channels //= 2
            self.blocks.append(nn.ModuleList(_Residual(channels, kernel, config.dilations) for kernel in config.kernels))
        self.last = weight_norm(nn.Conv1d(channels, config.head_fft + 2 if config.head_fft else 1, 7, padding=3))

    def forward(self, mel: Tensor) -> Tensor:
        config = self.config
        x = self.first((mel - config.mel_mean) / config.mel_deviation)
        for upsample, blocks in zip(self.upsample, self.blocks, strict=True):
            x = upsample(F.leaky_relu(x, LEAKY_SLOPE))
            x = torch.stack([block(x) for block in blocks]).mean(dim=0)  # type: ignore[attr-defined]
        x = F.leaky_relu(x, LEAKY_SLOPE)
        if not config.head_fft:
            return torch.tanh(self.last(x).float())[:, 0]
        # One frame more than there are hops: the inverse STFT drops half a window at both ends.
        return inverse_stft(self.last(F.pad(x, (1, 0), mode="replicate")), config.head_fft, config.head_hop)

    def resynthesise(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        return self(mel_spectrogram(waveform)), waveform.new_zeros(())


class HifiGan(Vocoder):
    """The variant that upsamples to the waveform, without an inverse-STFT head."""

    config_type = HifiGanConfig
