"""Degradation of one file: it is decoded, changed and encoded again, with its streams in sync as before."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from itertools import chain, tee
from pathlib import Path

import numpy as np

from ....media.clip import FRAME_RATE, MAX_SIDE, SAMPLE_RATE, MediaError
from ....media.decode import stream_frames, stream_samples
from ....media.encode import write_media
from ....media.windows import MediaReader
from .base import Coding, Degradation, TimedFrame
from .timing import TICK, between

SUFFIX = ".mkv"  # Matroska holds every codec in use here, and frames at any time


def degrade(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    degradation: Degradation | None,
    severity: float,
    voices: Sequence[np.ndarray] = (),
    seed: int = 0,
) -> Path:
    """Write a degraded copy of a file.

    Frames keep their resolution and their times, and are streamed from one file to the other. Audio becomes mono at 16 kHz, the input of
    the detectors. Streams that a degradation does not change are written almost losslessly: x264 at CRF 8, FLAC. Both streams have one
    clock whose zero is the start of the earlier one; gaps in the audio are filled with silence. A missing stream stays missing.

    Parameters
    ----------
    source : path-like
        Any file that FFmpeg reads.
    target : path-like
        Its name ends in ``.mkv``. It is created atomically.
    degradation : Degradation or None
        ``None`` for the control, which is only decoded and encoded again.
    severity : float
        One of the degradation's severities; not used for the control.
    voices : sequence of float32 [N]
        Voices of other people at 16 kHz, for degradations that need them.
    seed : int
        Seeds the random numbers together with the content of the source, the degradation's name and the level of its severity.

    Returns
    -------
    Path
        The written file.

    Raises
    ------
    ValueError
        If the file lacks a stream that the degradation changes, if voices are needed and missing, if the degradation has no such
        severity, or if the target is not named as a Matroska file.
    MediaError
        If the source cannot be read or is damaged, see :class:`avwitness.media.windows.MediaReader`; if its frames change their
        size; if nothing would be left of a stream.
    """
    source, target = Path(source), Path(target)
    if target.suffix != SUFFIX:
        raise ValueError(f"{target}: degraded files are Matroska files; let the name end in {SUFFIX}")
    media = MediaReader(source)
    _require(media, degradation, severity)
    waveform = None if media.info.audio is None else _read_audio(media)
    frames = None if media.info.video is None else _read_video(media)
    coding = Coding()
    if degradation is not None:
        rng = _random_generator(source, degradation, severity, seed)
        if degradation.trim is not None and waveform is not None:
            begin, end = degradation.trim(waveform, severity)
            waveform = waveform[begin:end]
            frames = None if frames is None else between(frames, begin / SAMPLE_RATE, end / SAMPLE_RATE)
        if degradation.audio is not None and waveform is not None:
            try:
                waveform = degradation.audio(waveform, severity, rng, voices)
            except ValueError as error:
                raise ValueError(f"{source}: {error}") from None
        if degradation.video is not None and frames is not None:
            frames = degradation.video(frames, severity, rng)
        if degradation.coding is not None:
            coding = degradation.coding(severity)
    return _write(target, source, media, frames, waveform, coding)


def _require(media: MediaReader, degradation: Degradation | None, severity: float) -> None:
    if degradation is None:
        return
    if severity not in degradation.severities:
        known = ", ".join(f"{value:g}" for value in degradation.severities)
        raise ValueError(f"{degradation.name} has no severity {severity:g}; choose one of {known} ({degradation.unit})")
    present = {"video": media.info.video is not None, "audio": media.info.audio is not None}
    for stream in present if degradation.stream == "both" else (degradation.stream,):
        if not present[stream]:
            raise ValueError(f"{media.info.path}: has no {stream} stream, which {degradation.name} changes; leave the file out")


def _random_generator(source: Path, degradation: Degradation, severity: float, seed: int) -> np.random.Generator:
    """A generator that depends on the content of the file alone, not on its name, which may reveal the label."""
    with open(source, "rb") as file:
        content = hashlib.file_digest(file, "sha256").digest()
    name = hashlib.sha256(degradation.name.encode()).digest()
    words = [int.from_bytes(digest[:16], "little") for digest in (content, name)]
    return np.random.default_rng([seed, *words, degradation.severities.index(severity)])


def _read_audio(media: MediaReader) -> np.ndarray:
    chunks = list(stream_samples(media.info, media.audio_damage))
    if not chunks:
        raise MediaError(media.info.path, "nothing of its audio stream could be decoded: damaged or truncated")
    return np.concatenate(chunks)


def _read_video(media: MediaReader) -> Iterator[TimedFrame]:
    """Frames with their times on the common clock of both streams; after the last one, a damaged file is refused."""
    last = -np.inf
    for time, frame in stream_frames(media.info, media.video_damage, MAX_SIDE):
        time = max(0.0, time - media.info.origin)
        if time < last + TICK:  # Matroska cannot place it
            continue
        last = time
        yield time, frame
    media.check()


def _write(
    target: Path, source: Path, media: MediaReader, frames: Iterator[TimedFrame] | None, waveform: np.ndarray | None, coding: Coding
) -> Path:
    if waveform is not None and not len(waveform):
        raise MediaError(source, "is too short: nothing of its audio is left")
    if frames is None:
        media.check()
        return write_media(target, None, waveform, audio_codec=coding.audio_codec, audio_bit_rate=coding.audio_bit_rate)
    first = next(frames, None)
    if first is None:
        raise MediaError(source, "is too short: nothing of its video is left")
    assert media.info.video is not None
    images, times = tee(chain((first,), frames))
    return write_media(
        target,
        (image for _, image in images),
        waveform,
        frame_rate=media.info.video.frame_rate or FRAME_RATE,
        frame_times=(time for time, _ in times),
        video_codec=coding.video_codec,
        video_options=coding.video_options,
        audio_codec=coding.audio_codec,
        audio_bit_rate=coding.audio_bit_rate,
    )
