"""Word times: from GRID alignment files, by forced alignment, or by energy."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avwitness.generators.demo import SYLLABLE_SECONDS, synthetic_voice
from avwitness.generators.methods.word_times import find_grid_alignment, loudness, read_grid_alignment, speech_segments, word_times

pytestmark = pytest.mark.usefixtures("one_thread")

GRID = "0 12500 sil\n12500 18750 bin\n18750 25000 blue\n\n25000 26000 sp\n26000 31250 at\n31250 74500 sil\n"
TIMES = ((0.5, 0.75), (0.75, 1.0), (1.04, 1.25))


@pytest.mark.parametrize("folder", ["s1_align", "s1/align", "align"])
def test_grid_alignments_are_found_and_have_priority(folder: str, tmp_path: Path) -> None:
    clip = tmp_path / "s1" / "bbaf2n.mpg"
    (tmp_path / folder).mkdir(parents=True)
    assert find_grid_alignment(clip) is None
    file = tmp_path / folder / "bbaf2n.align"
    file.write_text(GRID)
    (tmp_path / folder / "other.align").write_text("0 25000 wrong\n")
    assert find_grid_alignment(clip) == file
    assert read_grid_alignment(file) == TIMES
    assert word_times(clip, synthetic_voice(2.0)[0], "bin blue") == TIMES
    assert word_times(clip, None) == TIMES


def test_a_babble_is_cut_where_it_is_weakest(tmp_path: Path) -> None:
    waveform, opening = synthetic_voice(3.0, seed=1)
    words = word_times(tmp_path / "clip.mp4", waveform)
    assert words == speech_segments(waveform)
    edges = np.array([words[0][0], *(end for _, end in words)])
    syllables = SYLLABLE_SECONDS * np.arange(1, 14)
    assert len(words) >= 8
    assert all(np.abs(syllables - edge).min() <= 0.05 for edge in edges[1:-1])  # at the seams of the synthesiser
    spoken = np.flatnonzero(opening > 0.2) / 25
    assert edges[0] <= spoken[0] + 0.04
    assert edges[-1] >= spoken[-1]
    level = loudness(waveform)
    weakest = [level[round(100 * edge)] for edge in edges[1:-1]]
    loudest = [level[round(100 * a) : round(100 * b)].max() for a, b in words]
    assert np.mean(weakest) < np.mean(loudest) - 4.0


@given(st.integers(0, 20_000), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-6, 0.1]))
def test_segments_are_consecutive_and_inside_the_audio(samples: int, seed: int, level: float) -> None:
    waveform = (level * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)
    words = word_times("/nowhere/clip.mp4", waveform)
    assert all(a < b for a, b in words)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(words))
    assert not words or (words[0][0] >= 0.0 and words[-1][1] <= samples / 16_000)
    assert bool(words) == (level == 0.1 and samples >= 640)


@pytest.mark.parametrize("samples", [0, 159, 160, 16_000])
def test_silence_has_no_words(samples: int, tmp_path: Path) -> None:
    silence = np.zeros(samples, np.float32)
    assert speech_segments(silence) == ()
    assert word_times(tmp_path / "clip.mp4", silence) == ()
    assert word_times(tmp_path / "clip.mp4", None, "bin blue") == ()


def test_no_transcript_makes_words_of_silence(tmp_path: Path) -> None:
    assert word_times(tmp_path / "clip.mp4", np.zeros(32_000, np.float32), "bin blue at f two now") == ()


def test_alignment_gives_the_words_of_the_transcript_or_segments(tmp_path: Path) -> None:
    waveform = synthetic_voice(2.4, seed=6)[0]
    words = word_times(tmp_path / "clip.mp4", waveform, "bin blue at f two now")
    assert len(words) == 6 or words == speech_segments(waveform)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(words))
    assert 0.0 <= words[0][0] < words[-1][1] <= 2.4
