"""Trivial statistics of a media file: of its packets, its container and encoder tags, its audio and its video."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path

import cv2
import numpy as np

from ...detector.inference.quality import sharpness
from ...media.clip import Damage, MediaError, MediaInfo, PacketStatistics
from ...media.decode import packet_statistics, stream_frames, stream_samples
from ...media.face.mouth import mouth_crops
from ...media.face.speaking import speaking_face
from ...media.face.tracking import FaceTracker
from ...media.probe import probe
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

VERSION = 3  # of the statistics; to be raised when one of them changes, since caches depend on it
VIDEO_SECONDS = 4.0  # at the start of a file, of which frames are analysed
MAX_FRAMES = 120  # that are analysed
N_NOISE_FRAMES = 8  # whose noise is measured
FACE_STRIDE = 4  # frames from one face detection to the next
FACE_SIZE = 128  # pixels, side to which faces are resized for their blur

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
    for kind, stats in packet_statistics(info).items():
        found[kind] = StreamStatistics(_packet_numbers(stats), stats.tags)
    if info.audio is not None:
        found["audio"].numbers.update(_audio_numbers(info))
    if info.video is not None:
        found["video"].numbers.update(_video_numbers(info))
    _compare_streams(found, info)
    return {kind: StreamStatistics({name: found[kind].numbers[name] for name in NUMBERS[kind]}, found[kind].tags) for kind in found}


def _packet_numbers(stats: PacketStatistics) -> dict[str, list[float]]:
    """Duration, frame count, bit rate and start from the packets; for audio, the duration is later replaced by the decoded one."""
    nan = float("nan")
    seconds = nan if stats.begin is None or stats.end is None else stats.end - stats.begin
    return {
        "duration": [seconds, nan if stats.declared is None else stats.declared],
        "frame count": [float(stats.count)],
        "bit rate": [8.0 * stats.size / seconds if seconds > 0 else nan],
        "stream start": [nan if stats.start is None else stats.start, nan if stats.begin is None else stats.begin, nan],
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
    assert info.audio is not None
    damage = Damage()
    chunks = list(stream_samples(info, damage, native=True))
    _refuse_damaged(info.path, "audio", damage, len(chunks))
    return np.concatenate(chunks), info.audio.sample_rate


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
