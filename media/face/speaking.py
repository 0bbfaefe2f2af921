"""Choice of the speaking face among several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..clip import SAMPLES_PER_FRAME
from .tracking import FaceTrack


def speaking_face(tracks: Sequence[FaceTrack], waveform: np.ndarray | None = None) -> FaceTrack | None:
    """Choose the speaking face: the highest product of mouth movement, presence, size, and correlation with the loudness of the audio.

    Parameters
    ----------
    tracks : sequence of FaceTrack
        The faces of one window.
    waveform : float32 array [S], optional
        Audio of the same window at 16 kHz.
    """
    if len(tracks) < 2:
        return tracks[0] if tracks else None
    return max(tracks, key=lambda track: _speaking_score(track, waveform))


def _speaking_score(track: FaceTrack, waveform: np.ndarray | None) -> float:
    if track.usable.sum() < 2:
        return 0.0
    opening = track.mouth_opening[track.usable]
    score = float(opening.std() * track.usable.mean() * np.sqrt(np.median(track.width)))
    if waveform is not None and len(waveform) >= SAMPLES_PER_FRAME * 2:
        frames = len(waveform) // SAMPLES_PER_FRAME
        loud = np.sqrt(np.mean(waveform[: frames * SAMPLES_PER_FRAME].reshape(frames, -1) ** 2, axis=1))
        both = np.flatnonzero(track.usable[:frames])
        if len(both) > 2 and loud[both].std() > 0 and track.mouth_opening[both].std() > 0:
            score *= 0.5 + max(0.0, float(np.corrcoef(track.mouth_opening[both], loud[both])[0, 1]))
    return score
