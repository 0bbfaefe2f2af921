"""Audio features at 25 Hz: filterbank of AV-HuBERT, log-mel of our backbone, log spectrum."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
import torchaudio

from .clip import SAMPLE_RATE
from .pcm import INT16_SCALE

FRAME_LENGTH = 400  # samples, 25 ms
FRAME_STEP = 160  # samples, 10 ms
FFT_SIZE = 512  # samples
STACK = 4  # feature frames of 10 ms in one video frame of 40 ms
FBANK_BINS = 26  # mel bins of the published AV-HuBERT front end
LOG_MEL_BINS = 80  # mel bins of our own front end; 26 blur the traces that vocoders leave in the upper bands
STACKED_BINS = LOG_MEL_BINS * STACK  # log-mel values of one video frame
PREEMPHASIS = 0.97
ACTIVE_RANGE = 30.0  # dB below the loudest 10 ms within which a frame counts towards the level
REFERENCE_LEVEL = 0.05  # root mean square of the active frames after normalisation
SPECTRUM_BINS = 256  # linear bins up to 8 kHz, the lowest left out
SPECTRUM_FLOOR = 1e-6  # power below which a bin of normalised speech holds only coding noise
LOG_FLOOR = 1e-5  # mel energy below which normalised speech holds only coding noise


def filterbank(waveform: np.ndarray) -> np.ndarray:
    """26-bin log filterbank energies at 100 Hz, as ``python_speech_features.logfbank`` computes them.

    Parameters
    ----------
    waveform : array [S]
        int16 samples at 16 kHz, or float samples in [-1, 1] (scaled to the int16 range, as the published code expects).

    Returns
    -------
    float32 array [ceil((S - 400) / 160) + 1, 26]

    Notes
    -----
    Source: J. Lyons, *python_speech_features* 0.6; used with its defaults by AV-HuBERT (Shi et al., ICLR 2022).
    """
    scale = 1.0 if np.issubdtype(waveform.dtype, np.integer) else INT16_SCALE
    signal = torch.from_numpy(np.asarray(waveform, dtype=np.float64) * scale)
    signal = torchaudio.functional.preemphasis(signal, PREEMPHASIS)
    frames = max(1, -(-(len(signal) - FRAME_LENGTH) // FRAME_STEP) + 1)
    padded = F.pad(signal, (0, (frames - 1) * FRAME_STEP + FRAME_LENGTH - len(signal)))
    # stft centres the 400-sample window in 512; the same number of zeros on both sides keeps the frames where they belong.
    margin = (FFT_SIZE - FRAME_LENGTH) // 2
    spectrum = torchaudio.functional.spectrogram(
        F.pad(padded, (margin, margin)),
        pad=0,
        window=torch.ones(FRAME_LENGTH, dtype=torch.float64),
        n_fft=FFT_SIZE,
        hop_length=FRAME_STEP,
        win_length=FRAME_LENGTH,
        power=2.0,
        normalized=False,
        center=False,
    )
    energy = (spectrum.T / FFT_SIZE) @ _triangles()
    return torch.log(energy.clamp_min(torch.finfo(torch.float64).eps)).float().numpy()


@lru_cache(maxsize=1)
def _triangles() -> torch.Tensor:
    """Triangular filters [257, 26] whose corners are rounded down to FFT bins, which torchaudio's are not."""
    mel = np.linspace(0.0, 2595.0 * np.log10(1.0 + SAMPLE_RATE / 2 / 700.0), FBANK_BINS + 2)
    hertz = 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    corners = np.floor((FFT_SIZE + 1) * hertz / SAMPLE_RATE).astype(int)
    filters = np.zeros((FFT_SIZE // 2 + 1, FBANK_BINS))
    for index, (low, centre, high) in enumerate(zip(corners[:-2], corners[1:-1], corners[2:], strict=True)):
        filters[low:centre, index] = (np.arange(low, centre) - low) / max(centre - low, 1)
        filters[centre:high, index] = (high - np.arange(centre, high)) / max(high - centre, 1)
    return torch.from_numpy(filters)


def stack(features: np.ndarray, by: int = STACK) -> np.ndarray:
    """Concatenate ``by`` frames into one: [T, F] at 100 Hz to [ceil(T / by), F * by] at 25 Hz, zero-padded at the end."""
    short = -len(features) % by
    padded = np.concatenate([features, np.zeros((short, features.shape[1]), dtype=features.dtype)])
    return padded.reshape(len(padded) // by, -1)


def avhubert_features(waveform: np.ndarray) -> np.ndarray:
    """Stacked, layer-normalised filterbank [T, 104] at 25 Hz, ready for an AV-HuBERT network."""
    stacked = torch.from_numpy(stack(filterbank(waveform)))
    return F.layer_norm(stacked, stacked.shape[1:]).numpy()


@lru_cache(maxsize=1)
def _log_mel_transform() -> torchaudio.transforms.MelSpectrogram:
    return torchaudio.transforms.MelSpectrogram(
        sample_rate=SAMPLE_RATE,
        n_fft=FFT_SIZE,
        win_length=FRAME_LENGTH,
        hop_length=FRAME_STEP,
        n_mels=LOG_MEL_BINS,
        f_min=20.0,
        f_max=SAMPLE_RATE / 2 - 200.0,
        power=2.0,
        center=True,
        pad_mode="constant",
    )


def normalise_level(waveform: np.ndarray) -> np.ndarray:
    """Scale a waveform so that its active frames have a fixed level; digital silence stays as it is.

    Level must not distinguish fakes from genuine audio, so no network here gets it as input.
    """
    if not len(waveform):
        return waveform
    blocks = np.pad(waveform, (0, -len(waveform) % FRAME_STEP)).reshape(-1, FRAME_STEP)
    power = np.mean(np.square(blocks, dtype=np.float64), axis=1)
    if power.max() <= 0.0:
        return waveform
    active = power[power >= power.max() * 10.0 ** (-ACTIVE_RANGE / 10.0)]
    return (waveform * (REFERENCE_LEVEL / np.sqrt(active.mean()))).astype(np.float32)


def log_mel(waveform: np.ndarray) -> np.ndarray:
    """Level-normalised 80-bin log-mel, four 10-ms frames stacked: the audio input of our backbone.

    Parameters
    ----------
    waveform : float32 array [S]
        Mono at 16 kHz.

    Returns
    -------
    float32 array [S // 640, 320]
        Natural-log mel energies at 25 Hz, roughly zero mean and unit variance for speech.
    """
    frames = len(waveform) // (FRAME_STEP * STACK)
    if frames == 0:
        return np.zeros((0, LOG_MEL_BINS * STACK), dtype=np.float32)
    energy = _log_mel_transform()(torch.from_numpy(normalise_level(np.asarray(waveform, dtype=np.float32))))
    features = (torch.log(energy.T + LOG_FLOOR) + 5.0) / 4.0
    return stack(features[: frames * STACK].numpy())


@lru_cache(maxsize=1)
def _spectrum_transform() -> torchaudio.transforms.Spectrogram:
    return torchaudio.transforms.Spectrogram(
        n_fft=FFT_SIZE, win_length=FRAME_LENGTH, hop_length=FRAME_STEP, power=2.0, center=True, pad_mode="constant"
    )


def log_spectrum(waveform: np.ndarray) -> np.ndarray:
    """Level-normalised log power spectrum, four 10-ms frames stacked; its resolution shows vocoder artefacts between the harmonics.

    Parameters
    ----------
    waveform : float32 array [S]
        Mono at 16 kHz.

    Returns
    -------
    float32 array [S // 640, 1024]
        Natural-log power of 256 linear bins at 25 Hz, roughly zero mean and unit variance for speech.
    """
    frames = len(waveform) // (FRAME_STEP * STACK)
    if frames == 0:
        return np.zeros((0, SPECTRUM_BINS * STACK), dtype=np.float32)
    power = _spectrum_transform()(torch.from_numpy(normalise_level(np.asarray(waveform, dtype=np.float32))))
    features = (torch.log(power[1:].T + SPECTRUM_FLOOR) + 6.0) / 4.0
    return stack(features[: frames * STACK].numpy())
