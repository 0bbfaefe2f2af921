"""A source-filter neural vocoder: pulses at the pitch and white noise, shaped by filters that a network predicts for every 10 ms.

As in Liu, Chen and Yu, *Neural homomorphic vocoder*, Interspeech 2020: a pulse train and noise, each through a linear
time-varying filter predicted from the mel spectrogram, trained with discriminators. The filters are applied in the STFT
domain, as the noise of Engel et al., *DDSP: differentiable digital signal processing*, ICLR 2020, and predicted by the
network of Vocos (Siuzdak, ICLR 2024). No sample of the output is made by a network, so its artefacts are those of pitch
tracking and of filters, not of upsampling.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
import torchaudio
from torch import Tensor, nn

from ...media.clip import SAMPLE_RATE
from .pitch import per_sample, pitch_periods, voicing
from .vocoder import HOP, MEL_BINS, MEL_FFT, ConvNextBlock, SpeechGenerator, mel_spectrogram

BINS = MEL_FFT // 2 + 1  # of the filters, which have the resolution of the mel spectrogram's STFT
NYQUIST_SHARE = 0.98  # of the Nyquist frequency, up to which there are harmonics


@dataclass(frozen=True)
class NoiseVocoderConfig:
    """Sizes of the network."""

    channels: int = 256
    blocks: int = 6


@lru_cache(maxsize=1)
def _interpolation() -> Tensor:
    """Weights [321, 80] that interpolate mel bands to STFT bins."""
    bank = torchaudio.functional.melscale_fbanks(BINS, 0.0, SAMPLE_RATE / 2, MEL_BINS, SAMPLE_RATE, mel_scale="slaney")
    bank[0], bank[-1] = bank[1], bank[-2]  # at 0 Hz and at the Nyquist frequency all bands are zero
    return bank / bank.sum(dim=1, keepdim=True)


def pulse_train(waveform: np.ndarray, phase: float) -> np.ndarray:
    """Harmonics of equal amplitude at the pitch of speech [S], of unit power where the speech is periodic; float32 [S].

    Parameters
    ----------
    phase : float
        Of the first harmonic at the first sample, in cycles.
    """
    periods, periodicity = pitch_periods(waveform)
    period, voiced = (per_sample(values, len(waveform)) for values in (periods, voicing(periodicity)))
    half = np.pi * ((phase + np.cumsum(1.0 / period)) % 1.0)
    harmonics = np.floor(NYQUIST_SHARE * period / 2.0)
    # The sum of the cosines from 1 to K in closed form (Dirichlet kernel), which tends to K where all of them peak.
    kernel = np.sin((2.0 * harmonics + 1.0) * half) / (2.0 * np.where(np.sin(half) < 1e-6, 1.0, np.sin(half))) - 0.5
    kernel = np.where(np.sin(half) < 1e-6, harmonics, kernel)
    return (kernel * np.sqrt(2.0 / harmonics) * np.sqrt(voiced)).astype(np.float32)


class NoiseVocoder(SpeechGenerator):
    """Mel spectrograms [B, 80, N] and excitation signals to waveforms [B, 160 N] at 16 kHz."""

    config_type = NoiseVocoderConfig

    def __init__(self, config: NoiseVocoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or NoiseVocoderConfig()
        self.first = nn.Conv1d(MEL_BINS, config.channels, 7, padding=3)
        self.blocks = nn.Sequential(*(ConvNextBlock(config.channels) for _ in range(config.blocks)))
        self.norm = nn.LayerNorm(config.channels)
        self.last = nn.Linear(config.channels, 3 * BINS)
        nn.init.normal_(self.last.weight, std=0.01)
        nn.init.zeros_(self.last.bias)

    def forward(self, mel: Tensor, pulses: Tensor, noise: Tensor) -> Tensor:
        """Filter the excitation.

        Parameters
        ----------
        mel : float [B, 80, N]
        pulses : float [B, 160 N]
            As :func:`pulse_train` makes them.
        noise : float [B, 160 N]
            White, of unit power.
        """
        # From frames at the middle of every hop to frames at its ends, where those of the STFT are.
        mel = F.avg_pool1d(F.pad(mel, (1, 1), mode="replicate"), 2, 1)
        x = self.norm(self.blocks(self.first(mel)).transpose(1, 2))
        of_noise, of_pulses, phase = self.last(x).transpose(1, 2).float().chunk(3, dim=1)
        envelope = _interpolation().to(mel.device) @ mel.float()
        gain = torch.exp((envelope + of_pulses).clamp(max=6.0))
        window = torch.hann_window(MEL_FFT, device=mel.device)
        voiced, unvoiced = (torch.stft(x.float(), MEL_FFT, HOP, window=window, return_complex=True) for x in (pulses, noise))
        spectrum = voiced * torch.polar(gain, phase) + unvoiced * torch.exp((envelope + of_noise).clamp(max=6.0))
        return torch.istft(spectrum, MEL_FFT, HOP, window=window)

    def resynthesise(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        phases = torch.rand(len(waveform)).tolist()
        pulses = np.stack([pulse_train(row, phase) for row, phase in zip(waveform.numpy(), phases, strict=True)])
        generated = self(mel_spectrogram(waveform), torch.from_numpy(pulses), torch.randn_like(waveform))
        return generated, waveform.new_zeros(())
