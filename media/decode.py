"""Decoding of media files to frames at 25 fps and samples at 16 kHz.

PyAV decodes audio and video; decord decodes the frames of corpora that are known to be undamaged. Both streams are placed
on one clock whose zero is the start of the earlier stream, so an offset between audio and video is preserved.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import numpy as np

from .clip import FRAME_RATE, MAX_LONG_SIDE, MAX_PIXELS, SAMPLE_RATE, MediaError, MediaInfo
from .probe import open_media, video_stream

CLOCK_SLACK = 0.05  # seconds an audio packet may stray from its neighbours before the gap is filled
DECORD_BATCH = 32  # frames read from decord at a time


@dataclass
class Damage:
    """Counts of packets and damaged packets while one stream is decoded."""

    packets: int = 0  # packets or frames read
    broken: int = 0  # of those, undecodable or marked corrupt by the decoder
    end: float = 0.0  # seconds, end of the last thing decoded on the container's clock

    @property
    def share(self) -> float:
        """Broken packets as a share of all, in [0, 1]."""
        return self.broken / max(self.packets, 1)


TimedFrame = tuple[float, np.ndarray]


def _scaled(width: int, height: int, long_side: int, sample_aspect: float) -> tuple[int, int]:
    """Size of a frame of square pixels whose longer side is at most ``long_side``."""
    shown = width * sample_aspect
    scale = min(1.0, long_side / max(shown, height))
    return max(2, round(shown * scale)), max(2, round(height * scale))


def frames_by_decord(info: MediaInfo, damage: Damage, long_side: int = MAX_LONG_SIDE) -> Iterator[TimedFrame]:
    """Yield ``(seconds, RGB frame)`` as decord reads them; raises whatever decord raises."""
    import decord

    assert info.video is not None
    decord.logging.set_level(decord.logging.FATAL)
    width, height = _scaled(info.video.width, info.video.height, long_side, info.video.sample_aspect)
    reader = decord.VideoReader(str(info.path), width=width, height=height, num_threads=1)
    count = len(reader)
    times = np.asarray(reader.get_frame_timestamp(range(count)), dtype=np.float64)
    if len(times) != count or np.any(np.diff(times[:, 0]) < 0):
        raise ValueError("decord gives no ordered timestamps")
    # decord counts from the stream's own first frame; the container's clock says when that is.
    times = times - times[0, 0] + info.video.start
    for begin in range(0, count, DECORD_BATCH):
        indices = range(begin, min(begin + DECORD_BATCH, count))
        batch = reader.get_batch(indices).asnumpy()
        for index, frame in zip(indices, batch, strict=True):
            damage.packets += 1
            damage.end = max(damage.end, float(times[index, 1]))
            yield float(times[index, 0]), frame


def frames_by_pyav(info: MediaInfo, damage: Damage, long_side: int = MAX_LONG_SIDE) -> Iterator[TimedFrame]:
    """Yield ``(seconds, RGB frame)`` as PyAV decodes them: square pixels, rotated for display; broken packets are counted."""
    assert info.video is not None
    step = 1.0 / info.video.frame_rate if info.video.frame_rate else 1.0 / FRAME_RATE
    with open_media(info.path) as container:
        stream = video_stream(container)
        stream.thread_type = "AUTO"
        next_time = info.video.start
        for frame in _decoded(container, stream, damage):
            if frame.width * frame.height > MAX_PIXELS:
                raise MediaError(info.path, f"a frame of {frame.width}x{frame.height} pixels appears in the stream")
            time = next_time if frame.time is None else float(frame.time)
            duration = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else step
            next_time = time + duration
            damage.end = max(damage.end, next_time)
            width, height = _scaled(frame.width, frame.height, long_side, info.video.sample_aspect)
            image = frame.to_ndarray(format="rgb24", width=width, height=height)
            yield time, np.ascontiguousarray(np.rot90(image, k=round(frame.rotation / 90) % 4))


def _decoded(container: Any, stream: Any, damage: Damage) -> Iterator[Any]:
    """Yield every frame of a stream that can be decoded, counting what cannot."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.error.FFmpegError, OSError):
            damage.packets += 1
            damage.broken += 1
            return
        damage.packets += packet.size > 0
        damage.broken += bool(packet.is_corrupt)
        try:
            for frame in packet.decode():
                damage.broken += bool(frame.is_corrupt)
                yield frame
        except av.error.EOFError:
            return
        except (av.error.FFmpegError, ValueError):
            damage.broken += 1


def stream_frames(info: MediaInfo, damage: Damage, long_side: int = MAX_LONG_SIDE, reader: str = "pyav") -> Iterator[TimedFrame]:
    """Yield ``(seconds, RGB frame)``.

    Parameters
    ----------
    reader : {"pyav", "decord"}
        ``"decord"`` is for corpora that are known to be undamaged; PyAV continues where it fails. Files of unknown
        origin are read by PyAV only, since decord returns the pixels that a decoder makes up for broken packets
        without an error.
    """
    last = -np.inf
    if reader == "decord" and _decord_reads(info):
        try:
            for time, frame in frames_by_decord(info, damage, long_side):
                last = time
                yield time, frame
            return
        except GeneratorExit:
            raise
        except Exception:  # decord raises its own error types, RuntimeError and IndexError alike; PyAV decides
            damage.packets = damage.broken = 0
    for time, frame in frames_by_pyav(info, damage, long_side):
        if time > last + 1e-4:
            yield time, frame


def _decord_reads(info: MediaInfo) -> bool:
    """Whether decord is installed and decodes this file correctly (its FFmpeg is of 2019, and it ignores rotation)."""
    if importlib.util.find_spec("decord") is None:  # no wheel for this platform
        return False
    if info.video is None or "mp4" not in info.container or info.video.codec not in {"h264", "mpeg4"}:
        return False
    with open_media(info.path) as container:
        stream = video_stream(container)
        first = next(_decoded(container, stream, Damage()), None)
        return first is not None and first.rotation == 0


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


def stream_samples(info: MediaInfo, damage: Damage) -> Iterator[np.ndarray]:
    """Yield float32 mono chunks at 16 kHz, beginning at the clip's time zero; gaps are filled with zeros."""
    assert info.audio is not None
    with open_media(info.path) as container:
        stream = container.streams.audio[0]
        stream.thread_type = "AUTO"
        resampler: Any = None
        layout = None
        expected = info.origin
        for frame in _decoded(container, stream, damage):
            time = expected if frame.time is None else float(frame.time)
            gap = time - expected
            # Packets a codec marks as priming lie before zero; those, like small jitter, need no filling.
            if gap > CLOCK_SLACK or (expected == info.origin and gap > 0):
                yield np.zeros(round(gap * SAMPLE_RATE), dtype=np.float32)
            expected = max(time, info.origin) + frame.samples / frame.sample_rate
            damage.end = max(damage.end, expected)
            if layout != (frame.layout.name, frame.format.name, frame.sample_rate):
                layout = (frame.layout.name, frame.format.name, frame.sample_rate)
                resampler = av.AudioResampler(format="fltp", layout=frame.layout, rate=SAMPLE_RATE)
            frame.pts = None  # the clock is kept here; a jumping timestamp must not make the resampler drop samples
            for out in resampler.resample(frame):
                yield _mono(out)
        if resampler is not None:
            for out in resampler.resample(None):
                yield _mono(out)


def _mono(frame: Any) -> np.ndarray:
    """The mean of the channels; FFmpeg's own downmix lets two equal channels grow by 3 dB."""
    return np.asarray(frame.to_ndarray().mean(axis=0), dtype=np.float32)
