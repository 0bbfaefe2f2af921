"""Whether sound and picture belong together: how alike the two streams' speech features are, slid along each other."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from ..avsr.correlation import canonical

MAX_OFFSET = 15  # frames (0.6 s) by which sound and picture are compared either way
EDGE = 2  # frames at either end of a clip, and around frames without a mouth, whose features can tell that they lie there
CONTEXT = 1  # frames on either side that are looked at together with one frame
MIN_COMPARED = 6  # frames that must be compared at every offset
COUNT_EXPONENT = 0.75  # power of the share of frames compared at an offset; 0 lets few frames win by chance, 1 lets small offsets win
MIN_NORM = 1e-3  # length of a projected frame that says nothing; spoken ones have about 3
TOLERANCE = 3  # frames (120 ms), about the offset that viewers tolerate (ITU-R BT.1359)


class SyncHead(nn.Module):
    """Both front ends' features to one space, in which what belongs together points the same way.

    The two projections are not trained step by step: :func:`fit_sync` finds them at once.

    Notes
    -----
    Source: sliding one stream over the other as in Chung and Zisserman, *Out of time: automated lip sync in the wild*, ACCV
    workshops 2016; canonical correlation takes the place of their contrastive network. Features of the front ends are
    taken because those of the transformers know their place in the clip, and place answers every matching task.
    """

    def __init__(self, heard: int, seen: int, width: int) -> None:
        super().__init__()
        self.hear = nn.Conv1d(heard, width, 2 * CONTEXT + 1, padding=CONTEXT, bias=False)
        self.see = nn.Conv1d(seen, width, 2 * CONTEXT + 1, padding=CONTEXT, bias=False)
        for layer in (self.hear, self.see):
            layer.weight.requires_grad_(False)

    def forward(self, heard: Tensor, seen: Tensor, heard_mask: Tensor, seen_mask: Tensor) -> Tensor:
        """Features [B, T, D] of both streams and bool [B, T] to sums of cosines and counts of frames, [B, 2, 31].

        Entry ``15 + d`` compares what is heard ``d`` frames after it is seen.
        """
        known = [eroded(mask) for mask in (heard_mask, seen_mask)]
        projected = [_projected(*each) for each in zip((self.hear, self.see), (heard, seen), known, strict=True)]
        similarity = projected[0] @ projected[1].transpose(1, 2)
        both = (known[0][:, :, None] & known[1][:, None, :]).to(similarity.dtype)
        table = torch.stack([similarity * both, both], dim=1)  # sound in rows, picture in columns
        return torch.stack([torch.diagonal(table, -d, 2, 3).sum(-1) for d in range(-MAX_OFFSET, MAX_OFFSET + 1)], dim=-1)


def eroded(mask: Tensor) -> Tensor:
    """Frames [B, T] around which nothing is missing for as far as features reach."""
    reach = EDGE + CONTEXT
    padded = nn.functional.pad(mask.float()[:, None], (reach, reach))
    return -nn.functional.max_pool1d(-padded, 2 * reach + 1, 1)[:, 0] > 0.5


def _centred(x: Tensor, known: Tensor) -> Tensor:
    """Rows without their mean over the known ones, which tells who speaks and through what, and nothing of when."""
    weight = known[..., None].to(x.dtype)
    return x - (x * weight).sum(dim=1, keepdim=True) / weight.sum(dim=1, keepdim=True).clamp_min(1.0)


def _projected(layer: nn.Conv1d, x: Tensor, known: Tensor) -> Tensor:
    return _directions(layer(_centred(x, known).transpose(1, 2)).transpose(1, 2))


def _directions(x: Tensor) -> Tensor:
    return x / (x.norm(dim=-1, keepdim=True) + MIN_NORM)


def sync_curve(sums: np.ndarray) -> np.ndarray | None:
    """Similarity at every offset from -15 to 15 frames, of sums and counts [2, 31]; ``None`` where too little was compared.

    Sums of several windows may be added first.
    """
    total, count = np.asarray(sums, dtype=np.float64)
    if count.min() < MIN_COMPARED:
        return None
    curve: np.ndarray = total / count * (count / count.max()) ** COUNT_EXPONENT
    return curve


def sync_statistic(curve: np.ndarray) -> float:
    """How little a curve [31] speaks for streams in step: minus the height of its centre over the rest.

    The centre is the best of the offsets within 120 ms; the rest is described by its mean and standard deviation.
    """
    near = np.abs(np.arange(len(curve)) - len(curve) // 2) <= TOLERANCE
    return float(-(curve[near].max() - curve[~near].mean()) / (curve[~near].std() + 0.02))


def sync_offset(curve: np.ndarray) -> float:
    """Frames by which the sound lags where the streams are most alike, to a fraction by a parabola through the summit."""
    best = int(curve.argmax())
    offset = float(best - len(curve) // 2)
    if 0 < best < len(curve) - 1:
        before, peak, after = curve[best - 1 : best + 2]
        bend = before - 2.0 * peak + after
        offset += float(0.5 * (before - after) / bend) if bend < 0.0 else 0.0
    return offset


def fit_sync(head: SyncHead, clips: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray, int]]) -> int:
    """Find the space that lips and voices share, from genuine clips, and set the head's projections to it.

    Parameters
    ----------
    clips : iterable of (float [T, D], float [T, D'], bool [T], int)
        Front ends' features of sound and picture, where both are known, and by how many frames the sound is known to lag.

    Returns
    -------
    int
        How many frames were used.

    Raises
    ------
    ValueError
        If no clip is long enough.
    """
    rows: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for heard, seen, known, lag in clips:
        solid = eroded(torch.from_numpy(known)[None])[0].numpy()
        pairs = [(t, t + lag) for t in np.flatnonzero(solid) if 0 <= t + lag < len(known) and solid[t + lag]]
        if len(pairs) < MIN_COMPARED:
            continue
        picture, sound = np.array(pairs).T
        for store, x, at in ((rows[0], heard, sound), (rows[1], seen, picture)):
            x = x - x[solid].mean(axis=0)
            store.append(np.concatenate([x[at + step] for step in range(-CONTEXT, CONTEXT + 1)], axis=1))
    if not rows[0]:
        raise ValueError("no clip shows and sounds long enough to learn from which lips and voices belong together")
    audio, video = (np.concatenate(store).astype(np.float64) for store in rows)
    audio, video = audio - audio.mean(axis=0), video - video.mean(axis=0)
    found = canonical(audio, video, head.hear.out_channels)
    with torch.no_grad():
        for layer, projection in zip((head.hear, head.see), found, strict=True):
            weight = torch.from_numpy(projection.T.reshape(projection.shape[1], 2 * CONTEXT + 1, -1)).permute(0, 2, 1)
            layer.weight.zero_()
            layer.weight[: len(weight)] = weight.to(layer.weight.dtype)
    return len(audio)
