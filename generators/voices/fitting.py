"""Fitting of synthetic speech to a genuine clip, so that duration, level, silence and noise floor do not reveal the label.

The synthetic speech fills the speech interval of the clip, at the level of the genuine speech and over noise with the
spectrum of the clip's background; outside that interval the clip is unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
import torchaudio
from scipy.ndimage import median_filter
from scipy.signal import butter, istft, resample_poly, sosfiltfilt, stft

from ...media.clip import SAMPLE_RATE
from ...media.speech import ACTIVE_RANGE, FFT_SIZE, FRAME_STEP

SPEECH_RANGE = 35.0  # dB below the loudest 10 ms within which a frame counts as speech
NOISE_MARGIN = 8.0  # dB above the noise floor from which a frame of a noisy clip counts as speech
SPEECH_MARGIN = 16.0  # dB below the loudest 10 ms; louder frames count as speech at any noise level
HIGHPASS_CUTOFF = 100.0  # Hz; below it lies room noise, whose level varies like that of speech, and no phonetic information
MEDIAN_FRAMES = 5  # frames of 10 ms of the median filter; shorter activity than half of it is a click, not speech
QUIET_SHARE = 0.1  # share of the frames, the quietest ones, from which the background noise is estimated
GUARD = 480  # samples on either side of the speech that are replaced too, so that no genuine breath or reverberation remains
CROSSFADE = 320  # samples, 20 ms, from the genuine waveform into the background
LIMITER_KNEE = 0.7  # amplitude above which speech is soft-limited
FADE = 80  # samples, 5 ms, over which the synthetic speech fades in and out
SPEED_RANGE = (0.55, 1.8)  # slowest and fastest speaking rate requested of an engine, as multiples of its default
MAX_TRIALS = 4  # syntheses at most until the duration is near the wanted one
LENGTH_TOLERANCE = 0.02  # share of the length; within it speech is not stretched
MAX_STRETCH = 1.6  # beyond it the rate is implausible, and the transcript probably not that of the clip
STRETCH_FFT = 512  # samples, 32 ms: two periods of a low pitch
STRETCH_STEP = 64  # samples


def frame_power(waveform: np.ndarray) -> np.ndarray:
    """Power of a waveform float [S] in frames of 10 ms: mean square float64 [ceil(S / 160)]."""
    blocks = np.pad(waveform, (0, -len(waveform) % FRAME_STEP)).reshape(-1, FRAME_STEP)
    return np.mean(np.square(blocks, dtype=np.float64), axis=1)


def active_power(waveform: np.ndarray) -> float:
    """Mean power of the frames of 10 ms that are within 30 dB of the loudest."""
    power = frame_power(waveform)
    return float(power[power >= power.max() * 10.0 ** (-ACTIVE_RANGE / 10.0)].mean())


def speech_interval(waveform: np.ndarray) -> tuple[int, int]:
    """Begin of the first and end of the last active frame of 10 ms, in samples.

    Raises
    ------
    ValueError
        If the clip is silent.
    """
    # The filter needs a few samples to start from; less than two frames hold no speech.
    filtered = sosfiltfilt(_highpass(), waveform) if len(waveform) > 2 * FRAME_STEP else np.zeros(1)
    power = median_filter(frame_power(filtered), MEDIAN_FRAMES, mode="constant")
    loudest = float(power.max())
    if loudest < 1e-10:
        raise ValueError("the clip is silent: it has no speech interval to fit synthetic speech to")
    noise = float(np.quantile(power[power > 0.0], QUIET_SHARE))
    above_noise = min(noise * 10.0 ** (NOISE_MARGIN / 10.0), loudest * 10.0 ** (-SPEECH_MARGIN / 10.0))
    active = np.flatnonzero(power >= max(loudest * 10.0 ** (-SPEECH_RANGE / 10.0), above_noise))
    return int(active[0]) * FRAME_STEP, min((int(active[-1]) + 1) * FRAME_STEP, len(waveform))


@lru_cache(maxsize=1)
def _highpass() -> np.ndarray:
    return butter(2, HIGHPASS_CUTOFF, "highpass", fs=SAMPLE_RATE, output="sos")


def trim_silence(speech: np.ndarray) -> np.ndarray:
    """Synthetic speech without leading and trailing silence."""
    power = frame_power(speech)
    active = np.flatnonzero(power >= power.max() * 10.0 ** (-SPEECH_RANGE / 10.0))
    return speech[int(active[0]) * FRAME_STEP : (int(active[-1]) + 1) * FRAME_STEP]


def to_sample_rate(speech: np.ndarray, rate: int) -> np.ndarray:
    """Speech at ``rate`` Hz resampled to 16 kHz."""
    return speech if rate == SAMPLE_RATE else resample_poly(speech, SAMPLE_RATE, rate).astype(np.float32)


def time_stretch(speech: np.ndarray, length: int) -> np.ndarray:
    """Change the duration of speech float32 [S] at the same pitch, by a phase vocoder; float32 [length].

    Source: Flanagan and Golden, *Phase vocoder*, Bell System Technical Journal 1966; as torchaudio implements it.
    """
    window = torch.hann_window(STRETCH_FFT)
    spectrum = torch.stft(torch.from_numpy(speech), STRETCH_FFT, STRETCH_STEP, window=window, return_complex=True)
    advance = torch.linspace(0.0, torch.pi * STRETCH_STEP, STRETCH_FFT // 2 + 1)[:, None]
    spectrum = torchaudio.functional.phase_vocoder(spectrum, len(speech) / length, advance)
    return torch.istft(spectrum, STRETCH_FFT, STRETCH_STEP, window=window, length=length).numpy()


def background_noise(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise float64 [S] with the spectrum of the quietest tenth of a clip's frames; digital silence is left out."""
    _, _, spectrum = stft(waveform.astype(np.float64), window="hann", nperseg=FFT_SIZE, noverlap=FFT_SIZE - FRAME_STEP)
    power = np.square(np.abs(spectrum))
    energy = power.sum(axis=0)
    audible = energy > 1e-12
    if not audible.any():
        return np.zeros(len(waveform))
    quiet = audible & (energy <= np.quantile(energy[audible], QUIET_SHARE))
    _, _, noise = stft(rng.standard_normal(len(waveform)), window="hann", nperseg=FFT_SIZE, noverlap=FFT_SIZE - FRAME_STEP)
    gain = np.sqrt(power[:, quiet].mean(axis=1) / np.square(np.abs(noise)).mean(axis=1))
    _, shaped = istft(noise * gain[:, None], window="hann", nperseg=FFT_SIZE, noverlap=FFT_SIZE - FRAME_STEP)
    return shaped[: len(waveform)]


def soft_limit(speech: np.ndarray) -> np.ndarray:
    """Soft limiter: amplitudes above 0.7 are compressed towards 1 by a tanh; quieter samples are unchanged."""
    over = (np.abs(speech) - LIMITER_KNEE) / (1.0 - LIMITER_KNEE)
    return np.where(over > 0.0, np.sign(speech) * (LIMITER_KNEE + (1.0 - LIMITER_KNEE) * np.tanh(over)), speech)


def synthesise_to_length(synthesise: Callable[[float], np.ndarray], length: int) -> np.ndarray:
    """Synthesise speech at the rate at which it takes about ``length`` samples, then stretch it to that length.

    Parameters
    ----------
    synthesise : callable
        Takes a speaking rate, as a multiple of the engine's default; returns float32 [S] at 16 kHz.
    length : int
        Samples.

    Returns
    -------
    float32 [length]
        Up to 2 % shorter or longer where the engine's own output was that near.

    Raises
    ------
    ValueError
        If the output is silent, or no plausible rate gives that length.
    """
    speed, trials = 1.0, []
    for _ in range(MAX_TRIALS):
        speech = synthesise(speed)
        if not len(speech) or not np.abs(speech).max() > 0.0:
            raise ValueError("the text-to-speech engine returned no sound for the transcript")
        trials.append(trim_silence(speech))
        ratio = len(trials[-1]) / length
        wanted = float(np.clip(speed * ratio, *SPEED_RANGE))
        if abs(ratio - 1.0) <= LENGTH_TOLERANCE or wanted == speed:
            break
        speed = wanted
    speech = min(trials, key=lambda s: abs(np.log(len(s) / length)))
    ratio = len(speech) / length
    if abs(ratio - 1.0) <= LENGTH_TOLERANCE:
        return speech
    if not 1.0 / MAX_STRETCH <= ratio <= MAX_STRETCH:
        raise ValueError(
            f"the transcript takes {len(speech) / SAMPLE_RATE:.1f} s at the nearest speaking rate, "
            f"and the speech of the clip lasts {length / SAMPLE_RATE:.1f} s"
        )
    return time_stretch(speech, length)


def fit_speech(synthesise: Callable[[float], np.ndarray], waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Replace the speech of a clip by synthetic speech.

    Parameters
    ----------
    synthesise : callable
        See :func:`synthesise_to_length`.
    waveform : float32 [S]
        The genuine clip, mono at 16 kHz.
    rng : Generator
        For the background noise.

    Returns
    -------
    float32 [S]

    Raises
    ------
    ValueError
        If the clip is silent, or the speech does not fit it.
    """
    begin, end = speech_interval(waveform)
    speech = synthesise_to_length(synthesise, end - begin)[: len(waveform) - begin].astype(np.float64)
    noise = background_noise(waveform, rng)
    # The power above the background is that of the speech; at least a quarter of the total where they hardly differ.
    genuine = active_power(waveform[begin:end])
    wanted = max(genuine - float(np.mean(np.square(noise))), genuine / 4)
    speech = soft_limit(speech * np.sqrt(wanted / active_power(speech)))
    fade = np.minimum(np.minimum(np.arange(len(speech)), np.arange(len(speech))[::-1]) / FADE, 1.0)
    out = noise
    out[begin : begin + len(speech)] += fade * speech
    # Crossfade from the genuine noise to the synthetic one: uncorrelated, so their powers add up to one, not their weights.
    position = np.arange(len(waveform))
    outside = np.maximum(np.maximum(begin - GUARD - position, position - (end - 1 + GUARD)), 0) / CROSSFADE
    angle = np.pi / 2 * np.minimum(outside, 1.0)
    inside, around = np.cos(angle), np.sin(angle)
    inside[outside >= 1.0] = 0.0
    return (inside * out + around * waveform).astype(np.float32)
