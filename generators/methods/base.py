"""What every kind of forgery has in common: a name, the streams it touches, the donor it needs, and its labels."""

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
    """Whose material a forgery needs beside its source."""

    none = "none"
    same = "same"  # another clip of the same identity, or the clip itself
    other = "other"  # a clip of another identity
    any = "any"  # any other clip


@dataclass(frozen=True)
class Forgery:
    """A forged clip and everything that is known of it.

    Parameters
    ----------
    frames : uint8 [T, H, W, 3] or None
    waveform : float32 [640 T] or None
    video_intervals, audio_intervals : tuple of (float, float)
        Seconds in which that stream is fake; a stream with none is genuine.
    mismatch : bool or None
        Whether sound and picture belong to different moments; ``None`` where that is not known.
    offset : float
        Seconds by which the sound lags.
    landmarks : float32 [T, 478, 2] or None
        Of the frames, where they are not those of the window.
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
    """The stretch of a source that a forgery shall fill: ``frames`` frames from frame ``begin`` on."""

    begin: int
    frames: int


class CannotForge(ValueError):
    """A forgery that cannot be made from a source; another may."""


class Method(ABC):
    """One kind of forgery.

    Attributes
    ----------
    name : str
        Under which it is registered.
    streams : frozenset of str
        Which of ``video`` and ``audio`` it may make fake; empty for genuine streams that do not belong together.
    donor : Donor
    coarse : bool
        Whether it is left as a generator leaves it, see :mod:`.coarse`; what it forges is paired with genuine clips as soft.
    """

    name: str
    streams: ClassVar[frozenset[str]]
    donor: ClassVar[Donor] = Donor.none
    coarse: bool = False

    @property
    def donor_streams(self) -> frozenset[str]:
        """Streams of the donor that it uses: by default, those that become fake."""
        return self.streams

    def missing_reason(self) -> str | None:
        """Why it cannot be used on this machine, or ``None``."""
        return None

    @abstractmethod
    def supports(self, facts: Facts, transcript: str, window: Window) -> bool:
        """Whether it can probably be made from such a clip."""

    @abstractmethod
    def forge(self, source: Source, donor: Source | None, window: Window, rng: np.random.Generator) -> Forgery:
        """Forge a stretch of a clip.

        Parameters
        ----------
        source : Source
            The whole clip.
        donor : Source or None
            As :attr:`donor` asks.
        window : Window
            Which stretch of the source the result covers; it has just as many frames.

        Raises
        ------
        CannotForge
            If it turns out that this source will not do.
        """


def whole_window(window: Window) -> Intervals:
    """The interval of a forgery that covers all of a window."""
    return ((0.0, window.frames / FRAME_RATE),)
