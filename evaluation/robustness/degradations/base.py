"""Definition of a degradation: a change of the video, the audio, or their encoding, at five severities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

TimedFrame = tuple[float, np.ndarray]  # seconds, RGB uint8 [H, W, 3]
VideoTransform = Callable[[Iterator[TimedFrame], float, np.random.Generator], Iterator[TimedFrame]]
#: From a waveform float32 [S] at 16 kHz, a severity, a generator and voices of other people (float32 [N] each) to a waveform.
AudioTransform = Callable[[np.ndarray, float, np.random.Generator, Sequence[np.ndarray]], np.ndarray]
#: From a waveform float32 [S] at 16 kHz and a severity to the first and one past the last sample to keep.
Trim = Callable[[np.ndarray, float], tuple[int, int]]


@dataclass(frozen=True)
class Coding:
    """How a file is encoded; almost lossless by default.

    Parameters
    ----------
    video_codec, audio_codec : str
        Encoders, as FFmpeg names them.
    video_options : dict
        Of the video encoder.
    audio_bit_rate : int
        Bits per second; lossless codecs have none.
    """

    video_codec: str = "libx264"
    # The fastest preset of x264, and at this quality the most exact: it has no psychovisual optimisations.
    video_options: dict[str, str] = field(default_factory=lambda: {"crf": "8", "preset": "ultrafast", "threads": "1"})
    audio_codec: str = "flac"
    audio_bit_rate: int = 0


@dataclass(frozen=True)
class Degradation:
    """One degradation.

    Parameters
    ----------
    name : str
        As the command line takes it.
    title : str
        For tables and plots.
    stream : str
        ``video``, ``audio`` or ``both``: the streams that it changes. A file without such a stream is left out.
        One with ``trim`` depends on the audio, and cuts the video in the same places.
    unit : str
        Of the severities.
    severities : tuple of float
        Five, the mildest first.
    video : callable, optional
        From an iterator over frames to another, so that a long file need not fit into memory.
    audio : callable, optional
    coding : callable, optional
        From a severity to the encoding of the file.
    trim : callable, optional
        The part of the file to keep, of both streams.
    needs_voices : bool
        Whether ``audio`` needs voices of other people.
    """

    name: str
    title: str
    stream: str
    unit: str
    severities: tuple[float, ...]
    video: VideoTransform | None = None
    audio: AudioTransform | None = None
    coding: Callable[[float], Coding] | None = None
    trim: Trim | None = None
    needs_voices: bool = False
