"""Editing methods: desynchronisation, and words deleted, replaced and inserted."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from forging import EDITS, SAME, SOURCE, WINDOW, MakeForgery, shown
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.signal import correlate

from avwitness.generators.forge.edits import EDIT_FRAMES, SHIFT_RANGE
from avwitness.generators.forge.registry import METHODS
from avwitness.generators.methods.base import CannotForge, Window
from avwitness.generators.methods.source import Facts, Source

pytestmark = pytest.mark.usefixtures("one_thread")


def test_desynchronised_audio_lags_by_its_label(followed: dict[str, Source]) -> None:
    source, window = followed[SOURCE], Window(6, 46)
    assert source.waveform is not None
    signs = set()
    for seed in range(12):
        made = METHODS["desync"].forge(source, None, window, np.random.default_rng(seed))
        assert made.waveform is not None
        assert SHIFT_RANGE[0] <= abs(made.offset) <= SHIFT_RANGE[1]
        begin = 640 * window.begin - round(16_000 * made.offset)  # delayed audio is taken from earlier
        assert np.array_equal(made.waveform, source.waveform[begin : begin + 640 * 46])
        signs.add(np.sign(made.offset))
        # The same lag by cross-correlation, without the label.
        score = correlate(made.waveform, shown(source, window)[1], mode="full")
        assert int(np.argmax(score)) - (640 * 46 - 1) == pytest.approx(16_000 * made.offset, abs=2)
    assert signs == {-1.0, 1.0}


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in EDITS if not n.endswith("_both")] + ["word_replace_both"])
@pytest.mark.parametrize("seed", range(4))
def test_a_word_edit_changes_its_interval_alone(name: str, seed: int, make: MakeForgery, followed: dict[str, Source]) -> None:
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
def test_a_word_deleted_from_both_streams_shortens_them(seed: int, make: MakeForgery, followed: dict[str, Source]) -> None:
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
def test_a_word_inserted_into_both_streams_lengthens_them(seed: int, make: MakeForgery, followed: dict[str, Source]) -> None:
    made, (frames, waveform) = make("word_insert_both", seed), shown(followed[SOURCE])
    assert made.frames is not None and made.waveform is not None
    ((begin, end),) = made.audio_intervals
    first, last = round(25 * begin), round(25 * end)
    assert np.array_equal(made.frames[:first], frames[:first])
    assert np.array_equal(made.waveform[: 640 * first], waveform[: 640 * first])
    assert np.array_equal(made.frames[last:], frames[first:][: 48 - last])
    assert np.array_equal(made.waveform[640 * last :], waveform[640 * first :][: 640 * (48 - last)])


@pytest.mark.slow
def test_the_audio_around_an_inserted_word_is_not_digital_silence(make: MakeForgery, followed: dict[str, Source]) -> None:
    """Background noise, not digital silence, surrounds the cut."""
    assert not (shown(followed[SOURCE])[1] == 0.0).any()
    for seed in range(8):
        made = make("word_insert_both", seed)
        assert made.waveform is not None
        assert not (made.waveform == 0.0).any(), f"seed {seed}"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["word_insert_audio", "word_insert_video"])
def test_a_word_inserted_into_one_stream_fills_a_pause(name: str, followed: dict[str, Source]) -> None:
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
def test_a_supported_word_edit_fills_its_window(marks: list[int], length: int, share: float, place: float, name: str, seed: int) -> None:
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


def test_deleting_a_word_in_one_stream_needs_no_donor() -> None:
    """Also if the clip has a single word and is the only one."""
    rng = np.random.default_rng(0)
    waveform = 0.1 * rng.standard_normal(640 * 30, dtype=np.float32)
    source = Source("a", "x", np.zeros((30, 4, 4, 3), np.uint8), waveform, words=((0.4, 0.8),))
    made = METHODS["word_delete_audio"].forge(source, source, Window(0, 30), rng)
    assert made.audio_intervals == ((0.4, 0.8),)
