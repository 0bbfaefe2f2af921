"""Encoding of frames and waveforms to media files (H.264/AAC MP4 and others) with PyAV."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from .clip import FRAME_RATE, SAMPLE_RATE
from .files import atomic_write


def write_media(
    path: str | os.PathLike[str],
    frames: Iterable[np.ndarray] | None = None,
    waveform: np.ndarray | None = None,
    *,
    frame_rate: float = FRAME_RATE,
    frame_times: Iterable[float] | None = None,
    sample_rate: int = SAMPLE_RATE,
    video_codec: str = "libx264",
    audio_codec: str = "aac",
    pixel_format: str = "yuv420p",
    video_options: dict[str, str] | None = None,
    audio_bit_rate: int = 96_000,
    audio_start: float = 0.0,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write frames and samples to one file; the container follows from the name's ending.

    Parameters
    ----------
    path : path-like
        File to write. It appears under its name only when it is complete.
    frames : iterable of uint8 [H, W, 3], optional
        RGB frames; odd sides lose their last row or column, which 4:2:0 codecs cannot hold.
    waveform : float array [S] or [S, C], optional
        Samples in [-1, 1] at ``sample_rate``.
    frame_times : iterable of float, optional
        Seconds at which each frame is shown, for variable frame rates; ``frame_rate`` is used otherwise.
    audio_bit_rate : int
        Bits per second.
    audio_start : float
        Seconds by which the audio begins after the video.

    Returns
    -------
    Path
        The written file.

    Raises
    ------
    ValueError
        If there is neither a frame nor a sample to write.
    """
    path = Path(path)
    clock = Fraction(1, 90_000)
    with atomic_write(path) as partial, av.open(str(partial), "w", options=container_options or {}) as container:
        video = audio = None
        pending = iter(frames) if frames is not None else iter(())
        first = next(pending, None)
        if first is None and waveform is None:
            raise ValueError(f"{path}: neither frames nor samples to write")
        if first is not None:
            height, width = (side - side % 2 for side in first.shape[:2])
            video = container.add_stream(video_codec, rate=Fraction(frame_rate).limit_denominator(100_000), options=video_options or {})
            video.width, video.height, video.pix_fmt = width, height, pixel_format
            if frame_times is not None:
                video.codec_context.time_base = clock
        if waveform is not None:
            samples = np.atleast_2d(np.asarray(waveform, dtype=np.float32).T)
            layout = "mono" if len(samples) == 1 else "stereo"
            audio = container.add_stream(audio_codec, rate=sample_rate, layout=layout)
            if not audio_codec.startswith(("pcm", "flac")):
                audio.bit_rate = audio_bit_rate
        if video is not None:
            times = iter(frame_times) if frame_times is not None else None
            index = 0
            image: np.ndarray | None = first
            while image is not None:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), format="rgb24")
                if times is not None:
                    frame.pts, frame.time_base = round(next(times) / clock), clock
                else:
                    frame.pts, frame.time_base = index, 1 / Fraction(frame_rate).limit_denominator(100_000)
                container.mux(video.encode(frame))
                index += 1
                image = next(pending, None)
            container.mux(video.encode(None))
        if audio is not None:
            block = audio.codec_context.frame_size or 1024
            for begin in range(0, samples.shape[1], block):
                chunk = np.ascontiguousarray(samples[:, begin : begin + block])
                audio_frame = av.AudioFrame.from_ndarray(chunk, format="fltp", layout=layout)
                audio_frame.sample_rate = sample_rate
                audio_frame.pts, audio_frame.time_base = begin + round(audio_start * sample_rate), Fraction(1, sample_rate)
                container.mux(audio.encode(audio_frame))
            container.mux(audio.encode(None))
    return path
