from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from avwitness.evaluation.robustness.sampling import MAX_VOICES, sample_clips, sample_voices


def table(categories: list[str], people: list[str] | None = None) -> pd.DataFrame:
    """Clips whose category gives the genuine (R) and fake (F) streams."""
    count = len(categories)
    return pd.DataFrame(
        {
            "path": [f"{n}.mp4" for n in range(count)],
            "file": [Path(f"/clips/{n}.mp4") for n in range(count)],
            "content": [f"{n:064x}" for n in range(count)],
            "category": categories,
            "identity": people or [f"p{n}" for n in range(count)],
            "has_audio": True,
            "video_label": pd.array([int(c.startswith("FV")) for c in categories], dtype="Int8"),
            "audio_label": pd.array([int(c.endswith("FA")) for c in categories], dtype="Int8"),
            "file_label": pd.array([pd.NA] * count, dtype="Int8"),
        }
    )


@given(st.lists(st.sampled_from(["RVRA", "RVFA", "FVRA", "FVFA"]), min_size=1, max_size=60), st.integers(1, 80), st.integers(0, 5))
def test_sample_is_balanced(categories: list[str], limit: int, seed: int) -> None:
    clips = table(categories)
    sampled = sample_clips(clips, limit, seed)
    assert len(sampled) == min(limit, len(clips))
    assert sampled.path.is_unique and sampled.path.map(clips.path.tolist().index).is_monotonic_increasing
    left, taken = clips.category.value_counts(), sampled.category.value_counts().reindex(clips.category.unique(), fill_value=0)
    short = [taken[c] for c in left.index if taken[c] < left[c]]  # of which more could have been sampled
    assert not short or taken.max() - min(short) <= 1
    pd.testing.assert_frame_equal(sampled, sample_clips(clips, limit, seed))


def test_sample_without_limit_and_with_another_seed() -> None:
    clips = table(["RVRA", "FVFA"] * 50)
    pd.testing.assert_frame_equal(sample_clips(clips, None, 0), clips)
    assert set(sample_clips(clips, 20, 0).path) != set(sample_clips(clips, 20, 1).path)


def test_voices_are_genuine_and_of_other_identities() -> None:
    clips = table(["RVRA"] * 30 + ["RVFA"] * 10, [f"p{n % 8}" for n in range(40)])
    person = {str(file): name for file, name in zip(clips.file, clips.identity, strict=True)}
    genuine = {str(file) for file in clips.file[:30]}
    sampled = sample_voices(clips, clips, 0)
    for own, voices in zip(clips.identity, sampled, strict=True):
        assert len(voices) == MAX_VOICES and set(voices) <= genuine
        assert own not in {person[file] for file in voices} and len({person[file] for file in voices}) == MAX_VOICES
    assert sampled == sample_voices(clips, clips, 0) != sample_voices(clips, clips, 1)
    assert sampled[:3] == sample_voices(clips.head(3), clips, 0)  # independent of other clips


def test_clips_without_identity_get_no_voices() -> None:
    clips = table(["RVRA"] * 4, ["a", "a", "b", ""])
    sampled = sample_voices(clips, clips, 0)
    assert [len(voices) for voices in sampled] == [1, 1, 2, 0]
    assert sampled[0] == ("/clips/2.mp4",)  # an unknown person may be the same one
    silent = clips.assign(has_audio=np.array([True, True, False, True]))
    assert sample_voices(silent, silent, 0) == [(), (), (), ()]
