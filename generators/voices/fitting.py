"""Synthetic speech fitted to a genuine clip, so that length, level, silence and noise floor are no clue.

The speech fills exactly the stretch in which the clip speaks, at the clip's level and over the clip's own background;
around that stretch the clip is left as it is.
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

SPOKEN_RANGE = 35.0  # dB below the loudest 10 ms within which a clip speaks
NOISE_MARGIN = 8.0  # dB above its noise that a noisy clip must rise to speak
SPEECH_MARGIN = 16.0  # dB below the loudest 10 ms; what is louder is speech, however loud the noise
RUMBLE = 100.0  # Hz; below it there is the noise of rooms, which comes and goes like speech, and none of what makes words
CLICK = 5  # frames of 10 ms; what is active for less than half of them is a click, not speech
QUIET_SHARE = 0.1  # of the frames; the quietest ones are taken for the clip's background
GUARD = 480  # samples on either side of the speech that are background too, so that no genuine breath or tail is left over
CROSSFADE = 320  # samples, 20 ms, from the genuine waveform into the background
KNEE = 0.7  # amplitude above which speech is limited, as it is in any clip that is as loud
EDGE = 80  # samples, 5 ms, over which the speech itself fades in and out
SPEEDS = (0.55, 1.8)  # slowest and fastest pace that an engine is asked for, as multiples of its own
ROUNDS = 4  # times an engine is asked to speak until it comes near
TOLERANCE = 0.02  # share of the length; what is nearer is not stretched
MAX_STRETCH = 1.6  # beyond it nobody would believe the pace, and the transcript is hardly that of the clip
STRETCH_FFT = 512  # samples, 32 ms: two periods of a low voice
STRETCH_STEP = 64  # samples


def frame_power(waveform: np.ndarray) -> np.ndarray:
    """Mean square float64 [ceil(S / 160)] of every 10 ms."""
    blocks = np.pad(waveform, (0, -len(waveform) % FRAME_STEP)).reshape(-1, FRAME_STEP)
    return np.mean(np.square(blocks, dtype=np.float64), axis=1)


def active_power(waveform: np.ndarray) -> float:
    """Mean square of the frames of 10 ms that are within 30 dB of the loudest."""
    power = frame_power(waveform)
    return float(power[power >= power.max() * 10.0 ** (-ACTIVE_RANGE / 10.0)].mean())


def speech_interval(waveform: np.ndarray) -> tuple[int, int]:
    """Where the first and the last active 10 ms of a clip begin and end, in samples.

    Raises
    ------
    ValueError
        If the clip is silent.
    """
    # The filter wants some samples to start from; in less than two frames nobody says anything.
    heard = sosfiltfilt(_above_rumble(), waveform) if len(waveform) > 2 * FRAME_STEP else np.zeros(1)
    power = median_filter(frame_power(heard), CLICK, mode="constant")
    loudest = float(power.max())
    if loudest < 1e-10:
        raise ValueError("the clip is silent, so there is nowhere for a voice to speak")
    noise = float(np.quantile(power[power > 0.0], QUIET_SHARE))
    above_noise = min(noise * 10.0 ** (NOISE_MARGIN / 10.0), loudest * 10.0 ** (-SPEECH_MARGIN / 10.0))
    active = np.flatnonzero(power >= max(loudest * 10.0 ** (-SPOKEN_RANGE / 10.0), above_noise))
    return int(active[0]) * FRAME_STEP, min((int(active[-1]) + 1) * FRAME_STEP, len(waveform))


@lru_cache(maxsize=1)
def _above_rumble() -> np.ndarray:
    return butter(2, RUMBLE, "highpass", fs=SAMPLE_RATE, output="sos")


def trim_silence(speech: np.ndarray) -> np.ndarray:
    """Speech of an engine without the silence that the engine put around it."""
    power = frame_power(speech)
    active = np.flatnonzero(power >= power.max() * 10.0 ** (-SPOKEN_RANGE / 10.0))
    return speech[int(active[0]) * FRAME_STEP : (int(active[-1]) + 1) * FRAME_STEP]


def to_sample_rate(speech: np.ndarray, rate: int) -> np.ndarray:
    """Speech at ``rate`` Hz brought to 16 kHz."""
    return speech if rate == SAMPLE_RATE else resample_poly(speech, SAMPLE_RATE, rate).astype(np.float32)


def time_stretch(speech: np.ndarray, length: int) -> np.ndarray:
    """Speech float32 [S] at another pace but the same pitch, float32 [length], by a phase vocoder.

    Source: Flanagan and Golden, *Phase vocoder*, Bell System Technical Journal 1966; as torchaudio implements it.
    """
    window = torch.hann_window(STRETCH_FFT)
    spectrum = torch.stft(torch.from_numpy(speech), STRETCH_FFT, STRETCH_STEP, window=window, return_complex=True)
    advance = torch.linspace(0.0, torch.pi * STRETCH_STEP, STRETCH_FFT // 2 + 1)[:, None]
    spectrum = torchaudio.functional.phase_vocoder(spectrum, len(speech) / length, advance)
    return torch.istft(spectrum, STRETCH_FFT, STRETCH_STEP, window=window, length=length).numpy()


def background_noise(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise float64 [S] with the spectrum of a clip's quietest tenth; digital silence does not count as quiet."""
    _, _, seen = stft(waveform.astype(np.float64), window="hann", nperseg=FFT_SIZE, noverlap=FFT_SIZE - FRAME_STEP)
    power = np.square(np.abs(seen))
    energy = power.sum(axis=0)
    heard = energy > 1e-12
    if not heard.any():
        return np.zeros(len(waveform))
    quiet = heard & (energy <= np.quantile(energy[heard], QUIET_SHARE))
    _, _, noise = stft(rng.standard_normal(len(waveform)), window="hann", nperseg=FFT_SIZE, noverlap=FFT_SIZE - FRAME_STEP)
    gain = np.sqrt(power[:, quiet].mean(axis=1) / np.square(np.abs(noise)).mean(axis=1))
    _, shaped = istft(noise * gain[:, None], window="hann", nperseg=FFT_SIZE, noverlap=FFT_SIZE - FRAME_STEP)
    return shaped[: len(waveform)]


def soft_limit(speech: np.ndarray) -> np.ndarray:
    """Speech whose peaks bend towards an amplitude of 1 instead of passing it; quiet speech is left as it is."""
    over = (np.abs(speech) - KNEE) / (1.0 - KNEE)
    return np.where(over > 0.0, np.sign(speech) * (KNEE + (1.0 - KNEE) * np.tanh(over)), speech)


def synthesise_to_length(say: Callable[[float], np.ndarray], length: int) -> np.ndarray:
    """Speech of an engine, at the pace at which it takes about ``length`` samples, stretched to that length.

    Parameters
    ----------
    say : callable
        Speaks at a pace, given as a multiple of the engine's own: float32 [S] at 16 kHz.
    length : int
        Samples.

    Returns
    -------
    float32 [length]
        Up to 2 % shorter or longer if that is where the engine came to by itself.

    Raises
    ------
    ValueError
        If nothing was said, or no believable pace gives that length.
    """
    speed, tried = 1.0, []
    for _ in range(ROUNDS):
        speech = say(speed)
        if not len(speech) or not np.abs(speech).max() > 0.0:
            raise ValueError("the voice has nothing to say of the transcript")
        tried.append(trim_silence(speech))
        ratio = len(tried[-1]) / length
        wanted = float(np.clip(speed * ratio, *SPEEDS))
        if abs(ratio - 1.0) <= TOLERANCE or wanted == speed:
            break
        speed = wanted
    speech = min(tried, key=lambda s: abs(np.log(len(s) / length)))
    ratio = len(speech) / length
    if abs(ratio - 1.0) <= TOLERANCE:
        return speech
    if not 1.0 / MAX_STRETCH <= ratio <= MAX_STRETCH:
        raise ValueError(
            f"the transcript takes {len(speech) / SAMPLE_RATE:.1f} s at the nearest pace, "
            f"and the clip speaks for {length / SAMPLE_RATE:.1f} s"
        )
    return time_stretch(speech, length)


def fit_speech(say: Callable[[float], np.ndarray], waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A clip in which an engine speaks instead of the speaker.

    Parameters
    ----------
    say : callable
        See :func:`synthesise_to_length`.
    waveform : float32 [S]
        The genuine clip, mono at 16 kHz.
    rng : Generator
        Draws the background noise.

    Returns
    -------
    float32 [S]

    Raises
    ------
    ValueError
        If the clip is silent, or the speech does not fit it.
    """
    begin, end = speech_interval(waveform)
    speech = synthesise_to_length(say, end - begin)[: len(waveform) - begin].astype(np.float64)
    noise = background_noise(waveform, rng)
    # What is louder than the background is the speaker's; at least a quarter of it, where there is hardly any.
    genuine = active_power(waveform[begin:end])
    wanted = max(genuine - float(np.mean(np.square(noise))), genuine / 4)
    speech = soft_limit(speech * np.sqrt(wanted / active_power(speech)))
    fade = np.minimum(np.minimum(np.arange(len(speech)), np.arange(len(speech))[::-1]) / EDGE, 1.0)
    made = noise
    made[begin : begin + len(speech)] += fade * speech
    # The background rises while the genuine noise falls: two noises, so their powers add up to one, not their weights.
    position = np.arange(len(waveform))
    outside = np.maximum(np.maximum(begin - GUARD - position, position - (end - 1 + GUARD)), 0) / CROSSFADE
    angle = np.pi / 2 * np.minimum(outside, 1.0)
    inside, around = np.cos(angle), np.sin(angle)
    inside[outside >= 1.0] = 0.0
    return (inside * made + around * waveform).astype(np.float32)
