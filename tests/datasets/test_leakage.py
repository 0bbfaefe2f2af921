from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from avwitness.datasets.leakage import Leak, content_hashes, duplicates, leaks


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    rows = [  # path, content, split, source clip, identity
        ("a.mp4", "one", "train", "a.mp4", "anna"),
        ("b.mp4", "two", "train", "a.mp4", "bert"),
        ("c.mp4", "one", "test", "c.mp4", "carl"),
        ("d.mp4", "four!", "test", "a.mp4", "anna"),
        ("e.mp4", "one", "", "a.mp4", "anna"),
        ("f.mp4", "six", "val", "", ""),
        ("g.mp4", "seven", "test", "", ""),
    ]
    for path, content, *_ in rows:
        (tmp_path / path).write_text(content)
    columns = ["path", "split", "source_clip", "identity"]
    found = pd.DataFrame([(path, *rest) for path, _, *rest in rows], columns=columns)
    found["file"] = [tmp_path / path for path in found.path]
    found.loc[len(found)] = ["absent.mp4", "test", "x", "dora", tmp_path / "absent.mp4"]
    return found


def test_what_two_splits_share_is_named(table: pd.DataFrame) -> None:
    hashes = content_hashes(table)
    assert "absent.mp4" not in hashes and hashes["a.mp4"] == hashes["c.mp4"] != hashes["b.mp4"]
    assert duplicates(hashes) == [("a.mp4", "c.mp4", "e.mp4")]  # one of them in no split
    assert leaks(table, hashes) == [
        Leak("content", "test", "train", 1, "c.mp4"),
        Leak("source clip", "test", "train", 1, "a.mp4"),
        Leak("identity", "test", "train", 1, "anna"),
    ]


def test_without_hashes_contents_are_not_compared(table: pd.DataFrame) -> None:
    assert [leak.kind for leak in leaks(table)] == ["source clip", "identity"]


def test_files_of_a_size_of_their_own_are_not_read(tmp_path: Path) -> None:
    for name, text in (("a", "x"), ("b", "yy"), ("c", "zz")):
        (tmp_path / name).write_text(text)
    hashes = content_hashes(pd.DataFrame({"path": ["a", "b", "c"], "file": [tmp_path / name for name in "abc"]}))
    assert hashes["a"] == "size 1" and len(hashes["b"]) == len(hashes["c"]) == 40 and hashes["b"] != hashes["c"]


def test_an_empty_benchmark_leaks_nothing(table: pd.DataFrame) -> None:
    assert content_hashes(table.head(0)) == {} and leaks(table.head(0)) == [] and duplicates({}) == []
