from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avwitness.avsr.sync_network import MAX_OFFSET, eroded
from avwitness.detector.sync import (
    CONTEXT,
    EDGE,
    MIN_COMPARED,
    TOLERANCE,
    SyncHead,
    fit_sync,
    sync_curve,
    sync_offset,
    sync_statistic,
)

AUDIO_WIDTH, VIDEO_WIDTH, CONTENT = 20, 14, 6  # channels
MIX = np.random.default_rng(99)
TO_AUDIO, TO_VIDEO = MIX.normal(size=(CONTENT, AUDIO_WIDTH)), MIX.normal(size=(CONTENT, VIDEO_WIDTH))
seeds = st.integers(0, 2**32 - 1)


def streams(seed: int, frames: int = 60, lag: int = 0, noise: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Features of audio and video of the same content; the audio lags by ``lag`` frames."""
    rng = np.random.default_rng(seed)
    content = rng.normal(size=(frames + 2 * MAX_OFFSET, CONTENT))
    audio = content[MAX_OFFSET - lag :][:frames] @ TO_AUDIO + noise * rng.normal(size=(frames, AUDIO_WIDTH)) + rng.normal(size=AUDIO_WIDTH)
    video = content[MAX_OFFSET:][:frames] @ TO_VIDEO + noise * rng.normal(size=(frames, VIDEO_WIDTH)) + rng.normal(size=VIDEO_WIDTH)
    return audio.astype(np.float32), video.astype(np.float32)


def fitted(lags: tuple[int, ...]) -> SyncHead:
    torch.manual_seed(0)
    head = SyncHead(AUDIO_WIDTH, VIDEO_WIDTH, 8)
    clips = [(*streams(1000 + i, 80, lag), np.ones(80, dtype=bool), lag) for i, lag in enumerate(lags)]
    used = fit_sync(head, clips)
    reach = EDGE + CONTEXT
    assert used == sum(80 - 2 * reach - abs(lag) for lag in lags)
    return head


@pytest.fixture(scope="module")
def head() -> SyncHead:
    return fitted((0,) * 12)


def compare(head: SyncHead, audio: np.ndarray, video: np.ndarray, audio_mask: np.ndarray | None = None) -> np.ndarray:
    full = torch.ones(1, len(video), dtype=torch.bool)
    known = full if audio_mask is None else torch.from_numpy(audio_mask)[None]
    with torch.no_grad():
        return head(torch.from_numpy(audio)[None], torch.from_numpy(video)[None], known, full)[0].numpy()


@settings(max_examples=40)
@given(seeds, st.integers(-8, 8))
def test_a_known_offset_is_found(head: SyncHead, seed: int, lag: int) -> None:
    curve = sync_curve(compare(head, *streams(seed, 60, lag)))
    assert curve is not None
    assert int(curve.argmax()) - MAX_OFFSET == lag
    assert abs(sync_offset(curve) - lag) <= 0.5
    in_step = sync_curve(compare(head, *streams(seed, 60, 0)))
    assert in_step is not None
    assert abs(lag) <= TOLERANCE or sync_statistic(curve) > sync_statistic(in_step) + 1.0


def test_clips_with_a_known_lag_give_the_same_fit() -> None:
    head = fitted((3, -3, 2, 0, 5, -1, 3, -3, 2, 0, 5, -1))
    for lag in (-6, 0, 4):
        curve = sync_curve(compare(head, *streams(7, 60, lag)))
        assert curve is not None
        assert int(curve.argmax()) - MAX_OFFSET == lag


def test_unrelated_streams_have_no_peak(head: SyncHead) -> None:
    own = [sync_statistic(curve) for s in range(20) if (curve := sync_curve(compare(head, *streams(s)))) is not None]
    unrelated = [
        sync_statistic(curve) for s in range(20) if (curve := sync_curve(compare(head, streams(s)[0], streams(s + 500)[1]))) is not None
    ]
    assert len(own) == len(unrelated) == 20
    assert max(own) < min(unrelated)


@settings(max_examples=15)
@given(seeds, st.integers(24, 40))
def test_sums_and_counts_are_those_of_every_pair_of_frames(seed: int, frames: int) -> None:
    torch.manual_seed(seed % 1000)
    head = SyncHead(5, 4, 3)
    rng = np.random.default_rng(seed)
    audio, video = torch.from_numpy(rng.normal(size=(1, frames, 5))).float(), torch.from_numpy(rng.normal(size=(1, frames, 4))).float()
    masks = [torch.from_numpy(rng.random((1, frames)) < 0.97) for _ in range(2)]
    with torch.no_grad():
        found = head(audio, video, *masks)[0].numpy()
        spaces = []
        for layer, x, mask in ((head.audio_projection, audio, masks[0]), (head.video_projection, video, masks[1])):
            solid = eroded(mask, EDGE + CONTEXT)[0]
            centred = x[0] - x[0][solid].sum(dim=0) / max(int(solid.sum()), 1)
            rows = layer(centred.T[None])[0].T
            spaces.append((rows / (rows.norm(dim=1, keepdim=True) + 1e-3), solid))
    (projected_audio, s), (projected_video, p) = spaces
    for d in range(-MAX_OFFSET, MAX_OFFSET + 1):
        pairs = [(t + d, t) for t in range(frames) if 0 <= t + d < frames and s[t + d] and p[t]]
        assert found[1, MAX_OFFSET + d] == len(pairs)
        assert found[0, MAX_OFFSET + d] == pytest.approx(sum(float(projected_audio[a] @ projected_video[b]) for a, b in pairs), abs=1e-4)


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_erosion_keeps_frames_far_from_gaps_and_ends(mask: list[bool]) -> None:
    reach = EDGE + CONTEXT
    padded = [False] * reach + mask + [False] * reach
    expected = [all(padded[t : t + 2 * reach + 1]) for t in range(len(mask))]
    assert eroded(torch.tensor([mask]), EDGE + CONTEXT)[0].tolist() == expected


def test_masked_frames_are_not_compared(head: SyncHead) -> None:
    audio, video = streams(3, 60, 2)
    mask = np.arange(60) < 45
    changed = np.where(mask[:, None], audio, 50.0).astype(np.float32)
    assert np.allclose(compare(head, audio, video, mask), compare(head, changed, video, mask), atol=1e-4)


def test_windows_add_up_and_few_frames_give_no_curve(head: SyncHead) -> None:
    short = compare(head, *streams(0, MIN_COMPARED + MAX_OFFSET + 2 * (EDGE + CONTEXT) - 1))
    assert sync_curve(short) is None
    assert sync_curve(2 * short) is not None


@given(st.floats(-12.0, 12.0))
def test_the_peak_of_a_parabola_is_found_between_frames(summit: float) -> None:
    curve = 1.0 - 0.001 * (np.arange(-MAX_OFFSET, MAX_OFFSET + 1) - summit) ** 2
    assert sync_offset(curve) == pytest.approx(summit, abs=1e-6)


def test_a_peak_at_the_end_is_not_refined() -> None:
    assert sync_offset(np.arange(2 * MAX_OFFSET + 1.0)) == MAX_OFFSET


def test_projections_have_no_gradient_and_need_clips(head: SyncHead) -> None:
    assert not any(p.requires_grad for p in head.parameters())
    with pytest.raises(ValueError, match="no clip"):
        fit_sync(SyncHead(AUDIO_WIDTH, VIDEO_WIDTH, 4), [(*streams(0, 8), np.ones(8, dtype=bool), 0)])
