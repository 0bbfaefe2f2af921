"""Base class of forgery methods, and the result of a forgery: streams, forged intervals, sync label."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

import numpy as np

from ...media.clip import FRAME_RATE
from .source import Facts, Source

Intervals = tuple[tuple[float, float], ...]  # begin and end in seconds


class Donor(StrEnum):
    """Which other clip a method needs beside its source."""

    none = "none"
    same = "same"  # another clip of the same identity, or the clip itself
    other = "other"  # a clip of another identity
    any = "any"  # any other clip


@dataclass(frozen=True)
class Forgery:
    """A forged clip with its labels.

    Parameters
    ----------
    frames : uint8 [T, H, W, 3] or None
    waveform : float32 [640 T] or None
    video_intervals, audio_intervals : tuple of (float, float)
        Begin and end in seconds of the forged parts of the stream; a stream without any is genuine.
    mismatch : bool or None
        Whether audio and video are from different recordings or times; ``None`` if unknown.
    offset : float
        Seconds by which the audio lags behind the video.
    landmarks : float32 [T, 478, 2] or None
        Landmarks of the frames, if they differ from those of the window.
    """

    frames: np.ndarray | None
    waveform: np.ndarray | None
    video_intervals: Intervals = field(default_factory=tuple)
    audio_intervals: Intervals = field(default_factory=tuple)
    mismatch: bool | None = False
    offset: float = 0.0
    landmarks: np.ndarray | None = None


@dataclass(frozen=True)
class Window:
    """The part of a source that is forged: ``frames`` frames from frame ``begin`` on."""

    begin: int
    frames: int


class CannotForge(ValueError):
    """Raised if a method cannot be applied to a source."""


class Method(ABC):
    """A forgery method.

    Attributes
    ----------
    name : str
        Under which the method is registered.
    streams : frozenset of str
        Which of ``video`` and ``audio`` it forges; empty for methods that combine genuine streams out of sync.
    donor : Donor
        Which other clip it needs.
    coarse : bool
        Whether the forgery keeps the low resolution of a generator, see :mod:`..faces.coarse`; the paired genuine clip is
        then blurred to the same softness.
    """

    name: str
    streams: ClassVar[frozenset[str]]
    donor: ClassVar[Donor] = Donor.none
    coarse: bool = False

    @property
    def donor_streams(self) -> frozenset[str]:
        """Streams of the donor that are used: by default, those that are forged."""
        return self.streams

    def missing_reason(self) -> str | None:
        """Why the method cannot be used on this machine, or ``None`` if it can."""
        return None

    @abstractmethod
    def supports(self, facts: Facts, transcript: str, window: Window) -> bool:
        """Whether the method can probably be applied to a clip with these facts."""

    @abstractmethod
    def forge(self, source: Source, donor: Source | None, window: Window, rng: np.random.Generator) -> Forgery:
        """Forge a window of a clip.

        Parameters
        ----------
        source : Source
            The whole clip.
        donor : Source or None
            As :attr:`donor` requires.
        window : Window
            Which part of the source the result covers; the result has as many frames.
        rng : Generator
            The only source of randomness.

        Raises
        ------
        CannotForge
            If the method cannot be applied to this source.
        """


def whole_window(window: Window) -> Intervals:
    """Intervals of a forgery that covers the whole window."""
    return ((0.0, window.frames / FRAME_RATE),)
