from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from people import AUDIO_ONLY, VIDEO_ONLY
from tiny_detector import clip, fake

from avwitness.detector.training.samples import Sample, calibration_split, frame_labels, load_set, paired_real_clips, split_methods

TICKS = 20  # of a frame, unit of the intervals
intervals = st.lists(st.tuples(st.integers(0, 30 * TICKS), st.integers(1, 8 * TICKS)), max_size=3)


@given(intervals, st.integers(0, 40))
def test_a_frame_is_fake_if_half_of_it_is(spans: list[tuple[int, int]], frames: int) -> None:
    """Against a count of every frame's twentieths."""
    covered: set[int] = set()
    apart: list[list[float]] = []
    for begin, length in spans:
        ticks = set(range(begin, begin + length))
        if not ticks & covered:  # the forge's intervals never overlap
            covered |= ticks
            apart.append([begin / TICKS / 25.0, (begin + length) / TICKS / 25.0])
    share = [sum(tick in covered for tick in range(t * TICKS, (t + 1) * TICKS)) / TICKS for t in range(frames)]
    found = frame_labels(1, json.dumps(apart), frames)
    assert found.dtype == np.float32 and found.shape == (frames,)
    for label, part in zip(found, share, strict=True):
        if part != 0.5 and spans:  # a half may fall either way by rounding
            assert label == (part > 0.5)
    if not spans:
        assert found.all()
    assert not frame_labels(0, json.dumps(apart), frames).any()


def test_a_fake_without_intervals_is_fake_throughout() -> None:
    assert frame_labels(1, "", 4).tolist() == [1, 1, 1, 1]


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=40),
    st.dictionaries(st.sampled_from("ab"), st.integers(0, 7)),
)
def test_no_identity_is_in_both_parts_of_the_split(members: list[tuple[str, int, int]], wanted: dict[str, int]) -> None:
    samples = [clip(0, 1, (), corpus=c, identity=f"{c}{i}", source=f"{c}{i}/{s}") for c, i, s in members]
    held = calibration_split(samples, wanted, 0.25)
    for corpus in "ab":
        names = {s.identity for s in samples if s.corpus == corpus}
        sides = {(s.identity, kept) for s, kept in zip(samples, held, strict=True) if s.corpus == corpus}
        sources = {(s.source, kept) for s, kept in zip(samples, held, strict=True) if s.corpus == corpus}
        assert len(sources) == len({source for source, _ in sources})  # nor is any source
        if 0 < wanted.get(corpus, 0) < len(names):
            assert len(sides) == len(names)
            assert len({name for name, kept in sides if kept}) == wanted[corpus]
    assert not any(calibration_split(samples, {}, 0.0))


def test_a_corpus_of_one_identity_is_split_by_source_in_every_set_alike() -> None:
    samples = [clip(0, 1, (), identity="x", source=f"clips/{i // 2}.mp4") for i in range(800)]
    held = calibration_split(samples, {"noise": 3}, 0.1)
    assert 0.05 < np.mean(held) < 0.15
    assert held[::2] == held[1::2]
    elsewhere = [replace(s, source=f"other/{s.source}") for s in samples[100:300]]
    assert calibration_split(elsewhere, {"noise": 3}, 0.1) == held[100:300]


def test_paired_real_clips_are_of_the_same_segment_if_there_is_one() -> None:
    def at(source: str, slot: str, identity: str, made: str = "", corpus: str = "noise", mismatch: bool = False) -> Sample:
        sample = clip(0, 3, source=source, slot=slot, identity=identity, corpus=corpus, mismatch=mismatch)
        return fake(sample, "audio", made) if made else sample

    samples = [
        at("a", "0", "x"),
        at("a", "1", "x"),
        at("a", "1", "x", "lpc"),  # 2: has a real clip of its segment
        at("a", "2", "x", "lpc"),  # 3: of its source
        at("b", "0", "x", "lpc"),  # 4: of its identity
        at("c", "0", "y", "lpc"),  # 5: none
        at("d", "0", "x", "lpc", "other"),  # 6: the same name in another corpus is another person
        at("a", "0", "x", mismatch=True),  # 7: out of sync, so no clip is paired with it
        at("e", "0", "z"),  # 8: genuine, and not paired with itself
    ]
    found = paired_real_clips(samples)
    assert found[2] == 1 and found[7] == 0
    assert found[3] in (0, 1) and found[4] in (0, 1)
    assert found[5] is found[6] is found[8] is None
    assert found[0] == 1 and found[1] == 0


def test_names_of_combined_methods_are_split() -> None:
    assert split_methods("vocoder+lower_face") == ("vocoder", "lower_face")


@pytest.fixture(scope="module")
def table(forged_set: Path) -> pd.DataFrame:
    return pd.read_csv(forged_set / "manifest.csv", dtype=str, keep_default_na=False).set_index("path")


def test_samples_of_a_forged_set_agree_with_its_manifest(samples: list[Sample], table: pd.DataFrame) -> None:
    assert {s.path for s in samples} == set(table.index)
    assert Counter(s.genuine for s in samples)[True] == (table.method == "genuine").sum()
    for s in samples:
        row = table.loc[s.path]
        for stream, view in (("video", s.mouth), ("audio", s.waveform)):
            label = row[f"{stream}_label"]
            assert (view is None) == (label == "") == (stream not in s.labels)
            assert s.fake(stream) == (None if label == "" else label == "1")
            assert s.methods[stream] == (row[f"{stream}_method"] if label == "1" else "genuine")
            if view is None:
                continue
            frames = len(view) if stream == "video" else len(view) // 640
            assert s.labels[stream].shape == (frames,)
            assert abs(frames - round(25 * float(row.seconds))) <= 3
            forged = sum(b - a for a, b in json.loads(row[f"{stream}_intervals"]))
            assert abs(s.labels[stream].sum() / 25.0 - min(forged, frames / 25.0)) <= 0.1
        assert s.mismatch == (None if row.sync_label == "" else row.sync_label == "1")
        assert s.lag == (None if row.offset_ms == "" else round(float(row.offset_ms) / 40.0))
        if s.mouth is not None:
            assert s.usable is not None and s.face is not None
            assert s.usable.mean() > 0.9
            assert s.mouth.dtype == s.face.dtype == np.uint8
            assert s.face.shape == (-(-len(s.mouth) // 5), 128, 128, 3)
        assert s.waveform is None or s.waveform.dtype == np.int16
    lacking = {Path(table.loc[s.path].source_clip).stem: set(s.labels) for s in samples if len(s.labels) == 1}
    assert lacking == {AUDIO_ONLY: {"audio"}, VIDEO_ONLY: {"video"}}


def test_every_fake_of_a_forged_set_has_a_paired_real_clip(samples: list[Sample]) -> None:
    found = paired_real_clips(samples)
    for s, other in zip(samples, found, strict=True):
        if not s.genuine:
            assert other is not None
            assert samples[other].genuine and samples[other].source == s.source
            if s.slot in {o.slot for o in samples if o.genuine and o.source == s.source}:
                assert samples[other].slot == s.slot


def test_loading_again_reads_the_cache(samples: list[Sample], forged_set: Path, views_cache: Path) -> None:
    files = {file: file.stat().st_mtime_ns for file in (views_cache / forged_set.name).iterdir()}
    again = load_set(forged_set, views_cache, workers=1, split="train")
    assert files == {file: file.stat().st_mtime_ns for file in (views_cache / forged_set.name).iterdir()}
    assert [s.path for s in again] == [s.path for s in samples]
    with pytest.raises(ValueError, match="no row has the split dev"):
        load_set(forged_set, views_cache, workers=1, split="dev")


def test_a_set_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("path,video_label\nabsent.mp4,1\n")
    with pytest.raises(ValueError, match="none of its clips"):
        load_set(tmp_path, tmp_path / "cache", workers=1)
