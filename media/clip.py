"""Data classes and constants of decoded media: rates, limits, stream properties, clips."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

STREAMS = ("audio", "video")  # names of the two streams, in this order
FRAME_RATE = 25  # frames per second of every decoded video
SAMPLE_RATE = 16_000  # samples per second of every decoded waveform
SAMPLES_PER_FRAME = SAMPLE_RATE // FRAME_RATE  # 640 samples
MAX_LONG_SIDE = 854  # pixels; larger frames are scaled down while decoding, so a window of 8 s fits in memory
MIN_SIDE = 32  # pixels; a face in a smaller frame cannot be scored
MAX_SIDE = 16_384  # pixels; the largest side any common encoder writes
MAX_PIXELS = 8192 * 8192  # pixels in one frame; above 8K a header is damaged or hostile
MAX_CHANNELS = 64  # of one audio track; FFmpeg's decoders output no more unless a file is damaged
MAX_GAP = 60.0  # seconds without a frame or a sample that are bridged
MAX_SECONDS = 86_400.0  # seconds of one file that are decoded, a day


class MediaError(Exception):
    """A file that cannot be scored, in a sentence that names the file and the cause."""

    def __init__(self, path: str | Path, cause: str) -> None:
        super().__init__(f"{path}: {cause}")
        self.path = str(path)
        self.cause = cause

    def __reduce__(self) -> tuple[type[MediaError], tuple[str, str]]:
        return type(self), (self.path, self.cause)


@dataclass
class Damage:
    """Counts of packets and damaged packets while one stream is decoded."""

    packets: int = 0  # packets or frames read
    broken: int = 0  # of those, undecodable or marked corrupt by the decoder
    end: float = 0.0  # seconds, end of the last thing decoded on the container's clock
    channels: list[int] = field(default_factory=list)  # audio channels that differ from the mean of all

    @property
    def share(self) -> float:
        """Broken packets as a share of all, in [0, 1]."""
        return self.broken / max(self.packets, 1)


@dataclass
class PacketStatistics:
    """Statistics of the packets of one stream; times are seconds on the container's clock, or ``None`` where it has none."""

    count: int = 0
    size: int = 0  # bytes
    begin: float | None = None  # of the first packet
    end: float | None = None  # of the last packet
    signatures: list[str] = field(default_factory=list)  # of the encoder, in the first packet
    declared: float | None = None  # seconds, length that the container declares
    start: float | None = None  # that the container declares
    tags: list[str] = field(default_factory=list)  # of container and encoder, as ``name=value``


TimedFrame = tuple[float, np.ndarray]  # seconds on the container's clock, RGB frame uint8 [H, W, 3]


@dataclass(frozen=True)
class Track:
    """What a container says of one of its audio or video streams.

    Parameters
    ----------
    index : int
        Of the stream in the container.
    type : {"audio", "video"}
    codec : str or None
        ``None`` where no decoder is known.
    default : bool
        Whether the container marks it as the one to play.
    """

    index: int
    type: str
    codec: str | None
    default: bool = False
    language: str | None = None
    channels: int | None = None
    sample_rate: int | None = None  # Hz
    width: int | None = None  # pixels
    height: int | None = None  # pixels


@dataclass(frozen=True)
class VideoInfo:
    """What a container says of its video stream (before rotation and before pixels are made square)."""

    width: int  # pixels
    height: int  # pixels
    frame_rate: float  # average frames per second, 0 if unknown
    codec: str
    start: float  # seconds on the container's clock
    duration: float | None  # seconds, None if not in the container
    sample_aspect: float = 1.0  # width of a pixel over its height
    hdr: bool = False  # whether its transfer function is PQ (SMPTE ST 2084) or HLG (ARIB STD-B67)
    index: int = 0  # of the stream in the container


@dataclass(frozen=True)
class AudioInfo:
    """Properties of an audio stream in the container."""

    sample_rate: int  # Hz
    channels: int
    codec: str
    start: float  # seconds on the container's clock
    duration: float | None  # seconds, None if not in the container
    index: int = 0  # of the stream in the container


@dataclass(frozen=True)
class MediaInfo:
    """Properties of one file, as :func:`avwitness.media.probe.probe` reads them."""

    path: Path
    container: str
    duration: float | None  # seconds
    video: VideoInfo | None
    audio: AudioInfo | None
    tracks: tuple[Track, ...] = ()  # every audio and video stream, cover images left out

    @property
    def origin(self) -> float:
        """Time zero of the clip on the container's clock: the start of the earlier stream, in seconds."""
        return min(stream.start for stream in (self.video, self.audio) if stream is not None)


@dataclass(frozen=True)
class Clip:
    """A segment of decoded media. Either stream may be ``None``.

    Parameters
    ----------
    frames : uint8 array [T, H, W, 3] or None
        RGB at 25 frames per second. Frame ``k`` is shown at ``start + k / 25`` seconds.
    waveform : float32 array [S] or None
        Mono at 16 kHz in [-1, 1]. Sample ``n`` is played at ``start + n / 16000`` seconds.
    start : float
        Seconds from the beginning of the file, where the earlier stream begins.
    """

    frames: np.ndarray | None
    waveform: np.ndarray | None
    start: float = 0.0

    @property
    def duration(self) -> float:
        """Seconds covered by the longer stream."""
        video = 0.0 if self.frames is None else len(self.frames) / FRAME_RATE
        audio = 0.0 if self.waveform is None else len(self.waveform) / SAMPLE_RATE
        return max(audio, video)
