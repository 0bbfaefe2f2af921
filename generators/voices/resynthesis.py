"""The registry of voices, and the copy-synthesis voices that need no network: WORLD, Griffin-Lim, linear prediction.

Copy-synthesis keeps words, timing and speaker; only the waveform generation differs, so that the pair of a genuine clip
and its copy differs in nothing else that a detector could learn.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torchaudio
from scipy.linalg import solve_toeplitz
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter

from ...media.clip import SAMPLE_RATE
from ...media.speech import FFT_SIZE, FRAME_LENGTH, FRAME_STEP
from .base import Voice, packages_missing_reason
from .kokoro import Kokoro
from .neural_vocoder import HifiGanVocoder, NeuralCodec, NeuralVocoder, ShapedNoiseVocoder, SmoothNeuralVocoder
from .pitch import STEP, autocorrelation, frames, per_sample, pitch_periods, voicing
from .tts import Espeak, Hibari, Piper

__all__ = ["COPY_VOICES", "VOICES", "Voice"]

FRAME_PERIOD = 5.0  # milliseconds between two WORLD analysis frames
LPC_ORDER = 18  # two coefficients for every kHz and two more for the glottis
LPC_NOISE = 1e-4  # share of a frame's power added as white noise, which keeps the poles off the unit circle


@lru_cache(maxsize=1)
def _pyworld() -> Any:
    """The module ``pyworld``, imported without its warning about setuptools."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyworld
    return pyworld


def _world(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """WORLD analysis: fundamental frequency [N] Hz, spectral envelope and aperiodicity [N, 513]."""
    pyworld = _pyworld()
    signal = np.ascontiguousarray(waveform, dtype=np.float64)
    rough, times = pyworld.dio(signal, SAMPLE_RATE, frame_period=FRAME_PERIOD)
    pitch = pyworld.stonemask(signal, rough, times, SAMPLE_RATE)
    return pitch, pyworld.cheaptrick(signal, pitch, times, SAMPLE_RATE), pyworld.d4c(signal, pitch, times, SAMPLE_RATE)


def _synthesise(pitch: np.ndarray, envelope: np.ndarray, aperiodicity: np.ndarray, length: int) -> np.ndarray:
    pyworld = _pyworld()
    out = pyworld.synthesize(pitch, np.ascontiguousarray(envelope), np.ascontiguousarray(aperiodicity), SAMPLE_RATE, FRAME_PERIOD)
    return np.pad(out, (0, max(0, length - len(out))))[:length].astype(np.float32)


class _World(Voice):
    """Base class of the voices that use the vocoder WORLD.

    Source: Morise et al., *WORLD: a vocoder-based high-quality speech synthesis system*, IEICE 2016.
    """

    def missing_reason(self) -> str | None:
        return packages_missing_reason("generate", "pyworld")


class WorldCopy(_World):
    """WORLD copy-synthesis: analysis and synthesis without modification."""

    name = "world_copy"

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator, transcript: str = "") -> np.ndarray:
        return _synthesise(*_world(waveform), len(waveform))


class WorldSmooth(_World):
    """WORLD copy-synthesis with an envelope smoothed over time and frequency, as in statistical parametric synthesis."""

    name = "world_smooth"

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator, transcript: str = "") -> np.ndarray:
        pitch, envelope, aperiodicity = _world(waveform)
        smooth = gaussian_filter1d(np.log(envelope), rng.uniform(1.0, 4.0), axis=0)
        smooth = gaussian_filter1d(smooth, rng.uniform(1.0, 6.0), axis=1)
        return _synthesise(pitch, np.exp(smooth), aperiodicity, len(waveform))


class WorldConvert(_World):
    """WORLD voice conversion: pitch shifted by 1 to 4 semitones, formants by up to 12 %."""

    name = "world_convert"

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator, transcript: str = "") -> np.ndarray:
        pitch, envelope, aperiodicity = _world(waveform)
        pitch = pitch * 2.0 ** (rng.choice([-1, 1]) * rng.uniform(1.0, 4.0) / 12.0)
        bins = envelope.shape[1]
        warped = np.clip(np.arange(bins) / rng.uniform(0.88, 1.12), 0, bins - 1)
        low = np.floor(warped).astype(int)
        high, weight = np.minimum(low + 1, bins - 1), warped - low
        moved = np.exp(np.log(envelope[:, low]) * (1 - weight) + np.log(envelope[:, high]) * weight)
        return _synthesise(pitch, moved, aperiodicity, len(waveform))


class GriffinLim(Voice):
    """An 80-bin mel spectrogram inverted by 32 iterations of Griffin-Lim.

    Source: Griffin and Lim, *Signal estimation from modified short-time Fourier transform*, IEEE TASSP 1984.
    """

    name = "griffin_lim"

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator, transcript: str = "") -> np.ndarray:
        signal = torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32))
        window = torch.hann_window(FFT_SIZE)
        magnitude = torch.stft(signal, FFT_SIZE, FRAME_STEP, window=window, return_complex=True).abs()
        bank = torchaudio.functional.melscale_fbanks(FFT_SIZE // 2 + 1, 0.0, SAMPLE_RATE / 2, 80, SAMPLE_RATE)
        restored = (torch.linalg.pinv(bank.T) @ (bank.T @ magnitude)).clamp_min(0.0)
        angles = torch.from_numpy(rng.uniform(-np.pi, np.pi, magnitude.shape).astype(np.float32))
        phase = torch.polar(torch.ones_like(restored), angles)
        for _ in range(32):
            guess = torch.istft(restored * phase, FFT_SIZE, FRAME_STEP, window=window, length=len(signal))
            phase = torch.stft(guess, FFT_SIZE, FRAME_STEP, window=window, return_complex=True)
            phase = phase / phase.abs().clamp_min(1e-8)
        return torch.istft(restored * phase, FFT_SIZE, FRAME_STEP, window=window, length=len(signal)).numpy()


def _excitation(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Excitation signal float64 [S] of about unit power: pulses at the pitch of a waveform and noise, mixed by its periodicity."""
    periods, periodicity = pitch_periods(waveform)
    period, voiced = (per_sample(values, len(waveform)) for values in (periods, voicing(periodicity)))
    phase = rng.random() + np.cumsum(1.0 / period)
    pulses = np.diff(np.floor(phase), prepend=0.0) * np.sqrt(period)
    return np.sqrt(voiced) * pulses + np.sqrt(1.0 - voiced) * rng.standard_normal(len(waveform))


class LinearPrediction(Voice):
    """Linear prediction with the residual replaced by pulses and noise (an LPC vocoder).

    Source: Atal and Hanauer, *Speech analysis and synthesis by linear prediction of the speech wave*, JASA 1971.
    """

    name = "lpc"

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator, transcript: str = "") -> np.ndarray:
        genuine = frames(waveform, FRAME_LENGTH)
        source = frames(_excitation(waveform, rng), FRAME_LENGTH)
        correlation = autocorrelation(genuine, LPC_ORDER + 1)
        correlation[:, 0] = correlation[:, 0] * (1.0 + LPC_NOISE) + 1e-9
        # The impulse response is kept for one more frame length.
        out = np.zeros((len(genuine) - 1) * STEP + 2 * FRAME_LENGTH)
        for index, row in enumerate(correlation):
            poles = np.concatenate([[1.0], -solve_toeplitz(row[:-1], row[1:])])
            audio = lfilter([1.0], poles, np.pad(source[index], (0, FRAME_LENGTH)))
            gain = np.sqrt(np.square(genuine[index]).sum() / max(float(np.square(audio).sum()), 1e-12))
            out[index * STEP : index * STEP + 2 * FRAME_LENGTH] += gain * audio
        overlap = FRAME_LENGTH / STEP / 2  # sum of the overlapping windows
        return (out[FRAME_LENGTH:][: len(waveform)] / overlap).astype(np.float32)


_SIGNAL_PROCESSING: tuple[Voice, ...] = (WorldCopy(), WorldSmooth(), WorldConvert(), GriffinLim(), LinearPrediction())
_NEURAL: tuple[Voice, ...] = (  # copy-synthesis by the bundled networks
    NeuralVocoder(),
    SmoothNeuralVocoder(),
    HifiGanVocoder(),
    ShapedNoiseVocoder(),
    NeuralCodec(),
)
_TEXT_TO_SPEECH: tuple[Voice, ...] = (Hibari(), Piper(), Kokoro(), Espeak())

VOICES: dict[str, Voice] = {voice.name: voice for voice in (*_SIGNAL_PROCESSING, *_NEURAL, *_TEXT_TO_SPEECH)}
COPY_VOICES: tuple[str, ...] = tuple(voice.name for voice in _SIGNAL_PROCESSING)
