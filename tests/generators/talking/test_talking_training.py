"""Short training runs of the renderer, the four models and the face embedding; samplers and losses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from avwitness.generators import training
from avwitness.generators.talking.models.base import WINDOW, DrivingSignals, Portrait, TalkingHead
from avwitness.generators.talking.models.mfr_net import MfrNet
from avwitness.generators.talking.models.registry import HEADS
from avwitness.generators.talking.rendering.head_clips import HeadClip
from avwitness.generators.talking.rendering.identity import IdentityConfig, IdentityNetwork, IdentityTraining, face_maps, train_identity
from avwitness.generators.talking.rendering.motion import EXPRESSION_SIZE, POSE_SIZE
from avwitness.generators.talking.rendering.renderer import Renderer, RendererConfig
from avwitness.generators.talking.training import motion_training, renderer_training
from avwitness.generators.talking.training.motion_training import HeadTraining, ListenerTraining, WindowSampler, train_head
from avwitness.generators.talking.training.renderer_training import (
    MIN_SPACING,
    STRIPS,
    FramePairSampler,
    RendererTraining,
    equivariance_loss,
    head_states,
    keypoint_spacing_loss,
    mouth_weight,
    reconstruction_loss,
    train_renderer,
)
from avwitness.generators.talking.training.strips import write_strip
from avwitness.generators.training import CHECKPOINT, CURVES
from avwitness.media.face.landmarks import LIPS
from avwitness.media.speech import STACKED_BINS

pytestmark = pytest.mark.usefixtures("one_thread")
MINUTES = 0.015  # of wall clock


@pytest.fixture(autouse=True)
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(training, "LOG_EVERY", 1)


def steps(run: Path) -> int:
    return int(torch.load(run / CHECKPOINT, weights_only=True)["number"])


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def short(clip: HeadClip, frames: int) -> HeadClip:
    return replace(clip, **{x: getattr(clip, x)[:frames] for x in ("heads", "points", "pose", "usable", "audio")})


# What is drawn


def test_pairs_are_frames_of_one_clip(head_clips: list[HeadClip], renderer: Renderer) -> None:
    pairs = FramePairSampler(head_clips, renderer.space)
    made = pairs.draw(6, np.random.default_rng(0), tones=False)
    assert made.source.shape == made.target.shape == (6, 3, 96, 96) and made.points.shape == (6, 478, 3)
    heads = [torch.from_numpy(c.heads).permute(0, 3, 1, 2).float() / 255.0 for c in head_clips]
    for i in range(6):
        found = []
        for number, of in enumerate(heads):
            places = [((of - x[i]).abs().amax(dim=(1, 2, 3)) < 1e-6).nonzero().flatten().tolist() for x in (made.source, made.target)]
            found += [(number, a, b) for a in places[0] for b in places[1]]
        assert found
        clip, motion = head_clips[found[0][0]], pairs.motions[found[0][0]]
        expected = head_states(motion, clip.points, found[0][1:])
        for side, pose in ((0, made.source_state), (1, made.target_state)):
            assert all(torch.equal(x[i], y[side]) for x, y in zip(pose, expected, strict=True))
        assert np.array_equal(made.points[i, :, :2], made.target_state.points[i])
    again, toned = (pairs.draw(6, np.random.default_rng(0), tones=t) for t in (False, True))
    assert torch.equal(again.source, made.source)
    assert not torch.equal(toned.source, made.source) and float(toned.source.min()) >= 0.0 and float(toned.source.max()) <= 1.0


def test_windows_are_relative_to_a_source_of_the_same_clip(head_clips: list[HeadClip], renderer: Renderer) -> None:
    windows = WindowSampler(head_clips, renderer.space)
    made = windows.draw(8, np.random.default_rng(0))
    assert made.audio.shape == (8, WINDOW, STACKED_BINS) and made.pose.shape == (8, WINDOW, POSE_SIZE)
    assert made.expression.shape == (8, WINDOW, EXPRESSION_SIZE) and made.face.shape == (8, 3, 96, 96)
    assert made.source_pose.shape == (8, POSE_SIZE) and made.source_expression.shape == (8, EXPRESSION_SIZE)
    assert set(made.identity.tolist()) <= {0, 1}
    for i in range(8):
        absolute = (made.pose[i] * renderer.space.pose_scale + made.source_pose[i]).numpy()
        assert any(
            np.abs(c.pose[b : b + WINDOW] - absolute).max() < 1e-5 and ["collins", "hopper"].index(c.identity) == made.identity[i]
            for c in head_clips
            for b in range(len(c) - WINDOW + 1)
        )
    assert torch.equal(windows.draw(8, np.random.default_rng(0)).audio, made.audio)
    assert made.audio.dtype == made.pose.dtype == torch.float32


def test_short_clips_and_clips_with_few_tracked_frames_give_no_windows(head_clips: list[HeadClip], renderer: Renderer) -> None:
    unseen = replace(head_clips[0], usable=np.arange(60) < 50)
    with pytest.raises(ValueError, match=f"{WINDOW} frames"):
        WindowSampler([short(head_clips[0], 20), unseen], renderer.space)
    assert WindowSampler([short(head_clips[0], WINDOW), unseen], renderer.space).draw(2, np.random.default_rng(0)).pose.shape == (
        2,
        WINDOW,
        POSE_SIZE,
    )


# Losses


def test_the_mouth_has_the_highest_weight(head_clips: list[HeadClip]) -> None:
    points = torch.from_numpy(head_clips[0].points[:2, :, :2])
    made = mouth_weight(points, 4.0, 96)
    assert made.shape == (2, 1, 96, 96) and float(made.max()) == pytest.approx(4.0, abs=0.05) and float(made[:, :, :20].max()) < 1.01
    row, column = divmod(int(made[0].argmax()), 96)
    middle = (points[0, list(LIPS)].mean(dim=0) + 1.0) * 48
    assert abs(float(middle[0]) - column - 0.5) <= 1.0 and abs(float(middle[1]) - row - 0.5) <= 1.0
    assert (mouth_weight(points, 1.0, 48) == 1.0).all()


def test_close_keypoints_are_penalised() -> None:
    apart = torch.tensor([[[x, y] for x in (-0.5, 0.0, 0.5) for y in (-0.5, 0.0, 0.5)]])
    assert float(keypoint_spacing_loss(apart)) == 0.0
    together = torch.zeros(2, 9, 2)
    assert float(keypoint_spacing_loss(together)) == pytest.approx(8 * MIN_SPACING, rel=1e-4)
    near = torch.tensor([[[0.0, 0.0], [MIN_SPACING / 2, 0.0]]], requires_grad=True)
    keypoint_spacing_loss(near).backward()
    assert near.grad is not None and near.grad[0, 0, 0] > 0.0 > near.grad[0, 1, 0]  # downhill they part


def test_a_detector_that_follows_the_image_is_equivariant() -> None:
    axis = (torch.arange(96) + 0.5) / 48 - 1

    def brightest(image: Tensor) -> Tensor:
        """A perfect detector: the centroid of the brightness."""
        weight = image.mean(dim=1)
        x, y = (weight * axis).sum(dim=(1, 2)), (weight * axis[:, None]).sum(dim=(1, 2))
        return (torch.stack([x, y], dim=1) / weight.sum(dim=(1, 2))[:, None])[:, None]

    spot = torch.exp(-((axis - 0.2) ** 2 + (axis[:, None] + 0.1) ** 2) / 0.02).expand(4, 3, 96, 96).contiguous()
    found = brightest(spot)
    assert torch.allclose(found, torch.tensor([0.2, -0.1]), atol=0.01)
    assert float(equivariance_loss(brightest, spot, found, np.random.default_rng(0))) < 0.01
    assert (
        float(equivariance_loss(lambda x: torch.full((len(x), 1, 2), 0.3), spot, torch.full((4, 1, 2), 0.3), np.random.default_rng(0)))
        > 0.05
    )


def test_the_reconstruction_loss_is_zero_for_equal_images(head_clips: list[HeadClip]) -> None:
    real = torch.from_numpy(head_clips[0].heads[:2]).permute(0, 3, 1, 2).float() / 255.0
    weight = mouth_weight(torch.from_numpy(head_clips[0].points[:2, :, :2]), 4.0, 96)
    config = RendererTraining()
    assert float(reconstruction_loss(real, real, weight, config)) == pytest.approx(0.0, abs=1e-4)
    blurred = torch.nn.functional.avg_pool2d(real, 3, 1, 1)
    assert 0.0 < float(reconstruction_loss(blurred, real, weight, config)) < float(reconstruction_loss(1.0 - real, real, weight, config))
    assert float(reconstruction_loss(blurred, real, weight, replace(config, detail=3.0))) > float(
        reconstruction_loss(blurred, real, weight, config)
    )


def test_strips_are_written_row_by_row(tmp_path: Path) -> None:
    red, grey = torch.zeros(2, 3, 16, 16), torch.full((2, 3, 16, 16), 0.5)
    red[:, 0] = 2.0  # outside of the range of an image
    file = write_strip(tmp_path / "new" / "strip.png", [red, grey])
    image = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
    assert image.shape == (32, 32, 3)
    assert (image[:16] == (255, 0, 0)).all() and (image[16:] == 128).all()


# Training


@pytest.mark.slow
def test_the_renderer_is_trained_and_resumed(
    head_clips: list[HeadClip], tiny: RendererConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = asdict(tiny)
    config = RendererTraining(
        minutes=MINUTES, batch=2, threads=1, lips_after=0.0, discriminator_after=0.0, discriminator_width=8, strip_every=2, model=sizes
    )
    made = train_renderer(config, head_clips, tmp_path)
    number = steps(tmp_path)
    assert number >= 1 and not made.training and made.config == tiny
    curve = pd.read_csv(tmp_path / CURVES)
    assert {"reconstruction", "flow", "equivariance", "spacing", "transform", "lips", "discriminator"} < set(curve.columns)
    assert np.isfinite(curve.to_numpy()).all() and (curve["lips"] > 0.0).all() and (curve["discriminator"] > 0.0).all()
    strips = sorted((tmp_path / STRIPS).iterdir())
    assert strips[0].name == "000000.jpg"
    assert cv2.imread(str(strips[0])).shape == (4 * 96, 8 * 96, 3)
    fitted = Renderer(tiny).space.fit((c.points[c.usable], c.pose[c.usable]) for c in head_clips)
    assert torch.equal(made.space.projection, fitted.projection)

    # The time is used up: the model is loaded unchanged, and the motion space is not fitted again.
    monkeypatch.setattr(renderer_training.MotionSpace, "fit", lambda *_: pytest.fail("fitted again"))
    again = train_renderer(config, head_clips, tmp_path)
    assert steps(tmp_path) == number
    assert all(torch.equal(value, made.state_dict()[name]) for name, value in again.state_dict().items())
    longer = train_renderer(replace(config, minutes=2 * MINUTES + 0.005), head_clips, tmp_path)
    assert steps(tmp_path) > number
    assert torch.equal(longer.space.projection, made.space.projection)
    assert not torch.equal(longer.dense_motion.first.weight, made.dense_motion.first.weight)
    assert sorted(pd.read_csv(tmp_path / CURVES)["step"]) == list(range(1, steps(tmp_path) + 1))


def test_without_clips_nothing_is_trained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to train on"):
        train_renderer(RendererTraining(minutes=MINUTES), [], tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(HEADS) - {"mfr-net"}))
def test_talking_heads_are_trained(
    name: str, head_clips: list[HeadClip], renderer: Renderer, portrait: Portrait, driving_of: Callable[..., DrivingSignals], tmp_path: Path
) -> None:
    kind = HEADS[name]

    def fresh() -> TalkingHead:
        torch.manual_seed(0)
        return kind(kind.config_type(width=32))

    config = HeadTraining(minutes=MINUTES, batch=4, learning_rate=3e-3)
    made = train_head(fresh(), config, head_clips, renderer, tmp_path)
    number = steps(tmp_path)
    curve = pd.read_csv(tmp_path / CURVES)
    assert len(curve) == number >= 1 and np.isfinite(curve.to_numpy()).all()
    assert not made.training
    assert torch.equal(made.space.projection, renderer.space.projection) and torch.equal(made.space.pose_scale, renderer.space.pose_scale)
    untrained = fresh().state_dict()
    assert any(not torch.equal(value, untrained[key]) for key, value in made.state_dict().items() if key.startswith(("mouth", "keypoints")))
    moved = made.generate_motion(portrait, driving_of(30), np.random.default_rng(0))
    assert np.isfinite(moved.pose).all() and np.isfinite(moved.expression).all()
    again = train_head(fresh(), config, head_clips, renderer, tmp_path)
    assert steps(tmp_path) == number
    assert all(torch.equal(value, made.state_dict()[key]) for key, value in again.state_dict().items())


def test_a_model_overfits_a_single_clip(
    head_clips: list[HeadClip], renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[float] = []

    def so_many(minutes: float, step: training.StepFunction, *_: Any, **__: Any) -> None:
        """A fixed number of steps instead of a time limit."""
        for number in range(40):
            losses.append(step(number, number / 40, np.random.default_rng((0, number)))["lips"])

    monkeypatch.setattr(motion_training, "train_for", so_many)
    head = HEADS["opt"](HEADS["opt"].config_type(width=32))
    train_head(head, HeadTraining(batch=4, learning_rate=6e-3), head_clips[:1], renderer, tmp_path)
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:5])


def test_training_without_usable_clips_is_refused(head_clips: list[HeadClip], renderer: Renderer, tmp_path: Path) -> None:
    few = [short(c, 20) for c in head_clips]
    for name in sorted(HEADS):
        head = HEADS[name](HEADS[name].config_type(width=32))
        config: Any = ListenerTraining(minutes=MINUTES) if name == "mfr-net" else HeadTraining(minutes=MINUTES)
        with pytest.raises(ValueError, match=f"{WINDOW} frames"):
            train_head(head, config, few, renderer, tmp_path / name, identity=IdentityNetwork(IdentityConfig((8, 8, 8, 8), 8)))
        assert not (tmp_path / name / CHECKPOINT).exists()


@pytest.mark.slow
def test_a_listener_is_trained_on_motion_then_on_rendering(
    head_clips: list[HeadClip],
    renderer: Renderer,
    tiny: RendererConfig,
    portrait: Portrait,
    driving_of: Callable[..., DrivingSignals],
    tmp_path: Path,
) -> None:
    kind = HEADS["mfr-net"]
    identity = IdentityNetwork(IdentityConfig((8, 8, 8, 8), 8)).eval()
    before = weights(identity)
    config = ListenerTraining(minutes=MINUTES, batch=3, rendering_batch=2, rendering_after=1.0, strip_every=2)

    def train(config: ListenerTraining) -> MfrNet:
        made = train_head(kind(kind.config_type(32, True, tiny)), config, head_clips, renderer, tmp_path, identity=identity)
        assert isinstance(made, MfrNet) and not made.training
        return made

    moving = train(config)
    number, first = steps(tmp_path), weights(moving)
    assert number >= 1
    assert all(torch.equal(value, renderer.state_dict()[name]) for name, value in moving.renderer.state_dict().items())
    painting = train(replace(config, minutes=3 * MINUTES, rendering_after=0.0, rendering_rate=1e-3))
    second = weights(painting)
    assert steps(tmp_path) > number
    changed = {".".join(name.split(".")[:2]) for name in first if not torch.equal(first[name], second[name])}
    assert changed == {"renderer.decoder", "renderer.dense_motion", "style.weight", "style.bias"}
    curve = pd.read_csv(tmp_path / CURVES)
    assert np.isfinite(curve.to_numpy()).all()
    assert (curve["pose"][:number] > 0.0).all() and (curve["reconstruction"][:number] == 0.0).all()
    assert (curve["pose"][number:] == 0.0).all() and (curve[["reconstruction", "identity"]][number:] > 0.0).all(axis=None)
    assert cv2.imread(str(tmp_path / STRIPS / "000000.jpg")).shape == (3 * 96, 8 * 96, 3)
    assert all(torch.equal(value, before[name]) for name, value in identity.state_dict().items())
    assert not torch.equal(painting.renderer.decoder.first.weight, renderer.decoder.first.weight)  # a copy was trained
    moved = painting.generate_motion(portrait, driving_of(30), np.random.default_rng(0))
    assert np.isfinite(moved.pose).all() and np.isfinite(moved.expression).all()


@pytest.mark.slow
def test_the_embedding_separates_two_people(head_clips: list[HeadClip], tmp_path: Path) -> None:
    config = IdentityTraining(minutes=0.04, batch=8, learning_rate=3e-3, model={"widths": (8, 8, 8, 16), "dimensions": 8})
    made = train_identity(config, head_clips, tmp_path)
    curve = pd.read_csv(tmp_path / CURVES)
    assert np.isfinite(curve.to_numpy()).all() and len(curve) == steps(tmp_path) >= 1 and not made.training

    def seen(clip: HeadClip, frame: int) -> Tensor:
        image = torch.from_numpy(clip.heads[[frame]]).permute(0, 3, 1, 2).float() / 255.0
        return made(image, torch.from_numpy(face_maps(clip.points[[frame]])))[0]

    with torch.no_grad():
        a, b, c = seen(head_clips[0], 5), seen(head_clips[1], 50), seen(head_clips[2], 20)
    assert float(a @ b) > float(a @ c)
    again = train_identity(config, head_clips, tmp_path)
    assert all(torch.equal(value, made.state_dict()[name]) for name, value in copy.deepcopy(again).state_dict().items())


def test_an_embedding_of_one_person_is_refused(head_clips: list[HeadClip], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two people"):
        train_identity(IdentityTraining(minutes=MINUTES), head_clips[:2], tmp_path)
