from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from avwitness.avsr.sync_network import MAX_OFFSET, SyncNetwork, SyncNetworkConfig
from avwitness.detector.training.synchronisation.batches import SyncBatch
from avwitness.detector.training.synchronisation.loss import ContrastiveLoss

WIDTH, FRAMES = 16, 40


class Known(SyncNetwork):
    """Its embeddings are the inputs."""

    def embed_audio(self, features: Tensor) -> Tensor:
        return features[:, ::2]

    def embed_lips(self, lips: Tensor) -> Tensor:
        return lips.flatten(2)[..., :WIDTH]


def batch(move: int) -> SyncBatch:
    rng = np.random.default_rng(0)
    signal = torch.from_numpy(rng.standard_normal((4, FRAMES + 6 * MAX_OFFSET, WIDTH)).astype(np.float32))
    lips = torch.zeros(4, FRAMES, 40, 2)
    lips.flatten(2)[..., :WIDTH] = signal[:, 3 * MAX_OFFSET : 3 * MAX_OFFSET + FRAMES]
    begin = 2 * MAX_OFFSET - move
    audio = signal[:, begin : begin + FRAMES + 2 * MAX_OFFSET].repeat_interleave(2, dim=1)
    return SyncBatch(audio, torch.ones(4, FRAMES + 2 * MAX_OFFSET, dtype=torch.bool), lips, torch.ones(4, FRAMES, dtype=torch.bool))


def loss_at(move: int, tolerance: int = 1) -> tuple[float, float]:
    loss, share = ContrastiveLoss(Known(SyncNetworkConfig(audio_width=WIDTH, width=WIDTH)), tolerance=tolerance)(batch(move))
    return loss.item(), share.item()


def test_matching_streams_have_almost_no_loss() -> None:
    assert loss_at(0)[0] < 0.05 and loss_at(0)[1] == 1.0
    assert loss_at(1)[0] < 0.05 and loss_at(1, tolerance=0)[0] > 2.0


def test_streams_that_are_out_of_sync_have_a_large_loss() -> None:
    assert loss_at(6)[0] > 2.0 and loss_at(6)[1] == 0.0


def test_parts_without_lips_do_not_count() -> None:
    items = batch(0)
    items.lip_mask[:] = False
    loss, share = ContrastiveLoss(Known(SyncNetworkConfig(audio_width=WIDTH, width=WIDTH)))(items)
    assert loss.item() == share.item() == 0.0


def test_gradients_reach_both_streams_and_the_temperature() -> None:
    torch.manual_seed(0)
    model = ContrastiveLoss(SyncNetwork(SyncNetworkConfig(audio_width=WIDTH, hidden=16, width=8)))
    model(batch(0))[0].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in (model.log_temperature, *model.network.parameters()) if p.ndim != 1)
