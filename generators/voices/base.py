"""What every forged voice is: a waveform in, another waveform of the same length out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib.util import find_spec
from typing import ClassVar

import numpy as np


class Voice(ABC):
    """One way to forge speech.

    A copy voice makes the clip's own words anew, in their place and in the speaker's manner. A spoken voice
    (``spoken``) knows nothing of the speaker: it reads the transcript aloud and is fitted to where the clip speaks.
    """

    name: ClassVar[str]  # in the registry
    spoken: ClassVar[bool] = False  # text to speech, which needs a transcript

    def missing_reason(self) -> str | None:
        """Why this machine cannot use the voice, in a sentence, or ``None`` if it can."""
        return None

    def supports_text(self, transcript: str) -> bool:
        """Whether the voice can do a clip in which this is said; copy voices do any, the empty text included."""
        return True

    @abstractmethod
    def __call__(self, waveform: np.ndarray, rng: np.random.Generator, transcript: str = "") -> np.ndarray:
        """Forge the speech of a clip.

        Parameters
        ----------
        waveform : float32 [S]
            The genuine speech, mono at 16 kHz in [-1, 1].
        rng : Generator
            The only source of chance: the same state gives the same samples.
        transcript : str
            What is said; only spoken voices look at it.

        Returns
        -------
        float32 [S]
            Finite; in step with the genuine speech.

        Raises
        ------
        ValueError
            If a spoken voice cannot say the transcript, or cannot fit it to the clip.
        """


def packages_missing_reason(extra: str, *packages: str) -> str | None:
    """Which of some packages are not installed and what installs them, in a sentence, or ``None`` if all are there."""
    lacking = [package for package in packages if find_spec(package) is None]
    return f"not installed: {', '.join(lacking)}; pip install avwitness[{extra}]" if lacking else None
