"""The contract that every registered head keeps, and what each of the four has of its own."""

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
from avwitness.generators.talking.models import osm_net
from avwitness.generators.talking.models.base import OVERLAP, WINDOW, Attitude, Batch, DrivingSignals, Portrait, TalkingHead, window_spans
from avwitness.generators.talking.models.dyads import SimulatedDyads
from avwitness.generators.talking.models.font import Font, FontConfig, temporal_ssim_loss
from avwitness.generators.talking.models.mfr_net import MOTION, STEPS, DyadBatch, MfrNet, MfrNetConfig, cumulative_alpha, speaker_array
from avwitness.generators.talking.models.opt import REVERSED, Opt, OptConfig, _Reverse, follow_reference, normalise_bands
from avwitness.generators.talking.models.osm_net import FAR, SEEN, OsmNet, OsmNetConfig
from avwitness.generators.talking.models.registry import HEADS
from avwitness.generators.talking.rendering.head_clips import AUDIO_FEATURES, HeadClip
from avwitness.generators.talking.rendering.motion import EXPRESSION, POSE, Motion
from avwitness.generators.talking.rendering.renderer import Renderer, RendererConfig
from avwitness.generators.talking.training.motion_training import WindowSampler
from avwitness.generators.weights import load_network, save_network
from avwitness.media.speech import log_mel
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import Talk
from scipy.signal import lfilter

pytestmark = pytest.mark.usefixtures("one_thread")
MakeCue = Callable[..., DrivingSignals]
SAMPLING = {"font", "osm-net", "mfr-net"}  # those that leave something to chance
ABLATED: dict[str, dict[str, Any]] = {
    "font": {"sampling": False},
    "opt": {"disentangled": False},
    "osm-net": {"space": False},
    "mfr-net": {"aggregation": False},
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def build(renderer: Renderer, tiny: RendererConfig, head_clips: list[HeadClip]) -> Callable[..., Any]:
    """Builds a small head by its name: untrained, but for what is learned without descent."""
    windows = WindowSampler(head_clips, renderer.space)

    def make(name: str, **given: Any) -> TalkingHead:
        torch.manual_seed(1)
        kind = HEADS[name]
        head = kind(kind.config_type(width=32, **({"renderer": tiny} if name == "mfr-net" else {}), **given))
        head.space.load_state_dict(renderer.space.state_dict())
        head.fit_statistics([windows.draw(32, np.random.default_rng(n)) for n in range(3)])
        return head.eval()

    return make


@pytest.fixture(scope="module", params=sorted(HEADS))
def head(request: pytest.FixtureRequest, build: Callable[..., Any]) -> TalkingHead:
    return build(request.param)


@pytest.fixture(scope="module")
def batch(head_clips: list[HeadClip], renderer: Renderer) -> Batch:
    return WindowSampler(head_clips, renderer.space).draw(4, np.random.default_rng(0))


def same(a: Motion, b: Motion) -> bool:
    return np.array_equal(a.pose, b.pose) and np.array_equal(a.expression, b.expression)


def moved(head: TalkingHead, portrait: Portrait, cue: DrivingSignals, seed: int = 0) -> Motion:
    return head.move(portrait, cue, np.random.default_rng(seed))


# The contract


@pytest.mark.slow
def test_it_is_registered_under_its_name(head: TalkingHead) -> None:
    assert HEADS[head.name] is type(head)
    assert isinstance(head.config, type(head).config_type)
    assert head.needs <= {"pose", "speaker"}


@pytest.mark.slow
@settings(max_examples=15)
@given(length=st.integers(1, 70))
def test_any_sound_moves_a_head_for_as_long_as_it_lasts(head: TalkingHead, portrait: Portrait, cue_of: MakeCue, length: int) -> None:
    made = moved(head, portrait, cue_of(length))
    assert made.pose.shape == (length, POSE) and made.expression.shape == (length, EXPRESSION)
    assert made.pose.dtype == made.expression.dtype == np.float32
    assert np.isfinite(made.pose).all() and np.isfinite(made.expression).all()


@pytest.mark.parametrize("length", [1, 30])
def test_what_drives_it_may_be_shorter_or_longer_than_the_sound(
    head: TalkingHead, portrait: Portrait, cue_of: MakeCue, length: int
) -> None:
    for other in (1, 2, 7, 80):
        driven = replace(cue_of(length), pose=cue_of(other).pose, speaker=cue_of(other).speaker)
        assert len(moved(head, portrait, driven)) == length


@pytest.mark.parametrize("length", [10, 40])
def test_the_seed_decides_and_nothing_else(head: TalkingHead, portrait: Portrait, cue_of: MakeCue, length: int) -> None:
    cue = cue_of(length)
    once = moved(head, portrait, cue, 1)
    torch.manual_seed(77)
    assert same(once, moved(head, portrait, cue, 1))
    assert same(once, moved(head, portrait, cue, 2)) == (head.name not in SAMPLING)


def test_it_hears_what_is_said(head: TalkingHead, portrait: Portrait, cue_of: MakeCue) -> None:
    cue = cue_of(30)
    other = replace(cue, audio=cue_of(30, seed=1).audio)
    assert not same(moved(head, portrait, cue), moved(head, portrait, other))


def test_it_leaves_what_it_is_given_alone(head: TalkingHead, portrait: Portrait, cue_of: MakeCue) -> None:
    cue, before = cue_of(30), copy.deepcopy((cue_of(30), portrait))
    moved(head, portrait, cue)
    assert np.array_equal(cue.audio, before[0].audio) and np.array_equal(cue.pose, before[0].pose)
    assert same(cue.speaker, before[0].speaker) and same(portrait.motion, before[1].motion)
    state = copy.deepcopy(head.state_dict())
    moved(head, portrait, cue)
    assert all(torch.equal(value, state[name]) for name, value in head.state_dict().items())


def test_it_comes_back_as_it_was_stored(head: TalkingHead, portrait: Portrait, cue_of: MakeCue, tmp_path: Path) -> None:
    folder = save_network(head, tmp_path / "head", {"about": "a test"})
    again = load_network(type(head), folder)
    assert not again.training
    for name, value in head.state_dict().items():
        assert torch.equal(again.state_dict()[name], value.half().float()), name
    rounded = copy.deepcopy(head)
    rounded.load_state_dict({name: value.half().float() for name, value in head.state_dict().items()})
    assert same(moved(again, portrait, cue_of(30)), moved(rounded, portrait, cue_of(30)))
    assert json.loads((folder / "card.json").read_text())["model"]["width"] == 32


def test_every_weight_learns(head: TalkingHead, batch: Batch, dyads: SimulatedDyads) -> None:
    learner = copy.deepcopy(head).train()
    rng = np.random.default_rng(0)
    if isinstance(learner, MfrNet):
        parts = learner.denoising_losses(DyadBatch.of([dyads.draw(rng) for _ in range(3)]), rng)
    else:
        parts = learner.losses(batch, rng, 0.5)
    assert all(value.ndim == 0 and torch.isfinite(value) for value in parts.values())
    torch.stack(list(parts.values())).sum().backward()
    # The renderer of a listener learns by itself, and the regression of OSM-Net is its ablation.
    silent = {name.split(".")[0] for name, p in learner.named_parameters() if p.grad is None}
    assert silent <= {"renderer", "style", "regression"}


@pytest.mark.parametrize("name", sorted(HEADS))
def test_without_its_claim_it_still_moves(
    name: str, build: Callable[..., Any], portrait: Portrait, cue_of: MakeCue, batch: Batch, tmp_path: Path
) -> None:
    plain = build(name, **ABLATED[name])
    assert len(moved(plain, portrait, cue_of(30))) == 30
    chance = name == "mfr-net"
    assert same(moved(plain, portrait, cue_of(30), 1), moved(plain, portrait, cue_of(30), 2)) != chance
    again = load_network(type(plain), save_network(plain, tmp_path / "plain", {}))
    assert next(getattr(again.config, key) for key in ABLATED[name]) is False
    if not chance:
        assert all(torch.isfinite(x) for x in plain.losses(batch, np.random.default_rng(0), 0.5).values())


# FONT


def test_poses_of_font_go_on_where_the_window_before_was(build: Callable[..., Any], portrait: Portrait, cue_of: MakeCue) -> None:
    font = build("font")
    for seed in range(4):
        made = (font.move(portrait, cue_of(70), np.random.default_rng(seed)).pose - portrait.motion.pose) / font.space.pose_scale.numpy()
        assert np.allclose(made[0], 0.0, atol=1e-4)  # from where the portrait is
        steps = np.abs(np.diff(made, axis=0)).max(axis=1)
        seams = [i for begin, end in window_spans(70)[1:] for i in (begin - 1, begin, begin + OVERLAP - 1) if end]
        assert steps[seams].max() < 1.2 * np.delete(steps, seams).max()


def test_font_forgets_what_it_saw_of_a_motion_when_it_may_not_sample(build: Callable[..., Any], batch: Batch) -> None:
    sampling, plain = build("font"), build("font", sampling=False)
    assert "divergence" in sampling.losses(batch, np.random.default_rng(0), 0.5)
    assert "divergence" not in plain.losses(batch, np.random.default_rng(0), 0.5)
    early, late = (float(sampling.losses(batch, np.random.default_rng(0), p)["divergence"].detach()) for p in (0.1, 0.9))
    assert 0.0 < early < late
    mean, log_variance = sampling.poses.encode(batch.audio, batch.pose)
    assert mean.shape == log_variance.shape == (4, FontConfig().latent)


def test_sequences_that_are_equal_are_similar() -> None:
    a = torch.randn(2, 24, POSE).cumsum(dim=1)
    assert float(temporal_ssim_loss(a, a)) == pytest.approx(0.0, abs=1e-5)
    near, far = float(temporal_ssim_loss(a + 0.1 * torch.randn_like(a), a)), float(temporal_ssim_loss(-a, a))
    assert 0.0 < near < far < 2.0


# OPT


def test_the_pose_of_opt_follows_the_reference(build: Callable[..., Any], portrait: Portrait, cue_of: MakeCue) -> None:
    cue = cue_of(30)
    assert cue.pose is not None
    made = build("opt").move(portrait, cue, np.random.default_rng(0)).pose
    assert np.allclose(made - portrait.motion.pose, cue.pose - cue.pose[0], atol=1e-5)
    short = build("opt").move(portrait, replace(cue, pose=cue.pose[:4]), np.random.default_rng(0)).pose
    assert np.allclose((short - portrait.motion.pose)[:7], (cue.pose - cue.pose[0])[[0, 1, 2, 3, 2, 1, 0]], atol=1e-5)


@given(st.integers(1, 40), st.integers(1, 120))
def test_references_are_played_to_and_fro(frames: int, length: int) -> None:
    pose = np.arange(frames, dtype=np.float32)[:, None] * np.ones((1, POSE), np.float32) + 5.0
    made = follow_reference(pose, length)
    assert made.shape == (length, POSE) and made.dtype == np.float32
    assert not made[0].any() and made.min() >= 0.0 and made.max() == min(frames, length) - 1
    if frames > 1:
        assert (np.abs(np.diff(made, axis=0)) == 1.0).all()  # never a jump


def test_a_reversed_gradient_is_reversed() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    made = _Reverse.apply(x, 0.7)
    assert torch.equal(made, x)
    weight = torch.randn(3, 4)
    (made * weight).sum().backward()
    assert x.grad is not None and torch.allclose(x.grad, -0.7 * weight)


def test_the_classifier_learns_who_speaks_and_the_content_to_hide_it(build: Callable[..., Any], batch: Batch) -> None:
    opt = build("opt")

    def gradients(progress: float) -> tuple[torch.Tensor, torch.Tensor]:
        opt.zero_grad(set_to_none=True)
        opt.losses(batch, np.random.default_rng(0), progress)["speaker_in_content"].backward()
        return opt.narrow[1].weight.grad.clone(), opt.from_content.first.weight.grad.clone()

    (content, classifier), (before, same_classifier) = gradients(0.5), gradients(0.0)
    assert not before.any() and content.any()  # turned round by nothing at first
    assert torch.allclose(classifier, same_classifier)
    heard = opt.from_content(opt.content(batch.audio))
    loss = torch.nn.functional.cross_entropy(heard.mean(dim=1), batch.identity)
    loss = 0.5 * loss + 0.5 * torch.nn.functional.cross_entropy(heard.flatten(0, 1), batch.identity.repeat_interleave(WINDOW))
    opt.zero_grad(set_to_none=True)
    loss.backward()
    assert torch.allclose(REVERSED * opt.narrow[1].weight.grad, -content, atol=1e-5)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_a_gain_in_any_band_is_no_content(seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    audio = torch.from_numpy(rng.standard_normal((2, length, AUDIO_FEATURES)).astype(np.float32))
    gain = torch.from_numpy(rng.uniform(-2, 2, (2, 1, 80)).astype(np.float32)).repeat(1, 1, 4)  # of a logarithm
    made = normalise_bands(audio)
    assert made.shape == audio.shape and torch.isfinite(made).all()
    assert torch.allclose(normalise_bands(audio + gain), made, atol=1e-4)
    bands = made.unflatten(2, (4, 80)).flatten(1, 2)
    assert torch.allclose(bands.mean(dim=1), torch.zeros(2, 80), atol=1e-4)


def test_a_filtered_voice_has_the_same_content(talk: Talk) -> None:
    plain = log_mel(talk.waveform)[None]
    dull = log_mel(lfilter([0.6, 0.2], [1.0, -0.3], talk.waveform).astype(np.float32))[None]
    apart = [np.abs(a - b).mean() for a, b in ((plain, dull), [normalise_bands(torch.from_numpy(x)).numpy() for x in (plain, dull)])]
    assert apart[1] < 0.5 * apart[0]


def test_content_is_of_unit_variance_and_deaf_to_gain_only_where_told(build: Callable[..., Any], cue_of: MakeCue) -> None:
    audio = torch.from_numpy(cue_of(40).audio)[None]
    gain = torch.linspace(-1, 1, 80).repeat(4)
    for disentangled in (True, False):
        opt = build("opt", disentangled=disentangled)
        content = opt.content(audio)
        assert content.shape == (1, 40, OptConfig().content)
        assert torch.allclose(content.square().mean(dim=2), torch.ones(1, 40), atol=0.05)
        assert torch.allclose(opt.content(audio + gain), content, atol=1e-3) == disentangled


# OSM-Net


def test_bases_are_of_unit_deviation_and_span_what_was_seen(
    build: Callable[..., Any], head_clips: list[HeadClip], renderer: Renderer
) -> None:
    osm = build("osm-net")
    assert torch.allclose(osm.bases @ osm.projection, torch.eye(osm.config.bases), atol=1e-3)
    windows = WindowSampler(head_clips, renderer.space)
    moves = torch.cat([(b.pose - b.pose[:, :1]).flatten(1) for b in (windows.draw(32, np.random.default_rng(n)) for n in range(3))])
    places = moves @ osm.projection
    assert torch.allclose(places.abs().median(dim=0).values, torch.full((osm.config.bases,), osm_net.MEDIAN), atol=0.15)
    left = (moves - places @ osm.bases).square().sum() / moves.square().sum()
    assert float(left) < 0.05


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), spread=st.floats(0.1, 10.0))
def test_draws_stay_where_heads_were_seen(build: Callable[..., Any], cue_of: MakeCue, seed: int, spread: float) -> None:
    osm = build("osm-net", bases=6)
    osm.unexplained.fill_(spread)
    with torch.no_grad():
        audio, face = torch.from_numpy(cue_of(WINDOW).audio)[None], torch.zeros(1, 32)
        move = osm.drawn(audio, face, np.random.default_rng(seed))
        assert move.shape == (WINDOW, POSE) and not move[0].any()
        # Bases begin at rest, so the place can be read again.
        place = move.flatten() @ osm.projection
        assert float(place.abs().max()) <= SEEN + 1e-2
        centre = osm.place(audio, face)[0].clamp(-SEEN, SEEN)
        assert float((place - centre).norm()) <= FAR * spread * 6**0.5 + 1e-2


def test_osm_net_measures_what_its_mapping_leaves_unexplained(
    build: Callable[..., Any], batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    osm: OsmNet = build("osm-net")
    before = osm.unexplained.clone()
    osm.losses(batch, np.random.default_rng(0), 0.0)
    assert torch.equal(before, torch.ones_like(before)) and not torch.equal(osm.unexplained, before)
    monkeypatch.setattr(osm_net, "EASE", 0.5)
    for _ in range(12):
        osm.losses(batch, np.random.default_rng(0), 0.0)
    wanted = (batch.pose - batch.pose[:, :1]).flatten(1) @ osm.projection
    with torch.no_grad():
        off = (wanted - osm.place(batch.audio, osm.face(batch.face))).abs().median(dim=0).values / osm_net.MEDIAN
    assert torch.allclose(osm.unexplained, off, atol=0.02)


def test_an_expression_of_osm_net_hears_a_window(build: Callable[..., Any], cue_of: MakeCue) -> None:
    osm: OsmNet = build("osm-net")
    audio = torch.from_numpy(cue_of(40).audio)[None]
    knock = audio.clone()
    knock[:, 20] += 5.0
    source, face = torch.zeros(1, EXPRESSION), torch.zeros(1, 32)
    with torch.no_grad():
        changed = (
            (osm.predict_expression(knock, source, face) - osm.predict_expression(audio, source, face))
            .abs()
            .sum(dim=2)[0]
            .nonzero()
            .flatten()
        )
    assert 20 in changed and changed.min() >= 10 and changed.max() <= 30
    assert isinstance(osm.config, OsmNetConfig)


# MFR-Net


def test_the_signal_fades_from_all_to_nearly_nothing() -> None:
    share = cumulative_alpha()
    assert share.shape == (STEPS + 1,) and float(share[0]) == 1.0
    assert (share.diff() < 0.0).all() and 0.0 < float(share[-1]) < 1e-3


def test_listeners_are_drawn_by_the_generator_alone(build: Callable[..., Any]) -> None:
    listener: MfrNet = build("mfr-net")
    with torch.no_grad():
        fused, source, attitude = torch.randn(2, 9, 32), torch.randn(2, EXPRESSION), torch.tensor([0, 1])
        once, again, other = (listener.drawn(fused, source, attitude, np.random.default_rng(s)) for s in (0, 0, 1))
    assert once.shape == (2, 9, MOTION) and torch.isfinite(once).all()
    assert torch.equal(once, again) and not torch.equal(once, other)


def test_a_sure_denoiser_is_believed(build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    listener: MfrNet = build("mfr-net")
    truth = torch.randn(1, 9, MOTION)
    asked: list[int] = []

    def knows(noisy: torch.Tensor, step: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        asked.append(int(step[0]))
        share = cumulative_alpha()[step[0]]
        # What is left beside the signal is noise of the strength that the schedule says.
        left = (noisy - share.sqrt() * truth) / (1.0 - share).sqrt()
        assert 0.6 < float(left.std()) < 1.4
        return truth

    monkeypatch.setattr(listener.denoiser, "forward", knows)
    made = listener.drawn(torch.zeros(1, 9, 32), torch.zeros(1, EXPRESSION), torch.tensor([0]), np.random.default_rng(0))
    assert torch.equal(made, truth)
    assert asked == sorted(asked, reverse=True) and asked[0] == STEPS and asked[-1] > 0 and len(asked) == 20


@pytest.mark.parametrize("attitude", [Attitude.positive, Attitude.negative])
def test_the_attitude_changes_how_one_listens(attitude: Attitude, build: Callable[..., Any], portrait: Portrait, cue_of: MakeCue) -> None:
    listener = build("mfr-net")
    assert not same(moved(listener, portrait, cue_of(30)), moved(listener, portrait, cue_of(30, attitude=attitude)))


def test_a_listener_heeds_the_speakers_head(build: Callable[..., Any], portrait: Portrait, cue_of: MakeCue) -> None:
    listener, cue = build("mfr-net"), cue_of(30)
    assert cue.speaker is not None
    nodding = Motion(cue.speaker.pose + np.sin(np.arange(30))[:, None].astype(np.float32), cue.speaker.expression)
    assert not same(moved(listener, portrait, cue), moved(listener, portrait, replace(cue, speaker=nodding)))
    # Who speaks, and where, matters less than how.
    elsewhere = Motion(cue.speaker.pose + np.float32(0.25), cue.speaker.expression + np.float32(2.0))
    plain, other = (moved(listener, portrait, replace(cue, speaker=x)).expression for x in (cue.speaker, elsewhere))
    assert np.allclose(plain, other, atol=0.02)


def test_a_speaker_who_is_seen_for_a_shorter_time_holds_still(build: Callable[..., Any], portrait: Portrait, cue_of: MakeCue) -> None:
    listener, cue = build("mfr-net"), cue_of(40)
    assert cue.speaker is not None
    cut = Motion(cue.speaker.pose[:25], cue.speaker.expression[:25])
    held = Motion(*(np.concatenate([x, x[-1:].repeat(15, axis=0)]) for x in (cut.pose, cut.expression)))
    assert same(moved(listener, portrait, replace(cue, speaker=cut)), moved(listener, portrait, replace(cue, speaker=held)))


def test_the_listeners_picture_matters_only_where_it_is_aggregated(build: Callable[..., Any]) -> None:
    audio, speaker, faces = torch.randn(2, 9, AUDIO_FEATURES), torch.randn(2, 9, MOTION), torch.rand(2, 2, 3, 96, 96)
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


def test_a_listener_paints_with_its_own_renderer(build: Callable[..., Any], renderer: Renderer, portrait: Portrait) -> None:
    listener: MfrNet = build("mfr-net")
    listener.renderer.load_state_dict(renderer.state_dict())
    with torch.no_grad():
        args = (portrait.image, portrait.as_state(), portrait.as_state())
        assert torch.equal(listener.paint(*args).image, renderer(*args).image)
        listener.style.bias.fill_(0.5)
        assert not torch.allclose(listener.paint(*args).image, renderer(*args).image, atol=1e-4)


def test_a_listener_learns_from_dyads_alone(build: Callable[..., Any], batch: Batch, dyads: SimulatedDyads) -> None:
    listener: MfrNet = build("mfr-net")
    with pytest.raises(TypeError, match="dyads"):
        listener.losses(batch, np.random.default_rng(0), 0.0)
    drawn = [dyads.draw(np.random.default_rng(n)) for n in range(3)]
    made = DyadBatch.of(drawn)
    assert made.audio.shape == (3, WINDOW, AUDIO_FEATURES) and made.speaker.shape == made.listener.shape == (3, WINDOW, MOTION)
    assert made.face.shape == (3, 3, 96, 96) and made.attitude.tolist() == [list(Attitude).index(d.attitude) for d in drawn]
    assert not made.speaker[:, 0].any()  # relative to the first frame
    absolute = made.listener[:, :, POSE:] + made.source_expression[:, None]
    assert np.allclose(absolute, np.stack([d.listener.expression for d in drawn]), atol=1e-4)
    assert np.array_equal(speaker_array(drawn[0].speaker), made.speaker[0])
    losses = [listener.denoising_losses(made, np.random.default_rng(s)) for s in (0, 0, 1)]
    assert set(losses[0]) == {"pose", "expression", "speed"}
    first, again, other = (float(x["pose"].detach()) for x in losses)
    assert first == again != other


@pytest.mark.parametrize(
    "sizes", [None, {"keypoint_detector": 8, "flow": [8, 16], "decoder": [8, 16, 16], "blocks": 1}, RendererConfig(blocks=1)]
)
def test_the_renderer_of_a_listener_is_built_of_any_kind_of_sizes(sizes: Any, tmp_path: Path) -> None:
    listener = MfrNet(MfrNetConfig(32, True, sizes))
    again = load_network(MfrNet, save_network(listener, tmp_path / "net", {}))
    assert again.renderer.config == listener.renderer.config
    assert isinstance(again.renderer.config.flow, tuple)
    assert Font.needs == frozenset() and Opt.needs == {"pose"}


def test_every_window_of_a_speaker_begins_at_rest_as_in_training(
    build: Callable[..., Any], portrait: Portrait, cue_of: MakeCue, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, seen = build("mfr-net"), []
    plain = listener.aggregate
    monkeypatch.setattr(
        listener, "aggregate", lambda face, audio, speaker: (seen.append(speaker[:, 0].clone()), plain(face, audio, speaker))[1]
    )
    ramp = np.linspace(0, 3, 60, dtype=np.float32)[:, None]
    speaker = Motion(ramp.repeat(POSE, 1), ramp.repeat(EXPRESSION, 1))
    listener.move(portrait, replace(cue_of(60), speaker=speaker), np.random.default_rng(0))
    assert len(seen) == len(window_spans(60))
    assert all(not x.any() for x in seen)


@pytest.mark.parametrize("name", ["opt", "mfr-net"])
def test_an_empty_reference_is_no_reference(name: str, build: Callable[..., Any], portrait: Portrait, cue_of: MakeCue) -> None:
    empty = replace(cue_of(10), pose=np.zeros((0, POSE), np.float32), speaker=Motion(np.zeros((0, POSE)), np.zeros((0, EXPRESSION))))
    with pytest.raises(ValueError, match=r"--pose|--speaker"):
        build(name).move(portrait, empty, np.random.default_rng(0))
