"""The contract that every registered method keeps, on two people who are generated here."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from avwitness.generators.faces import methods as repainting
from avwitness.generators.faces.methods import DubbedLowerFace, FaceMethod
from avwitness.generators.faces.networks import FaceAutoencoder, LowerFace, ResynthesisConfig
from avwitness.generators.forge.edits import EDIT_FRAMES, SHIFT_RANGE, WordEdit
from avwitness.generators.forge.registry import METHODS, combinable, select_methods
from avwitness.generators.methods.base import CannotForge, Donor, Forgery, Method, Window
from avwitness.generators.methods.source import Facts, Source, cache_name, load_facts
from avwitness.generators.talking.methods import TalkingHeadMethod
from avwitness.generators.voices import neural_vocoder as neural
from avwitness.generators.voices.methods import VoiceMethod
from avwitness.generators.voices.vocoder import Vocoder, VocoderConfig
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from people import AUDIO_ONLY, TRANSCRIPT, VIDEO_ONLY
from scipy.signal import correlate

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = sorted(METHODS)
FACES = sorted(name for name, method in METHODS.items() if isinstance(method, FaceMethod))
MATCHED = [name for name in FACES if not METHODS[name].coarse]
VOICED = sorted(name for name, method in METHODS.items() if isinstance(method, VoiceMethod))
EDITS = sorted(name for name, method in METHODS.items() if isinstance(method, WordEdit))
FOREIGN = ("foreign_audio", "lower_face_dubbed", "mfr_net", "coarse_lower_face_dubbed", "coarse_mfr_net")  # whose sound is another clip's
WINDOW = Window(4, 48)
SECONDS = 48 / 25
SOURCE, SAME, OTHER = "hopper-1", "hopper-2", "collins-1"


def usable(name: str) -> Method:
    method = METHODS[name]
    if why := method.missing_reason():
        pytest.skip(f"{name}: {why}")
    return method


def donor_for(method: Method, followed: dict[str, Source]) -> Source | None:
    names = {Donor.same: SAME, Donor.other: OTHER, Donor.any: OTHER}
    return followed[names[method.donor]] if method.donor in names else None


def shown(source: Source, window: Window = WINDOW) -> tuple[np.ndarray, np.ndarray]:
    """The genuine frames and samples of a window."""
    assert source.frames is not None and source.waveform is not None
    end = window.begin + window.frames
    return source.frames[window.begin : end], source.waveform[640 * window.begin : 640 * end]


def digest(*sources: Source | None) -> str:
    total = hashlib.sha1()
    for source in sources:
        for array in () if source is None else (source.frames, source.waveform, source.landmarks, source.usable):
            total.update(b"" if array is None else array.tobytes())
    return total.hexdigest()


Make = Callable[..., Forgery]


@pytest.fixture(scope="module")
def make(followed: dict[str, Source]) -> Make:
    """Forge the source by name and seed; every result is made once."""

    @cache
    def forge(name: str, seed: int = 0, window: Window = WINDOW) -> Forgery:
        method = usable(name)
        return method.forge(followed[SOURCE], donor_for(method, followed), window, np.random.default_rng(seed))

    return forge


def test_the_registry_holds_what_the_methods_are_called() -> None:
    assert {name: method.name for name, method in METHODS.items()} == {name: name for name in METHODS}
    assert {"world_copy", "vocoder", "espeak", "self_blend", "face_swap", "desync", "word_insert_both"} <= set(METHODS)
    assert len(EDITS) == 9
    assert {f"coarse_{name}" for name in MATCHED} == set(FACES) - set(MATCHED)  # every painter is there in both ways


def test_methods_are_chosen_by_name() -> None:
    here = tuple(name for name, method in METHODS.items() if method.missing_reason() is None)
    assert select_methods("all") == tuple(name for name in here if not name.startswith("coarse_"))
    assert select_methods("coarse") == tuple(name for name in here if name.startswith("coarse_"))
    assert select_methods(" lpc, desync,lpc") == ("lpc", "desync")
    for text in ("lpc,nonsense", "", " , "):
        with pytest.raises(ValueError, match="unknown methods"):
            select_methods(text)


def test_a_method_that_cannot_be_used_here_is_refused_by_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(METHODS["lpc"].voice), "missing", lambda _: "the moon is full")  # type: ignore[attr-defined]
    assert "lpc" not in select_methods("all")
    with pytest.raises(ValueError, match="lpc: cannot be used here: the moon is full"):
        select_methods("lpc")


def test_only_a_face_that_keeps_its_sound_is_joined_with_a_voice() -> None:
    assert combinable("face_swap", "griffin_lim")
    assert not combinable("griffin_lim", "face_swap")
    assert not combinable("lower_face_dubbed", "griffin_lim")
    assert not combinable("face_swap", "desync")
    assert not combinable("word_replace_video", "lpc")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_forgery_fills_its_window(name: str, make: Make, followed: dict[str, Source]) -> None:
    made = make(name)
    assert made.frames is not None and made.waveform is not None
    assert made.frames.shape == shown(followed[SOURCE])[0].shape
    assert made.frames.dtype == np.uint8
    assert made.waveform.shape == (640 * WINDOW.frames,)
    assert made.waveform.dtype == np.float32
    assert np.isfinite(made.waveform).all()
    assert 0.05 < np.abs(made.waveform).max() < 2.0


@pytest.mark.parametrize("name", NAMES)
def test_labels_name_the_streams_that_are_forged_and_no_others(name: str, make: Make) -> None:
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
def test_only_what_is_labelled_differs_from_the_source(name: str, make: Make, followed: dict[str, Source]) -> None:
    made, (frames, waveform) = make(name), shown(followed[SOURCE])
    assert made.frames is not None and made.waveform is not None
    assert np.array_equal(made.frames, frames) == ("video" not in METHODS[name].streams)
    moved = name == "desync" or name in FOREIGN
    assert np.array_equal(made.waveform, waveform) == ("audio" not in METHODS[name].streams and not moved)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_seed_alone_decides_and_the_source_is_left_alone(name: str, make: Make, followed: dict[str, Source]) -> None:
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
    if name not in ("world_copy", "vocoder"):  # which draw nothing
        others = (make(name, seed) for seed in (1, 2, 3))
        assert any(not np.array_equal(x.frames, first.frames) or not np.array_equal(x.waveform, first.waveform) for x in others)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FACES if not isinstance(METHODS[name], TalkingHeadMethod)])
def test_faces_are_painted_where_the_face_is(name: str, make: Make, followed: dict[str, Source]) -> None:
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
def test_painted_faces_are_about_as_sharp_as_the_source(name: str, make: Make, followed: dict[str, Source]) -> None:
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
def test_foreign_sound_is_a_genuine_stretch_of_the_donor(name: str, make: Make, followed: dict[str, Source]) -> None:
    made, donor = make(name), followed[OTHER].waveform
    assert made.waveform is not None and donor is not None
    starts = np.flatnonzero(donor[: len(donor) - len(made.waveform) + 1] == made.waveform[0])
    assert any(np.array_equal(donor[a : a + len(made.waveform)], made.waveform) for a in starts)
    assert made.audio_intervals == ()


def test_desynchronised_sound_lags_by_what_the_label_says(followed: dict[str, Source]) -> None:
    source, window = followed[SOURCE], Window(6, 46)
    assert source.waveform is not None
    signs = set()
    for seed in range(12):
        made = METHODS["desync"].forge(source, None, window, np.random.default_rng(seed))
        assert made.waveform is not None
        assert SHIFT_RANGE[0] <= abs(made.offset) <= SHIFT_RANGE[1]
        begin = 640 * window.begin - round(16_000 * made.offset)  # late sound is sound from earlier
        assert np.array_equal(made.waveform, source.waveform[begin : begin + 640 * 46])
        signs.add(np.sign(made.offset))
        # Found again without the label: where the two sound most alike.
        score = correlate(made.waveform, shown(source, window)[1], mode="full")
        assert int(np.argmax(score)) - (640 * 46 - 1) == pytest.approx(16_000 * made.offset, abs=2)
    assert signs == {-1.0, 1.0}


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in EDITS if not n.endswith("_both")] + ["word_replace_both"])
@pytest.mark.parametrize("seed", range(4))
def test_a_word_edit_changes_its_interval_alone(name: str, seed: int, make: Make, followed: dict[str, Source]) -> None:
    made, (frames, waveform) = make(name, seed), shown(followed[SOURCE])
    assert made.frames is not None and made.waveform is not None
    ((begin, end),) = made.video_intervals or made.audio_intervals
    first, last = round(25 * begin), round(25 * end)
    assert EDIT_FRAMES[0] <= last - first <= EDIT_FRAMES[1]
    pixels = np.abs(made.frames.astype(int) - frames).max(axis=(1, 2, 3)) > 0
    samples = made.waveform != waveform
    assert not pixels[:first].any() and not pixels[last:].any()
    assert not samples[: 640 * first].any() and not samples[640 * last :].any()
    assert pixels[first:last].mean() > 0.5 or "video" not in METHODS[name].streams
    assert samples[640 * first : 640 * last].mean() > 0.9 or "audio" not in METHODS[name].streams


@pytest.mark.parametrize("seed", range(4))
def test_a_word_cut_out_of_both_streams_takes_its_time_with_it(seed: int, make: Make, followed: dict[str, Source]) -> None:
    made, source = make("word_delete_both", seed), followed[SOURCE]
    assert made.frames is not None and made.waveform is not None and source.frames is not None and source.waveform is not None
    assert made.video_intervals == made.audio_intervals
    ((begin, end),) = made.video_intervals
    seam = round(25 * (begin + end) / 2)
    assert np.array_equal(made.frames[:seam], source.frames[4 : 4 + seam])
    gone = next(
        n
        for n in range(EDIT_FRAMES[0], EDIT_FRAMES[1] + 1)
        if np.array_equal(made.frames[seam:], source.frames[4 + seam + n :][: 48 - seam])
    )
    assert any(round(25 * b) - round(25 * a) == gone and round(25 * a) == 4 + seam for a, b in source.words)
    late = made.waveform[640 * seam + 160 :]  # after 10 ms of crossfade
    assert np.array_equal(late, source.waveform[640 * (4 + seam + gone) + 160 :][: len(late)])
    assert np.array_equal(made.waveform[: 640 * seam], source.waveform[640 * 4 : 640 * (4 + seam)])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_word_put_into_both_streams_brings_its_own_time(seed: int, make: Make, followed: dict[str, Source]) -> None:
    made, (frames, waveform) = make("word_insert_both", seed), shown(followed[SOURCE])
    assert made.frames is not None and made.waveform is not None
    ((begin, end),) = made.audio_intervals
    first, last = round(25 * begin), round(25 * end)
    assert np.array_equal(made.frames[:first], frames[:first])
    assert np.array_equal(made.waveform[: 640 * first], waveform[: 640 * first])
    assert np.array_equal(made.frames[last:], frames[first:][: 48 - last])
    assert np.array_equal(made.waveform[640 * last :], waveform[640 * first :][: 640 * (48 - last)])


@pytest.mark.slow
def test_the_sound_around_an_inserted_word_has_no_hole(make: Make, followed: dict[str, Source]) -> None:
    """Around the join there is room noise, not digital silence."""
    assert not (shown(followed[SOURCE])[1] == 0.0).any()
    for seed in range(8):
        made = make("word_insert_both", seed)
        assert made.waveform is not None
        assert not (made.waveform == 0.0).any(), f"seed {seed}"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["word_insert_audio", "word_insert_video"])
def test_a_word_put_into_one_stream_fills_a_pause(name: str, followed: dict[str, Source]) -> None:
    method, source = METHODS[name], followed[SOURCE]
    for begin in range(12):  # some of these windows begin or end within a word
        for seed in range(6):
            window = Window(begin, 48)
            try:
                made = method.forge(source, followed[SAME], window, np.random.default_rng(seed))
            except CannotForge:
                continue
            ((first, last),) = made.audio_intervals or made.video_intervals
            overlaps = [min(b, last + begin / 25) - max(a, first + begin / 25) for a, b in source.words]
            assert max(overlaps) <= 0.041, f"frames {window}: {first:.2f} to {last:.2f} s lies in a word"


@pytest.mark.slow
@settings(max_examples=40)
@given(
    marks=st.lists(st.integers(0, 70), min_size=2, max_size=12),
    length=st.integers(12, 70),
    share=st.floats(0.5, 1.0),
    place=st.floats(0.0, 1.0),
    name=st.sampled_from(["word_delete_both", "word_delete_audio", "word_replace_audio", "word_insert_audio"]),
    seed=st.integers(0, 99),
)
def test_a_word_edit_that_suits_fills_its_window(marks: list[int], length: int, share: float, place: float, name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = sorted(set(marks))
    words = tuple((a / 25, b / 25) for a, b in itertools.pairwise(times) if b <= length)
    frames = np.broadcast_to(np.arange(length, dtype=np.uint8)[:, None, None, None], (length, 4, 4, 3))
    source = Source("a", "x", frames, 0.1 * rng.standard_normal(640 * length, dtype=np.float32), words=words)
    donor = replace(source, path="b")
    count = max(12, round(share * length))
    window = Window(round(place * (length - count)), count)
    known = Facts(length, True, True, True, np.zeros((32, 32, 3), np.uint8), words)
    method = METHODS[name]
    assume(method.supports(known, "", window))
    made = method.forge(source, donor, window, rng)
    assert made.frames is not None and made.waveform is not None
    assert len(made.frames) == count
    assert made.waveform.shape == (640 * count,)
    ((begin, end),) = made.audio_intervals
    assert 0.0 <= begin < end <= count / 25 + 1e-9


@pytest.mark.parametrize("name", EDITS)
def test_where_no_word_is_known_none_is_edited(name: str, followed: dict[str, Source]) -> None:
    source = replace(followed[SOURCE], words=())
    with pytest.raises(CannotForge):
        METHODS[name].forge(source, followed[SAME], WINDOW, np.random.default_rng(0))


def test_deleting_a_word_in_one_stream_needs_nobody_elses_material() -> None:
    """The only word of the only clip that there is."""
    rng = np.random.default_rng(0)
    waveform = 0.1 * rng.standard_normal(640 * 30, dtype=np.float32)
    source = Source("a", "x", np.zeros((30, 4, 4, 3), np.uint8), waveform, words=((0.4, 0.8),))
    made = METHODS["word_delete_audio"].forge(source, source, Window(0, 30), rng)
    assert made.audio_intervals == ((0.4, 0.8),)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_forged_without_the_stream_it_takes(name: str, followed: dict[str, Source], people: Path) -> None:
    method = usable(name)
    donor = donor_for(method, followed)
    segment, seen = followed[AUDIO_ONLY], followed[VIDEO_ONLY]
    blind = isinstance(method, FaceMethod) or name.endswith(("_video", "_both")) or name in ("desync", "foreign_audio")
    deaf = (
        not isinstance(method, FaceMethod) or name.removeprefix("coarse_").startswith("lower_face") or isinstance(method, TalkingHeadMethod)
    )
    for source, refused in ((segment, blind), (seen, deaf)):
        track = load_facts(f"{people}/tracks/{cache_name(people / source.path, source.transcript)}")
        if refused:
            assert not method.supports(track, TRANSCRIPT, WINDOW)
            if (name, source) != ("foreign_audio", seen) and name != "word_delete_both":
                with pytest.raises(CannotForge):
                    method.forge(source, donor, WINDOW, np.random.default_rng(0))
        elif method.supports(track, TRANSCRIPT, WINDOW):
            made = method.forge(source, donor, WINDOW, np.random.default_rng(0))
            assert (made.frames is None) == (source is segment)
            assert (made.waveform is None) == (source is seen)
            assert bool(made.video_intervals) == (source is seen)
            assert bool(made.audio_intervals) == (source is segment)
        else:
            assert name.startswith("word_insert")  # for want of a pause


@pytest.mark.parametrize(
    "name", ["mouth_replacement", "face_swap", "word_replace_video", "foreign_audio", "lower_face_dubbed", "word_replace_audio"]
)
def test_a_donor_must_have_what_is_taken_of_it(name: str, followed: dict[str, Source]) -> None:
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
    assert audible or not (made.audio_intervals or made.offset), "nothing is heard, and yet it has a label"


def test_a_lost_face_cannot_be_forged(followed: dict[str, Source]) -> None:
    source = followed[SOURCE]
    lost = replace(source, usable=np.arange(60) % 2 == 0)
    for name in FACES:
        if METHODS[name].missing_reason() is None:
            with pytest.raises(CannotForge):
                METHODS[name].forge(lost, donor_for(METHODS[name], followed), WINDOW, np.random.default_rng(0))


# Networks that know nothing stand in for those that are trained elsewhere


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    sizes = ResynthesisConfig(widths=(8, 8, 8, 8), audio=8)
    lower, whole = LowerFace(sizes).eval(), FaceAutoencoder(sizes).eval()
    vocoder = Vocoder(VocoderConfig(channels=16)).eval()
    monkeypatch.setattr(repainting, "_lower_face", lambda: lower)
    monkeypatch.setattr(repainting, "_autoencoder", lambda: whole)
    monkeypatch.setattr(neural, "_network", lambda: vocoder)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lower_face", "lower_face_dubbed", "face_autoencoder", "vocoder", "vocoder_smooth"])
def test_any_network_keeps_the_contract(name: str, untrained: None, followed: dict[str, Source]) -> None:
    method, source = METHODS[name], followed[SOURCE]
    donor = donor_for(method, followed)
    before = digest(source, donor)
    made, again = (method.forge(source, donor, WINDOW, np.random.default_rng(0)) for _ in range(2))
    assert digest(source, donor) == before
    frames, waveform = shown(source)
    assert made.frames is not None and made.waveform is not None and source.landmarks is not None
    assert np.array_equal(made.frames, again.frames) and np.array_equal(made.waveform, again.waveform)
    assert made.frames.shape == frames.shape and made.frames.dtype == np.uint8
    assert made.waveform.shape == waveform.shape and np.isfinite(made.waveform).all()
    if "audio" in method.streams:
        assert made.audio_intervals == ((0.0, SECONDS),) and not np.array_equal(made.waveform, waveform)
        assert np.array_equal(made.frames, frames)
        return
    assert made.video_intervals == ((0.0, SECONDS),)
    assert np.array_equal(made.waveform, waveform) == (not isinstance(method, DubbedLowerFace))
    changed = np.abs(made.frames.astype(int) - frames).max(axis=-1)
    assert (changed.max(axis=(1, 2)) > 0).all()
    if name.startswith("lower_face"):
        brows = int(source.landmarks[4:52, 70, 1].min())
        assert not changed[:, :brows].any()


@pytest.mark.parametrize("samples", [1, 700, 1601])
def test_the_neural_voice_takes_sound_of_any_length(samples: int, untrained: None) -> None:
    waveform = 0.1 * np.random.default_rng(0).standard_normal(samples, dtype=np.float32)
    for voice in (neural.NeuralVocoder(), neural.SmoothNeuralVocoder()):
        made = voice(waveform, np.random.default_rng(0))
        assert made.shape == waveform.shape and made.dtype == np.float32
        assert np.isfinite(made).all()
        quiet = voice(np.zeros(samples, np.float32), np.random.default_rng(0))
        assert np.abs(quiet).max() < 1e-2
