"""Comparison of audio and lips by offset."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from avwitness.avsr.sync_network import LIP_POINTS, MAX_OFFSET, REACH, SyncNetwork, SyncNetworkConfig, directions

WIDTH = 8
SMALL = SyncNetworkConfig(audio_width=WIDTH, hidden=16, width=WIDTH)


class Known(SyncNetwork):
    """Its embeddings are the first channels of the inputs, so equal inputs match."""

    def embed_audio(self, features: Tensor) -> Tensor:
        return features[:, ::2]

    def embed_lips(self, lips: Tensor) -> Tensor:
        return lips.flatten(2)[..., :WIDTH]


def inputs(signal: np.ndarray, frames: int, move: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Audio that is ``move`` frames later than the lips, both cut out of one signal."""
    begin = 20
    lips = torch.zeros(1, frames, LIP_POINTS, 2)
    lips.flatten(2)[..., :WIDTH] = torch.from_numpy(signal[begin : begin + frames])
    audio = torch.from_numpy(signal[begin - move : begin - move + frames]).repeat_interleave(2, dim=0)[None]
    return audio, lips, torch.ones(1, frames, dtype=torch.bool), torch.ones(1, frames, dtype=torch.bool)


@given(move=st.integers(-MAX_OFFSET, MAX_OFFSET), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_offset_of_moved_audio_is_found(move: int, seed: int) -> None:
    signal = np.random.default_rng(seed).standard_normal((120, WIDTH)).astype(np.float32)
    sums, counts = Known(SMALL)(*inputs(signal, 60, move))[0]
    assert int((sums / counts).argmax()) - MAX_OFFSET == move
    assert (sums / counts)[MAX_OFFSET + move] > 0.95


def test_masked_frames_and_their_neighbours_are_not_compared() -> None:
    audio, lips, heard, seen = inputs(np.random.default_rng(0).standard_normal((120, WIDTH)).astype(np.float32), 60, 0)
    whole = Known(SMALL)(audio, lips, heard, seen)[0]
    assert int(whole[1, MAX_OFFSET]) == 60 - 2 * REACH
    seen[:, 30] = False
    part = Known(SMALL)(audio, lips, heard, seen)[0]
    assert int(part[1, MAX_OFFSET]) == 60 - 2 * REACH - (2 * REACH + 1)
    lips[:, 30] = 1000.0
    assert torch.allclose(Known(SMALL)(audio, lips, heard, seen)[0], part)


def test_missing_audio_at_the_end_is_masked() -> None:
    audio, lips, heard, seen = inputs(np.random.default_rng(1).standard_normal((120, WIDTH)).astype(np.float32), 60, 0)
    heard[:, 50:] = False
    short = Known(SMALL)(audio[:, :100], lips, heard, seen)
    assert torch.equal(short, Known(SMALL)(torch.cat([audio[:, :100], torch.zeros(1, 20, WIDTH)], dim=1), lips, heard, seen))


def test_directions_have_no_mean_and_length_one() -> None:
    x = torch.randn(2, 30, WIDTH) + 5.0
    known = torch.ones(2, 30, dtype=torch.bool)
    known[:, 20:] = False
    assert torch.allclose(directions(x).norm(dim=-1), torch.ones(2, 30))
    assert torch.allclose(directions(x[:, :20]), directions(x, known)[:, :20])


@pytest.mark.parametrize("frames", [1, 2, 25, 61])
def test_every_length_has_an_embedding_a_frame(frames: int) -> None:
    network = SyncNetwork(SMALL).eval()
    assert network.embed_audio(torch.randn(2, 2 * frames, WIDTH)).shape == (2, frames, WIDTH)
    assert network.embed_lips(torch.randn(2, frames, LIP_POINTS, 2)).shape == (2, frames, WIDTH)
