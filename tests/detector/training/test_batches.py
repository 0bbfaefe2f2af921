from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from avwitness.avsr.backbones.av_hubert import AVHubert
from avwitness.avsr.backbones.two_stream import TwoStream
from avwitness.detector.training.augment import AugmentConfig
from avwitness.detector.training.batches import (
    PASSES,
    PairSampler,
    TrainBatch,
    audio_example,
    bottleneck,
    collate,
    forged_face,
    make_train_batch,
    seam,
    single_faces,
    video_example,
)
from avwitness.detector.training.samples import Sample
from avwitness.media.speech import log_spectrum
from hypothesis import given, settings
from hypothesis import strategies as st
from witness import clip, fake

FRAMES = 20
PAIRS = {"both": 3, "audio": 2, "video": 2, "faces": 2}
seeds = st.integers(0, 2**32 - 1)


def made_up() -> list[Sample]:
    """Six sources, each genuine, out of step, and fake in one or both streams; one more is heard alone, one seen alone."""
    out: list[Sample] = []
    for seed in range(6):
        genuine = clip(seed)
        out += [
            genuine,
            fake(genuine, "audio", "lpc" if seed % 2 else "griffin_lim", 10, 30),
            fake(genuine, "video", "self_blend", 10, 30),
            fake(fake(genuine, "audio", "vocoder+lower_face"), "video", "vocoder+lower_face"),
            replace(genuine, path=f"late{seed}", mismatch=True, lag=9),
        ]
    for seed, stream in ((6, "audio"), (7, "video")):
        alone = clip(seed, streams=(stream,))
        out += [alone, fake(alone, stream, "only_here")]
    return out


@pytest.fixture(scope="module")
def draw() -> PairSampler:
    return PairSampler(made_up())


def step_of(draw: PairSampler, seed: int, backbone: type = TwoStream) -> TrainBatch:
    return make_train_batch(draw, backbone, PAIRS, FRAMES, AugmentConfig(), np.random.default_rng(seed))


def test_pools_hold_what_may_be_fake_in_each_pass(draw: PairSampler) -> None:
    audio, video = {"lpc", "griffin_lim", "vocoder", "lower_face"}, {"self_blend", "vocoder", "lower_face"}
    assert draw.kinds("both") == ["audio", "video", "mismatch"]
    assert set(draw.pools["both", "audio"]) == audio and set(draw.pools["both", "video"]) == video
    assert set(draw.pools["audio", "audio"]) == audio | {"only_here"}  # who is heard alone is for those who only listen
    assert set(draw.pools["video", "video"]) == video | {"only_here"}
    assert set(draw.pools["both", "mismatch"]) == {"mismatch"}


def test_methods_are_left_out_with_all_they_forged_together() -> None:
    draw = PairSampler(made_up(), ("lpc", "vocoder"))
    assert set(draw.pools["audio", "audio"]) == {"griffin_lim", "only_here"}
    assert set(draw.pools["video", "video"]) == {"self_blend", "only_here"}
    rng = np.random.default_rng(0)
    drawn = [draw.pair(name, kind, rng)[0] for name in PASSES for kind in draw.kinds(name) for _ in range(30)]
    assert not {"lpc", "vocoder+lower_face"} & {method for s in drawn for method in s.methods.values()}


def test_a_fake_without_a_genuine_twin_is_not_drawn() -> None:
    alone = fake(clip(0), "audio", "lpc")
    assert PairSampler([alone]).kinds("both") == PairSampler([alone]).kinds("audio") == []


@settings(max_examples=30)
@given(seeds)
def test_every_fake_comes_with_its_twin(draw: PairSampler, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for name in PASSES:
        for kind in draw.kinds(name):
            forged, genuine = draw.pair(name, kind, rng)
            assert genuine.genuine and genuine.source == forged.source
            assert forged.mismatch if kind == "mismatch" else forged.fake(kind)


def test_methods_are_drawn_alike_however_many_clips_they_have() -> None:
    genuine = clip(0)
    many = [replace(fake(genuine, "audio", "common"), path=str(i)) for i in range(30)]
    draw = PairSampler([genuine, *many, fake(genuine, "audio", "rare")])
    rng = np.random.default_rng(0)
    count = Counter(draw.pair("audio", "audio", rng)[0].methods["audio"] for _ in range(400))
    assert 150 < count["rare"] < 250


def test_some_methods_are_drawn_seldom() -> None:
    genuine = clip(0)
    draw = PairSampler([genuine, fake(genuine, "audio", "often"), fake(genuine, "audio", "cut")], rare_methods=("cut",))
    rng = np.random.default_rng(0)
    count = Counter(draw.pair("audio", "audio", rng)[0].methods["audio"] for _ in range(400))
    assert 70 < count["cut"] < 130  # one in four


def test_a_step_holds_pairs_and_comes_again(draw: PairSampler) -> None:
    step = step_of(draw, 5)
    assert set(step.passes) == set(PASSES)
    both = step.passes["both"]
    shapes = {f.name: None if (x := getattr(both, f.name)) is None else tuple(x.shape) for f in fields(both)}
    assert shapes == {
        "audio": (6, FRAMES, 320),
        "spectrum": (6, FRAMES, 1024),
        "video": (6, FRAMES, 88, 88),
        "faces": (6, 4, 128, 128, 3),
        **dict.fromkeys(("audio_mask", "video_mask", "audio_labels", "video_labels"), (6, FRAMES)),
    }
    assert both.video is not None and both.video.dtype == both.faces.dtype == torch.uint8  # type: ignore[union-attr]
    assert step.passes["audio"].video is step.passes["audio"].faces is step.passes["video"].audio is None
    for batch in step.passes.values():
        for labels in (batch.audio_labels, batch.video_labels):
            assert labels is None or not labels[1::2].any()  # every other one is genuine
    assert both.audio_labels is not None and both.audio_labels[0].any() and both.video_labels[2].any()  # type: ignore[index]
    assert step.faces is not None and step.face_labels is not None
    assert step.faces.shape == (4, 1, 128, 128, 3) and step.face_labels.tolist() == [1, 0, 1, 0]
    again, other = step_of(draw, 5), step_of(draw, 6)
    for name, batch in step.passes.items():
        for f in fields(batch):
            first, second = getattr(batch, f.name), getattr(again.passes[name], f.name)
            assert (first is None and second is None) or torch.equal(first, second)
    assert torch.equal(step.faces, again.faces)  # type: ignore[arg-type]
    assert not torch.equal(both.audio, other.passes["both"].audio)  # type: ignore[arg-type]


def test_each_backbone_hears_in_its_own_way(draw: PairSampler) -> None:
    audio = step_of(draw, 0, AVHubert).passes["both"].audio
    assert audio is not None and audio.shape == (6, FRAMES, 104)


def test_a_stretch_is_cut_alike_from_all_that_is_seen_and_heard() -> None:
    sample = fake(clip(0, 40), "audio", "lpc", 12, 25)
    rng = np.random.default_rng(0)
    assert sample.waveform is not None and sample.face is not None
    heard = audio_example(sample, 10, 20, TwoStream, None, None, rng)
    window = sample.waveform[6400 : 30 * 640].astype(np.float32) / 32768.0
    assert np.array_equal(heard["audio"], TwoStream.extract_audio_features(window))
    assert np.array_equal(heard["spectrum"], log_spectrum(window))
    assert heard["audio_labels"].tolist() == [0] * 2 + [1] * 13 + [0] * 5
    assert heard["audio_mask"].all()
    late = audio_example(sample, 30, 20, TwoStream, None, None, rng)
    assert late["audio_mask"].tolist() == [True] * 10 + [False] * 10
    assert late["audio"].shape == (20, 320) and not late["audio"][10:].any() and not late["spectrum"][10:].any()


def test_what_is_seen_is_padded_and_gaps_are_masked() -> None:
    sample = fake(clip(0, 40), "video", "self_blend", 12, 25)
    assert sample.usable is not None and sample.face is not None
    usable, face = sample.usable.copy(), sample.face.copy()
    usable[31:33] = False
    face[[0, 7]] = 0
    looks = np.random.default_rng(1).normal(size=(3, 40, 6)).astype(np.float16)
    for known in (None, looks):
        seen = video_example(replace(sample, usable=usable, face=face, looks=known), 30, 20, AugmentConfig(), np.random.default_rng(0))
        assert seen["video_mask"].tolist() == [True, False, False] + [True] * 7 + [False] * 10
        assert not seen["video"][10:].any() and seen["video"][:10].any()
        assert seen["faces"].shape == (4, 128, 128, 3)
        assert [bool(picture.any()) for picture in seen["faces"]] == [True, False, False, False]  # frames 30, 35 and beyond
        if known is None:
            assert seen["video"].shape == (20, 88, 88)
        else:
            assert any(np.array_equal(seen["video"][:10], version[30:].astype(np.float32)) for version in looks[1:])
    early = video_example(sample, 10, 20, AugmentConfig(), np.random.default_rng(0))
    assert early["video_labels"].tolist() == [0] * 2 + [1] * 13 + [0] * 5


def test_an_absent_sound_among_others_is_masked_silence() -> None:
    rng = np.random.default_rng(0)
    examples = [audio_example(s, 0, 20, TwoStream, None, None, rng) for s in (clip(0), clip(1, streams=("video",)))]
    batch = collate(examples)
    assert batch.audio is not None and batch.audio_mask is not None and batch.audio_labels is not None
    assert batch.audio.shape == (2, 20, 320)
    assert not batch.audio[1].any() and not batch.audio_mask[1].any() and not batch.audio_labels[1].any()


@settings(max_examples=15)
@given(seeds)
def test_blended_faces_differ_from_the_genuine_ones_in_a_part(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shown = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    before = shown.copy()
    for forge in (seam, bottleneck):
        forged = forge(shown, np.random.default_rng(seed))
        assert forged.shape == shown.shape and forged.dtype == np.uint8
        assert np.array_equal(shown, before)
        assert np.array_equal(forged, forge(shown, np.random.default_rng(seed)))
        moved = np.abs(forged.astype(int) - shown).max(axis=2)
        assert (moved > 2).any()
        if forge is bottleneck:
            assert moved[0, 0] <= 2 and moved[0, -1] <= 2  # what lies around the face stays


def test_single_faces_are_drawn_from_genuine_clips_that_show_one(draw: PairSampler) -> None:
    assert {draw.samples[i].genuine for i in draw.faces} == {True}
    assert 6 * 5 not in draw.faces  # the clip that is only heard
    for share in (0.0, 1.0):
        faces, labels = single_faces(draw, 3, share, AugmentConfig(), np.random.default_rng(0))
        assert faces.shape == (6, 1, 128, 128, 3) and labels.tolist() == [1, 0] * 3
        assert all(face.any() for face in faces)


@settings(max_examples=20)
@given(seeds)
def test_forged_faces_are_of_forged_moments_and_beside_the_same_moment_of_the_twin(draw: PairSampler, seed: int) -> None:
    found = forged_face(draw, np.random.default_rng(seed))
    assert found is not None
    forged, genuine = found

    def moments(picture: np.ndarray) -> set[tuple[str, int]]:
        clips = [(s, face) for s in draw.samples if s.face is not None for face in (s.face,)]
        return {(s.source, i) for s, face in clips for i in range(len(face)) if np.array_equal(face[i], picture)}

    assert moments(forged) & moments(genuine)
    assert forged.any() and genuine.any()


def test_a_fake_whose_twin_shows_another_stretch_lends_no_face() -> None:
    genuine = clip(0)
    draw = PairSampler([replace(genuine, slot="another"), fake(genuine, "video", "self_blend")])
    assert draw.kinds("video") == ["video"]
    assert forged_face(draw, np.random.default_rng(0)) is None
    faces, labels = single_faces(draw, 2, 1.0, AugmentConfig(), np.random.default_rng(0))  # blended instead
    assert faces.shape[0] == len(labels) == 4
