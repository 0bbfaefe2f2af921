"""A folder of many short media files, some of them broken, for the batch that is measured."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from broken import write_broken_files
from makers import noise_frames

from avwitness.generators.demo import synthetic_voice
from avwitness.media.clip import SAMPLE_RATE
from avwitness.media.encode import write_media

BROKEN_SHARE = 0.05
VIDEO_SHARE = 0.04  # of all files; the rest is audio alone, which is quicker to score
VOICES = 20  # different recordings
SECONDS = 1.5  # of each
AUDIO = {"wav": "pcm_s16le", "flac": "flac", "mp3": "libmp3lame", "ogg": "libopus", "m4a": "aac"}
VIDEO_FRAMES = 40


@dataclass(frozen=True)
class BatchFile:
    """One file of the batch.

    Parameters
    ----------
    path : Path
    kind : str
        Its format, or the way in which it is broken.
    broken : bool
    """

    path: Path
    kind: str
    broken: bool


def write_batch(folder: Path, count: int, samples: Path, seed: int = 0) -> list[BatchFile]:
    """Write ``count`` files in the order of their names, :data:`BROKEN_SHARE` of them broken; equal files are hard links.

    Parameters
    ----------
    folder : Path
    count : int
    samples : Path
        Folder with MP4 clips of faces.
    seed : int
    """
    originals = folder / "originals"
    inputs = folder / "inputs"
    originals.mkdir(parents=True)
    inputs.mkdir()
    audio, video = list(_audio_files(originals)), list(_video_files(originals, samples))
    broken = sorted(_broken_files(originals, samples).items())
    rng = np.random.default_rng(seed)
    draw = rng.random(count)
    files, turn = [], 0
    for number in range(count):
        if draw[number] < BROKEN_SHARE or number < len(broken):  # every kind occurs
            kind, source = broken[turn % len(broken)]
            turn += 1
        else:
            sources = video if draw[number] < BROKEN_SHARE + VIDEO_SHARE else audio
            source = sources[int(rng.integers(len(sources)))]
            kind = source.suffix[1:]
        path = inputs / f"{number:06d}{source.suffix}"
        os.link(source, path)
        files.append(BatchFile(path, kind, any(source == other for _, other in broken)))
    return files


def _audio_files(folder: Path) -> Iterator[Path]:
    for voice in range(VOICES):
        waveform, _ = synthetic_voice(SECONDS, seed=voice)
        suffix = list(AUDIO)[voice % len(AUDIO)]
        yield write_media(folder / f"voice{voice}.{suffix}", waveform=waveform, audio_codec=AUDIO[suffix])


def _video_files(folder: Path, samples: Path) -> Iterator[Path]:
    from avwitness.media.windows import read_clip

    for sample in sorted(samples.glob("*.mp4")):
        clip = read_clip(sample)
        assert clip.frames is not None and clip.waveform is not None
        frames = clip.frames[:VIDEO_FRAMES]
        yield write_media(folder / sample.name, frames, clip.waveform[: int(SECONDS * SAMPLE_RATE)])


def _broken_files(folder: Path, samples: Path) -> dict[str, Path]:
    place = folder / "broken"
    place.mkdir()
    files = write_broken_files(place, sorted(samples.glob("*.mp4"))[0])
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\n/etc/hostname\n#EXT-X-ENDLIST\n"
    for kind, text in {"playlist": playlist, "file_list": "ffconcat version 1.0\nfile '/etc/hostname'\n"}.items():
        files[kind] = place / f"{kind}.mp4"
        files[kind].write_text(text)
    files["late_audio"] = _late_audio(place / "late_audio.mkv")
    files["frames_alone"] = write_media(place / "no_face.mkv", noise_frames(10, side=32), video_codec="ffv1", pixel_format="yuv420p")
    files["frames_alone"].write_bytes(files["frames_alone"].read_bytes()[:600])  # its index alone
    return files


def _late_audio(path: Path) -> Path:
    """Audio that begins after ten hours."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
        for start in (0, 36_000):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, SAMPLE_RATE), np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE, start * SAMPLE_RATE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
