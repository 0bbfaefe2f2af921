from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avwitness.evaluation.benchmarks.protocols import DEFAULT, PROTOCOLS, missing_streams

CATEGORIES = ("RVRA", "RVFA", "FVRA-WL", "FVFA-GAN")


def benchmark(people: int = 12, each: int = 8) -> pd.DataFrame:
    rows = [
        {
            "path": f"{person}/{number}",
            "identity": f"p{person}" if person else "",
            "source_clip": f"{person}/{number // 4}",
            "category": CATEGORIES[number % 4],
            "split": "test" if person % 3 == 0 else "train",
            "has_video": number % 8 != 7,
            "has_audio": number % 8 != 6,
        }
        for person in range(people)
        for number in range(each)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
@settings(max_examples=8)
@given(seed=st.integers(0, 2**31))
def test_protocols_are_disjoint_and_deterministic(name: str, seed: int) -> None:
    table, protocol = benchmark(), PROTOCOLS[name]
    people = table.identity.where(table.identity != "", table.source_clip)
    folds = protocol.folds(table, seed)
    for fold, again in zip(folds, protocol.folds(table, seed), strict=True):
        assert len(fold.test) and not set(fold.train) & set(fold.test)
        assert np.array_equal(fold.test, again.test) and np.array_equal(fold.train, again.train)
        if protocol.disjoint:
            assert not set(people[fold.train]) & set(people[fold.test])
    assert protocol.text and not protocol.text.endswith(".")


def test_subject_folds_test_each_row_once() -> None:
    folds = PROTOCOLS["subject-5-fold"].folds(benchmark())
    assert len(folds) == 5
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(96))
    with pytest.raises(ValueError, match="too few for 5 folds"):
        PROTOCOLS["subject-5-fold"].folds(benchmark(people=3).query("identity != ''"))


def test_leave_one_category_out() -> None:
    table = benchmark()
    folds = PROTOCOLS["leave-one-category-out"].folds(table)
    assert [fold.name for fold in folds] == ["without FVFA-GAN", "without FVRA-WL", "without RVFA"]
    for fold in folds:
        name = fold.name.removeprefix("without ")
        assert set(table.category[fold.test]) == {"RVRA", name}
        assert set(table.category[fold.train]) == set(CATEGORIES) - {name}
    with pytest.raises(ValueError, match="categories, RVRA"):
        PROTOCOLS["leave-one-category-out"].folds(table.assign(category=""))


def test_shares_of_the_splits() -> None:
    table = benchmark(people=40)
    (random,) = PROTOCOLS["random"].folds(table)
    assert len(random.test) == round(0.3 * len(table))
    (people,) = PROTOCOLS[DEFAULT].folds(table)
    assert 0.2 < len(people.test) / len(table) < 0.4
    (official,) = PROTOCOLS["official"].folds(table)
    assert set(table.split[official.test]) == {"test"} and set(table.split[official.train]) == {"train"}
    with pytest.raises(ValueError, match="no labelled row has the split test"):
        PROTOCOLS["official"].folds(table.assign(split="train"))


def test_no_clip_loses_its_only_stream() -> None:
    table = pd.concat([benchmark(people=40)] * 4, ignore_index=True)
    had = table[["has_video", "has_audio"]].to_numpy()
    for missing in ("none", "video", "audio", "random"):
        kept = missing_streams(table, missing, 0)
        now = np.stack([kept["video"], kept["audio"]], axis=1)
        assert now.any(axis=1).all() and not (now & ~had).any()
        lost = (had & ~now).any(axis=1)[had.all(axis=1)].mean()
        assert lost == {"none": 0.0, "video": 1.0, "audio": 1.0}.get(missing, pytest.approx(0.3, abs=0.05))
    with pytest.raises(ValueError, match="none of none, video"):
        missing_streams(table, "sound", 0)


def test_official_split() -> None:
    table = benchmark().assign(video_label=1.0, audio_label=np.nan)
    (fold,) = PROTOCOLS["official"].folds(table)
    assert fold.name == "official test" and set(table.split[fold.test]) == {"test"} and set(table.split[fold.train]) == {"train"}
    table.loc[table.identity == "p1", "split"] = "val"
    table.loc[table.split == "test", "video_label"] = np.nan
    (fold,) = PROTOCOLS["official"].folds(table)
    assert fold.name == "official val" and set(table.split[fold.test]) == {"val"}
    with pytest.raises(ValueError, match="no labelled row has the split test"):
        PROTOCOLS["official"].folds(table[table.split != "val"])
