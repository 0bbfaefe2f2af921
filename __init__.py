"""avwitness: scores the audio and the video of a media file for deepfakes, and whether the two are in sync.

>>> import avwitness
>>> detector = avwitness.load()
>>> verdict = detector.score("clip.mp4")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .detector.inference.detector import Detector, load
    from .detector.verdict import Verdict

__version__ = "0.2.0"
__all__ = ["Detector", "Verdict", "__version__", "load"]

# Imported on first use: torch and transformers take seconds, and nobody who asks for the version should wait for them.
_LAZY = {"Detector": ".detector.inference.detector", "Verdict": ".detector.verdict", "load": ".detector.inference.detector"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
