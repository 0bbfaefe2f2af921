"""What a degradation is: a change of pictures, of sound, or of how they are coded, in five severities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

TimedFrame = tuple[float, np.ndarray]  # seconds, RGB uint8 [H, W, 3]
Pictures = Callable[[Iterator[TimedFrame], float, np.random.Generator], Iterator[TimedFrame]]
#: Of a waveform float32 [S] at 16 kHz, a severity, a generator, and voices of other people (float32 [N] each) to talk over it.
Sound = Callable[[np.ndarray, float, np.random.Generator, Sequence[np.ndarray]], np.ndarray]
#: From a waveform float32 [S] at 16 kHz and a severity to the first and one past the last sample to be kept.
Stretch = Callable[[np.ndarray, float], tuple[int, int]]


@dataclass(frozen=True)
class Coding:
    """How a file is written; what is not named is all but lossless.

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
    # Of x264's presets this is the quickest to write and to read, and at this quality the most exact: it has no eye for what looks better.
    video_options: dict[str, str] = field(default_factory=lambda: {"crf": "8", "preset": "ultrafast", "threads": "1"})
    audio_codec: str = "flac"
    audio_bit_rate: int = 0


@dataclass(frozen=True)
class Degradation:
    """One way in which files get worse.

    Parameters
    ----------
    name : str
        As the command line takes it.
    title : str
        For tables and plots.
    stream : str
        ``video``, ``audio`` or ``both``: what of a file it changes. A file that lacks that stream is left out.
        What has a ``stretch`` goes by the sound, and cuts the picture along with it.
    unit : str
        Of the severities.
    severities : tuple of float
        Five, the mildest first.
    pictures : callable, optional
        Of the frames one after another, so that a long file need not fit into memory.
    sound : callable, optional
    coding : callable, optional
        From a severity to how the file is written.
    stretch : callable, optional
        What is kept of the file, both streams alike.
    needs_voices : bool
        Whether ``sound`` asks for voices of other people.
    """

    name: str
    title: str
    stream: str
    unit: str
    severities: tuple[float, ...]
    pictures: Pictures | None = None
    sound: Sound | None = None
    coding: Callable[[float], Coding] | None = None
    stretch: Stretch | None = None
    needs_voices: bool = False
