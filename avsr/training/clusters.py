"""Targets of masked prediction: k-means clusters of acoustic features, or of an audio encoder's features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
import torchaudio

from ...media.clip import SAMPLE_RATE
from ...media.speech import FFT_SIZE, FRAME_LENGTH, FRAME_STEP, STACK, normalise_level
from ..model import AVSRModel
from .corpus import Utterance

MFCC_COEFFICIENTS = 13  # of every 10 ms
KMEANS_BATCH = 4096  # frames of one k-means step


def acoustic_features(waveform: np.ndarray) -> np.ndarray:
    """Mel cepstra of the four 10-ms frames in every video frame, per clip zero mean and unit variance: float32 [T, 52]."""
    transform = torchaudio.transforms.MFCC(
        SAMPLE_RATE,
        MFCC_COEFFICIENTS,
        log_mels=True,
        melkwargs={"n_fft": FFT_SIZE, "win_length": FRAME_LENGTH, "hop_length": FRAME_STEP, "n_mels": 40, "center": True},
    )
    frames = len(waveform) // (FRAME_STEP * STACK)
    cepstra = transform(torch.from_numpy(normalise_level(waveform))).T[: frames * STACK].numpy()
    cepstra = (cepstra - cepstra.mean(axis=0)) / (cepstra.std(axis=0) + 1e-5)
    return cepstra.reshape(frames, -1).astype(np.float32)


def encoder_features(model: AVSRModel) -> Callable[[np.ndarray], np.ndarray]:
    """A function from a waveform to the audio encoder's output, float32 [T, D]."""
    model.eval()

    def features(waveform: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            encoded = model.backbone.encode(torch.from_numpy(model.backbone.extract_audio_features(waveform))[None], None)
        assert encoded.audio is not None
        return encoded.audio[0].float().numpy()

    return features


def fit_clusters(utterances: Sequence[Utterance], features: Callable[[np.ndarray], np.ndarray], count: int, seed: int) -> np.ndarray:
    """Centres of ``count`` clusters, float32 [count, D].

    Notes
    -----
    Source: Hsu et al., *HuBERT*, 2021: k-means on cepstra, later on features of the network.
    """
    from sklearn.cluster import MiniBatchKMeans

    data = np.concatenate([features(_waveform(u)) for u in utterances])
    kmeans = MiniBatchKMeans(count, batch_size=KMEANS_BATCH, n_init=3, max_no_improvement=50, random_state=seed)
    return kmeans.fit(data).cluster_centers_.astype(np.float32)


def assign_clusters(utterances: Sequence[Utterance], features: Callable[[np.ndarray], np.ndarray], centres: np.ndarray) -> list[Utterance]:
    """The same utterances with the nearest cluster of every frame."""
    return [replace(u, clusters=_nearest(features(_waveform(u)), centres)) for u in utterances]


def _nearest(data: np.ndarray, centres: np.ndarray) -> np.ndarray:
    distances = (centres**2).sum(axis=1)[None] - 2.0 * data @ centres.T
    return distances.argmin(axis=1).astype(np.int16)


def _waveform(utterance: Utterance) -> np.ndarray:
    assert utterance.views.waveform is not None
    return utterance.views.waveform
