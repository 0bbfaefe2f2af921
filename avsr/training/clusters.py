"""Sound classes for masked prediction: k-means on acoustic features, then on what the reader itself hears."""

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

COEFFICIENTS = 13  # cepstral, of every 10 ms
BATCH = 4096  # frames of one k-means step


def acoustic(waveform: np.ndarray) -> np.ndarray:
    """Mel cepstra of the four 10-ms frames in every video frame, per clip zero mean and unit variance: float32 [T, 52]."""
    transform = torchaudio.transforms.MFCC(
        SAMPLE_RATE,
        COEFFICIENTS,
        log_mels=True,
        melkwargs={"n_fft": FFT_SIZE, "win_length": FRAME_LENGTH, "hop_length": FRAME_STEP, "n_mels": 40, "center": True},
    )
    frames = len(waveform) // (FRAME_STEP * STACK)
    cepstra = transform(torch.from_numpy(normalise_level(waveform))).T[: frames * STACK].numpy()
    cepstra = (cepstra - cepstra.mean(axis=0)) / (cepstra.std(axis=0) + 1e-5)
    return cepstra.reshape(frames, -1).astype(np.float32)


def heard_by(reader: AVSRModel) -> Callable[[np.ndarray], np.ndarray]:
    """A function from a waveform to the reader's audio encoding, float32 [T, D]."""
    reader.eval()

    def features(waveform: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            encoded = reader.backbone.encode(torch.from_numpy(reader.backbone.extract_audio_features(waveform))[None], None)
        assert encoded.audio is not None
        return encoded.audio[0].float().numpy()

    return features


def fit_clusters(utterances: Sequence[Utterance], features: Callable[[np.ndarray], np.ndarray], count: int, seed: int) -> np.ndarray:
    """Centres of ``count`` sound classes, float32 [count, D].

    Notes
    -----
    Source: Hsu et al., *HuBERT*, 2021: k-means on cepstra, later on the network's own features.
    """
    from sklearn.cluster import MiniBatchKMeans

    data = np.concatenate([features(_waveform(u)) for u in utterances])
    model = MiniBatchKMeans(count, batch_size=BATCH, n_init=3, max_no_improvement=50, random_state=seed)
    return model.fit(data).cluster_centers_.astype(np.float32)


def assign(utterances: Sequence[Utterance], features: Callable[[np.ndarray], np.ndarray], centres: np.ndarray) -> list[Utterance]:
    """The same utterances with the nearest class of every frame."""
    return [replace(u, clusters=_nearest(features(_waveform(u)), centres)) for u in utterances]


def _nearest(data: np.ndarray, centres: np.ndarray) -> np.ndarray:
    distances = (centres**2).sum(axis=1)[None] - 2.0 * data @ centres.T
    return distances.argmin(axis=1).astype(np.int16)


def _waveform(utterance: Utterance) -> np.ndarray:
    assert utterance.views.waveform is not None
    return utterance.views.waveform
