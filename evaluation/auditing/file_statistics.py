"""Trivial statistics of a media file: of its packets, its container and encoder tags, its audio and its video."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from ...detector.inference.quality import sharpness
from ...media.clip import MediaError, MediaInfo
from ...media.decode import Damage, stream_frames
from ...media.face.mouth import mouth_crops
from ...media.face.speaking import speaking_face
from ...media.face.tracking import FaceTracker
from ...media.probe import open_media, probe, video_stream
from ...media.windows import DAMAGE_LIMIT
from .statistics import (
    bandwidth,
    frame_difference,
    frame_noise,
    leading_silence,
    level,
    loudness,
    mouth_blur,
    noise_floor,
    spectral_slope,
)

VERSION = 2  # of the statistics; to be raised when one of them changes, since caches depend on it
VIDEO_SECONDS = 4.0  # at the start of a file, of which frames are analysed
MAX_FRAMES = 120  # that are analysed
N_NOISE_FRAMES = 8  # whose noise is measured
FACE_STRIDE = 4  # frames from one face detection to the next
FACE_SIZE = 128  # pixels, side to which faces are resized for their blur
MAX_TAG_LENGTH = 1000  # characters of a tag that are kept
ENCODERS = re.compile(rb"(?:x26[45] - core|Lavc\d|LAME\d|libvpx|libfdk|Xiph)[ -~]*")  # signatures of encoders in packets

TAGS = "container and encoder tags"
NUMBERS: dict[str, dict[str, tuple[str, ...]]] = {
    "audio": {
        "leading silence": ("s below -40 dB of the peak", "s below -70 dB of full scale"),
        "trailing silence": ("s below -40 dB of the peak", "s below -70 dB of full scale"),
        "duration": ("s decoded", "s declared"),
        "loudness": ("LUFS",),
        "level": ("dB of full scale",),
        "bandwidth": ("Hz below which 99 % of the power lie", "Hz, 99.999 %"),
        "spectral slope": ("dB per kHz",),
        "noise floor": ("dB of full scale",),
        "bit rate": ("bit/s",),
        "sample rate and channels": ("Hz", "channels"),
        "stream start": ("s declared", "s of the first packet", "s after the other stream"),
        "duration difference": ("s, video minus audio",),
    },
    "video": {
        "duration": ("s of the packets", "s declared"),
        "frame count": ("frames",),
        "bit rate": ("bit/s",),
        "frame size and rate": ("pixels wide", "pixels high", "frames per s"),
        "frame difference": ("grey values, mean", "grey values, spread"),
        "mean colour": ("red", "green", "blue"),
        "level": ("grey value, mean", "grey value, spread"),
        "mouth blur": ("minus log Laplacian variance",),
        "face blur": ("minus log Laplacian variance",),
        "face size": ("pixels wide", "of the frame's width"),
        "frame noise": ("grey values",),
        "stream start": ("s declared", "s of the first packet", "s after the other stream"),
        "duration difference": ("s, video minus audio",),
    },
}


@dataclass(frozen=True)
class StreamStatistics:
    """Trivial statistics of one stream.

    Parameters
    ----------
    numbers : dict of str to list of float
        By probe, as listed in :data:`NUMBERS`; NaN where a statistic does not exist (such as face blur without a face).
    tags : list of str
        Of container and encoder, as ``name=value``.
    """

    numbers: dict[str, list[float]]
    tags: list[str]


def measure_file(file: str | os.PathLike[str]) -> dict[str, StreamStatistics]:
    """Compute all trivial statistics of one file.

    Returns
    -------
    dict of str to StreamStatistics
        By the streams of the file, ``"audio"`` and ``"video"``.

    Raises
    ------
    MediaError
        If the file cannot be opened, or one of its streams cannot be decoded.
    FileNotFoundError
        If the face landmark model is missing.
    """
    info = probe(file)
    found: dict[str, StreamStatistics] = {}
    with open_media(info.path) as container:
        streams = {"video": video_stream(container), "audio": next(iter(container.streams.audio), None)}
        present = {kind: stream for kind, stream in streams.items() if stream is not None and getattr(info, kind) is not None}
        packets = _packets(container, list(present.values()))
        for kind, stream in present.items():
            tags = _tags(container, stream, packets[stream.index])
            found[kind] = StreamStatistics(_packet_numbers(stream, packets[stream.index]), tags)
    if info.audio is not None:
        found["audio"].numbers.update(_audio_numbers(info))
    if info.video is not None:
        found["video"].numbers.update(_video_numbers(info))
    _compare_streams(found, info)
    return {kind: StreamStatistics({name: found[kind].numbers[name] for name in NUMBERS[kind]}, found[kind].tags) for kind in found}


@dataclass
class _Packets:
    """Statistics of the packets of one stream."""

    count: int = 0
    size: int = 0  # bytes
    begin: float = float("nan")  # seconds on the container's clock
    end: float = float("nan")  # seconds on the container's clock
    signatures: tuple[str, ...] = ()  # of the encoder, in the first packet


def _packets(container: Any, streams: Sequence[Any]) -> dict[int, _Packets]:
    found = {stream.index: _Packets() for stream in streams}
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
            signatures = {match.decode("ascii") for match in ENCODERS.findall(bytes(packet))}
            stats.signatures = tuple(sorted(signatures))
        stats.count += 1
        stats.size += packet.size
        if packet.pts is not None and packet.time_base is not None:
            time, length = float(packet.pts * packet.time_base), float((packet.duration or 0) * packet.time_base)
            stats.begin, stats.end = float(np.fmin(stats.begin, time)), float(np.fmax(stats.end, time + length))


def _tags(container: Any, stream: Any, packets: _Packets) -> list[str]:
    """Properties of container and encoder, as ``name=value``."""
    codec = stream.codec_context
    tags = {
        "container": container.format.name,
        "codec": codec.name,
        "codec tag": codec.codec_tag,
        "profile": codec.profile,
        "sample or pixel format": getattr(codec, "pix_fmt", None) or getattr(getattr(codec, "format", None), "name", None),
        "time base": stream.time_base,
        "signature": "; ".join(packets.signatures) or None,
        **{f"container {name}": value for name, value in container.metadata.items()},
        **{f"stream {name}": value for name, value in stream.metadata.items()},
    }
    return sorted(f"{name}={value}"[:MAX_TAG_LENGTH] for name, value in tags.items() if value is not None)


def _packet_numbers(stream: Any, packets: _Packets) -> dict[str, list[float]]:
    """Duration, frame count, bit rate and start from the packets; for audio, the duration is later replaced by the decoded one."""
    seconds = packets.end - packets.begin
    declared = float(stream.duration * stream.time_base) if stream.duration is not None else float("nan")
    start = float(stream.start_time * stream.time_base) if stream.start_time is not None else float("nan")
    return {
        "duration": [seconds, declared],
        "frame count": [float(packets.count)],
        "bit rate": [8.0 * packets.size / seconds if seconds > 0 else float("nan")],
        "stream start": [start, packets.begin, float("nan")],
    }


def _compare_streams(found: dict[str, StreamStatistics], info: MediaInfo) -> None:
    """Fill in the numbers that depend on both streams; NaN with one stream."""
    both = info.audio is not None and info.video is not None
    for kind, other in (("audio", "video"), ("video", "audio")):
        if kind not in found:
            continue
        numbers = found[kind].numbers
        numbers["duration difference"] = [float("nan")]
        if both:
            numbers["stream start"][2] = numbers["stream start"][0] - found[other].numbers["stream start"][0]
            numbers["duration difference"] = [found["video"].numbers["duration"][0] - found["audio"].numbers["duration"][0]]


def _audio_numbers(info: MediaInfo) -> dict[str, list[float]]:
    assert info.audio is not None
    waveform, sample_rate = decode_native_audio(info)
    declared = info.audio.duration
    return {
        "leading silence": list(leading_silence(waveform, sample_rate)),
        "trailing silence": list(leading_silence(waveform[::-1], sample_rate)),
        "duration": [len(waveform) / sample_rate, float("nan") if declared is None else declared],
        "loudness": [loudness(waveform, sample_rate)],
        "level": [level(waveform)],
        "bandwidth": [bandwidth(waveform, sample_rate), bandwidth(waveform, sample_rate, 0.99999)],
        "spectral slope": [spectral_slope(waveform, sample_rate)],
        "noise floor": [noise_floor(waveform, sample_rate)],
        "sample rate and channels": [float(info.audio.sample_rate), float(info.audio.channels)],
    }


def decode_native_audio(info: MediaInfo) -> tuple[np.ndarray, int]:
    """Decode audio at its native sample rate, since audio upsampled from 16 kHz is recognisable only above 8 kHz.

    Returns
    -------
    waveform : float32 array [S]
        Mean of the channels.
    sample_rate : int
        Hz.

    Raises
    ------
    MediaError
        If no audio, or too little of it, can be decoded.
    """
    chunks, damage = [], Damage()
    with open_media(info.path) as container:
        stream = container.streams.audio[0]
        rate = int(stream.codec_context.sample_rate)
        layout, resampler = None, None
        for frame in _audio_frames(container, stream, damage):
            if layout != (frame.layout.name, frame.format.name, frame.sample_rate):
                layout = (frame.layout.name, frame.format.name, frame.sample_rate)
                resampler = av.AudioResampler(format="fltp", layout=frame.layout, rate=rate)
            assert resampler is not None
            frame.pts = None  # or the resampler would drop samples where timestamps jump
            chunks += [out.to_ndarray().mean(axis=0) for out in resampler.resample(frame)]
        if resampler is not None:
            chunks += [out.to_ndarray().mean(axis=0) for out in resampler.resample(None)]
    _refuse_damaged(info.path, "audio", damage, len(chunks))
    return np.concatenate(chunks).astype(np.float32), rate


def _audio_frames(container: Any, stream: Any, damage: Damage) -> Iterator[Any]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError, OSError):
            return
        damage.packets += packet.size > 0
        try:
            yield from packet.decode()
        except av.error.EOFError:
            return
        except (av.error.FFmpegError, ValueError):
            damage.broken += 1


def _refuse_damaged(path: Path, kind: str, damage: Damage, decoded: int) -> None:
    if decoded == 0:
        raise MediaError(path, f"nothing of its {kind} stream could be decoded: damaged or truncated")
    if damage.share > DAMAGE_LIMIT:
        raise MediaError(path, f"has corrupt packets: {damage.broken} of {damage.packets} in its {kind} stream could not be decoded")


def _video_numbers(info: MediaInfo) -> dict[str, list[float]]:
    assert info.video is not None
    damage = Damage()
    timed = stream_frames(info, damage)
    end = info.video.start + VIDEO_SECONDS
    frames = [frame for _, frame in islice(takewhile(lambda at: at[0] < end, timed), MAX_FRAMES)]
    _refuse_damaged(info.path, "video", damage, len(frames))
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    spread = np.linspace(0, len(grey) - 1, min(N_NOISE_FRAMES, len(grey))).round().astype(int)
    return {
        "frame size and rate": [float(info.video.width), float(info.video.height), info.video.frame_rate],
        "frame difference": list(frame_difference(grey)),
        "mean colour": [float(c) for c in np.mean([cv2.mean(frame)[:3] for frame in frames], axis=0)],
        "level": [float(v) for v in np.mean([np.ravel(cv2.meanStdDev(image)) for image in grey], axis=0)],
        "frame noise": [float(np.median([frame_noise(grey[int(i)]) for i in spread]))],
        **_face_numbers(frames, grey, max(info.video.width, info.video.height)),
    }


def _face_numbers(frames: Sequence[np.ndarray], grey: Sequence[np.ndarray], long_side: int) -> dict[str, list[float]]:
    """Blur of mouth and face, and size of the face in pixels of the file, whose longer side has ``long_side`` pixels."""
    nan = float("nan")
    with FaceTracker(stride=FACE_STRIDE) as tracker:
        track = speaking_face(tracker.track(frames))
    if track is None or not track.usable.any():
        return {"mouth blur": [nan], "face blur": [nan], "face size": [nan, nan]}
    height, width = grey[0].shape
    left, top, right, bottom = track.box
    rows, columns = slice(max(int(top), 0), min(int(bottom) + 1, height)), slice(max(int(left), 0), min(int(right) + 1, width))
    faces = [grey[int(i)][rows, columns] for i in np.flatnonzero(track.usable)]
    faces = [cv2.resize(face, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_AREA) for face in faces if face.size]
    pixels = float(np.median(track.width[track.usable]))
    return {
        "mouth blur": [mouth_blur(mouth_crops(frames, track)[0], track.usable)],
        "face blur": [-sharpness(faces)],
        "face size": [pixels * long_side / max(height, width), pixels / width],
    }
