"""Probing of media files: streams and their properties, without decoding."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition

from .clip import MAX_PIXELS, MAX_SIDE, MIN_SIDE, AudioInfo, MediaError, MediaInfo, VideoInfo

HDR_TRANSFERS = (16, 18)  # SMPTE ST 2084 (PQ) and ARIB STD-B67 (HLG), as ISO/IEC 23091-2 numbers them

# Messages of libav would appear in the middle of a table; errors reach the caller as exceptions.
av.logging.set_level(av.logging.PANIC)


def probe(path: str | os.PathLike[str]) -> MediaInfo:
    """Read the container and stream properties of a file, without decoding it.

    Raises
    ------
    MediaError
        If the file is missing, a directory, unreadable, empty, not media, or of impossible dimensions.
    """
    path = Path(path)
    _refuse_unreadable(path)
    with open_media(path) as container:
        video = video_stream(container)
        audio = next(iter(container.streams.audio), None)
        if audio is not None and audio.codec_context.sample_rate <= 0:
            audio = None
        if video is None and audio is None:
            raise MediaError(path, "has neither a video nor an audio stream that can be decoded")
        info = MediaInfo(
            path=path,
            container=container.format.name,
            duration=_duration(container),
            video=None if video is None else _video_info(path, video),
            audio=None if audio is None else _audio_info(audio),
        )
    return info


def _refuse_unreadable(path: Path) -> None:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise MediaError(path, "is no regular file, but a pipe, a device or a socket")
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        raise MediaError(path, "no such file") from None
    except IsADirectoryError:
        raise MediaError(path, "is a directory; name a file, or pass the directory to `avwitness score`") from None
    except PermissionError:
        raise MediaError(path, "may not be read; check its permissions") from None
    except OSError as error:
        raise MediaError(path, f"cannot be read ({error.strerror or error})") from error
    if empty:
        raise MediaError(path, "is empty (0 bytes)")


def open_media(path: Path) -> Any:
    """Open a container; raises :class:`MediaError` with the cause where FFmpeg cannot."""
    try:
        # The "file:" protocol keeps a name such as "concat:a|b" or "http://..." from being anything but a file.
        return av.open(f"file:{path}")
    except (av.error.FFmpegError, ValueError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(path, f"is not a media file that can be opened: damaged, truncated or of another kind ({reason})") from error


def video_stream(container: Any) -> Any:
    """The first video stream that is no cover image, or None."""
    return next((s for s in container.streams.video if not s.disposition & Disposition.attached_pic), None)


def _duration(container: Any) -> float | None:
    """Seconds from the first to the last stream's end. Matroska headers state the time of the end, which counts the start too."""
    if not container.duration:
        return None
    start = container.start_time if container.format.name.startswith("matroska") and container.start_time else 0
    return float((container.duration - start if container.duration > start else container.duration) / av.time_base)


def _seconds(ticks: int | None, time_base: Any) -> float | None:
    return None if ticks is None or time_base is None else float(ticks * time_base)


def _video_info(path: Path, stream: Any) -> VideoInfo:
    width, height = stream.codec_context.width, stream.codec_context.height
    if width <= 0 or height <= 0:
        raise MediaError(path, "its video stream has no readable dimensions: damaged or truncated")
    aspect = float(stream.sample_aspect_ratio or 1.0)
    shown = max(1, round(width * aspect))  # pixels, once they are square
    if min(shown, width, height) < MIN_SIDE or max(shown, height) > MAX_SIDE or max(shown, width) * height > MAX_PIXELS:
        raise MediaError(
            path, f"frames of {shown}x{height} pixels cannot be used (from {MIN_SIDE}x{MIN_SIDE} to {MAX_PIXELS:,} pixels are)"
        )
    return VideoInfo(
        width=width,
        height=height,
        frame_rate=float(stream.average_rate or 0),
        codec=stream.codec_context.name,
        start=_seconds(stream.start_time, stream.time_base) or 0.0,
        duration=_seconds(stream.duration, stream.time_base),
        sample_aspect=aspect,
        hdr=stream.codec_context.color_trc in HDR_TRANSFERS,
    )


def _audio_info(stream: Any) -> AudioInfo:
    return AudioInfo(
        sample_rate=stream.codec_context.sample_rate,
        channels=stream.codec_context.channels,
        codec=stream.codec_context.name,
        start=_seconds(stream.start_time, stream.time_base) or 0.0,
        duration=_seconds(stream.duration, stream.time_base),
    )
