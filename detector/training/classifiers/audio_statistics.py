"""Statistics of clips and of their forged copies for the audio classifier, kept in a cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ....media.clip import MediaError
from ....media.files import file_sha256
from ....media.views import save_arrays
from ....media.windows import read_clip
from ...audio_classifier import AudioClassifier
from .field_data import CorporaConfig

MAX_SECONDS = 8.0  # of a clip, as long as the detector's windows
MIN_SAMPLES = 6400  # samples (0.4 s) below which a clip is left out
REPORT_EVERY = 25  # clips between two calls of the progress hook


@dataclass
class AudioTrainConfig(CorporaConfig):
    """Settings of the audio classifier; read from YAML by :func:`avwitness.settings.read_settings`."""

    layers: tuple[int, ...] = (1, 2, 3)  # outputs of the encoder whose statistics are classified; 0 is that of the convolutions
    voices: tuple[str, ...] = ()  # copy-synthesis voices that forge the genuine clips of the field set
    voices_per_clip: int = 3  # of them, drawn for each clip
    forged_weight: float = 0.15  # of a forged clip in the fit, beside 1 for all others


def layer_columns(layers: Sequence[int], width: int) -> list[slice]:
    """Columns of the statistics of some layers, in those of all layers."""
    return [slice(2 * layer * width, 2 * (layer + 1) * width) for layer in layers]


def clip_statistics(
    files: Sequence[str | os.PathLike[str]],
    classifier: AudioClassifier,
    cache: str | os.PathLike[str],
    hook: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, list[str]]:
    """Statistics of every clip, computed once and kept in a cache folder by the content of the file.

    Parameters
    ----------
    files : sequence of path-like
    classifier : AudioClassifier
        Its encoder and layers are used.
    cache : path-like
    hook : callable, optional
        Called with the number of clips done and of all clips.

    Returns
    -------
    statistics : float32 [N, D]
        NaN where a clip cannot be read or is too short.
    failures : list of str
        A sentence for each such clip.
    """
    folder = Path(cache) / f"audio-statistics-{encoder_hash(classifier)}"
    folder.mkdir(parents=True, exist_ok=True)
    width = len(classifier.center)
    statistics = np.full((len(files), width), np.nan, dtype=np.float32)
    failures = []
    for number, path in enumerate(files):
        target = folder / f"{file_sha256(path)}.npz"
        if not target.exists():
            try:
                save_arrays(target, statistics=_statistics(_read(path), classifier))
            except MediaError as error:
                failures.append(str(error))
                continue
        with np.load(target) as data:
            statistics[number] = data["statistics"]
        if hook is not None and (number % REPORT_EVERY == 0 or number + 1 == len(files)):
            hook(number + 1, len(files))
    return statistics, failures


def forged_statistics(
    files: Sequence[str | os.PathLike[str]],
    classifier: AudioClassifier,
    config: AudioTrainConfig,
    cache: str | os.PathLike[str],
    hook: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Statistics of genuine clips that copy-synthesis voices forged, kept in the cache by content and voice.

    Returns
    -------
    statistics : float32 [M, D]
    sources : int [M]
        Which file each was forged from. Voices that cannot forge a clip are left out.
    """
    from ....generators.voices.resynthesis import VOICES

    folder = Path(cache) / f"audio-statistics-{encoder_hash(classifier)}"
    folder.mkdir(parents=True, exist_ok=True)
    found, sources = [], []
    for number, path in enumerate(files):
        digest = file_sha256(path)
        rng = np.random.default_rng([config.seed, int(digest[:8], 16)])
        for voice in rng.permutation(sorted(config.voices))[: config.voices_per_clip]:
            target = folder / f"{digest}-{voice}.npz"
            if not target.exists():
                try:
                    forged = VOICES[str(voice)](_read(path), np.random.default_rng([config.seed, int(digest[:8], 16), 1]))
                except (MediaError, ValueError):
                    continue
                save_arrays(target, statistics=_statistics(forged, classifier))
            with np.load(target) as data:
                found.append(data["statistics"])
            sources.append(number)
        if hook is not None and (number % REPORT_EVERY == 0 or number + 1 == len(files)):
            hook(number + 1, len(files))
    statistics = np.stack(found) if found else np.zeros((0, len(classifier.center)), dtype=np.float32)
    return statistics, np.array(sources, dtype=int)


def _read(path: str | os.PathLike[str]) -> np.ndarray:
    waveform = read_clip(path, video=False, max_seconds=MAX_SECONDS).waveform
    if waveform is None or len(waveform) < MIN_SAMPLES:
        raise MediaError(Path(path), "holds less than 0.4 s of audio")
    return waveform


@torch.inference_mode()
def _statistics(waveform: np.ndarray, classifier: AudioClassifier) -> np.ndarray:
    return classifier.statistics(torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32))[None])[0].numpy()


def encoder_hash(classifier: AudioClassifier) -> str:
    """First digits of a SHA-1 over the encoder's weights and the layers that are used."""
    digest = hashlib.sha1(repr(classifier.config.layers).encode())
    for value in classifier.encoder.state_dict().values():
        digest.update(value.half().numpy().tobytes())
    return digest.hexdigest()[:10]
