"""OPT: the pose follows the reference, and the content is independent of the speaker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import Talk
from scipy.signal import lfilter

from avwitness.generators.talking.models.base import WINDOW, Batch, DrivingSignals, Portrait
from avwitness.generators.talking.models.opt import MAX_REVERSAL, OptConfig, _GradientReversal, follow_reference, normalise_bands
from avwitness.generators.talking.rendering.motion import POSE_SIZE
from avwitness.media.speech import STACKED_BINS, log_mel

pytestmark = pytest.mark.usefixtures("one_thread")
MakeDriving = Callable[..., DrivingSignals]


def test_the_pose_of_opt_follows_the_reference(build: Callable[..., Any], portrait: Portrait, driving_of: MakeDriving) -> None:
    driving = driving_of(30)
    assert driving.pose is not None
    made = build("opt").generate_motion(portrait, driving, np.random.default_rng(0)).pose
    assert np.allclose(made - portrait.motion.pose, driving.pose - driving.pose[0], atol=1e-5)
    short = build("opt").generate_motion(portrait, replace(driving, pose=driving.pose[:4]), np.random.default_rng(0)).pose
    assert np.allclose((short - portrait.motion.pose)[:7], (driving.pose - driving.pose[0])[[0, 1, 2, 3, 2, 1, 0]], atol=1e-5)


@given(st.integers(1, 40), st.integers(1, 120))
def test_references_are_played_to_and_fro(frames: int, length: int) -> None:
    pose = np.arange(frames, dtype=np.float32)[:, None] * np.ones((1, POSE_SIZE), np.float32) + 5.0
    made = follow_reference(pose, length)
    assert made.shape == (length, POSE_SIZE) and made.dtype == np.float32
    assert not made[0].any() and made.min() >= 0.0 and made.max() == min(frames, length) - 1
    if frames > 1:
        assert (np.abs(np.diff(made, axis=0)) == 1.0).all()  # without jumps


def test_a_reversed_gradient_is_reversed() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    made = _GradientReversal.apply(x, 0.7)
    assert torch.equal(made, x)
    weight = torch.randn(3, 4)
    (made * weight).sum().backward()
    assert x.grad is not None and torch.allclose(x.grad, -0.7 * weight)


def test_the_speaker_classifier_is_adversarial_to_the_content(build: Callable[..., Any], batch: Batch) -> None:
    opt = build("opt")

    def gradients(progress: float) -> tuple[torch.Tensor, torch.Tensor]:
        opt.zero_grad(set_to_none=True)
        opt.losses(batch, np.random.default_rng(0), progress)["speaker_in_content"].backward()
        return opt.content_projection[1].weight.grad.clone(), opt.from_content.first.weight.grad.clone()

    (content, classifier), (before, same_classifier) = gradients(0.5), gradients(0.0)
    assert not before.any() and content.any()  # the strength of the reversal starts at zero
    assert torch.allclose(classifier, same_classifier)
    heard = opt.from_content(opt.content(batch.audio))
    loss = torch.nn.functional.cross_entropy(heard.mean(dim=1), batch.identity)
    loss = 0.5 * loss + 0.5 * torch.nn.functional.cross_entropy(heard.flatten(0, 1), batch.identity.repeat_interleave(WINDOW))
    opt.zero_grad(set_to_none=True)
    loss.backward()
    assert torch.allclose(MAX_REVERSAL * opt.content_projection[1].weight.grad, -content, atol=1e-5)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_the_content_is_invariant_to_the_gain_of_a_band(seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    audio = torch.from_numpy(rng.standard_normal((2, length, STACKED_BINS)).astype(np.float32))
    gain = torch.from_numpy(rng.uniform(-2, 2, (2, 1, 80)).astype(np.float32)).repeat(1, 1, 4)  # of a logarithm
    made = normalise_bands(audio)
    assert made.shape == audio.shape and torch.isfinite(made).all()
    assert torch.allclose(normalise_bands(audio + gain), made, atol=1e-4)
    bands = made.unflatten(2, (4, 80)).flatten(1, 2)
    assert torch.allclose(bands.mean(dim=1), torch.zeros(2, 80), atol=1e-4)


def test_the_content_of_a_filtered_voice_is_similar(talk: Talk) -> None:
    plain = log_mel(talk.waveform)[None]
    dull = log_mel(lfilter([0.6, 0.2], [1.0, -0.3], talk.waveform).astype(np.float32))[None]
    apart = [np.abs(a - b).mean() for a, b in ((plain, dull), [normalise_bands(torch.from_numpy(x)).numpy() for x in (plain, dull)])]
    assert apart[1] < 0.5 * apart[0]


def test_content_has_unit_variance_and_is_invariant_to_gain_if_disentangled(build: Callable[..., Any], driving_of: MakeDriving) -> None:
    audio = torch.from_numpy(driving_of(40).audio)[None]
    gain = torch.linspace(-1, 1, 80).repeat(4)
    for disentangled in (True, False):
        opt = build("opt", disentangled=disentangled)
        content = opt.content(audio)
        assert content.shape == (1, 40, OptConfig().content)
        assert torch.allclose(content.square().mean(dim=2), torch.ones(1, 40), atol=0.05)
        assert torch.allclose(opt.content(audio + gain), content, atol=1e-3) == disentangled
