"""Streams of an open media file and their properties, without decoding; runs inside of the child process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
from av.stream import Disposition

from ..clip import MAX_PIXELS, MAX_SIDE, MIN_SIDE, AudioInfo, MediaError, MediaInfo, Track, VideoInfo
from .containers import MediaFile, audio_stream, open_container, video_stream, video_streams

HDR_TRANSFERS = (16, 18)  # SMPTE ST 2084 (PQ) and ARIB STD-B67 (HLG), as ISO/IEC 23091-2 numbers them
MAX_TRACKS = 64  # that are listed
MIN_SAMPLE_RATE = 1000  # Hz; speech needs more


def probe_file(file: MediaFile, video_track: int | None = None, audio_track: int | None = None) -> MediaInfo:
    """Read the container and stream properties, see :func:`avwitness.media.probe.probe`."""
    path = Path(file.path)
    with open_container(file) as container:
        video, audio = _chosen(container, path, "video", video_track), _chosen(container, path, "audio", audio_track)
        if video is None and audio is None:
            raise MediaError(path, "has neither a video nor an audio stream that can be decoded")
        return MediaInfo(
            path=path,
            container=container.format.name,
            duration=_duration(container),
            video=None if video is None else _video_info(path, video),
            audio=None if audio is None else _audio_info(path, audio),
            tracks=tuple(map(_track, [*video_streams(container), *container.streams.audio]))[:MAX_TRACKS],
        )


def _chosen(container: Any, path: Path, kind: str, index: int | None) -> Any:
    """The stream of that index, or the first one of its kind that can be decoded."""
    if index is None:
        return (video_stream if kind == "video" else audio_stream)(container)
    streams = {s.index: s for s in (video_streams(container) if kind == "video" else container.streams.audio)}
    if index not in streams or streams[index].codec_context is None:
        raise MediaError(path, f"has no {kind} track {index} that can be decoded; its {kind} tracks are {sorted(streams) or 'none'}")
    return streams[index]


def _track(stream: Any) -> Track:
    codec = stream.codec_context
    language = stream.metadata.get("language")
    common = {
        "index": stream.index,
        "type": stream.type,
        "codec": None if codec is None else codec.name,
        "default": bool(stream.disposition & Disposition.default),
        "language": None if language in (None, "", "und") else language[:32],
    }
    if codec is None:
        return Track(**common)
    if stream.type == "audio":
        return Track(**common, channels=codec.channels, sample_rate=codec.sample_rate)
    return Track(**common, width=codec.width, height=codec.height)


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
        index=stream.index,
    )


def _audio_info(path: Path, stream: Any) -> AudioInfo:
    if stream.codec_context.sample_rate < MIN_SAMPLE_RATE:  # hours of audio from a few bytes
        raise MediaError(path, f"a sample rate of {stream.codec_context.sample_rate} Hz cannot be used (from {MIN_SAMPLE_RATE} Hz is)")
    return AudioInfo(
        sample_rate=stream.codec_context.sample_rate,
        channels=stream.codec_context.channels,
        codec=stream.codec_context.name,
        start=_seconds(stream.start_time, stream.time_base) or 0.0,
        duration=_seconds(stream.duration, stream.time_base),
        index=stream.index,
    )
