"""Transcribed clips as training examples and as batches."""

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
from .augment import AugmentConfig, babble, hide_bands, mix, spans, stretch, stretch_sound, warp_mouth

GREY = 107  # of 255: what a hidden frame looks like, the mean of lip crops
ACTIVE = 20.0  # dB below the loudest frame within which a frame counts as speech
MARGIN = 10  # frames, most silence left on either side of the speech in training
IGNORED = -100  # cluster of a frame that has none


@dataclass(frozen=True)
class Utterance:
    """One clip with what is said in it.

    Parameters
    ----------
    path, corpus, speaker : str
    views : Views
        Mouth and waveform, cut to the same number of frames.
    text : str
        Normalised.
    clusters : int16 [T] or None
        Sound class of every frame.
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
    """The transcribed rows of a manifest whose views are in the cache, both streams as long as the shorter one.

    Raises
    ------
    FileNotFoundError
        If none of them is there.
    ValueError
        If the manifest has no transcripts.
    """
    if "transcript" not in table:
        raise ValueError("the manifest has no column 'transcript', so there is nothing to learn reading from")
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
class Example:
    """One clip as the reader takes it; hidden frames carry no information."""

    audio: np.ndarray  # float32 [T, F]
    video: np.ndarray  # uint8 [T, 88, 88]
    seen: np.ndarray  # bool [T]
    hidden: np.ndarray  # bool [2, T], of audio and video
    keep: np.ndarray  # bool [2], streams that reach the joint representation
    letters: list[int]
    clusters: np.ndarray | None  # int16 [T]


def speech_span(waveform: np.ndarray) -> tuple[int, int]:
    """First frame of speech and the one behind the last, by energy."""
    power = np.square(
        waveform[: len(waveform) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME].reshape(-1, SAMPLES_PER_FRAME), dtype=np.float64
    ).mean(axis=1)
    active = np.flatnonzero(power >= power.max() * 10.0 ** (-ACTIVE / 10.0))
    return (int(active[0]), int(active[-1]) + 1) if len(active) else (0, len(power))


AudioFeatureExtractor = Callable[[np.ndarray], np.ndarray]  # a waveform to a backbone's audio features


def plain_example(utterance: Utterance, hear: AudioFeatureExtractor = log_mel) -> Example:
    """A clip as it is: the middle of the mouth crops, nothing hidden."""
    views = utterance.views
    assert views.mouth is not None and views.waveform is not None and views.usable is not None
    hidden = np.zeros((2, utterance.frames), dtype=bool)
    return Example(
        hear(views.waveform),
        centre(views.mouth),
        views.usable,
        hidden,
        np.ones(2, dtype=bool),
        encode(utterance.text),
        utterance.clusters,
    )


def augmented_example(
    utterance: Utterance,
    voices: Sequence[Utterance],
    config: AugmentConfig,
    rng: np.random.Generator,
    longest: int,
    hear: AudioFeatureExtractor = log_mel,
) -> Example:
    """A clip cut to its speech, at another tempo, in noise, with spans hidden and perhaps a stream kept from the joint encoder."""
    views = utterance.views
    assert views.mouth is not None and views.waveform is not None and views.usable is not None
    first, last = speech_span(views.waveform)
    first = max(0, first - int(rng.integers(2, MARGIN + 1)))
    last = min(utterance.frames, last + int(rng.integers(2, MARGIN + 1)))
    frames = min(max(2, round((last - first) * (1.0 + rng.uniform(-config.tempo, config.tempo)))), longest)
    waveform = stretch_sound(views.waveform[first * SAMPLES_PER_FRAME : last * SAMPLES_PER_FRAME], frames * SAMPLES_PER_FRAME)
    if rng.random() < config.babble:
        others = [voices[i].views.waveform for i in rng.integers(0, len(voices), int(rng.integers(1, config.talkers + 1)))]
        waveform = mix(waveform, babble([o for o in others if o is not None], len(waveform), rng), rng.uniform(*config.snr))
    if rng.random() < config.noise:
        waveform = mix(waveform, rng.standard_normal(len(waveform)).astype(np.float32), rng.uniform(*config.snr))
    hidden = np.stack([spans(frames, share, config.span, rng) for share in (config.audio_spans, config.video_spans)])
    audio = hide_bands(hear(waveform), config, rng)
    audio[hidden[0]] = 0.0
    video = stretch(warp_mouth(views.mouth[first:last], config, rng), frames)
    video[hidden[1]] = GREY
    draw = rng.random()
    keep = np.array([draw >= config.video_only, not config.video_only <= draw < config.video_only + config.audio_only])
    clusters = None if utterance.clusters is None else stretch(utterance.clusters[first:last], frames)
    return Example(audio, video, stretch(views.usable[first:last], frames), hidden, keep, encode(utterance.text), clusters)


@dataclass
class Batch:
    """Padded examples.

    Parameters
    ----------
    audio : float [B, T, F]
    video : uint8 [B, T, 88, 88]
    audio_mask, video_mask : bool [B, T]
    hidden : bool [B, 2, T]
    keep : bool [B, 2]
    letters : long [B, U]
        Padded with 0.
    letter_counts : long [B]
    clusters : long [B, T]
        -100 where there is none.
    """

    audio: Tensor
    video: Tensor
    audio_mask: Tensor
    video_mask: Tensor
    hidden: Tensor
    keep: Tensor
    letters: Tensor
    letter_counts: Tensor
    clusters: Tensor

    def to(self, device: torch.device, *, non_blocking: bool = False) -> None:
        """Move to a device, in place."""
        for name, value in vars(self).items():
            setattr(self, name, value.to(device, non_blocking=non_blocking))


def collate(examples: Sequence[Example]) -> Batch:
    """Pad examples to the longest of them."""
    longest = max(len(e.audio) for e in examples)
    most = max(len(e.letters) for e in examples)

    def padded(arrays: Sequence[np.ndarray], axis: int = 0, value: int = 0) -> Tensor:
        widths = [[(0, longest - a.shape[axis]) if k == axis else (0, 0) for k in range(a.ndim)] for a in arrays]
        return torch.from_numpy(np.stack([np.pad(a, w, constant_values=value) for a, w in zip(arrays, widths, strict=True)]))

    return Batch(
        audio=padded([e.audio for e in examples]),
        video=padded([e.video for e in examples]),
        audio_mask=padded([np.ones(len(e.audio), dtype=bool) for e in examples]),
        video_mask=padded([e.seen for e in examples]),
        hidden=padded([e.hidden for e in examples], axis=1),
        keep=torch.from_numpy(np.stack([e.keep for e in examples])),
        letters=torch.tensor([e.letters + [0] * (most - len(e.letters)) for e in examples]),
        letter_counts=torch.tensor([len(e.letters) for e in examples]),
        clusters=padded(
            [np.full(len(e.audio), IGNORED) if e.clusters is None else e.clusters.astype(np.int64) for e in examples], value=IGNORED
        ),
    )
