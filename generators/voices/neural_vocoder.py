"""Voices from our own neural vocoder: the clip's mel spectrogram, made audible by a network."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

from ..weights import load_network, weights_missing_reason
from .base import Voice
from .vocoder import HOP, Vocoder, mel_spectrogram

WEIGHTS = "vocoder"
PEAK = 0.5  # of the waveform that is vocoded; its own level comes back afterwards
SHORTEST = 10 * HOP  # samples; anything shorter is padded, for the analysis window reaches further than that


@lru_cache(maxsize=1)
def _network() -> Vocoder:
    return load_network(Vocoder, WEIGHTS)


class NeuralVocoder(Voice):
    """Copy-synthesis: the mel spectrogram of the genuine speech through the network."""

    name = "vocoder"

    def missing_reason(self) -> str | None:
        return weights_missing_reason(WEIGHTS)

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator, transcript: str = "") -> np.ndarray:
        level = max(float(np.abs(waveform).max(initial=0.0)), 1e-5)
        length = max(SHORTEST, -(-len(waveform) // HOP) * HOP)
        signal = torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32)) * (PEAK / level)
        with torch.inference_mode():
            mel = mel_spectrogram(F.pad(signal[None], (0, length - len(waveform))))
            made = _network()(self.blurred(mel, rng))[0, : len(waveform)]
        return (made * (level / PEAK)).numpy()

    def blurred(self, mel: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """The spectrogram [1, 80, N] that the network gets to see."""
        return mel


class SmoothNeuralVocoder(NeuralVocoder):
    """The spectrogram smoothed over time and frequency first, as text-to-speech that was trained on averages draws it."""

    name = "vocoder_smooth"

    def blurred(self, mel: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        sigma = (rng.uniform(0.4, 1.5), rng.uniform(0.4, 1.5))
        return torch.from_numpy(gaussian_filter(mel[0].numpy(), sigma))[None]
