"""The neural codec: its quantiser, and what it makes of speech."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avwitness.generators.demo import synthetic_voice
from avwitness.generators.voices.codec import CODEC_HOP, Codec, CodecConfig, ResidualQuantiser
from avwitness.generators.voices.discriminators import spectral_loss
from avwitness.generators.weights import load_network, save_network

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = CodecConfig(latent=8, codes=16, codebooks=4, channels=16, encoder_blocks=1, decoder_blocks=1)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def learned(vectors: torch.Tensor, steps: int = 60) -> ResidualQuantiser:
    quantiser = ResidualQuantiser(TINY).train()
    for _ in range(steps):
        quantiser(vectors, torch.full((len(vectors),), TINY.codebooks))
    return quantiser.eval()


def test_every_further_codebook_brings_the_vectors_nearer() -> None:
    vectors = torch.randn(4, 100, TINY.latent)
    quantiser = learned(vectors)
    errors = [float(((quantiser(vectors, torch.full((4,), depth))[0] - vectors) ** 2).mean()) for depth in (1, 2, 4)]
    assert 1.0 > errors[0] > 1.3 * errors[1] > 1.6 * errors[2] > 0.0


def test_the_depth_is_that_of_each_clip() -> None:
    vectors = torch.randn(2, 50, TINY.latent)
    quantiser = learned(vectors)
    mixed, _ = quantiser(vectors, torch.tensor([1, 4]))
    for row, depth in enumerate((1, 4)):
        alone, _ = quantiser(vectors[row : row + 1], torch.tensor([depth]))
        assert torch.allclose(mixed[row], alone[0])


def test_dead_codes_are_replaced_and_used() -> None:
    vectors = torch.randn(4, 100, TINY.latent)
    quantiser = learned(vectors)
    quantiser.codebook[0, :8] = 100.0  # far from any vector
    quantiser.train()
    for _ in range(300):  # until their moving average of use is below the limit
        quantiser(vectors, torch.full((4,), 1))
    assert float(quantiser.codebook[0].abs().max()) < 10.0


def test_in_evaluation_the_codebooks_stay() -> None:
    quantiser = learned(torch.randn(2, 50, TINY.latent))
    before = {name: value.clone() for name, value in quantiser.state_dict().items()}
    quantiser(torch.randn(2, 50, TINY.latent), torch.tensor([4, 4]))
    assert all(torch.equal(value, before[name]) for name, value in quantiser.state_dict().items())


def test_the_gradient_passes_the_quantiser() -> None:
    vectors = torch.randn(2, 20, TINY.latent, requires_grad=True)
    quantised, commitment = ResidualQuantiser(TINY)(vectors, torch.tensor([4, 2]))
    (quantised.sum() + 0.0 * commitment).backward()
    assert vectors.grad is not None and torch.allclose(vectors.grad, torch.ones_like(vectors))


@pytest.mark.parametrize("frames", [5, 8, 25])
def test_the_length_stays(frames: int) -> None:
    talk = 0.1 * torch.randn(2, frames * CODEC_HOP)
    made, loss = Codec(TINY).resynthesise(talk)
    assert made.shape == talk.shape
    assert torch.isfinite(made).all() and float(loss.detach()) > 0.0


def test_a_few_steps_lower_the_loss_and_storage_keeps_the_codes(tmp_path) -> None:  # type: ignore[no-untyped-def]
    talk = torch.from_numpy(np.stack([synthetic_voice(0.5, seed)[0][:8000] for seed in (1, 2)]))
    codec = Codec(TINY).train()
    optimiser = torch.optim.Adam(codec.parameters(), 5e-3)
    losses = []
    for _ in range(25):
        made, own = codec.resynthesise(talk)
        loss = spectral_loss(made, talk)
        optimiser.zero_grad()
        (loss + own).backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    again = load_network(Codec, save_network(codec.eval(), tmp_path / "codec", {}))
    assert again.config == TINY
    assert torch.allclose(again.quantiser.codebook, codec.quantiser.codebook, atol=1e-2)
