"""All tracks and channels of one file: which are scored one by one, and how their verdicts become one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ...media.clip import MediaInfo, Track
from ..calibration import Calibration
from ..verdict import Segment, StreamVerdict, TrackVerdict, Verdict

MAX_SCORED = 8  # tracks of each type that are scored, and channels of each track
ABSENT = frozenset({"no_audio_stream", "no_video_stream"})  # flags that say nothing of a pass over a single track


@dataclass(frozen=True)
class TrackPass:
    """One pass over a file: of its first audio and video track together, or of a single track or channel.

    Parameters
    ----------
    verdict : Verdict
        On what the pass scored.
    audio, video : int or None
        Index of the track that was scored.
    audio_logit, video_logit : float or None
    """

    verdict: Verdict
    audio: int | None
    video: int | None
    audio_logit: float | None = None
    video_logit: float | None = None


def further_tracks(tracks: Sequence[Track], kind: str, scored: int | None) -> list[int]:
    """Indices of the tracks of one type to score after the first one."""
    usable = [track.index for track in tracks if track.type == kind and track.codec is not None]
    return [index for index in usable[:MAX_SCORED] if index != scored]


def combine(first: TrackPass, further: Sequence[TrackPass], info: MediaInfo, calibration: Calibration, modality: str) -> Verdict:
    """One verdict of all passes: the highest probability of a fake counts, and the file is genuine only if every track is.

    Parameters
    ----------
    first : TrackPass
        Of the first audio and video track together.
    further : sequence of TrackPass
        Of the other tracks, and of single channels.
    info : MediaInfo
        Of the file.
    calibration : Calibration
    modality : {"auto", "av", "audio", "video"}
        Which streams were asked for.
    """
    passes = [first, *further]
    asked = [track for track in info.tracks if modality in ("auto", "av", track.type)]
    tracks = tuple(track_verdict(track, passes) for track in info.tracks)
    unscored = any(
        not entry.scored for entry, track in zip(tracks, info.tracks, strict=True) if track in asked and not _was_read(track, passes)
    )
    verdict = first.verdict
    if further:
        verdict = _worst(first, passes, calibration)
    quality = [*verdict.quality, *(["unscored_tracks"] if unscored else [])]
    label = verdict.verdict
    if label == "genuine" and not all(entry.label == "genuine" for entry, track in zip(tracks, info.tracks, strict=True) if track in asked):
        label = "inconclusive"  # a track that is present but was not scored never clears a file
    return replace(verdict, verdict=label, quality=tuple(quality), tracks=tracks)


def track_verdict(track: Track, passes: Iterable[TrackPass]) -> TrackVerdict:
    """The verdict's entry for one track: the worst of its passes."""
    streams = [one.verdict.audio if track.type == "audio" else one.verdict.video for one in _of(track, passes)]
    worst = max(streams, key=_rank, default=StreamVerdict())
    return TrackVerdict(**vars(track), scored=worst.p_fake is not None, p_fake=worst.p_fake, label=worst.label)


def _of(track: Track, passes: Iterable[TrackPass]) -> list[TrackPass]:
    return [one for one in passes if (one.audio if track.type == "audio" else one.video) == track.index]


def _was_read(track: Track, passes: Iterable[TrackPass]) -> bool:
    return bool(_of(track, passes))


def _rank(stream: StreamVerdict) -> tuple[bool, float]:
    return stream.label == "fake", -1.0 if stream.p_fake is None else stream.p_fake


def _worst(first: TrackPass, passes: Sequence[TrackPass], calibration: Calibration) -> Verdict:
    audio = max((one for one in passes if one.audio is not None), key=lambda one: _rank(one.verdict.audio), default=first)
    video = max((one for one in passes if one.video is not None), key=lambda one: _rank(one.verdict.video), default=first)
    p_fake = calibration.overall_probability(audio.audio_logit, video.video_logit)
    labels = {one.verdict.verdict for one in passes}
    mean_silent = audio is not first and audio.audio == first.audio and audio.verdict.audio.p_fake is not None
    dropped = ABSENT | ({"silent_audio", "little_sound"} if mean_silent else set())  # the channels cancel in their mean only
    quality = [flag for flag in first.verdict.quality if flag not in dropped - ABSENT]
    quality += [flag for one in passes[1:] for flag in one.verdict.quality if flag not in dropped]
    if any(one.audio == first.audio and one is not first and one.audio is not None for one in passes):
        quality.append("channels_differ")
    return replace(
        first.verdict,
        status="ok" if any(one.verdict.status == "ok" for one in passes) else "inconclusive",
        verdict="fake" if "fake" in labels else "genuine" if labels <= {"genuine"} or _cleared(passes, mean_silent) else "inconclusive",
        p_fake=None if p_fake is None else round(p_fake, 4),
        audio=audio.verdict.audio if audio.audio is not None else first.verdict.audio,
        video=video.verdict.video if video.video is not None else first.verdict.video,
        timeline=_timeline(audio.verdict, video.verdict),
        faces=video.verdict.faces,
        quality=tuple(dict.fromkeys(quality)),
    )


def _cleared(passes: Sequence[TrackPass], mean_silent: bool) -> bool:
    """Whether every pass is genuine but the first, in which the channels cancel."""
    return mean_silent and passes[0].video is None and all(one.verdict.verdict == "genuine" for one in passes[1:])


def _timeline(audio: Verdict, video: Verdict) -> tuple[Segment, ...]:
    """Segments of two verdicts: the audio of one and the video of the other."""
    if audio is video:
        return audio.timeline
    longer = max(audio.timeline, video.timeline, key=len)
    heard, shown = (
        {segment.start: getattr(segment, kind) for segment in one.timeline} for kind, one in (("audio", audio), ("video", video))
    )
    return tuple(replace(segment, audio=heard.get(segment.start), video=shown.get(segment.start)) for segment in longer)
