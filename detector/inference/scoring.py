"""One file to its verdict: windows, model output of each, verdict of every track."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from ...media.clip import FRAME_RATE, MAX_SECONDS, MediaError
from ...media.files import file_sha256
from ...media.silence import active_frames
from ...media.window_views import window_views
from ...media.windows import AUDIO_HOP, HOP, WINDOW, MediaReader
from ..verdict import Verdict
from .accumulator import Accumulator
from .tracks import MAX_SCORED, TrackPass, combine, further_tracks
from .verdict_builder import VerdictBuilder
from .window_model import Hook, NonFiniteOutput, WindowModel

log = logging.getLogger(__name__)


def score_file(
    model: WindowModel,
    path: Path,
    modality: str,
    trim_silence: bool = False,
    hook: Hook | None = None,
    audio_track: int | None = None,
    video_track: int | None = None,
    max_seconds: float = MAX_SECONDS,
) -> Verdict:
    """Score one file: its first audio and video track together, then every other track, and channels that differ, alone.

    Parameters
    ----------
    model : WindowModel
    path : Path
    modality : {"auto", "av", "audio", "video"}
        Which streams to score; ``auto`` takes those that are there.
    trim_silence : bool
        Leave out both streams before the sound begins and after it ends.
    hook : callable, optional
        Called with the seconds done and the seconds in all after every window.
    audio_track, video_track : int, optional
        Index of the only track of its type to score.
    max_seconds : float
        Length above which the file is refused.

    Raises
    ------
    MediaError
        If the file cannot be read or lacks a stream or track that was asked for.
    NonFiniteOutput
        If the model outputs NaN or infinity.
    """
    span = active_frames(path, max_seconds) if trim_silence else None
    open_reader = partial(MediaReader, path, span=span, max_seconds=max_seconds)
    media = open_reader(video=modality != "audio", audio=modality != "video", audio_track=audio_track, video_track=video_track)
    for modalities, present, name in (({"av", "audio"}, media.has_audio, "audio"), ({"av", "video"}, media.has_video, "video")):
        if modality in modalities and not present:
            raise MediaError(path, f"has no {name} stream, and modality {modality!r} asks for it")
    first = _score_pass(model, media, modality, hook)
    readers = [(media, channel) for channel in media.audio_damage.channels[:MAX_SCORED]] if media.has_audio else []
    further = [_score_channel(model, open_reader, reader, channel, hook) for reader, channel in readers]
    tracks = media.info.tracks
    if modality != "video" and audio_track is None:
        for index in further_tracks(tracks, "audio", media.info.audio.index if media.info.audio else None):
            further += _score_audio_track(model, open_reader, index, hook)
    if modality != "audio" and video_track is None:
        for index in further_tracks(tracks, "video", media.info.video.index if media.info.video else None):
            with _unscored(path, "video", index):
                further.append(_score_pass(model, open_reader(audio=False, video_track=index), "video", hook))
    chosen = {"audio": audio_track, "video": video_track}
    info = replace(media.info, tracks=tuple(track for track in tracks if chosen[track.type] in (None, track.index)))
    return replace(combine(first, further, info, model.calibration, modality), sha256=file_sha256(path))


@contextlib.contextmanager
def _unscored(path: Path, kind: str, index: int) -> Iterator[None]:
    """A further track that cannot be read stays without a score, and keeps the file from being called genuine."""
    try:
        yield
    except MediaError as error:
        log.debug("%s: %s track %d: %s", path, kind, index, error)


def _score_audio_track(model: WindowModel, open_reader: partial[MediaReader], index: int, hook: Hook | None) -> list[TrackPass]:
    passes: list[TrackPass] = []
    with _unscored(open_reader.args[0], "audio", index):
        reader = open_reader(video=False, audio_track=index)
        passes.append(_score_pass(model, reader, "audio", hook))
        passes += [_score_channel(model, open_reader, reader, channel, hook) for channel in reader.audio_damage.channels[:MAX_SCORED]]
    return passes


def _score_channel(model: WindowModel, open_reader: partial[MediaReader], media: MediaReader, channel: int, hook: Hook | None) -> TrackPass:
    assert media.info.audio is not None
    return _score_pass(model, open_reader(video=False, audio_track=media.info.audio.index, channel=channel), "audio", hook)


def _score_pass(model: WindowModel, media: MediaReader, modality: str, hook: Hook | None) -> TrackPass:
    """Score what one reader decodes."""
    accumulated = Accumulator(model)
    hop = HOP if media.has_video else AUDIO_HOP
    views_of_windows = window_views(media, WINDOW, hop, faces=not model.uses_portraits, portraits=model.uses_portraits)
    with contextlib.closing(views_of_windows) as windows:
        for views in windows:
            accumulated.add(views)
            if hook is not None:
                hook(accumulated.frames / FRAME_RATE, media.info.duration)
    media.check()
    verdict = VerdictBuilder(media, accumulated, model.calibration, model.info, modality).build()
    if not verdict.is_finite():
        raise NonFiniteOutput(["calibrated probabilities"])
    return TrackPass(
        verdict,
        audio=media.info.audio.index if media.has_audio and media.info.audio else None,
        video=media.info.video.index if media.has_video and media.info.video else None,
        audio_logit=accumulated.audio.logit,
        video_logit=accumulated.video.logit,
    )
