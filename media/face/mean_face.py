"""Derivation of the mean face from footage."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..windows import read_clip
from .geometry import fit_mean_face
from .tracking import FaceTracker


def derive_mean_face(table: pd.DataFrame, clips: int = 3, seed: int = 0) -> np.ndarray:
    """The mean face [478, 3] of some clips of every speaker, see :func:`avwitness.media.face.geometry.fit_mean_face`."""
    rng = np.random.default_rng(seed)
    faces = []
    for _, rows in table.groupby("speaker", sort=False):
        for file in rng.permutation(rows.file.to_numpy())[:clips]:
            clip = read_clip(file, audio=False, max_seconds=2.4, reader="decord")
            if clip.frames is None:
                continue
            with FaceTracker() as tracker:
                tracks = tracker.track(clip.frames)
            faces += [track.landmarks[track.valid][::10] for track in tracks[:1]]
    return fit_mean_face(np.concatenate(faces))
