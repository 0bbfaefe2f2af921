"""Voices that are not the speaker's: re-synthesised speech, each paired with its own genuine clip.

The re-synthesis keeps words, timing and speaker; only the way the waveform was made differs, so that a detector
trained on the pair has nothing else to learn from.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torchaudio
from scipy.ndimage import gaussian_filter1d

from ..media.clip import SAMPLE_RATE
from ..media.speech import FFT_SIZE, FRAME_STEP

FRAME_PERIOD = 5.0  # milliseconds between two WORLD analysis frames
Voice = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _world(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """WORLD analysis: fundamental frequency [N] Hz, spectral envelope and aperiodicity [N, 513]."""
    import pyworld

    signal = np.ascontiguousarray(waveform, dtype=np.float64)
    rough, times = pyworld.dio(signal, SAMPLE_RATE, frame_period=FRAME_PERIOD)
    pitch = pyworld.stonemask(signal, rough, times, SAMPLE_RATE)
    return pitch, pyworld.cheaptrick(signal, pitch, times, SAMPLE_RATE), pyworld.d4c(signal, pitch, times, SAMPLE_RATE)


def _synthesise(pitch: np.ndarray, envelope: np.ndarray, aperiodicity: np.ndarray, length: int) -> np.ndarray:
    import pyworld

    out = pyworld.synthesize(pitch, np.ascontiguousarray(envelope), np.ascontiguousarray(aperiodicity), SAMPLE_RATE, FRAME_PERIOD)
    return np.pad(out, (0, max(0, length - len(out))))[:length].astype(np.float32)


def world_copy(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """WORLD copy-synthesis: analysed and put together again, nothing changed on purpose.

    Source: Morise et al., *WORLD: a vocoder-based high-quality speech synthesis system*, IEICE 2016.
    """
    return _synthesise(*_world(waveform), len(waveform))


def world_smooth(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """WORLD copy-synthesis with an envelope smoothed over time and frequency, as statistical synthesis smooths it."""
    pitch, envelope, aperiodicity = _world(waveform)
    smooth = gaussian_filter1d(np.log(envelope), rng.uniform(1.0, 4.0), axis=0)
    smooth = gaussian_filter1d(smooth, rng.uniform(1.0, 6.0), axis=1)
    return _synthesise(pitch, np.exp(smooth), aperiodicity, len(waveform))


def world_convert(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """WORLD voice conversion: pitch moved by 1 to 4 semitones, formants by up to 12 %."""
    pitch, envelope, aperiodicity = _world(waveform)
    pitch = pitch * 2.0 ** (rng.choice([-1, 1]) * rng.uniform(1.0, 4.0) / 12.0)
    bins = envelope.shape[1]
    warped = np.clip(np.arange(bins) / rng.uniform(0.88, 1.12), 0, bins - 1)
    low = np.floor(warped).astype(int)
    high, weight = np.minimum(low + 1, bins - 1), warped - low
    moved = np.exp(np.log(envelope[:, low]) * (1 - weight) + np.log(envelope[:, high]) * weight)
    return _synthesise(pitch, moved, aperiodicity, len(waveform))


def griffin_lim(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An 80-bin mel spectrogram brought back to a waveform by 32 rounds of Griffin-Lim.

    Source: Griffin and Lim, *Signal estimation from modified short-time Fourier transform*, IEEE TASSP 1984.
    """
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


VOICES: dict[str, Voice] = {
    "world_copy": world_copy,
    "world_smooth": world_smooth,
    "world_convert": world_convert,
    "griffin_lim": griffin_lim,
}
