"""The verdict on one file, and its published JSON form."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from importlib import resources
from typing import Any

SCHEMA_VERSION = "1.3"
RENAMED_FLAGS = {"audio_unproven": "audio_not_validated", "video_unproven": "video_not_validated"}  # quality flags of 1.0 and 1.1

#: Every quality flag with its meaning, as the README prints it.
QUALITY_FLAGS = {
    "no_audio_stream": "the file has no audio stream",
    "no_video_stream": "the file has no video stream",
    "silent_audio": "the audio stream is silent",
    "little_sound": "too little sound to score the audio",
    "no_face": "no face was found in the video",
    "little_face": "a face is visible for too short a time to score the video",
    "face_in_part": "the scored face is missing in more than a tenth of the frames",
    "several_faces": "more than one face is visible; the speaking one was scored",
    "small_face": "the face has fewer pixels than the detector was trained on",
    "tiny_face": "the face has so few pixels that the video gets no label",
    "blurred_mouth": "the mouth is more blurred than in any training clip, so the video gets no label",
    "heavy_compression": "the file has so few bits per pixel that the video gets no label",
    "hdr_video": "the video has a high dynamic range (PQ or HLG), which the detector was not trained on, so it sets no label",
    "still_video": "the video is a still image or a slideshow, so it is not scored",
    "unscored_tracks": "some audio or video tracks could not be scored: of an unknown codec, damaged, or beyond the eighth of their type",
    "channels_differ": "the channels of an audio track differ, so they were scored one by one",
    "audio_not_validated": "these weights were no better than chance on the audio of held-out speakers, so they give no probability",
    "video_not_validated": "these weights were no better than chance on the video of held-out speakers, so they give no probability",
    "too_short": "the clip is too short to be scored",
    "damaged_packets": "a few packets could not be decoded",
    "mixed_evidence": "parts of the file look fake and others genuine; see the timeline",
    "streams_mismatch": "audio and video do not seem to match",
    "zero_shot": "scored without training: only the similarity of the streams is given",
}


@dataclass(frozen=True)
class StreamVerdict:
    """Verdict on one stream.

    Parameters
    ----------
    present : bool
        Whether the file has this stream (and the modality includes it).
    p_fake : float or None
        Calibrated probability; None where the stream was not scored.
    label : {"genuine", "fake", "inconclusive"} or None
        None where the stream is absent.
    """

    present: bool = False
    p_fake: float | None = None
    label: str | None = None


@dataclass(frozen=True)
class Sync:
    """Synchronisation of audio and video.

    Parameters
    ----------
    offset_ms : float or None
        Lag of the audio behind the video, in milliseconds.
    p_mismatch : float or None
        Probability that the streams do not match.
    similarity : float or None
        Mean cosine of the streams' speech features at that offset, -1 to 1; zero-shot scoring alone gives it.
    """

    offset_ms: float | None = None
    p_mismatch: float | None = None
    similarity: float | None = None


@dataclass(frozen=True)
class Segment:
    """Probability of a fake in one segment of the timeline (seconds), for each stream; None where it was not scored."""

    start: float
    end: float
    audio: float | None
    video: float | None


@dataclass(frozen=True)
class Face:
    """One tracked face.

    Parameters
    ----------
    name : str
    speaking : bool
        Whether this is the face that was scored, in any window.
    start, end : float
        Seconds of first and last detection.
    seen : float
        Share of the frames between them in which the face was detected rather than interpolated.
    box : tuple of float
        Median left, top, right, bottom as shares of the frame's width and height.
    """

    name: str
    speaking: bool
    start: float
    end: float
    seen: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class TrackVerdict:
    """Properties and score of one track of the file.

    Parameters
    ----------
    index : int
        Of the stream in the container.
    type : {"audio", "video"}
    codec : str or None
        ``None`` where no decoder is known.
    default : bool
        Whether the container marks it as the one to play.
    language : str or None
    channels, sample_rate : int or None
        Of an audio track, in Hz.
    width, height : int or None
        Of a video track, in pixels.
    scored : bool
        Whether it has a probability.
    p_fake, label
        As in :class:`StreamVerdict`; the worst of its channels.
    """

    index: int
    type: str
    codec: str | None
    default: bool = False
    language: str | None = None
    channels: int | None = None
    sample_rate: int | None = None
    width: int | None = None
    height: int | None = None
    scored: bool = False
    p_fake: float | None = None
    label: str | None = None


@dataclass(frozen=True)
class ModelInfo:
    """Name, version and checksum of the weights."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Failure:
    """Why there is no verdict: the kind of error, and a sentence that names the file and the cause."""

    type: str
    message: str


@dataclass(frozen=True)
class Verdict:
    """One file's verdict; :meth:`to_dict` matches the JSON schema that :func:`schema` returns."""

    path: str
    status: str  # ok, inconclusive (no stream could be scored) or error
    verdict: str  # genuine, fake or inconclusive
    sha256: str | None = None
    duration: float | None = None  # seconds
    p_fake: float | None = None
    audio: StreamVerdict = field(default_factory=StreamVerdict)
    video: StreamVerdict = field(default_factory=StreamVerdict)
    sync: Sync = field(default_factory=Sync)
    timeline: tuple[Segment, ...] = ()
    faces: tuple[Face, ...] = ()
    tracks: tuple[TrackVerdict, ...] = ()
    quality: tuple[str, ...] = ()
    model: ModelInfo | None = None
    error: Failure | None = None
    schema_version: str = SCHEMA_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values.

        Raises
        ------
        ValueError
            If a number is not finite, see :meth:`is_finite`.
        """
        values: dict[str, Any] = json.loads(json.dumps(asdict(self), allow_nan=False))
        return {"schema_version": values.pop("schema_version"), **values}

    def is_finite(self) -> bool:
        """Whether no number is NaN or infinite."""
        try:
            self.to_dict()
        except ValueError:
            return False
        return True

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Verdict:
        """Inverse of :meth:`to_dict`; reads versions 1.0 (without ``sync.similarity``) and 1.1 (older names of two quality flags) too."""
        values = {**values, "schema_version": SCHEMA_VERSION}
        values["audio"] = StreamVerdict(**values["audio"])
        values["video"] = StreamVerdict(**values["video"])
        values["sync"] = Sync(**values["sync"])
        values["timeline"] = tuple(Segment(**segment) for segment in values["timeline"])
        values["faces"] = tuple(Face(**{**face, "box": tuple(face["box"])}) for face in values["faces"])
        values["tracks"] = tuple(TrackVerdict(**track) for track in values.get("tracks", ()))
        values["quality"] = tuple(RENAMED_FLAGS.get(flag, flag) for flag in values["quality"])
        values["model"] = ModelInfo(**values["model"]) if values["model"] else None
        values["error"] = Failure(**values["error"]) if values["error"] else None
        return cls(**values)


def error_verdict(path: str, kind: str, message: str, model: ModelInfo | None = None) -> Verdict:
    """The verdict on a file that could not be scored."""
    return Verdict(path=path, status="error", verdict="inconclusive", model=model, error=Failure(kind, message))


def renamed(verdict: Verdict, path: str, name: str) -> Verdict:
    """The verdict on a file at ``path`` under another name."""
    if path == name:
        return verdict
    error = verdict.error
    return replace(verdict, path=name, error=None if error is None else replace(error, message=error.message.replace(path, name)))


@lru_cache(maxsize=1)
def schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a verdict, as it ships in the package."""
    loaded: dict[str, Any] = json.loads(resources.files(__package__).joinpath("verdict.schema.json").read_text())
    return loaded
