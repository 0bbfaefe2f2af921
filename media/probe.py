"""Probing of media files: streams and their properties, without decoding."""

from __future__ import annotations

import os

from .clip import MediaInfo
from .sandbox.client import probe_in_child


def probe(path: str | os.PathLike[str], *, video_track: int | None = None, audio_track: int | None = None) -> MediaInfo:
    """Read the container and stream properties of a file, without decoding it, in a limited child process.

    Parameters
    ----------
    path : path-like
    video_track, audio_track : int, optional
        Index of the stream to describe; otherwise the first one that can be decoded.

    Raises
    ------
    MediaError
        If the file is missing, a directory, unreadable, empty, not media, or of impossible dimensions.
    """
    return probe_in_child(path, video_track, audio_track)
