"""Decoding of an open media file to timed frames and samples; runs inside of the child process."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from typing import Any

import av
import numpy as np

from ..clip import (
    FRAME_RATE,
    MAX_CHANNELS,
    MAX_GAP,
    MAX_PIXELS,
    SAMPLE_RATE,
    Damage,
    MediaError,
    MediaInfo,
    TimedFrame,
)
from .containers import MediaFile, open_container

CLOCK_SLACK = 0.05  # seconds an audio packet may stray from its neighbours before the gap is filled
DECORD_BATCH = 32  # frames read from decord at a time
ZEROS = SAMPLE_RATE  # samples of one chunk of a gap
MAX_THREADS = 4  # of a decoder
MIN_CHANNEL_LEVEL = 0.01  # energy of a channel over that of the loudest (-20 dB) below which it is not compared
MIN_DIFFERENCE = 0.2  # energy of a channel minus the mean, over its own, above which it differs (a voice on one of two channels: 0.25)


def scaled(width: int, height: int, long_side: int, sample_aspect: float) -> tuple[int, int]:
    """Size of a frame of square pixels whose longer side is at most ``long_side``."""
    shown = width * sample_aspect
    scale = min(1.0, long_side / max(shown, height))
    return max(2, round(shown * scale)), max(2, round(height * scale))


class Clock:
    """Refuses timestamps that leave a gap above :data:`MAX_GAP` or exceed the length that may be decoded.

    Parameters
    ----------
    path : str
        Named in errors.
    name : {"audio", "video"}
    origin : float
        Time zero of the clip on the container's clock, in seconds.
    max_seconds : float
        Length that may be decoded.
    """

    def __init__(self, path: str, name: str, origin: float, max_seconds: float) -> None:
        self.path, self.name, self.origin, self.max_seconds = path, name, origin, max_seconds
        self._last: float | None = None

    def check(self, time: float, end: float) -> None:
        """Check the next frame, which begins at ``time``, by the end of the one before it."""
        gap = time - end
        if not math.isfinite(gap):
            raise MediaError(self.path, f"its {self.name} has a timestamp that is no number")
        if gap > MAX_GAP:
            verb = "begins" if self._last is None else "continues"
            cause = f"its {self.name} {verb} after a gap of {gap:,.0f} s; gaps up to {MAX_GAP:.0f} s are bridged: cut or remux the file"
            raise MediaError(self.path, cause)
        if time - self.origin > self.max_seconds:
            cause = f"its {self.name} is longer than {self.max_seconds:,.0f} s, the length that is decoded: cut the file"
            raise MediaError(self.path, cause)
        self._last = time


def frames_by_decord(file: MediaFile, info: MediaInfo, damage: Damage, long_side: int) -> Iterator[TimedFrame]:
    """Yield ``(seconds, RGB frame)`` as decord reads them; raises whatever decord raises."""
    import decord

    assert info.video is not None
    decord.logging.set_level(decord.logging.FATAL)
    width, height = scaled(info.video.width, info.video.height, long_side, info.video.sample_aspect)
    reader = decord.VideoReader(f"/dev/fd/{file.descriptor}", width=width, height=height, num_threads=1)
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


def frames_by_pyav(file: MediaFile, info: MediaInfo, damage: Damage, long_side: int) -> Iterator[TimedFrame]:
    """Yield ``(seconds, RGB frame)`` as PyAV decodes them: square pixels, rotated for display; broken packets are counted."""
    assert info.video is not None
    step = 1.0 / info.video.frame_rate if info.video.frame_rate else 1.0 / FRAME_RATE
    with open_container(file) as container:
        stream = _threaded(container.streams[info.video.index])
        next_time = info.video.start
        size: tuple[int, int] | None = None
        for frame in _decoded(container, stream, damage):
            if frame.width * frame.height > MAX_PIXELS:
                raise MediaError(info.path, f"a frame of {frame.width}x{frame.height} pixels appears in the stream")
            time = next_time if frame.time is None else float(frame.time)
            duration = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else step
            next_time = time + duration
            damage.end = max(damage.end, next_time)
            width, height = scaled(frame.width, frame.height, long_side, info.video.sample_aspect)
            size = size or (width, height)
            image = _fitted(frame, width, height, size)
            yield time, np.ascontiguousarray(np.rot90(image, k=round(frame.rotation / 90) % 4))


def _fitted(frame: Any, width: int, height: int, size: tuple[int, int]) -> np.ndarray:
    """A frame of one size in the middle of a frame of another, which the first frame of the stream had: streams may change their size."""
    if (width, height) == size:
        return np.asarray(frame.to_ndarray(format="rgb24", width=width, height=height))
    scale = min(size[0] / width, size[1] / height)
    width, height = min(size[0], max(2, round(width * scale))), min(size[1], max(2, round(height * scale)))
    image = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    image[top : top + height, left : left + width] = frame.to_ndarray(format="rgb24", width=width, height=height)
    return image


def _threaded(stream: Any) -> Any:
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = MAX_THREADS
    return stream


def _decoded(container: Any, stream: Any, damage: Damage) -> Iterator[Any]:
    """Yield every frame of a stream that can be decoded, counting what cannot."""
    packets = container.demux(stream)
    last: Any = None
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except (av.error.FFmpegError, OSError):
            damage.packets += 1
            damage.broken += 1
            break
        if not packet.size:  # Theora repeats a frame by an empty packet; to the decoder, every empty packet is the last one
            last = packet
            continue
        damage.packets += 1
        damage.broken += bool(packet.is_corrupt)
        yield from _frames_of(packet.decode, damage)
    if last is not None:
        yield from _frames_of(last.decode, damage)


def _frames_of(decode: Any, damage: Damage) -> Iterator[Any]:
    try:
        for frame in decode():
            damage.broken += bool(frame.is_corrupt)
            yield frame
    except av.error.EOFError:
        return
    except MemoryError:
        raise
    except (av.error.FFmpegError, ValueError):
        damage.broken += 1


def stream_frames(
    file: MediaFile, info: MediaInfo, damage: Damage, long_side: int, reader: str, max_seconds: float
) -> Iterator[TimedFrame]:
    """Yield ``(seconds, RGB frame)``, see :func:`avwitness.media.decode.stream_frames`."""
    assert info.video is not None
    clock, end = Clock(file.path, "video", info.origin, max_seconds), info.origin
    for time, frame in _all_frames(file, info, damage, long_side, reader):
        clock.check(time, end)
        end = time
        yield time, frame


def _all_frames(file: MediaFile, info: MediaInfo, damage: Damage, long_side: int, reader: str) -> Iterator[TimedFrame]:
    last = -np.inf
    if reader == "decord" and _decord_reads(file, info):
        try:
            for time, frame in frames_by_decord(file, info, damage, long_side):
                last = time
                yield time, frame
            return
        except GeneratorExit:
            raise
        except Exception:  # decord raises its own error types, RuntimeError and IndexError alike; PyAV takes over
            damage.packets = damage.broken = 0
    for time, frame in frames_by_pyav(file, info, damage, long_side):
        if time > last + 1e-4:
            yield time, frame


def _decord_reads(file: MediaFile, info: MediaInfo) -> bool:
    """Whether decord is installed and decodes this file correctly (its FFmpeg is of 2019, and it does not rotate frames)."""
    if importlib.util.find_spec("decord") is None:  # no wheel for this platform
        return False
    if info.video is None or "mp4" not in info.container or info.video.codec not in {"h264", "mpeg4"}:
        return False
    with open_container(file) as container:
        first = next(_decoded(container, container.streams[info.video.index], Damage()), None)
        return first is not None and first.rotation == 0


def stream_samples(
    file: MediaFile, info: MediaInfo, damage: Damage, max_seconds: float, channel: int | None = None, native: bool = False
) -> Iterator[np.ndarray]:
    """Yield float32 mono chunks, see :func:`avwitness.media.decode.stream_samples`."""
    assert info.audio is not None
    rate = info.audio.sample_rate if native else SAMPLE_RATE
    clock, written = Clock(file.path, "audio", info.origin, max_seconds), 0
    for chunk in _all_samples(file, info, damage, clock, channel, rate, fill=not native):
        written += len(chunk)
        if written > (max_seconds + 1.0) * rate:
            clock.check(info.origin + 2 * max_seconds, info.origin + 2 * max_seconds)  # timestamps that jump to and fro
        yield chunk


def _all_samples(
    file: MediaFile, info: MediaInfo, damage: Damage, clock: Clock, channel: int | None, rate: int, fill: bool
) -> Iterator[np.ndarray]:
    assert info.audio is not None
    with open_container(file) as container:
        stream = _threaded(container.streams[info.audio.index])
        resampler: Any = None
        layout = None
        expected = info.origin
        levels = ChannelLevels(damage)
        for frame in _decoded(container, stream, damage):
            channels = frame.layout.nb_channels
            if not 0 < channels <= MAX_CHANNELS or frame.sample_rate <= 0:
                damage.broken += 1
                continue
            time = expected if frame.time is None else float(frame.time)
            clock.check(time, expected)
            gap = time - expected
            # Packets a codec marks as priming lie before zero; those, like small jitter, need no filling.
            if fill and (gap > CLOCK_SLACK or (expected == info.origin and gap > 0)):
                for begin in range(0, round(gap * rate), ZEROS):
                    yield np.zeros(min(ZEROS, round(gap * rate) - begin), dtype=np.float32)
            expected = max(time, info.origin) + frame.samples / frame.sample_rate
            damage.end = max(damage.end, expected)
            if layout != (frame.layout.name, frame.format.name, frame.sample_rate):
                layout = (frame.layout.name, frame.format.name, frame.sample_rate)
                # Packed samples: PyAV reads planes past the eighth from where there are none.
                resampler = av.AudioResampler(format="flt", layout=frame.layout, rate=rate)
            frame.pts = None  # the clock is kept here; a jumping timestamp must not make the resampler drop samples
            for out in resampler.resample(frame):
                yield _mono(out, channel, levels)
        if resampler is not None:
            for out in resampler.resample(None):
                yield _mono(out, channel, levels)


class ChannelLevels:
    """Finds the channels that differ from the mean of all: a voice on one channel, or two in opposite phase, which cancel.

    Parameters
    ----------
    damage : Damage
        Its ``channels`` are kept up to date.
    """

    def __init__(self, damage: Damage) -> None:
        self.damage = damage
        self.energy = self.residual = np.zeros(0)

    def add(self, samples: np.ndarray, mean: np.ndarray) -> None:
        """Add samples [S, C] and their mean [S]."""
        count = samples.shape[1]
        if count != len(self.energy):
            self.energy, self.residual = np.zeros(count), np.zeros(count)
        self.energy += np.square(samples, dtype=np.float64).sum(axis=0)
        self.residual += np.square(samples - mean[:, None], dtype=np.float64).sum(axis=0)
        loud = self.energy > MIN_CHANNEL_LEVEL * self.energy.max(initial=0.0)
        self.damage.channels = [int(c) for c in np.flatnonzero(loud & (self.residual > MIN_DIFFERENCE * self.energy))]


def _mono(frame: Any, channel: int | None, levels: ChannelLevels) -> np.ndarray:
    """One channel, or the mean of all; FFmpeg's own downmix lets two equal channels grow by 3 dB."""
    samples = frame.to_ndarray().reshape(-1, frame.layout.nb_channels)
    if channel is not None:
        return np.ascontiguousarray(samples[:, min(channel, samples.shape[1] - 1)], dtype=np.float32)
    mean = np.asarray(np.ascontiguousarray(samples.T).mean(axis=0), dtype=np.float32)
    if samples.shape[1] > 1:
        levels.add(samples, mean)
    return mean


def batches(chunks: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Join chunks until they hold ``size`` samples."""
    held: list[np.ndarray] = []
    for chunk in chunks:
        held.append(chunk)
        if sum(map(len, held)) >= size:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)
