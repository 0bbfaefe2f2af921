"""Small valid files of many containers, from which damaged ones are made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np

SIZE = (96, 80)  # pixels, width and height
FRAMES, RATE = 12, 48_000  # frames of video at 25 Hz; samples per second of audio, of which there is half a second
#: Name of the format, container of FFmpeg, video codec, audio codec, channel layout.
FORMATS: tuple[tuple[str, str, str | None, str | None, str], ...] = (
    ("mp4", "mp4", "mpeg4", "aac", "stereo"),
    ("h264.mp4", "mp4", "libx264", "aac", "mono"),
    ("m4a", "ipod", None, "aac", "stereo"),
    ("mov", "mov", "mjpeg", "pcm_s16le", "stereo"),
    ("3gp", "3gp", "mpeg4", "aac", "mono"),
    ("mkv", "matroska", "mpeg4", "aac", "5.1"),
    ("mka", "matroska", None, "libopus", "stereo"),
    ("webm", "webm", "libvpx", "libopus", "stereo"),
    ("avi", "avi", "mpeg4", "libmp3lame", "stereo"),
    ("mjpeg.avi", "avi", "mjpeg", "pcm_s16le", "mono"),
    ("ts", "mpegts", "mpeg2video", "aac", "stereo"),
    ("h264.ts", "mpegts", "libx264", "libmp3lame", "stereo"),
    ("mpg", "mpeg", "mpeg1video", "mp2", "stereo"),
    ("vob", "vob", "mpeg2video", "ac3", "5.1"),
    ("flv", "flv", "flv", "aac", "mono"),
    ("asf", "asf", "mpeg4", "wmav2", "stereo"),
    ("nut", "nut", "mpeg4", "pcm_s16le", "stereo"),
    ("5.1.opus", "ogg", None, "libopus", "5.1"),
    ("opus", "ogg", None, "libopus", "mono"),
    ("vp9.webm", "webm", "libvpx-vp9", None, ""),
    ("wav", "wav", None, "pcm_s16le", "stereo"),
    ("float.wav", "wav", None, "pcm_f32le", "5.1"),
    ("w64", "w64", None, "pcm_s24le", "stereo"),
    ("flac", "flac", None, "flac", "7.1"),
    ("mp3", "mp3", None, "libmp3lame", "stereo"),
    ("aac", "adts", None, "aac", "stereo"),
    ("ac3", "ac3", None, "ac3", "5.1"),
    ("aiff", "aiff", None, "pcm_s16be", "stereo"),
    ("caf", "caf", None, "pcm_s16le", "mono"),
    ("au", "au", None, "pcm_s16be", "mono"),
)


def write_containers(folder: Path) -> dict[str, bytes]:
    """Write a file of every format that the installed FFmpeg can write, and return their bytes by name."""
    made = {}
    for name, container, video, audio, layout in FORMATS:
        path = folder / f"whole.{name}"
        try:
            _write(path, container, video, audio, layout)
        except (av.error.FFmpegError, ValueError):  # a codec that this build of FFmpeg lacks
            continue
        made[name] = path.read_bytes()
    return made


def _write(path: Path, container: str, video: str | None, audio: str | None, layout: str) -> None:
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", format=container) as file:
        streams: list[tuple[Any, list[Any]]] = []
        if video is not None:
            stream: Any = file.add_stream(video, rate=25)
            stream.width, stream.height = SIZE
            stream.pix_fmt = "yuvj420p" if video == "mjpeg" else "yuv420p"
            image = rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
            frames = [av.VideoFrame.from_ndarray(np.roll(image, 4 * i, axis=1), format="rgb24") for i in range(FRAMES)]
            for number, frame in enumerate(frames):
                frame.pts = number
            streams.append((stream, frames))
        if audio is not None:
            stream = file.add_stream(audio, rate=RATE)
            stream.layout = layout
            stream.bit_rate = 96_000 * stream.layout.nb_channels
            channels = stream.layout.nb_channels
            tone = np.sin(np.arange(RATE // 2) * 0.05) * 8000 + rng.normal(0, 500, RATE // 2)
            samples = np.repeat(tone.astype(np.int16), channels)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
            frame.sample_rate = RATE
            streams.append((stream, [frame]))
        for stream, frames in streams:
            for frame in frames:
                file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
