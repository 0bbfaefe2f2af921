"""Decoding of a file in overlapping windows of both streams."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from .clip import FRAME_RATE, MAX_SECONDS, SAMPLES_PER_FRAME, Clip, MediaError
from .decode import Damage, at_25_fps, stream_frames, stream_samples
from .motion import Motion
from .probe import probe

WINDOW = 8.0  # seconds
HOP = 4.0  # seconds
AUDIO_HOP = 7.0  # seconds, of files without video: the windows share the second that the logit of an audio frame rests on
DAMAGE_LIMIT = 0.01  # share of undecodable packets above which a file is refused
SHORTFALL = 0.5  # seconds of a declared stream that may be missing; above it a file is truncated


class MediaReader:
    """Decodes one file in overlapping windows of both streams.

    Parameters
    ----------
    path : path-like
        Any file that FFmpeg reads.
    video, audio : bool
        Whether to decode that stream if the file has it.
    reader : {"pyav", "decord"}
        Library that decodes the frames, see :func:`stream_frames`.
    span : (int, int), optional
        First and one past the last frame (at 25 Hz) to yield, of both streams; all frames are decoded, so that damage is detected.
    max_seconds : float
        Length that may be decoded.
    video_track, audio_track : int, optional
        Index of the stream in the container; otherwise the first one that can be decoded.
    channel : int, optional
        The only channel of the audio to decode; otherwise the mean of all.

    Attributes
    ----------
    info : MediaInfo
    has_video, has_audio : bool
        Whether the file has that stream and it is decoded.
    span : (int, int) or None
    video_damage, audio_damage : Damage
        Filled while reading.
    motion : Motion
        Whether the image ever changes; filled while reading.

    Raises
    ------
    MediaError
        As :func:`probe`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        video: bool = True,
        audio: bool = True,
        reader: str = "pyav",
        span: tuple[int, int] | None = None,
        max_seconds: float = MAX_SECONDS,
        video_track: int | None = None,
        audio_track: int | None = None,
        channel: int | None = None,
    ) -> None:
        self._reader, self.span, self._max_seconds, self._channel = reader, span, max_seconds, channel
        self.info = probe(path, video_track=video_track, audio_track=audio_track)
        self.has_video = video and self.info.video is not None
        self.has_audio = audio and self.info.audio is not None
        self.video_damage, self.audio_damage = Damage(), Damage()
        self.motion = Motion()

    def windows(self, seconds: float = WINDOW, hop: float = HOP) -> Iterator[Clip]:
        """Yield clips of ``seconds`` every ``hop``; the last one is shorter. Memory is bounded by one window."""
        length, stride = round(seconds * FRAME_RATE), round(hop * FRAME_RATE)
        frames = _Buffer(self._within(self._frames(), 1), 1) if self.has_video else None
        samples = _Buffer(self._within(self._samples(), SAMPLES_PER_FRAME), SAMPLES_PER_FRAME) if self.has_audio else None
        buffers = [b for b in (frames, samples) if b is not None]
        origin = self.span[0] if self.span else 0
        start = 0
        while buffers:
            for buffer in buffers:
                buffer.fill(start, length)
            yield Clip(
                frames=None if frames is None else frames.window(),
                waveform=None if samples is None else samples.window(),
                start=(start + origin) / FRAME_RATE,
            )
            if all(buffer.exhausted for buffer in buffers):
                return
            start += stride

    @property
    def seconds(self) -> float:
        """Length of what has been decoded so far, of the longer stream."""
        return max(self.video_damage.end, self.audio_damage.end) - self.info.origin

    def check(self) -> None:
        """Raise if too many packets could not be decoded, or the decoded stream is much shorter than declared.

        Raises
        ------
        MediaError
            Naming the stream and the damaged or missing share.
        """
        for name, wanted, info, damage in (
            ("video", self.has_video, self.info.video, self.video_damage),
            ("audio", self.has_audio, self.info.audio, self.audio_damage),
        ):
            if not wanted or info is None:
                continue
            path = self.info.path
            if damage.end == 0.0:
                raise MediaError(path, f"nothing of its {name} stream could be decoded: damaged or truncated")
            declared = info.duration if info.duration is not None else 0.0
            missing = declared - (damage.end - info.start)
            if missing > max(SHORTFALL, 0.02 * declared):
                raise MediaError(path, f"is truncated: {missing:.1f} s of the {declared:.1f} s of its {name} are missing")
            if damage.share > DAMAGE_LIMIT:
                raise MediaError(
                    path, f"has corrupt packets: {damage.broken} of {damage.packets} in its {name} stream could not be decoded"
                )

    def _within(self, chunks: Iterator[np.ndarray], per_frame: int) -> Iterator[np.ndarray]:
        """The span of a stream that comes in chunks [N, ...], of which ``per_frame`` entries make a frame."""
        if self.span is None:
            yield from chunks
            return
        begin, end = (frame * per_frame for frame in self.span)
        place = 0
        for chunk in chunks:
            inside = chunk[max(begin - place, 0) : max(end - place, 0)]
            if len(inside):
                yield inside
            place += len(chunk)

    def _frames(self) -> Iterator[np.ndarray]:
        timed = stream_frames(self.info, self.video_damage, reader=self._reader, max_seconds=self._max_seconds)
        for frame in at_25_fps(timed, self.info.origin):
            self.motion.add(frame)
            yield frame[None]

    def _samples(self) -> Iterator[np.ndarray]:
        return stream_samples(self.info, self.audio_damage, self._max_seconds, self._channel)


class _Buffer:
    """One window of a sequence of arrays, which is read no further than the window."""

    def __init__(self, chunks: Iterator[np.ndarray], per_frame: int) -> None:
        self._chunks = chunks
        self._per_frame = per_frame
        self._held: list[np.ndarray] = []
        self._begin = 0  # position of the first held item
        self._wanted = 0
        self.exhausted = False

    def fill(self, start: int, length: int) -> None:
        """Move to ``start`` (in video frames) and read until more than ``length`` frames are held, or the end is reached."""
        drop = start * self._per_frame - self._begin
        while self._held and drop > 0:
            head = self._held[0]
            if len(head) <= drop:
                self._held.pop(0)
                drop -= len(head)
                self._begin += len(head)
            else:
                self._held[0] = head[drop:].copy()  # a view would keep the whole old window in memory
                self._begin += drop
                drop = 0
        self._wanted = length * self._per_frame
        while not self.exhausted and self._end() - self._begin <= self._wanted:
            chunk = next(self._chunks, None)
            if chunk is None:
                self.exhausted = True
            else:
                self._held.append(chunk)

    def window(self) -> np.ndarray | None:
        """The held window, or None where the stream has ended before it."""
        if not self._held:
            return None
        if len(self._held) > 1:
            self._held = [np.concatenate(self._held)]  # shared with the window: frames are large
        return self._held[0][: self._wanted]

    def _end(self) -> int:
        return self._begin + sum(len(chunk) for chunk in self._held)


def read_clip(
    path: str | os.PathLike[str], *, video: bool = True, audio: bool = True, max_seconds: float = 60.0, reader: str = "pyav"
) -> Clip:
    """Decode the first ``max_seconds`` of a file at once.

    Returns
    -------
    Clip
        Streams the file lacks, or that were not asked for, are ``None``.

    Raises
    ------
    MediaError
        As :func:`probe`, and where nothing can be decoded.
    """
    media = MediaReader(path, video=video, audio=audio, reader=reader)
    for clip in media.windows(max_seconds, max_seconds):
        if clip.frames is None and clip.waveform is None:
            break
        return clip
    raise MediaError(os.fspath(path), "nothing in it could be decoded: damaged or truncated")
