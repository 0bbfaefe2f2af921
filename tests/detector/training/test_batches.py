from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_detector import clip, fake

from avwitness.avsr.backbones.av_hubert import AVHubert
from avwitness.avsr.backbones.two_stream import TwoStream
from avwitness.detector.training.augment import AugmentConfig
from avwitness.detector.training.batches import (
    TrainBatch,
    audio_inputs,
    blend_face,
    collate,
    forged_face,
    make_face_pairs,
    make_train_batch,
    resample_face,
    video_inputs,
)
from avwitness.detector.training.pair_sampler import PASSES, PairSampler
from avwitness.detector.training.samples import Sample
from avwitness.media.pcm import to_float32
from avwitness.media.speech import log_spectrum

FRAMES = 20
PAIRS = {"both": 3, "audio": 2, "video": 2, "faces": 2}
seeds = st.integers(0, 2**32 - 1)


def example_samples() -> list[Sample]:
    """Six sources, each genuine, out of sync, and fake in one or both streams; one more has audio alone, one video alone."""
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
def sampler() -> PairSampler:
    return PairSampler(example_samples())


def train_batch(sampler: PairSampler, seed: int, backbone: type = TwoStream) -> TrainBatch:
    return make_train_batch(sampler, backbone, PAIRS, FRAMES, AugmentConfig(), np.random.default_rng(seed))


def test_pools_hold_the_kinds_of_fakes_of_each_pass(sampler: PairSampler) -> None:
    audio, video = {"lpc", "griffin_lim", "vocoder", "lower_face"}, {"self_blend", "vocoder", "lower_face"}
    assert sampler.kinds("both") == ["audio", "video", "mismatch"]
    assert set(sampler.pools["both", "audio"]) == audio and set(sampler.pools["both", "video"]) == video
    assert set(sampler.pools["audio", "audio"]) == audio | {"only_here"}  # clips of audio alone are in the audio pass alone
    assert set(sampler.pools["video", "video"]) == video | {"only_here"}
    assert set(sampler.pools["both", "mismatch"]) == {"mismatch"}


def test_excluded_methods_are_excluded_from_combinations_too() -> None:
    sampler = PairSampler(example_samples(), ("lpc", "vocoder"))
    assert set(sampler.pools["audio", "audio"]) == {"griffin_lim", "only_here"}
    assert set(sampler.pools["video", "video"]) == {"self_blend", "only_here"}
    rng = np.random.default_rng(0)
    fakes = [sampler.pair(name, kind, rng)[0] for name in PASSES for kind in sampler.kinds(name) for _ in range(30)]
    assert not {"lpc", "vocoder+lower_face"} & {method for s in fakes for method in s.methods.values()}


def test_a_fake_without_a_paired_real_clip_is_not_sampled() -> None:
    alone = fake(clip(0), "audio", "lpc")
    assert PairSampler([alone]).kinds("both") == PairSampler([alone]).kinds("audio") == []


@settings(max_examples=30)
@given(seeds)
def test_every_fake_comes_with_its_paired_real_clip(sampler: PairSampler, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for name in PASSES:
        for kind in sampler.kinds(name):
            forged, genuine = sampler.pair(name, kind, rng)
            assert genuine.genuine and genuine.source == forged.source
            assert forged.mismatch if kind == "mismatch" else forged.fake(kind)


def test_methods_are_sampled_equally_whatever_their_number_of_clips() -> None:
    genuine = clip(0)
    many = [replace(fake(genuine, "audio", "common"), path=str(i)) for i in range(30)]
    sampler = PairSampler([genuine, *many, fake(genuine, "audio", "rare")])
    rng = np.random.default_rng(0)
    count = Counter(sampler.pair("audio", "audio", rng)[0].methods["audio"] for _ in range(400))
    assert 150 < count["rare"] < 250


def test_rare_methods_are_sampled_a_third_as_often() -> None:
    genuine = clip(0)
    sampler = PairSampler([genuine, fake(genuine, "audio", "often"), fake(genuine, "audio", "cut")], rare_methods=("cut",))
    rng = np.random.default_rng(0)
    count = Counter(sampler.pair("audio", "audio", rng)[0].methods["audio"] for _ in range(400))
    assert 70 < count["cut"] < 130  # one in four


def test_a_train_batch_holds_pairs_and_is_determined_by_its_seed(sampler: PairSampler) -> None:
    batch = train_batch(sampler, 5)
    assert set(batch.passes) == set(PASSES)
    both = batch.passes["both"]
    shapes = {f.name: None if (x := getattr(both, f.name)) is None else tuple(x.shape) for f in fields(both)}
    assert shapes == {
        "audio": (6, FRAMES, 320),
        "spectrum": (6, FRAMES, 1024),
        "video": (6, FRAMES, 88, 88),
        "faces": (6, 4, 128, 128, 3),
        **dict.fromkeys(("audio_mask", "video_mask", "audio_labels", "video_labels"), (6, FRAMES)),
    }
    assert both.video is not None and both.video.dtype == both.faces.dtype == torch.uint8  # type: ignore[union-attr]
    assert batch.passes["audio"].video is batch.passes["audio"].faces is batch.passes["video"].audio is None
    for inputs in batch.passes.values():
        for labels in (inputs.audio_labels, inputs.video_labels):
            assert labels is None or not labels[1::2].any()  # every other one is genuine
    assert both.audio_labels is not None and both.audio_labels[0].any() and both.video_labels[2].any()  # type: ignore[index]
    assert batch.faces is not None and batch.face_labels is not None
    assert batch.faces.shape == (4, 1, 128, 128, 3) and batch.face_labels.tolist() == [1, 0, 1, 0]
    again, other = train_batch(sampler, 5), train_batch(sampler, 6)
    for name, inputs in batch.passes.items():
        for f in fields(inputs):
            first, second = getattr(inputs, f.name), getattr(again.passes[name], f.name)
            assert (first is None and second is None) or torch.equal(first, second)
    assert torch.equal(batch.faces, again.faces)  # type: ignore[arg-type]
    assert not torch.equal(both.audio, other.passes["both"].audio)  # type: ignore[arg-type]


def test_audio_features_are_those_of_the_backbone(sampler: PairSampler) -> None:
    audio = train_batch(sampler, 0, AVHubert).passes["both"].audio
    assert audio is not None and audio.shape == (6, FRAMES, 104)


def test_audio_inputs_are_those_of_the_window() -> None:
    sample = fake(clip(0, 40), "audio", "lpc", 12, 25)
    rng = np.random.default_rng(0)
    assert sample.waveform is not None and sample.face is not None
    out = audio_inputs(sample, 10, 20, TwoStream, None, None, rng)
    window = to_float32(sample.waveform[6400 : 30 * 640])
    assert np.array_equal(out["audio"], TwoStream.extract_audio_features(window))
    assert np.array_equal(out["spectrum"], log_spectrum(window))
    assert out["audio_labels"].tolist() == [0] * 2 + [1] * 13 + [0] * 5
    assert out["audio_mask"].all()
    late = audio_inputs(sample, 30, 20, TwoStream, None, None, rng)
    assert late["audio_mask"].tolist() == [True] * 10 + [False] * 10
    assert late["audio"].shape == (20, 320) and not late["audio"][10:].any() and not late["spectrum"][10:].any()


def test_video_inputs_are_padded_and_gaps_are_masked() -> None:
    sample = fake(clip(0, 40), "video", "self_blend", 12, 25)
    assert sample.usable is not None and sample.face is not None
    usable, face = sample.usable.copy(), sample.face.copy()
    usable[31:33] = False
    face[[0, 7]] = 0
    features = np.random.default_rng(1).normal(size=(3, 40, 6)).astype(np.float16)
    for known in (None, features):
        out = video_inputs(
            replace(sample, usable=usable, face=face, visual_features=known), 30, 20, AugmentConfig(), np.random.default_rng(0)
        )
        assert out["video_mask"].tolist() == [True, False, False] + [True] * 7 + [False] * 10
        assert not out["video"][10:].any() and out["video"][:10].any()
        assert out["faces"].shape == (4, 128, 128, 3)
        assert [bool(image.any()) for image in out["faces"]] == [True, False, False, False]  # frames 30, 35 and beyond
        if known is None:
            assert out["video"].shape == (20, 88, 88)
        else:
            assert any(np.array_equal(out["video"][:10], version[30:].astype(np.float32)) for version in features[1:])
    early = video_inputs(sample, 10, 20, AugmentConfig(), np.random.default_rng(0))
    assert early["video_labels"].tolist() == [0] * 2 + [1] * 13 + [0] * 5


def test_missing_audio_among_other_clips_is_masked_zeros() -> None:
    rng = np.random.default_rng(0)
    windows = [audio_inputs(s, 0, 20, TwoStream, None, None, rng) for s in (clip(0), clip(1, streams=("video",)))]
    batch = collate(windows)
    assert batch.audio is not None and batch.audio_mask is not None and batch.audio_labels is not None
    assert batch.audio.shape == (2, 20, 320)
    assert not batch.audio[1].any() and not batch.audio_mask[1].any() and not batch.audio_labels[1].any()


@settings(max_examples=15)
@given(seeds)
def test_blended_faces_differ_from_the_genuine_ones_in_a_region(seed: int) -> None:
    rng = np.random.default_rng(seed)
    genuine = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    before = genuine.copy()
    for forge in (blend_face, resample_face):
        forged = forge(genuine, np.random.default_rng(seed))
        assert forged.shape == genuine.shape and forged.dtype == np.uint8
        assert np.array_equal(genuine, before)
        assert np.array_equal(forged, forge(genuine, np.random.default_rng(seed)))
        moved = np.abs(forged.astype(int) - genuine).max(axis=2)
        assert (moved > 2).any()
        if forge is resample_face:
            assert moved[0, 0] <= 2 and moved[0, -1] <= 2  # the corners around the face are unchanged


def test_face_pairs_are_sampled_from_genuine_clips_with_a_face(sampler: PairSampler) -> None:
    assert {sampler.samples[i].genuine for i in sampler.faces} == {True}
    assert 6 * 5 not in sampler.faces  # the clip of audio alone
    for share in (0.0, 1.0):
        faces, labels = make_face_pairs(sampler, 3, share, AugmentConfig(), np.random.default_rng(0))
        assert faces.shape == (6, 1, 128, 128, 3) and labels.tolist() == [1, 0] * 3
        assert all(face.any() for face in faces)


@settings(max_examples=20)
@given(seeds)
def test_forged_faces_are_of_forged_frames_and_paired_with_the_same_frame_of_the_real_clip(sampler: PairSampler, seed: int) -> None:
    found = forged_face(sampler, np.random.default_rng(seed))
    assert found is not None
    forged, genuine = found

    def moments(image: np.ndarray) -> set[tuple[str, int]]:
        clips = [(s, face) for s in sampler.samples if s.face is not None for face in (s.face,)]
        return {(s.source, i) for s, face in clips for i in range(len(face)) if np.array_equal(face[i], image)}

    assert moments(forged) & moments(genuine)
    assert forged.any() and genuine.any()


def test_a_fake_whose_paired_real_clip_shows_another_segment_gives_no_forged_face() -> None:
    genuine = clip(0)
    sampler = PairSampler([replace(genuine, slot="another"), fake(genuine, "video", "self_blend")])
    assert sampler.kinds("video") == ["video"]
    assert forged_face(sampler, np.random.default_rng(0)) is None
    faces, labels = make_face_pairs(sampler, 2, 1.0, AugmentConfig(), np.random.default_rng(0))  # blended instead
    assert faces.shape[0] == len(labels) == 4
