"""The contract that every talking-head model keeps: shapes, determinism, inputs, saving and loading, gradients."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from heads import moved, same
from hypothesis import given, settings
from hypothesis import strategies as st

from avwitness.generators.talking.models.base import Batch, DrivingSignals, Portrait, TalkingHead
from avwitness.generators.talking.models.dyads import SimulatedDyads
from avwitness.generators.talking.models.mfr_net import (
    DyadBatch,
    MfrNet,
)
from avwitness.generators.talking.models.registry import HEADS
from avwitness.generators.talking.rendering.motion import EXPRESSION_SIZE, POSE_SIZE
from avwitness.generators.weights import load_network, save_network

pytestmark = pytest.mark.usefixtures("one_thread")
MakeDriving = Callable[..., DrivingSignals]
SAMPLING = {"font", "osm-net", "mfr-net"}  # those that leave something to chance
ABLATED: dict[str, dict[str, Any]] = {
    "font": {"sampling": False},
    "opt": {"disentangled": False},
    "osm-net": {"space": False},
    "mfr-net": {"aggregation": False},
}


@pytest.fixture(scope="module", params=sorted(HEADS))
def head(request: pytest.FixtureRequest, build: Callable[..., Any]) -> TalkingHead:
    return build(request.param)


@pytest.mark.slow
def test_it_is_registered_under_its_name(head: TalkingHead) -> None:
    assert HEADS[head.name] is type(head)
    assert isinstance(head.config, type(head).config_type)
    assert head.needs <= {"pose", "speaker"}


@pytest.mark.slow
@settings(max_examples=15)
@given(length=st.integers(1, 70))
def test_the_motion_is_as_long_as_the_audio(head: TalkingHead, portrait: Portrait, driving_of: MakeDriving, length: int) -> None:
    made = moved(head, portrait, driving_of(length))
    assert made.pose.shape == (length, POSE_SIZE) and made.expression.shape == (length, EXPRESSION_SIZE)
    assert made.pose.dtype == made.expression.dtype == np.float32
    assert np.isfinite(made.pose).all() and np.isfinite(made.expression).all()


@pytest.mark.parametrize("length", [1, 30])
def test_references_may_be_shorter_or_longer_than_the_audio(
    head: TalkingHead, portrait: Portrait, driving_of: MakeDriving, length: int
) -> None:
    for other in (1, 2, 7, 80):
        driven = replace(driving_of(length), pose=driving_of(other).pose, speaker=driving_of(other).speaker)
        assert len(moved(head, portrait, driven)) == length


@pytest.mark.parametrize("length", [10, 40])
def test_the_motion_depends_on_the_seed_alone(head: TalkingHead, portrait: Portrait, driving_of: MakeDriving, length: int) -> None:
    driving = driving_of(length)
    once = moved(head, portrait, driving, 1)
    torch.manual_seed(77)
    assert same(once, moved(head, portrait, driving, 1))
    assert same(once, moved(head, portrait, driving, 2)) == (head.name not in SAMPLING)


def test_the_motion_depends_on_the_audio(head: TalkingHead, portrait: Portrait, driving_of: MakeDriving) -> None:
    driving = driving_of(30)
    other = replace(driving, audio=driving_of(30, seed=1).audio)
    assert not same(moved(head, portrait, driving), moved(head, portrait, other))


def test_inputs_are_not_modified(head: TalkingHead, portrait: Portrait, driving_of: MakeDriving) -> None:
    driving, before = driving_of(30), copy.deepcopy((driving_of(30), portrait))
    moved(head, portrait, driving)
    assert np.array_equal(driving.audio, before[0].audio) and np.array_equal(driving.pose, before[0].pose)
    assert same(driving.speaker, before[0].speaker) and same(portrait.motion, before[1].motion)
    state = copy.deepcopy(head.state_dict())
    moved(head, portrait, driving)
    assert all(torch.equal(value, state[name]) for name, value in head.state_dict().items())


def test_a_saved_model_loads_unchanged(head: TalkingHead, portrait: Portrait, driving_of: MakeDriving, tmp_path: Path) -> None:
    folder = save_network(head, tmp_path / "head", {"about": "a test"})
    again = load_network(type(head), folder)
    assert not again.training
    for name, value in head.state_dict().items():
        assert torch.equal(again.state_dict()[name], value.half().float()), name
    rounded = copy.deepcopy(head)
    rounded.load_state_dict({name: value.half().float() for name, value in head.state_dict().items()})
    assert same(moved(again, portrait, driving_of(30)), moved(rounded, portrait, driving_of(30)))
    assert json.loads((folder / "card.json").read_text())["model"]["width"] == 32


def test_every_weight_has_a_gradient(head: TalkingHead, batch: Batch, dyads: SimulatedDyads) -> None:
    learner = copy.deepcopy(head).train()
    rng = np.random.default_rng(0)
    if isinstance(learner, MfrNet):
        parts = learner.denoising_losses(DyadBatch.from_dyads([dyads.draw(rng) for _ in range(3)]), rng)
    else:
        parts = learner.losses(batch, rng, 0.5)
    assert all(value.ndim == 0 and torch.isfinite(value) for value in parts.values())
    torch.stack(list(parts.values())).sum().backward()
    # The renderer of MFR-Net has its own loss, and the regression of OSM-Net belongs to its ablation.
    silent = {name.split(".")[0] for name, p in learner.named_parameters() if p.grad is None}
    assert silent <= {"renderer", "style", "regression"}


@pytest.mark.parametrize("name", sorted(HEADS))
def test_the_ablation_works(
    name: str, build: Callable[..., Any], portrait: Portrait, driving_of: MakeDriving, batch: Batch, tmp_path: Path
) -> None:
    plain = build(name, **ABLATED[name])
    assert len(moved(plain, portrait, driving_of(30))) == 30
    chance = name == "mfr-net"
    assert same(moved(plain, portrait, driving_of(30), 1), moved(plain, portrait, driving_of(30), 2)) != chance
    again = load_network(type(plain), save_network(plain, tmp_path / "plain", {}))
    assert next(getattr(again.config, key) for key in ABLATED[name]) is False
    if not chance:
        assert all(torch.isfinite(x) for x in plain.losses(batch, np.random.default_rng(0), 0.5).values())
