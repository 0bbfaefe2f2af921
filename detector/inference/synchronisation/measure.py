"""Offset between audio and lips of a file, with its confidence: for the whole file and for windows of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ....avsr.sync_network import MAX_OFFSET, SyncNetwork
from ....media.clip import FRAME_RATE, MediaError
from ....media.window_views import MIN_FACE_FRAMES, WindowViews, window_views
from ....media.windows import HOP, WINDOW, MediaReader
from ...calibration import StreamCalibration
from ...model import DualLabelDetector
from ...sync import sync_curve, sync_offset, sync_statistic

PART = 50  # frames (2 s) of the windows that have an offset each
PART_HOP = 25  # frames (1 s) from the start of one to that of the next
MS_PER_FRAME = 1000.0 / FRAME_RATE


@dataclass(frozen=True)
class SyncScore:
    """Offset of one span of a file.

    Parameters
    ----------
    start, end : float
        Seconds.
    offset_ms : float
        Lag of the audio behind the lips in milliseconds; negative where it comes first.
    confidence : float
        Similarity at that offset minus its median over all offsets, 0 to 2: higher where they match.
    p_mismatch : float
        Probability that they do not.
    """

    start: float
    end: float
    offset_ms: float
    confidence: float
    p_mismatch: float


@dataclass(frozen=True)
class SyncMeasurement:
    """What :func:`measure_sync` finds in a file.

    Parameters
    ----------
    path : str
    clip : SyncScore
        Of the whole file.
    label : str
        ``genuine`` (in sync), ``inconclusive`` or ``fake`` (the streams do not match).
    offsets_ms : tuple of float
        Offsets that were compared.
    similarity : tuple of float
        Mean cosine of audio and lips at each of them.
    windows : tuple of SyncScore
        Of every two seconds, one second apart, in which face and sound are there throughout.
    """

    path: str
    clip: SyncScore
    label: str
    offsets_ms: tuple[float, ...]
    similarity: tuple[float, ...]
    windows: tuple[SyncScore, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@torch.inference_mode()
def measure_sync(
    model: DualLabelDetector,
    calibration: StreamCalibration,
    path: str | os.PathLike[str],
    hook: Callable[[float, float | None], None] | None = None,
) -> SyncMeasurement:
    """Measure the offset between audio and lips; see :meth:`avwitness.detector.inference.detector.Detector.measure_sync`.

    Parameters
    ----------
    model : DualLabelDetector
        With a sync network.
    calibration : StreamCalibration
        Of the probability of a mismatch.
    path : path-like
    hook : callable, optional
        Called with the seconds done and the seconds in all after every window.

    Raises
    ------
    MediaError
        If the file cannot be read, lacks a stream, or shows a speaking face for less than a second.
    ValueError
        If the detector has no sync network.
    """
    network, classifier = model.sync_network, model.audio_classifier
    if network is None or classifier is None:
        raise ValueError("the detector has no sync network; take small or large")
    media = MediaReader(path)
    for present, name in ((media.has_audio, "audio"), (media.has_video, "video")):
        if not present:
            raise MediaError(Path(path), f"has no {name} stream, and the offset is between audio and video")
    total, parts, end = np.zeros((2, 2 * MAX_OFFSET + 1)), dict[int, np.ndarray](), 0
    with contextlib.closing(window_views(media, WINDOW, HOP, faces=False)) as windows:
        for views in windows:
            end = views.first + views.video_frames
            inputs = _inputs(views)
            if inputs is not None:
                tensors = [torch.from_numpy(x)[None].to(model.device) for x in inputs]
                features = classifier.encoder(tensors[0])[network.config.layer]
                total += _sums(network, features, *tensors[1:])
                for first in range(0, tensors[1].shape[1] - PART + 1, PART_HOP):
                    rows = slice(first, first + PART)
                    spans = (tensor[:, rows] for tensor in tensors[1:])
                    parts.setdefault(views.first + first, _sums(network, features[:, 2 * first : 2 * (first + PART)], *spans))
            if hook is not None:
                hook(end / FRAME_RATE, media.info.duration)
    media.check()
    clip, curve = _score(total, 0, end, calibration), sync_curve(total)
    if clip is None or curve is None:
        raise MediaError(Path(path), "shows no speaking face with sound for a second, which the offset needs")
    scores = (_score(sums, first, first + PART, calibration) for first, sums in sorted(parts.items()))
    return SyncMeasurement(
        path=str(path),
        clip=clip,
        label=calibration.label(clip.p_mismatch),
        offsets_ms=tuple(MS_PER_FRAME * offset for offset in range(-MAX_OFFSET, MAX_OFFSET + 1)),
        similarity=tuple(round(float(x), 4) for x in curve),
        windows=tuple(score for score in scores if score is not None),
    )


def _inputs(views: WindowViews) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """Waveform, lips, frames with sound and frames with lips of a window; ``None`` where there is too little."""
    if views.waveform is None or views.lips is None or views.usable is None or views.usable.sum() < MIN_FACE_FRAMES:
        return None
    frames, heard = len(views.lips), views.audio_frames
    if heard < MIN_FACE_FRAMES:
        return None
    length, short = max(frames, heard), max(frames, heard) - frames
    lips = np.pad(views.lips, ((0, short), (0, 0), (0, 0)), mode="edge")
    return views.waveform, lips, np.arange(length) < heard, np.pad(views.usable, (0, short))


def _sums(network: SyncNetwork, features: torch.Tensor, lips: torch.Tensor, heard: torch.Tensor, seen: torch.Tensor) -> np.ndarray:
    sums: np.ndarray = network(features, lips, heard, seen)[0].double().cpu().numpy()
    return sums


def _score(sums: np.ndarray, first: int, end: int, calibration: StreamCalibration) -> SyncScore | None:
    curve = sync_curve(sums)
    if curve is None:
        return None
    return SyncScore(
        start=round(first / FRAME_RATE, 3),
        end=round(end / FRAME_RATE, 3),
        offset_ms=round(sync_offset(curve) * MS_PER_FRAME, 1),
        confidence=round(float(curve.max() - np.median(curve)), 4),
        p_mismatch=round(float(calibration.probability(sync_statistic(curve))), 4),
    )
