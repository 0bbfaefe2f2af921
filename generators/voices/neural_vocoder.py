"""Copy-synthesis voices by the bundled neural vocoder: mel spectrogram of the clip to waveform."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

from ..weights import load_network, weights_missing_reason
from .base import Voice
from .vocoder import HOP, Vocoder, mel_spectrogram

NETWORK = "vocoder"  # name of the bundled weights
INPUT_PEAK = 0.5  # amplitude to which the waveform is scaled before the analysis; the scaling is undone afterwards
MIN_SAMPLES = 10 * HOP  # samples; shorter input is padded, since the analysis window is longer than a hop


@lru_cache(maxsize=1)
def _network() -> Vocoder:
    return load_network(Vocoder, NETWORK)


class NeuralVocoder(Voice):
    """Copy-synthesis: mel spectrogram of the genuine speech, vocoded."""

    name = "vocoder"

    def missing_reason(self) -> str | None:
        return weights_missing_reason(NETWORK)

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator, transcript: str = "") -> np.ndarray:
        level = max(float(np.abs(waveform).max(initial=0.0)), 1e-5)
        length = max(MIN_SAMPLES, -(-len(waveform) // HOP) * HOP)
        signal = torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32)) * (INPUT_PEAK / level)
        with torch.inference_mode():
            mel = mel_spectrogram(F.pad(signal[None], (0, length - len(waveform))))
            generated = _network()(self.smooth_mel(mel, rng))[0, : len(waveform)]
        return (generated * (level / INPUT_PEAK)).numpy()

    def smooth_mel(self, mel: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """The spectrogram [1, 80, N] that is the vocoder's input."""
        return mel


class SmoothNeuralVocoder(NeuralVocoder):
    """Copy-synthesis from a spectrogram smoothed over time and frequency, as oversmoothed text to speech outputs it."""

    name = "vocoder_smooth"

    def smooth_mel(self, mel: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        sigma = (rng.uniform(0.4, 1.5), rng.uniform(0.4, 1.5))
        return torch.from_numpy(gaussian_filter(mel[0].numpy(), sigma))[None]
