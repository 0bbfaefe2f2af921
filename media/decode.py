"""Decoding of media files to frames at 25 fps and samples at 16 kHz.

PyAV decodes audio and video; decord decodes the frames of corpora that are known to be undamaged. Both run in child processes with
limits, see :mod:`avwitness.media.sandbox.client`. Both streams are placed on one clock whose zero is the start of the earlier stream,
so an offset between audio and video is preserved.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .clip import FRAME_RATE, MAX_LONG_SIDE, MAX_SECONDS, Damage, MediaInfo, PacketStatistics, TimedFrame
from .sandbox.client import frames_in_child, packets_in_child, samples_in_child

__all__ = ["Damage", "TimedFrame", "at_25_fps", "packet_statistics", "stream_frames", "stream_samples"]


def stream_frames(
    info: MediaInfo,
    damage: Damage,
    long_side: int = MAX_LONG_SIDE,
    reader: str = "pyav",
    max_seconds: float = MAX_SECONDS,
) -> Iterator[TimedFrame]:
    """Yield ``(seconds, RGB frame)``: square pixels, rotated for display; broken packets are counted.

    Parameters
    ----------
    info : MediaInfo
    damage : Damage
        Filled while reading.
    long_side : int
        Pixels; larger frames are scaled down.
    reader : {"pyav", "decord"}
        ``"decord"`` suits corpora that are known to be undamaged; PyAV continues where it fails. Files of unknown origin
        are decoded by PyAV alone, since decord returns the pixels a decoder invents for broken packets without an error.
    max_seconds : float
        Length that may be decoded.

    Raises
    ------
    MediaError
        If the decoder crashes or exceeds its limits, or the timestamps leave a gap above :data:`avwitness.media.clip.MAX_GAP`.
    """
    return frames_in_child(info, damage, long_side, reader, max_seconds)


def at_25_fps(frames: Iterator[TimedFrame], origin: float) -> Iterator[np.ndarray]:
    """Resample timed frames to 25 fps by timestamp: at each tick, the frame whose time is nearest.

    Ticks before the first frame (the video starts after the audio) are black; the last frame is shown for as long as
    the one before it was.
    """
    tick = 0
    held: TimedFrame | None = None
    step = 1.0 / FRAME_RATE
    for time, frame in frames:
        time -= origin
        if held is None:
            while (tick + 0.5) / FRAME_RATE < time:
                yield np.zeros_like(frame)
                tick += 1
        else:
            step = max(time - held[0], 1e-3)
            while tick / FRAME_RATE < (held[0] + time) / 2:
                yield held[1]
                tick += 1
        held = (time, frame)
    if held is not None:
        end = held[0] + min(step, 1.0)
        while (tick + 0.5) / FRAME_RATE <= end:
            yield held[1]
            tick += 1


def stream_samples(
    info: MediaInfo, damage: Damage, max_seconds: float = MAX_SECONDS, channel: int | None = None, native: bool = False
) -> Iterator[np.ndarray]:
    """Yield float32 mono chunks at 16 kHz, beginning at the clip's time zero; gaps are filled with zeros, a second at a time.

    Parameters
    ----------
    info : MediaInfo
    damage : Damage
        Filled while reading.
    max_seconds : float
        Length that may be decoded.
    channel : int, optional
        The only channel to decode; otherwise the mean of all.
    native : bool
        At the sample rate of the file, without filling gaps.

    Raises
    ------
    MediaError
        As :func:`stream_frames`.
    """
    return samples_in_child(info, damage, max_seconds, channel, native)


def packet_statistics(info: MediaInfo) -> dict[str, PacketStatistics]:
    """Statistics of the packets of a file and its tags, by ``"audio"`` and ``"video"``; nothing is decoded.

    Raises
    ------
    MediaError
        As :func:`stream_frames`.
    """
    return packets_in_child(info)
