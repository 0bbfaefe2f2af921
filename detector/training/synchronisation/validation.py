"""Sync networks asked about recordings: offsets of moved sound, and statistics of sound that belongs to the lips and that does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from ....avsr.sync_network import MAX_OFFSET, SyncNetwork
from ...sync import sync_curve, sync_offset, sync_statistic
from .recordings import Recording

MOVES = (-50, -40, -30, -20, -10, 10, 20, 30, 40, 50)  # frames (0.4 to 2 s) by which sound is moved for a mismatch
SHIFTS = range(-8, 9)  # frames by which sound is moved for the offset
N_MOVED, N_FOREIGN = 2, 2  # mismatches of each kind for every window
MIN_SHARE = 0.6  # of a window that must have sound after it was moved
MIN_PEAK = 0.15  # of the similarity above its median over offsets, for a lag to be believed
KINDS = ("in sync", "moved", "foreign")


@dataclass(frozen=True)
class Span:
    """Frames of a recording whose lips are compared."""

    first: int
    frames: int


def middle(recording: Recording, frames: int) -> Span:
    """The middle frames of a recording."""
    return Span((recording.frames - frames) // 2, frames)


@torch.inference_mode()
def compare(network: SyncNetwork, lips: Recording, audio: Recording, span: Span, move: int = 0) -> np.ndarray | None:
    """Similarity by offset [31] of the lips in a span with sound that is ``move`` frames later there; ``None`` if too little is left.

    The sound outside of the span is not used, as in a file that is no longer.
    """
    begin, end = span.first + move, span.first + move + span.frames
    inside = np.arange(max(begin, 0), min(end, audio.frames))
    if len(inside) < MIN_SHARE * span.frames:
        return None
    features = np.zeros((2 * span.frames, audio.features.shape[1]), dtype=np.float32)
    at = inside - begin
    features[2 * at[0] : 2 * at[-1] + 2] = audio.features[2 * inside[0] : 2 * inside[-1] + 2]
    heard = np.zeros(span.frames, dtype=bool)
    heard[at] = True
    rows = slice(span.first, span.first + span.frames)
    arrays = (features, lips.lips[rows], heard, lips.usable[rows])
    sums = network(*(torch.from_numpy(x)[None] for x in arrays))
    return sync_curve(sums[0].numpy())


def mismatch_table(network: SyncNetwork, recordings: Sequence[Recording], frames: int, seed: int = 0) -> pd.DataFrame:
    """Statistics of windows in sync, with moved and with foreign sound.

    Parameters
    ----------
    frames : int
        Length of the windows, in the middle of the recordings; shorter recordings are left out.

    Returns
    -------
    pandas.DataFrame
        ``name, page, kind`` (of :data:`KINDS`), ``move``, ``statistic`` and ``offset`` (frames).
    """
    network.eval()
    rng = np.random.default_rng(seed)
    rows: list[tuple[str, str, str, int, float, float]] = []

    def add(lips: Recording, audio: Recording, kind: str, move: int) -> None:
        curve = compare(network, lips, audio, middle(lips, frames), move)
        if curve is not None:
            rows.append((lips.name, lips.page, kind, move, sync_statistic(curve), sync_offset(curve)))

    long = [recording for recording in recordings if recording.frames >= frames]
    for lips in long:
        add(lips, lips, "in sync", 0)
        possible = [m for m in MOVES if compare_length(lips, middle(lips, frames), m) >= MIN_SHARE * frames]
        for move in rng.permutation(possible)[:N_MOVED]:
            add(lips, lips, "moved", int(move))
        others = [other for other in long if other.name.split("#")[0] != lips.name.split("#")[0]]
        for index in rng.permutation(len(others))[:N_FOREIGN]:
            other = others[index]
            add(lips, other, "foreign", middle(other, frames).first - middle(lips, frames).first)
    return pd.DataFrame(rows, columns=["name", "page", "kind", "move", "statistic", "offset"])


def compare_length(audio: Recording, span: Span, move: int) -> int:
    """Frames of a moved span that have sound."""
    return min(span.first + move + span.frames, audio.frames) - max(span.first + move, 0)


def offset_table(network: SyncNetwork, recordings: Sequence[Recording], frames: int, seed: int = 0) -> pd.DataFrame:
    """Offsets of windows whose sound was moved by a known number of frames, and of another window of the same recording that was not.

    The lag of footage from the web is not known. It is the same in the whole recording, so the offset of one window tells what
    that of another, with moved sound, should be.

    Returns
    -------
    pandas.DataFrame
        ``name, page, move``, ``offset`` of the moved window, ``still`` of the other one (NaN where the recording has no room for
        two), in frames.
    """
    network.eval()
    rng = np.random.default_rng(seed)
    rows = []
    for recording in (r for r in recordings if r.frames >= frames):
        two = recording.frames >= 2 * frames
        span = Span(recording.frames - frames, frames) if two else middle(recording, frames)
        move = int(rng.choice(list(SHIFTS)))
        curve = compare(network, recording, recording, span, move)
        still = compare(network, recording, recording, Span(0, frames)) if two else None
        if curve is not None:
            # Sound that is ``move`` frames later at every place has been brought forward: the offset falls.
            rows.append((recording.name, recording.page, -move, sync_offset(curve), float("nan") if still is None else sync_offset(still)))
    return pd.DataFrame(rows, columns=["name", "page", "move", "offset", "still"])


def estimated_lags(network: SyncNetwork, recordings: Sequence[Recording], largest: int = MAX_OFFSET - 3) -> list[int]:
    """Lag of the audio of every recording, in frames; its present lag where no offset stands out."""
    network.eval()
    lags = []
    for recording in recordings:
        curve = compare(network, recording, recording, Span(0, recording.frames))
        found = None if curve is None else round(sync_offset(curve))
        clear = curve is not None and curve.max() - np.median(curve) > MIN_PEAK
        lags.append(found if found is not None and clear and abs(found) <= largest else recording.lag)
    return lags
