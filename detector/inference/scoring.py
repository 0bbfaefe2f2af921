"""One file to its verdict: windows, model output of each, verdict."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ...media.clip import FRAME_RATE, MediaError
from ...media.silence import active_frames
from ...media.window_views import window_views
from ...media.windows import MediaReader
from ..verdict import Verdict
from .accumulator import Accumulator
from .verdict_builder import VerdictBuilder
from .window_model import Hook, NonFiniteOutput, WindowModel


def score_file(model: WindowModel, path: Path, modality: str, trim_silence: bool = False, hook: Hook | None = None) -> Verdict:
    """Score one file.

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

    Raises
    ------
    MediaError
        If the file cannot be read or lacks a stream that the modality names.
    NonFiniteOutput
        If the model outputs NaN or infinity.
    """
    span = active_frames(path) if trim_silence else None
    media = MediaReader(path, video=modality != "audio", audio=modality != "video", span=span)
    for modalities, present, name in (({"av", "audio"}, media.has_audio, "audio"), ({"av", "video"}, media.has_video, "video")):
        if modality in modalities and not present:
            raise MediaError(path, f"has no {name} stream, and modality {modality!r} asks for it")
    accumulated = Accumulator(model)
    with contextlib.closing(window_views(media)) as windows:
        for views in windows:
            accumulated.add(views)
            if hook is not None:
                hook(accumulated.frames / FRAME_RATE, media.info.duration)
    media.check()
    verdict = VerdictBuilder(media, accumulated, model.calibration, model.info, modality).build()
    if not verdict.is_finite():
        raise NonFiniteOutput(["calibrated probabilities"])
    return verdict
