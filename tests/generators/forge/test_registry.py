"""The contract that every registered method keeps, on synthetic clips of two people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from forging import (
    EDITS,
    FACES,
    FOREIGN,
    MATCHED,
    NAMES,
    OTHER,
    SECONDS,
    SOURCE,
    VOICED,
    WINDOW,
    MakeForgery,
    digest,
    donor_for,
    shown,
    usable,
)
from people import AUDIO_ONLY, TRANSCRIPT, VIDEO_ONLY

from avwitness.generators.faces.methods import FaceMethod
from avwitness.generators.forge.registry import METHODS, combinable, select_methods
from avwitness.generators.methods.base import CannotForge
from avwitness.generators.methods.source import Source, cache_name, load_facts
from avwitness.generators.talking.methods import TalkingHeadMethod

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_registry_uses_the_names_of_the_methods() -> None:
    assert {name: method.name for name, method in METHODS.items()} == {name: name for name in METHODS}
    assert {"world_copy", "vocoder", "espeak", "self_blend", "face_swap", "desync", "word_insert_both"} <= set(METHODS)
    assert len(EDITS) == 9
    assert {f"coarse_{name}" for name in MATCHED} == set(FACES) - set(MATCHED)  # every face method has both variants


def test_methods_are_chosen_by_name() -> None:
    here = tuple(name for name, method in METHODS.items() if method.missing_reason() is None)
    assert select_methods("all") == tuple(name for name in here if not name.startswith("coarse_"))
    assert select_methods("coarse") == tuple(name for name in here if name.startswith("coarse_"))
    assert select_methods(" lpc, desync,lpc") == ("lpc", "desync")
    for text in ("lpc,nonsense", "", " , "):
        with pytest.raises(ValueError, match="unknown methods"):
            select_methods(text)


def test_a_method_that_cannot_be_used_here_is_refused_by_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(METHODS["lpc"].voice), "missing_reason", lambda _: "the moon is full")  # type: ignore[attr-defined]
    assert "lpc" not in select_methods("all")
    with pytest.raises(ValueError, match="lpc: cannot be used here: the moon is full"):
        select_methods("lpc")


def test_only_face_methods_that_keep_the_audio_combine_with_a_voice() -> None:
    assert combinable("face_swap", "griffin_lim")
    assert not combinable("griffin_lim", "face_swap")
    assert not combinable("lower_face_dubbed", "griffin_lim")
    assert not combinable("face_swap", "desync")
    assert not combinable("word_replace_video", "lpc")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_forgery_fills_its_window(name: str, make: MakeForgery, followed: dict[str, Source]) -> None:
    made = make(name)
    assert made.frames is not None and made.waveform is not None
    assert made.frames.shape == shown(followed[SOURCE])[0].shape
    assert made.frames.dtype == np.uint8
    assert made.waveform.shape == (640 * WINDOW.frames,)
    assert made.waveform.dtype == np.float32
    assert np.isfinite(made.waveform).all()
    assert 0.05 < np.abs(made.waveform).max() < 2.0


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_labels_name_the_streams_that_are_forged_and_no_others(name: str, make: MakeForgery) -> None:
    made, streams = make(name), METHODS[name].streams
    for stream, intervals in (("video", made.video_intervals), ("audio", made.audio_intervals)):
        assert bool(intervals) == (stream in streams)
        for begin, end in intervals:
            assert 0.0 <= begin < end <= SECONDS + 1e-9
    assert (made.offset != 0.0) == (name == "desync")
    if name.removeprefix("coarse_") in ("desync", "foreign_audio", "mouth_replacement"):
        assert made.mismatch is True
    if name.removeprefix("coarse_") in ("world_copy", "face_swap"):
        assert made.mismatch is False


@pytest.mark.parametrize("name", NAMES)
def test_only_what_is_labelled_differs_from_the_source(name: str, make: MakeForgery, followed: dict[str, Source]) -> None:
    made, (frames, waveform) = make(name), shown(followed[SOURCE])
    assert made.frames is not None and made.waveform is not None
    assert np.array_equal(made.frames, frames) == ("video" not in METHODS[name].streams)
    moved = name == "desync" or name in FOREIGN
    assert np.array_equal(made.waveform, waveform) == ("audio" not in METHODS[name].streams and not moved)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_result_depends_on_the_seed_alone_and_the_source_is_not_modified(
    name: str, make: MakeForgery, followed: dict[str, Source]
) -> None:
    method, first = usable(name), make(name)
    source, donor = followed[SOURCE], donor_for(method, followed)
    before = digest(source, donor)
    again = method.forge(source, donor, WINDOW, np.random.default_rng(0))
    assert np.array_equal(again.frames, first.frames)
    assert np.array_equal(again.waveform, first.waveform)
    assert np.array_equal(again.landmarks, first.landmarks)
    labels = [replace(made, frames=None, waveform=None, landmarks=None) for made in (again, first)]
    assert labels[0] == labels[1]
    assert digest(source, donor) == before
    if name not in ("world_copy", "vocoder"):  # which are deterministic
        others = (make(name, seed) for seed in (1, 2, 3))
        assert any(not np.array_equal(x.frames, first.frames) or not np.array_equal(x.waveform, first.waveform) for x in others)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FACES if not isinstance(METHODS[name], TalkingHeadMethod)])
def test_changes_lie_around_the_face(name: str, make: MakeForgery, followed: dict[str, Source]) -> None:
    made, (frames, _) = make(name), shown(followed[SOURCE])
    assert made.frames is not None
    changed = np.abs(made.frames.astype(int) - frames).max(axis=-1)
    landmarks = followed[SOURCE].landmarks
    assert landmarks is not None
    left, top = landmarks.min(axis=(0, 1)).astype(int) - 50
    right, bottom = landmarks.max(axis=(0, 1)).astype(int) + 50
    outside = np.ones(changed.shape[1:], dtype=bool)
    outside[max(0, top) : bottom, max(0, left) : right] = False
    assert outside.any()
    assert not changed[:, outside].any()
    assert (changed.max(axis=(1, 2)) > 0).all()  # in every frame


@pytest.mark.slow
@pytest.mark.parametrize("name", MATCHED)
def test_matched_faces_are_about_as_sharp_as_the_source(name: str, make: MakeForgery, followed: dict[str, Source]) -> None:
    frames = shown(followed[SOURCE])[0]
    ratios = []
    for seed in range(3):
        made = make(name, seed).frames
        assert made is not None
        inside = np.abs(made.astype(int) - frames).max(axis=-1) > 2
        fine = [
            np.abs(np.diff(x.astype(np.float32).mean(axis=-1), n=2, axis=1, prepend=0, append=0))[inside].mean() for x in (made, frames)
        ]
        ratios.append(fine[0] / fine[1])
    assert 0.6 < np.median(ratios) < 1.6


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_audio_is_a_segment_of_the_donor(name: str, make: MakeForgery, followed: dict[str, Source]) -> None:
    made, donor = make(name), followed[OTHER].waveform
    assert made.waveform is not None and donor is not None
    starts = np.flatnonzero(donor[: len(donor) - len(made.waveform) + 1] == made.waveform[0])
    assert any(np.array_equal(donor[a : a + len(made.waveform)], made.waveform) for a in starts)
    assert made.audio_intervals == ()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_methods_refuse_sources_without_their_stream(name: str, followed: dict[str, Source], people: Path) -> None:
    method = usable(name)
    donor = donor_for(method, followed)
    audio_only, video_only = followed[AUDIO_ONLY], followed[VIDEO_ONLY]
    no_video = isinstance(method, FaceMethod) or name.endswith(("_video", "_both")) or name in ("desync", "foreign_audio")
    no_audio = (
        not isinstance(method, FaceMethod) or name.removeprefix("coarse_").startswith("lower_face") or isinstance(method, TalkingHeadMethod)
    )
    for source, refused in ((audio_only, no_video), (video_only, no_audio)):
        track = load_facts(f"{people}/tracks/{cache_name(people / source.path, source.transcript)}")
        if refused:
            assert not method.supports(track, TRANSCRIPT, WINDOW)
            if (name, source) != ("foreign_audio", video_only) and name != "word_delete_both":
                with pytest.raises(CannotForge):
                    method.forge(source, donor, WINDOW, np.random.default_rng(0))
        elif method.supports(track, TRANSCRIPT, WINDOW):
            made = method.forge(source, donor, WINDOW, np.random.default_rng(0))
            assert (made.frames is None) == (source is audio_only)
            assert (made.waveform is None) == (source is video_only)
            assert bool(made.video_intervals) == (source is video_only)
            assert bool(made.audio_intervals) == (source is audio_only)
        else:
            assert name.startswith("word_insert")  # no pause


@pytest.mark.parametrize(
    "name", ["mouth_replacement", "face_swap", "word_replace_video", "foreign_audio", "lower_face_dubbed", "word_replace_audio"]
)
def test_a_donor_must_have_the_stream_that_is_used(name: str, followed: dict[str, Source]) -> None:
    method = usable(name)
    takes_sound = name in FOREIGN or name.endswith("_audio")
    donor = followed[VIDEO_ONLY if takes_sound else AUDIO_ONLY]
    with pytest.raises(CannotForge, match=donor.path):
        method.forge(followed[SOURCE], donor, WINDOW, np.random.default_rng(0))
    if not name.startswith("word"):
        with pytest.raises(CannotForge, match="donor"):
            method.forge(followed[SOURCE], None, WINDOW, np.random.default_rng(0))


@pytest.mark.parametrize("name", sorted({*VOICED, "word_delete_audio", "word_delete_both", "desync"}))
def test_silence_is_not_labelled_as_a_forgery(name: str, followed: dict[str, Source]) -> None:
    method, source = usable(name), followed[SOURCE]
    assert source.waveform is not None
    mute = replace(source, waveform=np.zeros_like(source.waveform))
    try:
        made = method.forge(mute, donor_for(method, followed), WINDOW, np.random.default_rng(0))
    except CannotForge:
        return
    assert made.waveform is not None
    audible = np.abs(made.waveform).max() > 1e-4
    assert audible or not (made.audio_intervals or made.offset), "silent, but labelled as forged"


def test_a_lost_face_cannot_be_forged(followed: dict[str, Source]) -> None:
    source = followed[SOURCE]
    lost = replace(source, usable=np.arange(60) % 2 == 0)
    for name in FACES:
        if METHODS[name].missing_reason() is None:
            with pytest.raises(CannotForge):
                METHODS[name].forge(lost, donor_for(METHODS[name], followed), WINDOW, np.random.default_rng(0))
