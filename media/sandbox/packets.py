"""Statistics of the packets of a media file and its container and encoder tags, without decoding; runs inside of the child process."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import av

from ..clip import MediaInfo, PacketStatistics
from .containers import MediaFile, open_container

MAX_TAG_LENGTH = 1000  # characters of a tag that are kept
ENCODERS = re.compile(rb"(?:x26[45] - core|Lavc\d|LAME\d|libvpx|libfdk|Xiph)[ -~]*")  # signatures of encoders in packets


def packet_statistics(file: MediaFile, info: MediaInfo) -> dict[str, PacketStatistics]:
    """Statistics of the described streams, by ``"audio"`` and ``"video"``."""
    with open_container(file) as container:
        described = {"audio": info.audio, "video": info.video}
        streams = {kind: container.streams[stream.index] for kind, stream in described.items() if stream is not None}
        found = _count_packets(container, list(streams.values()))
        for stream in streams.values():
            stats = found[stream.index]
            stats.declared = float(stream.duration * stream.time_base) if stream.duration is not None else None
            stats.start = float(stream.start_time * stream.time_base) if stream.start_time is not None else None
            stats.tags = _tags(container, stream, stats.signatures)
        return {kind: found[stream.index] for kind, stream in streams.items()}


def _count_packets(container: Any, streams: Sequence[Any]) -> dict[int, PacketStatistics]:
    found = {stream.index: PacketStatistics() for stream in streams}
    demuxed = container.demux(*streams)
    while True:
        try:
            packet = next(demuxed)
        except (StopIteration, av.error.FFmpegError, OSError):
            return found
        if not packet.size:
            continue
        stats = found[packet.stream.index]
        if stats.count == 0:
            stats.signatures = sorted({match.decode("ascii") for match in ENCODERS.findall(bytes(packet))})
        stats.count += 1
        stats.size += packet.size
        if packet.pts is not None and packet.time_base is not None:
            time, length = float(packet.pts * packet.time_base), float((packet.duration or 0) * packet.time_base)
            stats.begin = time if stats.begin is None else min(stats.begin, time)
            stats.end = time + length if stats.end is None else max(stats.end, time + length)


def _tags(container: Any, stream: Any, signatures: Sequence[str]) -> list[str]:
    """Properties of container and encoder, as ``name=value``."""
    codec = stream.codec_context
    tags = {
        "container": container.format.name,
        "codec": codec.name,
        "codec tag": codec.codec_tag,
        "profile": codec.profile,
        "sample or pixel format": getattr(codec, "pix_fmt", None) or getattr(getattr(codec, "format", None), "name", None),
        "time base": stream.time_base,
        "signature": "; ".join(signatures) or None,
        **{f"container {name}": value for name, value in container.metadata.items()},
        **{f"stream {name}": value for name, value in stream.metadata.items()},
    }
    return sorted(f"{name}={value}"[:MAX_TAG_LENGTH] for name, value in tags.items() if value is not None)
