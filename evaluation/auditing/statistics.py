"""Trivial baselines: one-line statistics that must be beaten before a network may claim to see a forgery."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise, takewhile
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from ...detector.inference.quality import sharpness
from ...media.clip import SAMPLE_RATE, MediaError, MediaInfo
from ...media.decode import Damage, frames_by_pyav
from ...media.face.mouth import mouth_crops
from ...media.face.speaking import speaking_face
from ...media.face.tracking import FaceTracker
from ...media.probe import open_media, probe, video_stream
from ...media.windows import DAMAGE_LIMIT

VERSION = 1  # of the statistics; raise it when one of them changes
QUIET = 0.01  # of the loudest sample (-40 dB): softer is silence
NEARLY_ZERO = 10.0 ** (-70.0 / 20.0)  # of full scale (-70 dB): softer is digital silence
FLOOR_FRAME = 0.01  # seconds of one frame of the noise floor
SPECTRUM_FRAME = 0.032  # seconds of one frame of the spectrum
LOUDNESS_BLOCK = 0.4  # seconds, gating block of ITU-R BS.1770: a shorter clip has no loudness
PICTURE_SECONDS = 4.0  # of a clip whose pictures are looked at
MAX_PICTURES = 120  # frames held at once
FACE_STRIDE = 4  # frames from one search for the face to the next
FACE_SIDE = 128  # pixels, side to which a face is brought before its blur is measured
NOISE_PICTURES = 8  # frames whose noise is measured
TAG_LENGTH = 1000  # characters of a tag that are kept
ENCODERS = re.compile(rb"(?:x26[45] - core|Lavc\d|LAME\d|libvpx|libfdk|Xiph)[ -~]*")  # how encoders sign their packets

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
        "picture noise": ("grey values",),
        "stream start": ("s declared", "s of the first packet", "s after the other stream"),
        "duration difference": ("s, video minus audio",),
    },
}


def mouth_blur(crops: np.ndarray, usable: np.ndarray) -> float:
    """Minus the log Laplacian variance of the mouth crops [T, 96, 96]: softer is higher."""
    return -sharpness(crops[usable])


def _spectrum(waveform: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean power spectrum in dB over 32-ms frames, and its frequencies in Hz."""
    size = round(SPECTRUM_FRAME * sample_rate)
    frames = len(waveform) // size
    if frames == 0:
        return np.zeros(0), np.zeros(0)
    power = np.abs(np.fft.rfft(waveform[: frames * size].reshape(frames, size) * np.hanning(size))) ** 2
    return 10.0 * np.log10(power.mean(axis=0) + 1e-12), np.fft.rfftfreq(size, 1.0 / sample_rate)


def spectral_slope(waveform: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """Slope of the mean spectrum above 1 kHz in dB per kHz."""
    level, hertz = _spectrum(waveform, sample_rate)
    upper = hertz > 1000.0
    if upper.sum() < 2:
        return float("nan")
    return float(np.polyfit(hertz[upper] / 1000.0, level[upper], 1)[0])


def bandwidth(waveform: np.ndarray, sample_rate: int = SAMPLE_RATE, share: float = 0.99) -> float:
    """Frequency in Hz below which that share of the power lies."""
    level, hertz = _spectrum(waveform, sample_rate)
    if not len(level):
        return float("nan")
    total = np.cumsum(10.0 ** (level / 10.0))
    return float(hertz[np.searchsorted(total, share * total[-1])])


def level(waveform: np.ndarray) -> float:
    """Root mean square in dB of full scale."""
    return float(20.0 * np.log10(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))) + 1e-9)) if len(waveform) else float("nan")


AUDIO_BASELINES: dict[str, Callable[[np.ndarray], float]] = {"spectral slope": spectral_slope, "bandwidth": bandwidth, "level": level}


def leading_silence(waveform: np.ndarray, sample_rate: int) -> tuple[float, float]:
    """Seconds before the first sample that is heard: above -40 dB of the loudest one, and above -70 dB of full scale.

    A clip in which nothing is heard is silent for its whole length.

    Notes
    -----
    Source: S. Smeu et al., *Circumventing shortcuts in audio-visual deepfake detection datasets with unsupervised
    learning*, CVPR 2025, who solve FakeAVCeleb and AV-Deepfake1M by this number.
    """
    loud = np.abs(waveform)
    peak = float(loud.max(initial=0.0))
    seconds = []
    for threshold in (QUIET * peak, NEARLY_ZERO):
        heard = loud > threshold
        seconds.append((int(heard.argmax()) if heard.any() else len(waveform)) / sample_rate)
    return seconds[0], seconds[1]


def noise_floor(waveform: np.ndarray, sample_rate: int) -> float:
    """Level in dB of full scale below which a tenth of the 10-ms frames lie."""
    size = round(FLOOR_FRAME * sample_rate)
    frames = len(waveform) // size
    if frames == 0:
        return float("nan")
    power = np.square(waveform[: frames * size], dtype=np.float64).reshape(frames, size).mean(axis=1)
    return float(10.0 * np.log10(np.quantile(power, 0.1) + 1e-18))


def loudness(waveform: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness in LUFS; NaN where a clip is shorter than 0.4 s or silent.

    Notes
    -----
    Source: ITU-R BS.1770-4.
    """
    if len(waveform) < LOUDNESS_BLOCK * sample_rate:
        return float("nan")
    import torch
    from torchaudio.functional import loudness as measured

    value = float(measured(torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32))[None], sample_rate))
    return value if np.isfinite(value) else float("nan")


def frame_difference(grey: Sequence[np.ndarray]) -> tuple[float, float]:
    """Mean and spread over time of the root mean square difference of neighbouring frames [H, W], in grey values."""
    steps = [float(np.sqrt(np.mean(cv2.absdiff(a, b).astype(np.float32) ** 2))) for a, b in pairwise(grey)]
    return (float(np.mean(steps)), float(np.std(steps))) if steps else (float("nan"), float("nan"))


def picture_noise(grey: np.ndarray) -> float:
    """Standard deviation of the noise of one frame [H, W], in grey values.

    Notes
    -----
    Source: J. Immerkær, *Fast noise variance estimation*, Computer Vision and Image Understanding 64(2), 1996.
    """
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    inner = cv2.filter2D(grey.astype(np.float32), cv2.CV_32F, mask)[1:-1, 1:-1]
    return float(np.sqrt(np.pi / 2.0) / 6.0 * np.abs(inner).mean())


@dataclass(frozen=True)
class StreamStatistics:
    """What the trivial statistics say of one stream.

    Parameters
    ----------
    numbers : dict of str to list of float
        By probe, as listed in :data:`NUMBERS`; NaN where a statistic does not exist (the blur of a face that is not there).
    tags : list of str
        What container and encoder say of themselves, as ``name=value``.
    """

    numbers: dict[str, list[float]]
    tags: list[str]


def measure(file: str | os.PathLike[str]) -> dict[str, StreamStatistics]:
    """All trivial statistics of one file.

    Returns
    -------
    dict of str to StreamStatistics
        ``"audio"``, ``"video"``, or both, as far as the file has them.

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
            found[kind] = StreamStatistics(_of_packets(stream, packets[stream.index]), tags)
    if info.audio is not None:
        found["audio"].numbers.update(_of_sound(info))
    if info.video is not None:
        found["video"].numbers.update(_of_pictures(info))
    _compare(found, info)
    return {kind: StreamStatistics({name: found[kind].numbers[name] for name in NUMBERS[kind]}, found[kind].tags) for kind in found}


@dataclass
class _Packets:
    """What the packets of one stream tell without being decoded."""

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
        facts = found[packet.stream.index]
        if facts.count == 0:
            signed = {match.decode("ascii") for match in ENCODERS.findall(bytes(packet))}
            facts.signatures = tuple(sorted(signed))
        facts.count += 1
        facts.size += packet.size
        if packet.pts is not None and packet.time_base is not None:
            time, length = float(packet.pts * packet.time_base), float((packet.duration or 0) * packet.time_base)
            facts.begin, facts.end = float(np.fmin(facts.begin, time)), float(np.fmax(facts.end, time + length))


def _tags(container: Any, stream: Any, packets: _Packets) -> list[str]:
    """Everything by which a container or an encoder can be told from another, as ``name=value``."""
    codec = stream.codec_context
    facts = {
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
    return sorted(f"{name}={value}"[:TAG_LENGTH] for name, value in facts.items() if value is not None)


def _of_packets(stream: Any, packets: _Packets) -> dict[str, list[float]]:
    """Duration and frame count by the packets, bit rate, start; sound replaces the duration by what is decoded."""
    seconds = packets.end - packets.begin
    declared = float(stream.duration * stream.time_base) if stream.duration is not None else float("nan")
    start = float(stream.start_time * stream.time_base) if stream.start_time is not None else float("nan")
    return {
        "duration": [seconds, declared],
        "frame count": [float(packets.count)],
        "bit rate": [8.0 * packets.size / seconds if seconds > 0 else float("nan")],
        "stream start": [start, packets.begin, float("nan")],
    }


def _compare(found: dict[str, StreamStatistics], info: MediaInfo) -> None:
    """Fill in what takes both streams; NaN where there is but one."""
    both = info.audio is not None and info.video is not None
    for kind, other in (("audio", "video"), ("video", "audio")):
        if kind not in found:
            continue
        numbers = found[kind].numbers
        numbers["duration difference"] = [float("nan")]
        if both:
            numbers["stream start"][2] = numbers["stream start"][0] - found[other].numbers["stream start"][0]
            numbers["duration difference"] = [found["video"].numbers["duration"][0] - found["audio"].numbers["duration"][0]]


def _of_sound(info: MediaInfo) -> dict[str, list[float]]:
    assert info.audio is not None
    waveform, sample_rate = native_sound(info)
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


def native_sound(info: MediaInfo) -> tuple[np.ndarray, int]:
    """Decode the sound at the rate it is stored at, since a voice resampled from 16 kHz shows only above 8 kHz.

    Returns
    -------
    waveform : float32 array [S]
        The mean of the channels.
    sample_rate : int
        Hz.

    Raises
    ------
    MediaError
        If nothing, or too little, can be decoded.
    """
    chunks, damage = [], Damage()
    with open_media(info.path) as container:
        stream = container.streams.audio[0]
        rate = int(stream.codec_context.sample_rate)
        layout, resampler = None, None
        for frame in _sound_frames(container, stream, damage):
            if layout != (frame.layout.name, frame.format.name, frame.sample_rate):
                layout = (frame.layout.name, frame.format.name, frame.sample_rate)
                resampler = av.AudioResampler(format="fltp", layout=frame.layout, rate=rate)
            assert resampler is not None
            frame.pts = None  # a jumping timestamp must not make the resampler drop samples
            chunks += [out.to_ndarray().mean(axis=0) for out in resampler.resample(frame)]
        if resampler is not None:
            chunks += [out.to_ndarray().mean(axis=0) for out in resampler.resample(None)]
    _refuse_damaged(info.path, "audio", damage, len(chunks))
    return np.concatenate(chunks).astype(np.float32), rate


def _sound_frames(container: Any, stream: Any, damage: Damage) -> Iterator[Any]:
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


def _of_pictures(info: MediaInfo) -> dict[str, list[float]]:
    assert info.video is not None
    damage = Damage()
    timed = frames_by_pyav(info, damage)
    end = info.video.start + PICTURE_SECONDS
    frames = [frame for _, frame in islice(takewhile(lambda at: at[0] < end, timed), MAX_PICTURES)]
    _refuse_damaged(info.path, "video", damage, len(frames))
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    spread = np.linspace(0, len(grey) - 1, min(NOISE_PICTURES, len(grey))).round().astype(int)
    return {
        "frame size and rate": [float(info.video.width), float(info.video.height), info.video.frame_rate],
        "frame difference": list(frame_difference(grey)),
        "mean colour": [float(c) for c in np.mean([cv2.mean(frame)[:3] for frame in frames], axis=0)],
        "level": [float(v) for v in np.mean([np.ravel(cv2.meanStdDev(picture)) for picture in grey], axis=0)],
        "picture noise": [float(np.median([picture_noise(grey[int(i)]) for i in spread]))],
        **_of_face(frames, grey, max(info.video.width, info.video.height)),
    }


def _of_face(frames: Sequence[np.ndarray], grey: Sequence[np.ndarray], long_side: int) -> dict[str, list[float]]:
    """Blur of mouth and face, and size of the face in pixels of the file, whose longer side has ``long_side`` of them."""
    unknown = float("nan")
    with FaceTracker(stride=FACE_STRIDE) as tracker:
        track = speaking_face(tracker.track(frames))
    if track is None or not track.usable.any():
        return {"mouth blur": [unknown], "face blur": [unknown], "face size": [unknown, unknown]}
    height, width = grey[0].shape
    left, top, right, bottom = track.box
    rows, columns = slice(max(int(top), 0), min(int(bottom) + 1, height)), slice(max(int(left), 0), min(int(right) + 1, width))
    faces = [grey[int(i)][rows, columns] for i in np.flatnonzero(track.usable)]
    faces = [cv2.resize(face, (FACE_SIDE, FACE_SIDE), interpolation=cv2.INTER_AREA) for face in faces if face.size]
    pixels = float(np.median(track.width[track.usable]))
    return {
        "mouth blur": [mouth_blur(mouth_crops(frames, track)[0], track.usable)],
        "face blur": [-sharpness(faces)],
        "face size": [pixels * long_side / max(height, width), pixels / width],
    }
