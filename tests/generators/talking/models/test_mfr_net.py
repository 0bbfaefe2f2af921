"""MFR-Net: diffusion, aggregation, the listener's renderer, and its batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from heads import moved, same

from avwitness.generators.talking.models.base import WINDOW, Attitude, Batch, DrivingSignals, Portrait, window_spans
from avwitness.generators.talking.models.dyads import SimulatedDyads
from avwitness.generators.talking.models.font import Font
from avwitness.generators.talking.models.mfr_net import (
    DIFFUSION_STEPS,
    MOTION_SIZE,
    DyadBatch,
    MfrNet,
    MfrNetConfig,
    alphas_cumprod,
    speaker_array,
)
from avwitness.generators.talking.models.opt import Opt
from avwitness.generators.talking.rendering.motion import EXPRESSION_SIZE, POSE_SIZE, Motion
from avwitness.generators.talking.rendering.renderer import Renderer, RendererConfig
from avwitness.generators.weights import load_network, save_network
from avwitness.media.speech import STACKED_BINS

pytestmark = pytest.mark.usefixtures("one_thread")
MakeDriving = Callable[..., DrivingSignals]


def test_the_signal_fades_from_all_to_nearly_nothing() -> None:
    share = alphas_cumprod()
    assert share.shape == (DIFFUSION_STEPS + 1,) and float(share[0]) == 1.0
    assert (share.diff() < 0.0).all() and 0.0 < float(share[-1]) < 1e-3


def test_samples_depend_on_the_random_generator_alone(build: Callable[..., Any]) -> None:
    listener: MfrNet = build("mfr-net")
    with torch.no_grad():
        fused, source, attitude = torch.randn(2, 9, 32), torch.randn(2, EXPRESSION_SIZE), torch.tensor([0, 1])
        once, again, other = (listener.sample(fused, source, attitude, np.random.default_rng(s)) for s in (0, 0, 1))
    assert once.shape == (2, 9, MOTION_SIZE) and torch.isfinite(once).all()
    assert torch.equal(once, again) and not torch.equal(once, other)


def test_sampling_with_a_perfect_denoiser_returns_its_prediction(build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    listener: MfrNet = build("mfr-net")
    truth = torch.randn(1, 9, MOTION_SIZE)
    asked: list[int] = []

    def knows(noisy: torch.Tensor, step: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        asked.append(int(step[0]))
        share = alphas_cumprod()[step[0]]
        # The remainder is noise of the power of the schedule.
        left = (noisy - share.sqrt() * truth) / (1.0 - share).sqrt()
        assert 0.6 < float(left.std()) < 1.4
        return truth

    monkeypatch.setattr(listener.denoiser, "forward", knows)
    made = listener.sample(torch.zeros(1, 9, 32), torch.zeros(1, EXPRESSION_SIZE), torch.tensor([0]), np.random.default_rng(0))
    assert torch.equal(made, truth)
    assert asked == sorted(asked, reverse=True) and asked[0] == DIFFUSION_STEPS and asked[-1] > 0 and len(asked) == 20


@pytest.mark.parametrize("attitude", [Attitude.positive, Attitude.negative])
def test_the_motion_depends_on_the_attitude(
    attitude: Attitude, build: Callable[..., Any], portrait: Portrait, driving_of: MakeDriving
) -> None:
    listener = build("mfr-net")
    assert not same(moved(listener, portrait, driving_of(30)), moved(listener, portrait, driving_of(30, attitude=attitude)))


def test_the_motion_depends_on_the_speakers_motion(build: Callable[..., Any], portrait: Portrait, driving_of: MakeDriving) -> None:
    listener, driving = build("mfr-net"), driving_of(30)
    assert driving.speaker is not None
    nodding = Motion(driving.speaker.pose + np.sin(np.arange(30))[:, None].astype(np.float32), driving.speaker.expression)
    assert not same(moved(listener, portrait, driving), moved(listener, portrait, replace(driving, speaker=nodding)))
    # Identity and position of the speaker hardly matter.
    elsewhere = Motion(driving.speaker.pose + np.float32(0.25), driving.speaker.expression + np.float32(2.0))
    plain, other = (moved(listener, portrait, replace(driving, speaker=x)).expression for x in (driving.speaker, elsewhere))
    assert np.allclose(plain, other, atol=0.02)


def test_a_speaker_shorter_than_the_audio_is_held(build: Callable[..., Any], portrait: Portrait, driving_of: MakeDriving) -> None:
    listener, driving = build("mfr-net"), driving_of(40)
    assert driving.speaker is not None
    cut = Motion(driving.speaker.pose[:25], driving.speaker.expression[:25])
    held = Motion(*(np.concatenate([x, x[-1:].repeat(15, axis=0)]) for x in (cut.pose, cut.expression)))
    assert same(moved(listener, portrait, replace(driving, speaker=cut)), moved(listener, portrait, replace(driving, speaker=held)))


def test_the_listeners_image_matters_only_with_aggregation(build: Callable[..., Any]) -> None:
    audio, speaker, faces = torch.randn(2, 9, STACKED_BINS), torch.randn(2, 9, MOTION_SIZE), torch.rand(2, 2, 3, 96, 96)
    for aggregation in (True, False):
        listener: MfrNet = build("mfr-net", aggregation=aggregation)
        with torch.no_grad():
            (who, a), (_, b) = (listener.aggregate(face, audio, speaker) for face in faces)
            style = listener.style_parameters(faces[0], faces[0])
        assert who.shape == (2, 32) and a.shape == (2, 9, 32)
        assert torch.equal(a, b) != aggregation
        assert (style is None) != aggregation
        if style is not None:  # none before training: the renderer is as it was
            assert style.shape == (2, 2 * listener.renderer.config.decoder[2]) and not style.any()


def test_a_listener_has_its_own_renderer(build: Callable[..., Any], renderer: Renderer, portrait: Portrait) -> None:
    listener: MfrNet = build("mfr-net")
    listener.renderer.load_state_dict(renderer.state_dict())
    with torch.no_grad():
        args = (portrait.image, portrait.as_state(), portrait.as_state())
        assert torch.equal(listener.render(*args).image, renderer(*args).image)
        listener.style.bias.fill_(0.5)
        assert not torch.allclose(listener.render(*args).image, renderer(*args).image, atol=1e-4)


def test_a_listener_is_trained_on_dyads_only(build: Callable[..., Any], batch: Batch, dyads: SimulatedDyads) -> None:
    listener: MfrNet = build("mfr-net")
    with pytest.raises(TypeError, match="dyads"):
        listener.losses(batch, np.random.default_rng(0), 0.0)
    drawn = [dyads.draw(np.random.default_rng(n)) for n in range(3)]
    made = DyadBatch.from_dyads(drawn)
    assert made.audio.shape == (3, WINDOW, STACKED_BINS) and made.speaker.shape == made.listener.shape == (3, WINDOW, MOTION_SIZE)
    assert made.face.shape == (3, 3, 96, 96) and made.attitude.tolist() == [list(Attitude).index(d.attitude) for d in drawn]
    assert not made.speaker[:, 0].any()  # relative to the first frame
    absolute = made.listener[:, :, POSE_SIZE:] + made.source_expression[:, None]
    assert np.allclose(absolute, np.stack([d.listener.expression for d in drawn]), atol=1e-4)
    assert np.array_equal(speaker_array(drawn[0].speaker), made.speaker[0])
    losses = [listener.denoising_losses(made, np.random.default_rng(s)) for s in (0, 0, 1)]
    assert set(losses[0]) == {"pose", "expression", "speed"}
    first, again, other = (float(x["pose"].detach()) for x in losses)
    assert first == again != other


@pytest.mark.parametrize(
    "sizes", [None, {"keypoint_detector": 8, "flow": [8, 16], "decoder": [8, 16, 16], "blocks": 1}, RendererConfig(blocks=1)]
)
def test_the_renderer_is_configured_by_a_dataclass_or_a_mapping(sizes: Any, tmp_path: Path) -> None:
    listener = MfrNet(MfrNetConfig(32, True, sizes))
    again = load_network(MfrNet, save_network(listener, tmp_path / "net", {}))
    assert again.renderer.config == listener.renderer.config
    assert isinstance(again.renderer.config.flow, tuple)
    assert Font.needs == frozenset() and Opt.needs == {"pose"}


def test_every_window_of_a_speaker_begins_at_rest_as_in_training(
    build: Callable[..., Any], portrait: Portrait, driving_of: MakeDriving, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, seen = build("mfr-net"), []
    plain = listener.aggregate
    monkeypatch.setattr(
        listener, "aggregate", lambda face, audio, speaker: (seen.append(speaker[:, 0].clone()), plain(face, audio, speaker))[1]
    )
    ramp = np.linspace(0, 3, 60, dtype=np.float32)[:, None]
    speaker = Motion(ramp.repeat(POSE_SIZE, 1), ramp.repeat(EXPRESSION_SIZE, 1))
    listener.generate_motion(portrait, replace(driving_of(60), speaker=speaker), np.random.default_rng(0))
    assert len(seen) == len(window_spans(60))
    assert all(not x.any() for x in seen)


@pytest.mark.parametrize("name", ["opt", "mfr-net"])
def test_an_empty_reference_is_no_reference(name: str, build: Callable[..., Any], portrait: Portrait, driving_of: MakeDriving) -> None:
    empty = replace(
        driving_of(10), pose=np.zeros((0, POSE_SIZE), np.float32), speaker=Motion(np.zeros((0, POSE_SIZE)), np.zeros((0, EXPRESSION_SIZE)))
    )
    with pytest.raises(ValueError, match=r"--pose|--speaker"):
        build(name).generate_motion(portrait, empty, np.random.default_rng(0))
