"""Audio-visual synchronisation: similarity of the early features of both streams by offset."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from ..avsr.correlation import canonical
from ..avsr.sync_network import eroded, sums_by_offset

EDGE = 2  # frames at either end of a clip, and around frames without a mouth, whose features depend on the padding
CONTEXT = 1  # frames on either side that are projected together with one frame
MIN_COMPARED = 6  # frames that must be compared at every offset
COUNT_EXPONENT = 0.75  # power of the share of frames compared at an offset; 0 favours offsets with few frames, 1 favours small offsets
MIN_NORM = 1e-3  # added to the length of projected frames; frames of speech have about 3
TOLERANCE = 5  # frames (200 ms); webcams and web video are off by as much, and viewers tolerate 125 ms (ITU-R BT.1359)
DEVIATION = 0.1  # added to the standard deviation over the other offsets, which nears 0 in long clips


class SyncHead(nn.Module):
    """Projects early features of both streams to a common space, and sums their cosines by offset.

    The two projections are fitted in closed form by :func:`fit_sync`.

    Notes
    -----
    Source: sliding one stream over the other as in Chung and Zisserman, *Out of time: automated lip sync in the wild*, ACCV
    workshops 2016; canonical correlation takes the place of their contrastive network. Early features are used because
    those of the transformers encode the position in the clip, from which any matching task could be solved.
    """

    def __init__(self, audio_width: int, video_width: int, width: int) -> None:
        super().__init__()
        self.audio_projection = nn.Conv1d(audio_width, width, 2 * CONTEXT + 1, padding=CONTEXT, bias=False)
        self.video_projection = nn.Conv1d(video_width, width, 2 * CONTEXT + 1, padding=CONTEXT, bias=False)
        for layer in (self.audio_projection, self.video_projection):
            layer.weight.requires_grad_(False)

    def forward(self, audio: Tensor, video: Tensor, audio_mask: Tensor, video_mask: Tensor) -> Tensor:
        """Features [B, T, D] of both streams and bool [B, T] to sums of cosines and counts of frames, [B, 2, 31].

        Entry ``15 + d`` compares video frames with audio frames ``d`` frames later.
        """
        known = [eroded(mask, EDGE + CONTEXT) for mask in (audio_mask, video_mask)]
        projected = [_projected(*each) for each in zip((self.audio_projection, self.video_projection), (audio, video), known, strict=True)]
        return sums_by_offset(projected[0], projected[1], *known)


def _centred(x: Tensor, known: Tensor) -> Tensor:
    """Rows without their mean over the known ones, which depends on speaker and channel but not on time."""
    weight = known[..., None].to(x.dtype)
    return x - (x * weight).sum(dim=1, keepdim=True) / weight.sum(dim=1, keepdim=True).clamp_min(1.0)


def _projected(layer: nn.Conv1d, x: Tensor, known: Tensor) -> Tensor:
    return _directions(layer(_centred(x, known).transpose(1, 2)).transpose(1, 2))


def _directions(x: Tensor) -> Tensor:
    return x / (x.norm(dim=-1, keepdim=True) + MIN_NORM)


def sync_curve(sums: np.ndarray) -> np.ndarray | None:
    """Similarity at every offset from -15 to 15 frames, of sums and counts [2, 31]; ``None`` where too few frames were compared.

    Sums of several windows may be added first.
    """
    total, count = np.asarray(sums, dtype=np.float64)
    if count.min() < MIN_COMPARED:
        return None
    curve: np.ndarray = total / count * (count / count.max()) ** COUNT_EXPONENT
    return curve


def sync_statistic(curve: np.ndarray) -> float:
    """Statistic of a similarity curve [31] that is high for streams out of sync: minus the z-score of its centre.

    The centre is the maximum over offsets within 200 ms; mean and standard deviation are those of the other offsets.
    """
    near = np.abs(np.arange(len(curve)) - len(curve) // 2) <= TOLERANCE
    return float(-(curve[near].max() - curve[~near].mean()) / (curve[~near].std() + DEVIATION))


def sync_offset(curve: np.ndarray) -> float:
    """Frames by which the audio lags at the maximum of the curve, refined by a parabola through the maximum."""
    best = int(curve.argmax())
    offset = float(best - len(curve) // 2)
    if 0 < best < len(curve) - 1:
        before, peak, after = curve[best - 1 : best + 2]
        curvature = before - 2.0 * peak + after
        offset += float(0.5 * (before - after) / curvature) if curvature < 0.0 else 0.0
    return offset


def fit_sync(head: SyncHead, clips: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray, int]]) -> int:
    """Fit the projections of a sync head by canonical correlation analysis on genuine clips.

    Parameters
    ----------
    clips : iterable of (float [T, D], float [T, D'], bool [T], int)
        Early features of audio and video, frames in which both are known, and the known lag of the audio in frames.

    Returns
    -------
    int
        Number of frames used.

    Raises
    ------
    ValueError
        If no clip is long enough.
    """
    rows: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for audio_features, video_features, known, lag in clips:
        inner = eroded(torch.from_numpy(known)[None], EDGE + CONTEXT)[0].numpy()
        pairs = [(t, t + lag) for t in np.flatnonzero(inner) if 0 <= t + lag < len(known) and inner[t + lag]]
        if len(pairs) < MIN_COMPARED:
            continue
        video_frames, audio_frames = np.array(pairs).T
        for store, x, at in ((rows[0], audio_features, audio_frames), (rows[1], video_features, video_frames)):
            x = x - x[inner].mean(axis=0)
            store.append(np.concatenate([x[at + step] for step in range(-CONTEXT, CONTEXT + 1)], axis=1))
    if not rows[0]:
        raise ValueError("no clip has enough frames with both audio and video to fit the sync head")
    audio, video = (np.concatenate(store).astype(np.float64) for store in rows)
    audio, video = audio - audio.mean(axis=0), video - video.mean(axis=0)
    found = canonical(audio, video, head.audio_projection.out_channels)
    with torch.no_grad():
        for layer, projection in zip((head.audio_projection, head.video_projection), found, strict=True):
            weight = torch.from_numpy(projection.T.reshape(projection.shape[1], 2 * CONTEXT + 1, -1)).permute(0, 2, 1)
            layer.weight.zero_()
            layer.weight[: len(weight)] = weight.to(layer.weight.dtype)
    return len(audio)
