"""What happens to sounds on their way: noise, other people, rooms, narrow bands.

What is added is measured against the active part of a sound, so that pauses do not make a signal-to-noise ratio mean something else.
A sound that would no longer fit into full scale is turned down as a whole, since clipping would be a degradation of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....media.clip import SAMPLE_RATE
from ....media.silence import BELOW, FLOOR, FRAME

PEAK = 0.98  # of full scale, above which no sample leaves
VOICES = 6  # at most, that talk over a clip
ROOM = 80.0  # cubic metres, a living room
DISTANCE = 1.0  # metres from the mouth to the microphone
TAPS = 511  # of the low-pass
KAISER = 8.0  # shape of its window: 80 dB of attenuation, 160 Hz from pass band to stop band


def noise(waveform: np.ndarray, snr: float, rng: np.random.Generator, voices: Sequence[np.ndarray] = ()) -> np.ndarray:
    """White Gaussian noise, ``snr`` dB under the active sound; silence stays silent.

    Parameters
    ----------
    waveform : float32 [S]
        At 16 kHz.
    snr : float
        dB.
    """
    return _with(waveform, rng.standard_normal(len(waveform), dtype=np.float32), snr)


def babble(waveform: np.ndarray, snr: float, rng: np.random.Generator, voices: Sequence[np.ndarray]) -> np.ndarray:
    """Up to six other people talk at once, equally loud, together ``snr`` dB under the active sound.

    Parameters
    ----------
    voices : sequence of float32 [N]
        At 16 kHz. Each begins somewhere, and over again when it is at its end.

    Raises
    ------
    ValueError
        If nobody is heard in any of them.
    """
    heard = [(voice, level) for voice in voices[:VOICES] if (level := active_level(voice))]
    if not heard:
        raise ValueError("babble needs the voices of other people, and none was given in which anything is heard")
    talk = np.zeros(len(waveform), dtype=np.float32)
    for voice, level in heard:
        begin = int(rng.integers(len(voice)))
        talk += np.resize(np.roll(voice, -begin), len(waveform)) / np.float32(level)
    return _with(waveform, talk, snr)


def reverb(waveform: np.ndarray, seconds: float, rng: np.random.Generator, voices: Sequence[np.ndarray] = ()) -> np.ndarray:
    """The sound of a room that takes ``seconds`` to be 60 dB softer (T60).

    The response is the direct sound, and noise that dies away exponentially. How much of it there is beside the direct sound follows from
    T60, the volume and the distance, as in a diffuse field. The direct sound keeps its time, and the whole its energy.

    Notes
    -----
    J. D. Polack, *La transmission de l'energie sonore dans les salles*, 1988, for the model of the decay; H. Kuttruff, *Room Acoustics*,
    for the critical distance, 0.057 sqrt(V / T60) metres, at which both are equally loud.
    """
    from scipy.signal import oaconvolve

    times = np.arange(max(1, round(seconds * SAMPLE_RATE))) / SAMPLE_RATE
    tail = rng.standard_normal(len(times)) * 10.0 ** (-3.0 * times / seconds)
    late = DISTANCE**2 / (0.057**2 * ROOM / seconds)  # energy, late over direct
    response = tail * np.sqrt(late / np.square(tail).sum())
    response[0] = 1.0
    heard = oaconvolve(waveform, (response / np.sqrt(1.0 + late)).astype(np.float32))[: len(waveform)]
    return _within_scale(heard)


def band_limit(waveform: np.ndarray, hertz: float, rng: np.random.Generator, voices: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Nothing above ``hertz``, as after a resampling or a telephone; linear phase, so that nothing moves."""
    from scipy.signal import firwin, oaconvolve

    taps = firwin(TAPS, hertz, window=("kaiser", KAISER), fs=SAMPLE_RATE).astype(np.float32)
    delay = TAPS // 2
    return _within_scale(oaconvolve(waveform, taps)[delay : delay + len(waveform)])


def active_level(waveform: np.ndarray) -> float:
    """Root mean square of the 10-ms frames that are within 40 dB of the loudest; 0 where nothing sounds."""
    frames = waveform[: len(waveform) // FRAME * FRAME].reshape(-1, FRAME)
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    if power.max(initial=0.0) < FLOOR**2:
        return 0.0
    return float(np.sqrt(power[power >= power.max() * 10.0 ** (-BELOW / 10.0)].mean()))


def _with(waveform: np.ndarray, other: np.ndarray, snr: float) -> np.ndarray:
    present = active_level(other)
    gain = active_level(waveform) * 10.0 ** (-snr / 20.0) / present if present else 0.0
    return _within_scale(waveform + np.float32(gain) * other)


def _within_scale(waveform: np.ndarray) -> np.ndarray:
    peak = float(np.abs(waveform).max(initial=0.0))
    return (waveform * np.float32(min(1.0, PEAK / max(peak, PEAK)))).astype(np.float32)
