"""Options of scoring one file, as they are handed to other processes."""

from __future__ import annotations

from typing import Any

from ..media.clip import MAX_SECONDS


def scoring_options(
    modality: str = "auto",
    trim_silence: bool = False,
    audio_track: int | None = None,
    video_track: int | None = None,
    max_seconds: float = MAX_SECONDS,
) -> dict[str, Any]:
    """Keyword arguments of :meth:`avwitness.Detector.score`; tracks that were not chosen and the default length are left out."""
    options: dict[str, Any] = {"modality": modality, "trim_silence": trim_silence}
    options |= {name: track for name, track in (("audio_track", audio_track), ("video_track", video_track)) if track is not None}
    return options if max_seconds == MAX_SECONDS else {**options, "max_seconds": max_seconds}
