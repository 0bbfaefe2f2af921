"""Base class of all voices: a waveform in, a forged waveform of the same length out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib.util import find_spec
from typing import ClassVar

import numpy as np


class Voice(ABC):
    """One way to forge speech.

    Copy-synthesis voices resynthesise the clip's own speech and keep words, timing and speaker. Text-to-speech voices
    (``needs_text``) synthesise the transcript with another speaker and fit it to the speech interval of the clip.
    """

    name: ClassVar[str]  # under which the voice is registered
    needs_text: ClassVar[bool] = False  # whether it is text to speech and needs a transcript

    def missing_reason(self) -> str | None:
        """Why the voice cannot be used on this machine, in a sentence, or ``None`` if it can."""
        return None

    def supports_text(self, transcript: str) -> bool:
        """Whether the voice can forge a clip with this transcript; copy-synthesis voices accept any, the empty one included."""
        return True

    @abstractmethod
    def __call__(self, waveform: np.ndarray, rng: np.random.Generator, transcript: str = "") -> np.ndarray:
        """Forge the speech of a clip.

        Parameters
        ----------
        waveform : float32 [S]
            The genuine speech, mono at 16 kHz in [-1, 1].
        rng : Generator
            The only source of randomness: the same state gives the same samples.
        transcript : str
            Text of the speech; only text-to-speech voices use it.

        Returns
        -------
        float32 [S]
            Finite; aligned in time with the genuine speech.

        Raises
        ------
        ValueError
            If a text-to-speech voice does not support the transcript, or cannot fit it to the clip.
        """


def packages_missing_reason(extra: str, *packages: str) -> str | None:
    """Which of some packages are not installed and how to install them, in a sentence, or ``None`` if all are installed."""
    missing = [package for package in packages if find_spec(package) is None]
    return f"not installed: {', '.join(missing)}; pip install avwitness[{extra}]" if missing else None
