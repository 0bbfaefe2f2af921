"""Statistics of clips and of their forged copies for the audio classifier, kept in a cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ....media.clip import MediaError
from ....media.files import file_sha256
from ....media.views import save_arrays
from ....media.windows import read_clip
from ...audio_classifier import STATISTICS, AudioClassifier
from .field_data import CorporaConfig
from .fine_tuning import FineTuning

MAX_SECONDS = 8.0  # of a clip, as long as the detector's windows
MIN_SAMPLES = 6400  # samples (0.4 s) below which a clip is left out
REPORT_EVERY = 25  # clips between two calls of the progress hook


@dataclass
class AudioTrainConfig(CorporaConfig):
    """Settings of the audio classifier; read from YAML by :func:`avwitness.settings.read_settings`."""

    layers: tuple[int, ...] = (1, 2)  # outputs of the encoder whose statistics are classified; 0 is that of the convolutions
    statistics: tuple[str, ...] = STATISTICS  # of every layer over time
    voices: tuple[str, ...] = ()  # copy-synthesis voices that forge the genuine clips
    voices_per_clip: int = 3  # of them, drawn for each clip
    forged_weight: float = 0.15  # of a forged clip in the fit, beside 1 for all others
    fine_tuning: FineTuning = field(default_factory=FineTuning)


def layer_columns(layers: Sequence[int], width: int, parts: int = len(STATISTICS)) -> list[slice]:
    """Columns of the statistics of some layers, in those of all layers; ``parts`` statistics of ``width`` channels each."""
    return [slice(parts * layer * width, parts * (layer + 1) * width) for layer in layers]


def clip_statistics(
    waveforms: Sequence[np.ndarray],
    classifier: AudioClassifier,
    cache: str | os.PathLike[str],
    hook: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Statistics of waveforms at 16 kHz, float32 [N, D], computed once and kept in a cache folder by the samples' hash."""
    folder = Path(cache) / f"audio-statistics-{encoder_hash(classifier)}"
    folder.mkdir(parents=True, exist_ok=True)
    statistics = np.zeros((len(waveforms), len(classifier.center)), dtype=np.float32)
    for number, waveform in enumerate(waveforms):
        target = folder / f"{hashlib.sha1(waveform.tobytes()).hexdigest()}.npz"
        if not target.exists():
            with torch.inference_mode():
                found = classifier.statistics(torch.from_numpy(waveform.astype(np.float32))[None])[0].numpy()
            save_arrays(target, statistics=found)
        with np.load(target) as data:
            statistics[number] = data["statistics"]
        if hook is not None and (number % REPORT_EVERY == 0 or number + 1 == len(waveforms)):
            hook(number + 1, len(waveforms))
    return statistics


def read_waveforms(
    files: Sequence[str | os.PathLike[str]], hook: Callable[[int, int], None] | None = None
) -> tuple[list[np.ndarray], np.ndarray, list[str]]:
    """The audio of clips.

    Returns
    -------
    waveforms : list of float16 [S]
        Of the clips that can be read.
    known : bool [N]
        Which those are.
    failures : list of str
        A sentence for each other.
    """
    waveforms, known, failures = [], np.ones(len(files), dtype=bool), []
    for number, path in enumerate(files):
        try:
            waveforms.append(read_waveform(path).astype(np.float16))
        except MediaError as error:
            known[number] = False
            failures.append(str(error))
        if hook is not None and (number % REPORT_EVERY == 0 or number + 1 == len(files)):
            hook(number + 1, len(files))
    return waveforms, known, failures


def forged_clips(
    files: Sequence[str | os.PathLike[str]],
    config: AudioTrainConfig,
    cache: str | os.PathLike[str],
    hook: Callable[[int, int], None] | None = None,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Genuine clips that copy-synthesis voices forged, kept in the cache by content and voice.

    Returns
    -------
    waveforms : list of float16 [S]
        At 16 kHz.
    sources : int [M]
        Which file each was forged from. Voices that cannot forge a clip are left out.

    Raises
    ------
    ValueError
        If a voice is unknown or cannot be used here.
    """
    from ....generators.voices.resynthesis import VOICES

    for voice in config.voices:
        if voice not in VOICES:
            raise ValueError(f"{voice}: no such voice; there are {', '.join(VOICES)}")
        if reason := VOICES[voice].missing_reason():
            raise ValueError(f"the voice {voice} cannot be used: {reason}")
    folder = Path(cache) / "forged-voices"
    folder.mkdir(parents=True, exist_ok=True)
    found, sources = [], []
    for number, path in enumerate(files):
        digest = file_sha256(path)
        rng = np.random.default_rng([config.seed, int(digest[:8], 16)])
        for voice in rng.permutation(sorted(config.voices))[: config.voices_per_clip]:
            target = folder / f"{digest}-{voice}.npz"
            if not target.exists():
                try:
                    forged = VOICES[str(voice)](read_waveform(path), np.random.default_rng([config.seed, int(digest[:8], 16), 1]))
                except (MediaError, ValueError):
                    continue
                save_arrays(target, waveform=forged.astype(np.float16))
            with np.load(target) as data:
                found.append(data["waveform"])
            sources.append(number)
        if hook is not None and (number % REPORT_EVERY == 0 or number + 1 == len(files)):
            hook(number + 1, len(files))
    return found, np.array(sources, dtype=int)


def read_waveform(path: str | os.PathLike[str]) -> np.ndarray:
    """The first 8 s of a clip's audio, float32 [S] at 16 kHz.

    Raises
    ------
    MediaError
        If the clip cannot be read, or is shorter than 0.4 s.
    """
    waveform = read_clip(path, video=False, max_seconds=MAX_SECONDS).waveform
    if waveform is None or len(waveform) < MIN_SAMPLES:
        raise MediaError(Path(path), "holds less than 0.4 s of audio")
    return waveform


def encoder_hash(classifier: AudioClassifier) -> str:
    """First digits of a SHA-1 over the encoder's weights, and the layers and statistics that are used."""
    digest = hashlib.sha1(repr((classifier.config.layers, classifier.config.statistics)).encode())
    for value in classifier.encoder.state_dict().values():
        digest.update(value.half().numpy().tobytes())
    return digest.hexdigest()[:10]
