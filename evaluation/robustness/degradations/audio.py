"""Degradations of audio: noise, babble, reverberation, band limit.

The signal-to-noise ratio refers to the active part of a waveform, so that it does not depend on pauses. A waveform that would exceed
full scale is scaled down as a whole, since clipping would be another degradation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....media.clip import SAMPLE_RATE
from ....media.silence import BLOCK, MIN_LEVEL, SILENCE_LEVEL

PEAK = 0.98  # of full scale, the largest sample in the output
MAX_VOICES = 6  # in babble
ROOM_VOLUME = 80.0  # cubic metres, a living room
DISTANCE = 1.0  # metres from the mouth to the microphone
FILTER_TAPS = 511  # of the low-pass
KAISER_BETA = 8.0  # of its window: 80 dB of attenuation, 160 Hz from pass band to stop band


def noise(waveform: np.ndarray, snr: float, rng: np.random.Generator, voices: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Add white Gaussian noise ``snr`` dB below the active level; a silent waveform stays silent.

    Parameters
    ----------
    waveform : float32 [S]
        At 16 kHz.
    snr : float
        dB.
    """
    return _with(waveform, rng.standard_normal(len(waveform), dtype=np.float32), snr)


def babble(waveform: np.ndarray, snr: float, rng: np.random.Generator, voices: Sequence[np.ndarray]) -> np.ndarray:
    """Add up to six voices at equal levels, together ``snr`` dB below the active level.

    Parameters
    ----------
    voices : sequence of float32 [N]
        At 16 kHz. Each begins at a random place, and is repeated to the length of the waveform.

    Raises
    ------
    ValueError
        If all of them are silent.
    """
    active = [(voice, level) for voice in voices[:MAX_VOICES] if (level := active_level(voice))]
    if not active:
        raise ValueError("babble needs the voices of other people, and all that were given are silent")
    talk = np.zeros(len(waveform), dtype=np.float32)
    for voice, level in active:
        begin = int(rng.integers(len(voice)))
        talk += np.resize(np.roll(voice, -begin), len(waveform)) / np.float32(level)
    return _with(waveform, talk, snr)


def reverb(waveform: np.ndarray, seconds: float, rng: np.random.Generator, voices: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Add the reverberation of a room whose reverberation time (T60, a decay by 60 dB) is ``seconds``.

    The impulse response is the direct sound followed by exponentially decaying noise. Their energy ratio follows from T60, the volume
    and the distance, as in a diffuse field. The direct sound keeps its time, and the response has unit energy.

    Notes
    -----
    J. D. Polack, *La transmission de l'energie sonore dans les salles*, 1988, for the model of the decay; H. Kuttruff, *Room Acoustics*,
    for the critical distance, 0.057 sqrt(V / T60) metres, at which both are equally loud.
    """
    from scipy.signal import oaconvolve

    times = np.arange(max(1, round(seconds * SAMPLE_RATE))) / SAMPLE_RATE
    tail = rng.standard_normal(len(times)) * 10.0 ** (-3.0 * times / seconds)
    late = DISTANCE**2 / (0.057**2 * ROOM_VOLUME / seconds)  # energy, late over direct
    response = tail * np.sqrt(late / np.square(tail).sum())
    response[0] = 1.0
    wet = oaconvolve(waveform, (response / np.sqrt(1.0 + late)).astype(np.float32))[: len(waveform)]
    return _within_scale(wet)


def band_limit(waveform: np.ndarray, hertz: float, rng: np.random.Generator, voices: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Remove frequencies above ``hertz`` with a linear-phase low-pass, as resampling or a telephone does."""
    from scipy.signal import firwin, oaconvolve

    taps = firwin(FILTER_TAPS, hertz, window=("kaiser", KAISER_BETA), fs=SAMPLE_RATE).astype(np.float32)
    delay = FILTER_TAPS // 2
    return _within_scale(oaconvolve(waveform, taps)[delay : delay + len(waveform)])


def active_level(waveform: np.ndarray) -> float:
    """Root mean square of the 10-ms frames that are within 40 dB of the loudest; 0 for silence."""
    frames = waveform[: len(waveform) // BLOCK * BLOCK].reshape(-1, BLOCK)
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    if power.max(initial=0.0) < MIN_LEVEL**2:
        return 0.0
    return float(np.sqrt(power[power >= power.max() * 10.0 ** (-SILENCE_LEVEL / 10.0)].mean()))


def _with(waveform: np.ndarray, other: np.ndarray, snr: float) -> np.ndarray:
    present = active_level(other)
    gain = active_level(waveform) * 10.0 ** (-snr / 20.0) / present if present else 0.0
    return _within_scale(waveform + np.float32(gain) * other)


def _within_scale(waveform: np.ndarray) -> np.ndarray:
    peak = float(np.abs(waveform).max(initial=0.0))
    return (waveform * np.float32(min(1.0, PEAK / max(peak, PEAK)))).astype(np.float32)
