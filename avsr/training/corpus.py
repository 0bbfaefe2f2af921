"""Transcribed clips as training samples and batches."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ...media.clip import SAMPLES_PER_FRAME
from ...media.face.mouth import centre
from ...media.speech import log_mel
from ...media.views import Views, cache_name, load_views
from ..text import encode, normalise
from .augment import AugmentConfig, babble, change_tempo, mask_bands, mix, resample_nearest, span_mask, warp_mouth

MASKED_GREY = 107  # grey level of masked video frames: the mean of lip crops
SPEECH_RANGE = 20.0  # dB below the loudest frame down to which a frame counts as speech
MAX_MARGIN = 10  # frames of silence kept on either side of the speech in training
IGNORE_INDEX = -100  # cluster of padded frames and of utterances without clusters


@dataclass(frozen=True)
class Utterance:
    """One clip with its transcript.

    Parameters
    ----------
    path, corpus, speaker : str
    views : Views
        Mouth crops and waveform, cut to the same number of frames.
    text : str
        Normalised.
    clusters : int16 [T] or None
        Cluster of every frame.
    """

    path: str
    corpus: str
    speaker: str
    views: Views
    text: str
    clusters: np.ndarray | None = None

    @property
    def frames(self) -> int:
        assert self.views.waveform is not None
        return len(self.views.waveform) // SAMPLES_PER_FRAME


def load_utterances(table: pd.DataFrame, cache: str | os.PathLike[str]) -> list[Utterance]:
    """The transcribed rows of a manifest whose views are in the cache, both streams cut to the shorter one.

    Raises
    ------
    FileNotFoundError
        If none of them is there.
    ValueError
        If the manifest has no transcripts.
    """
    if "transcript" not in table:
        raise ValueError("the manifest has no column 'transcript', which pretraining needs")
    found: list[Utterance] = []
    rows = table[table.transcript.notna()]
    for path, corpus, speaker, transcript in zip(rows.path, rows.corpus, rows.speaker, rows.transcript, strict=True):
        file = Path(cache) / cache_name(path)
        views = load_views(file) if file.exists() else None
        if views is None or views.mouth is None or views.usable is None or views.waveform is None:
            continue
        frames = min(len(views.mouth), len(views.waveform) // SAMPLES_PER_FRAME)
        cut = Views(views.mouth[:frames], None, views.usable[:frames], views.waveform[: frames * SAMPLES_PER_FRAME])
        found.append(Utterance(path, corpus, speaker, cut, normalise(transcript)))
    if not found:
        raise FileNotFoundError(f"{cache}: no prepared clips with a transcript; run `avwitness prepare` first")
    return found


@dataclass(frozen=True)
class Sample:
    """Inputs and targets of one clip; masked frames carry no information."""

    audio: np.ndarray  # float32 [T, F]
    video: np.ndarray  # uint8 [T, 88, 88]
    usable: np.ndarray  # bool [T], frames with a usable mouth crop
    masked: np.ndarray  # bool [2, T], of audio and video
    keep: np.ndarray  # bool [2], streams in the joint representation (modality dropout)
    characters: list[int]
    clusters: np.ndarray | None  # int16 [T]


def speech_span(waveform: np.ndarray) -> tuple[int, int]:
    """First frame of speech and the frame after the last, by energy."""
    power = np.square(
        waveform[: len(waveform) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME].reshape(-1, SAMPLES_PER_FRAME), dtype=np.float64
    ).mean(axis=1)
    active = np.flatnonzero(power >= power.max() * 10.0 ** (-SPEECH_RANGE / 10.0))
    return (int(active[0]), int(active[-1]) + 1) if len(active) else (0, len(power))


AudioFeatureExtractor = Callable[[np.ndarray], np.ndarray]  # waveform to a backbone's audio features


def plain_sample(utterance: Utterance, extract_features: AudioFeatureExtractor = log_mel) -> Sample:
    """A clip without augmentation: the centre of the mouth crops, no frame masked."""
    views = utterance.views
    assert views.mouth is not None and views.waveform is not None and views.usable is not None
    masked = np.zeros((2, utterance.frames), dtype=bool)
    return Sample(
        extract_features(views.waveform),
        centre(views.mouth),
        views.usable,
        masked,
        np.ones(2, dtype=bool),
        encode(utterance.text),
        utterance.clusters,
    )


def augmented_sample(
    utterance: Utterance,
    speakers: Sequence[Utterance],
    config: AugmentConfig,
    rng: np.random.Generator,
    max_frames: int,
    extract_features: AudioFeatureExtractor = log_mel,
) -> Sample:
    """A clip cut to its speech and augmented; ``speakers`` are utterances for babble."""
    views = utterance.views
    assert views.mouth is not None and views.waveform is not None and views.usable is not None
    first, last = speech_span(views.waveform)
    first = max(0, first - int(rng.integers(2, MAX_MARGIN + 1)))
    last = min(utterance.frames, last + int(rng.integers(2, MAX_MARGIN + 1)))
    frames = min(max(2, round((last - first) * (1.0 + rng.uniform(-config.tempo, config.tempo)))), max_frames)
    waveform = change_tempo(views.waveform[first * SAMPLES_PER_FRAME : last * SAMPLES_PER_FRAME], frames * SAMPLES_PER_FRAME)
    if rng.random() < config.babble:
        others = [speakers[i].views.waveform for i in rng.integers(0, len(speakers), int(rng.integers(1, config.babble_speakers + 1)))]
        waveform = mix(waveform, babble([o for o in others if o is not None], len(waveform), rng), rng.uniform(*config.snr))
    if rng.random() < config.noise:
        waveform = mix(waveform, rng.standard_normal(len(waveform)).astype(np.float32), rng.uniform(*config.snr))
    masked = np.stack([span_mask(frames, share, config.max_span, rng) for share in (config.audio_spans, config.video_spans)])
    audio = mask_bands(extract_features(waveform), config, rng)
    audio[masked[0]] = 0.0
    video = resample_nearest(warp_mouth(views.mouth[first:last], config, rng), frames)
    video[masked[1]] = MASKED_GREY
    draw = rng.random()
    keep = np.array([draw >= config.video_only, not config.video_only <= draw < config.video_only + config.audio_only])
    clusters = None if utterance.clusters is None else resample_nearest(utterance.clusters[first:last], frames)
    return Sample(audio, video, resample_nearest(views.usable[first:last], frames), masked, keep, encode(utterance.text), clusters)


@dataclass
class Batch:
    """Padded samples.

    Parameters
    ----------
    audio : float [B, T, F]
    video : uint8 [B, T, 88, 88]
    audio_mask, video_mask : bool [B, T]
    masked : bool [B, 2, T]
    keep : bool [B, 2]
    characters : long [B, U]
        Padded with 0.
    character_counts : long [B]
    clusters : long [B, T]
        -100 where there is none.
    """

    audio: Tensor
    video: Tensor
    audio_mask: Tensor
    video_mask: Tensor
    masked: Tensor
    keep: Tensor
    characters: Tensor
    character_counts: Tensor
    clusters: Tensor

    def to(self, device: torch.device, *, non_blocking: bool = False) -> None:
        """Move to a device, in place."""
        for name, value in vars(self).items():
            setattr(self, name, value.to(device, non_blocking=non_blocking))


def collate(samples: Sequence[Sample]) -> Batch:
    """Pad samples to the longest of them."""
    longest = max(len(s.audio) for s in samples)
    max_characters = max(len(s.characters) for s in samples)
    clusters = [np.full(len(s.audio), IGNORE_INDEX) if s.clusters is None else s.clusters.astype(np.int64) for s in samples]

    def padded(arrays: Sequence[np.ndarray], axis: int = 0, value: int = 0) -> Tensor:
        widths = [[(0, longest - a.shape[axis]) if k == axis else (0, 0) for k in range(a.ndim)] for a in arrays]
        return torch.from_numpy(np.stack([np.pad(a, w, constant_values=value) for a, w in zip(arrays, widths, strict=True)]))

    return Batch(
        audio=padded([s.audio for s in samples]),
        video=padded([s.video for s in samples]),
        audio_mask=padded([np.ones(len(s.audio), dtype=bool) for s in samples]),
        video_mask=padded([s.usable for s in samples]),
        masked=padded([s.masked for s in samples], axis=1),
        keep=torch.from_numpy(np.stack([s.keep for s in samples])),
        characters=torch.tensor([s.characters + [0] * (max_characters - len(s.characters)) for s in samples]),
        character_counts=torch.tensor([len(s.characters) for s in samples]),
        clusters=padded(clusters, value=IGNORE_INDEX),
    )
