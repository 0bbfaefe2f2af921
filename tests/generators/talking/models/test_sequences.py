"""Temporal networks and encoders: lengths, receptive fields, inputs without a time axis."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from avwitness.generators.talking.models.sequences import FACE_FEATURES, AudioEncoder, FaceEncoder, TemporalBlock, TemporalNetwork, velocity
from avwitness.media.speech import STACKED_BINS

pytestmark = pytest.mark.usefixtures("one_thread")
REACH = 15  # frames, receptive field on either side


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 2, 3, 24, 61])
def test_the_length_is_kept(length: int) -> None:
    assert TemporalBlock(8, 4)(torch.randn(2, length, 8)).shape == (2, length, 8)
    assert TemporalNetwork(5, 8, 3)(torch.randn(2, length, 5)).shape == (2, length, 3)
    made = AudioEncoder(16).eval()(torch.randn(2, length, STACKED_BINS))
    assert made.shape == (2, length, 16) and torch.isfinite(made).all()


@torch.no_grad()
def test_parts_lie_side_by_side_and_what_has_no_time_is_repeated() -> None:
    network = TemporalNetwork(9, 8, 3).eval()
    a, still, b = torch.randn(2, 11, 4), torch.randn(2, 3), torch.randn(2, 11, 2)
    made = network(a, still, b)
    assert torch.equal(made, network(torch.cat([a, still[:, None].expand(-1, 11, -1), b], dim=2)))
    assert torch.equal(made, network(a, still[:, None].expand(-1, 11, -1), b))
    first = torch.randn(2, 6)
    assert torch.equal(network(first, a[:, :, :3]), network(first[:, None].expand(-1, 11, -1), a[:, :, :3]))


def test_the_receptive_field_is_fifteen_frames_on_either_side() -> None:
    network = TemporalNetwork(4, 8, 2).eval()
    x = torch.randn(1, 61, 4, requires_grad=True)
    network(x)[0, 30].sum().backward()
    assert x.grad is not None
    reached = x.grad[0].abs().sum(dim=1).nonzero().flatten().tolist()
    assert reached == list(range(30 - REACH, 30 + REACH + 1))


@torch.no_grad()
def test_sequences_of_a_batch_do_not_mix() -> None:
    for network, x in ((TemporalNetwork(4, 8, 2), torch.randn(3, 20, 4)), (AudioEncoder(16), torch.randn(3, 20, STACKED_BINS))):
        network.eval()
        assert torch.allclose(network(x), torch.cat([network(y[None]) for y in x]), atol=1e-5)


def test_dropout_is_for_training_alone() -> None:
    network, x = TemporalNetwork(4, 8, 2, dropout=0.5), torch.randn(1, 20, 4)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


@torch.no_grad()
def test_the_audio_encoder_is_local_in_time() -> None:
    encoder = AudioEncoder(16, blocks=1).eval()
    silent = torch.zeros(1, 40, STACKED_BINS)
    knock = silent.clone()
    knock[:, 20] = 3.0
    changed = (encoder(knock) - encoder(silent)).abs().sum(dim=2)[0].nonzero().flatten()
    assert 20 in changed and changed.min() >= 15 and changed.max() <= 25


@torch.no_grad()
def test_faces_become_a_few_numbers() -> None:
    encoder, faces = FaceEncoder(8).eval(), torch.rand(3, 3, 96, 96)
    made = encoder(faces)
    assert made.shape == (3, FACE_FEATURES)
    assert torch.allclose(made, torch.cat([encoder(face[None]) for face in faces]), atol=1e-5)
    assert not torch.allclose(made[0], made[1], atol=1e-4)


def test_gradients_reach_every_weight() -> None:
    networks: list[nn.Module] = [TemporalNetwork(6, 8, 3), AudioEncoder(16), FaceEncoder(8)]
    for network, x in zip(networks, (torch.randn(2, 9, 6), torch.randn(2, 9, STACKED_BINS), torch.rand(2, 3, 96, 96)), strict=True):
        network(x).square().sum().backward()
        assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_velocities_are_differences() -> None:
    x = torch.tensor([[[0.0], [1.0], [4.0]]])
    assert velocity(x).tolist() == [[[1.0], [3.0]]]
    assert velocity(x[:, :1]).shape == (1, 0, 1)
