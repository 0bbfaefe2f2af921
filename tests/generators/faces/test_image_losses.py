"""Image losses: zero for equal images, increasing with the difference; and the patch discriminator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from avwitness.generators.demo import portrait
from avwitness.generators.faces.image_losses import (
    SSIM_WINDOW,
    PatchDiscriminator,
    fine_bands,
    pyramid_l1,
    ssim_loss,
)
from avwitness.generators.training import discriminator_loss

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def face() -> Tensor:
    return torch.from_numpy(portrait()[::4, ::4].copy()).permute(2, 0, 1)[None].float() / 255.0


def noisy(face: Tensor, strength: float, seed: int = 0) -> Tensor:
    noise = torch.from_numpy(np.random.default_rng(seed).standard_normal(face.shape).astype(np.float32))
    return (face + strength * noise).clamp(0.0, 1.0)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(SSIM_WINDOW, 40))
def test_losses_are_zero_for_equal_images(seed: int, side: int) -> None:
    x = torch.from_numpy(np.random.default_rng(seed).uniform(size=(2, 3, side, side)).astype(np.float32))
    weight = torch.ones(2, 1, side, side)
    assert float(ssim_loss(x, x)) == pytest.approx(0.0, abs=1e-5)
    assert float(pyramid_l1(x, x, weight)) == 0.0
    y = torch.rand_like(x)
    assert float(ssim_loss(x, y)) == pytest.approx(float(ssim_loss(y, x)), abs=1e-5)
    assert 0.0 < float(ssim_loss(x, y)) <= 2.0 and float(pyramid_l1(x, y, weight)) > 0.0


@pytest.mark.parametrize("strength", [0.02, 0.1, 0.3])
def test_dissimilarity_is_what_others_measure(face: Tensor, strength: float) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    other = noisy(face, strength)
    a, b = (x[0].double().permute(1, 2, 0).numpy() for x in (face, other))
    similar = metrics.structural_similarity(a, b, win_size=SSIM_WINDOW, data_range=1.0, channel_axis=2, use_sample_covariance=False)
    assert float(ssim_loss(face, other)) == pytest.approx(1.0 - similar, abs=1e-3)


def test_more_noise_is_farther_away(face: Tensor) -> None:
    weight = torch.ones(1, 1, 96, 96)
    for measure in (ssim_loss, lambda a, b: pyramid_l1(a, b, weight)):
        away = [float(measure(noisy(face, strength), face)) for strength in (0.0, 0.02, 0.1, 0.3)]
        assert away == sorted(away) and away[1] > away[0]


def test_a_shift_of_tone_counts_at_every_scale_and_noise_at_the_finest(face: Tensor) -> None:
    weight = torch.ones(1, 1, 96, 96)
    assert float(pyramid_l1(0.5 * face + 0.1, 0.5 * face, weight)) == pytest.approx(0.1, abs=1e-4)
    other = noisy(0.5 * face + 0.2, 0.1)
    assert float(pyramid_l1(other, 0.5 * face + 0.2, weight, 3)) < float(pyramid_l1(other, 0.5 * face + 0.2, weight, 1))


def test_weights_select_pixels() -> None:
    a, b, weight = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    b[..., 16:] = 1.0
    weight[..., :16] = 1.0
    assert float(pyramid_l1(a, b, weight)) == 0.0
    assert float(pyramid_l1(a, b, 1.0 - weight)) == pytest.approx(1.0)
    assert float(pyramid_l1(a, b, 7.0 * (1.0 - weight))) == pytest.approx(1.0)  # shares, not sizes
    assert float(pyramid_l1(a, b, torch.zeros_like(weight))) == 0.0


def test_fine_bands_hold_what_is_fine(face: Tensor) -> None:
    bands = fine_bands(face)
    assert [tuple(x.shape) for x in bands] == [(1, 3, 96, 96), (1, 3, 48, 48)]
    flat = fine_bands(torch.full((1, 3, 32, 32), 0.7))
    assert all(float(x.abs().max()) < 1e-6 for x in flat)
    assert float(fine_bands(noisy(face, 0.1))[0].abs().mean()) > float(bands[0].abs().mean())


def test_the_discriminator_loss_is_a_hinge() -> None:
    sure, unsure = torch.full((2, 1, 4, 4), 3.0), torch.zeros(2, 1, 4, 4)
    assert float(discriminator_loss(sure, -sure)) == 0.0
    assert float(discriminator_loss(unsure, unsure)) == 2.0
    assert float(discriminator_loss(-sure, sure)) == 8.0
    real, made = torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    discriminator_loss(real, made).backward()
    assert real.grad is not None and made.grad is not None
    assert (real.grad < 0.0).all() and (made.grad > 0.0).all()  # downhill the genuine go up


def test_the_discriminator_is_local() -> None:
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(8)
    image = torch.rand(2, 3, 96, 96, requires_grad=True)
    judged = discriminator(image)
    assert judged.shape[:2] == (2, 1) and judged.shape[2] == judged.shape[3] > 4
    judged[0, 0, judged.shape[2] // 2, judged.shape[3] // 2].backward()
    assert image.grad is not None
    rows = image.grad[0].abs().sum(dim=(0, 2)).nonzero().flatten()
    assert 40 <= int(rows[-1] - rows[0]) + 1 < 96 and not image.grad[1].any()
    assert all(p.grad is not None for p in discriminator.parameters())
