"""Audio-visual speech encoders behind one interface."""

from __future__ import annotations

from typing import Any

from .av_hubert import AVHubert, AVHubertConfig
from .base import Backbone, Encoded
from .two_stream import TwoStream, TwoStreamConfig

__all__ = ["BACKBONES", "Backbone", "Encoded", "build_backbone"]

BACKBONES: dict[str, tuple[type[Backbone], type]] = {"two_stream": (TwoStream, TwoStreamConfig), "av_hubert": (AVHubert, AVHubertConfig)}


def build_backbone(name: str, options: dict[str, Any]) -> Backbone:
    """Build a backbone by its registered name.

    Raises
    ------
    ValueError
        If no backbone has that name, naming those that exist.
    """
    if name not in BACKBONES:
        raise ValueError(f"there is no backbone {name!r}; there are: {', '.join(sorted(BACKBONES))}")
    backbone, config = BACKBONES[name]
    return backbone(config(**options))  # type: ignore[call-arg]
