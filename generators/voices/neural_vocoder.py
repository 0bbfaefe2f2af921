"""Copy-synthesis voices by the bundled vocoders and the codec: speech analysed and generated again by a network."""

from __future__ import annotations

from abc import abstractmethod
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor

from ..weights import load_network, weights_missing_reason
from .base import Voice
from .codec import CODEC_HOP, MIN_DEPTH, Codec
from .noise_vocoder import NoiseVocoder, pulse_train
from .vocoder import HifiGan, SpeechGenerator, Vocoder, mel_spectrogram

INPUT_PEAK = 0.5  # amplitude to which the waveform is scaled before the analysis; the scaling is undone afterwards
PEAK_RANGE = (0.1, 0.9)  # the same, of the voices that draw it
KINDS: dict[str, type[SpeechGenerator]] = {"vocoder": Vocoder, "vocoder_hifigan": HifiGan, "vocoder_noise": NoiseVocoder, "codec": Codec}
MIN_SAMPLES = 5 * CODEC_HOP  # shorter input is padded, since the analysis window is longer than a hop


@cache
def _network(name: str) -> Any:
    return load_network(KINDS[name], name)


class NeuralVoice(Voice):
    """Base class of the voices by a bundled network."""

    network: ClassVar[str]  # name of the bundled weights, among KINDS

    def missing_reason(self) -> str | None:
        return weights_missing_reason(self.network)

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator, transcript: str = "") -> np.ndarray:
        gain = self.peak(rng) / max(float(np.abs(waveform).max(initial=0.0)), 1e-5)
        length = max(MIN_SAMPLES, -(-len(waveform) // CODEC_HOP) * CODEC_HOP)
        signal = torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32)) * gain
        with torch.inference_mode():
            generated = self.generate(_network(self.network), F.pad(signal[None], (0, length - len(waveform))), rng)
        return (generated[0, : len(waveform)] / gain).numpy()

    def peak(self, rng: np.random.Generator) -> float:
        """Amplitude to which the waveform is scaled before the analysis; what a network generates depends a little on the level."""
        return float(rng.uniform(*PEAK_RANGE))

    @abstractmethod
    def generate(self, network: Any, signal: Tensor, rng: np.random.Generator) -> Tensor:
        """Speech [1, S], analysed and generated again."""


class NeuralVocoder(NeuralVoice):
    """Copy-synthesis: mel spectrogram of the genuine speech, vocoded with an inverse-STFT head."""

    name = "vocoder"
    network = "vocoder"

    def peak(self, rng: np.random.Generator) -> float:
        return INPUT_PEAK

    def generate(self, network: Any, signal: Tensor, rng: np.random.Generator) -> Tensor:
        return network(mel_spectrogram(signal))


class SmoothNeuralVocoder(NeuralVocoder):
    """Copy-synthesis from a spectrogram smoothed over time and frequency, as oversmoothed text to speech outputs it."""

    name = "vocoder_smooth"

    def generate(self, network: Any, signal: Tensor, rng: np.random.Generator) -> Tensor:
        sigma = (rng.uniform(0.4, 1.5), rng.uniform(0.4, 1.5))
        return network(torch.from_numpy(gaussian_filter(mel_spectrogram(signal)[0].numpy(), sigma))[None])


class HifiGanVocoder(NeuralVoice):
    """Copy-synthesis by a vocoder that upsamples the mel spectrogram to the waveform."""

    name = "vocoder_hifigan"
    network = "vocoder_hifigan"

    def generate(self, network: Any, signal: Tensor, rng: np.random.Generator) -> Tensor:
        return network(mel_spectrogram(signal))


class ShapedNoiseVocoder(NeuralVoice):
    """Copy-synthesis by filters that a network predicts, applied to pulses at the pitch and to noise."""

    name = "vocoder_noise"
    network = "vocoder_noise"

    def generate(self, network: Any, signal: Tensor, rng: np.random.Generator) -> Tensor:
        pulses = torch.from_numpy(pulse_train(signal[0].numpy(), rng.random()))[None]
        noise = torch.from_numpy(rng.standard_normal(signal.shape, dtype=np.float32))
        return network(mel_spectrogram(signal), pulses, noise)


class NeuralCodec(NeuralVoice):
    """Copy-synthesis by the codec, with a random number of codebooks."""

    name = "codec"
    network = "codec"

    def generate(self, network: Any, signal: Tensor, rng: np.random.Generator) -> Tensor:
        depth = torch.tensor([int(rng.integers(MIN_DEPTH, network.config.codebooks, endpoint=True))])
        return network(signal, depth)[0]
