"""avwitness: is the audio fake, is the video fake, and do they tell the same story?

>>> import avwitness
>>> detector = avwitness.load()
>>> verdict = detector.score("clip.mp4")
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .detector.inference.detector import Detector
    from .detector.verdict import Verdict

__version__ = "0.1.0"
__all__ = ["Detector", "Verdict", "__version__", "load"]


def load(name_or_path: str | os.PathLike[str] = "small", *, device: str = "auto") -> Detector:
    """Load a detector.

    Parameters
    ----------
    name_or_path : str or path-like
        ``small`` (bundled), or a folder with ``config.json`` and ``model.safetensors``.
    device : str
        ``auto`` takes a GPU if there is one.

    Returns
    -------
    Detector

    Raises
    ------
    FileNotFoundError
        If there are no such weights.
    """
    from .detector.inference.detector import load as load_detector

    return load_detector(name_or_path, device=device)


def __getattr__(name: str) -> Any:
    # Torch and transformers take seconds to import; whoever only asks for the version should not wait for them.
    if name == "Detector":
        from .detector.inference.detector import Detector

        return Detector
    if name == "Verdict":
        from .detector.verdict import Verdict

        return Verdict
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
