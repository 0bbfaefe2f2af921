"""The contract that every reader of a benchmark keeps."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from avwitness.datasets.benchmark import COLUMNS, tabulate
from avwitness.datasets.registry import READERS, categories, read_benchmark, recognise

NAMES = sorted(READERS)


def test_names_are_their_own() -> None:
    assert {name: reader.name for name, reader in READERS.items()} == {name: name for name in READERS}
    assert {"fakeavceleb", "lavdf", "av_deepfake1m", "av_deepfake1m_pp", "dfdc", "faceforensics", "celeb_df", "kodf", "deepspeak"} <= set(
        NAMES
    )
    assert {"polyglotfake", "asvspoof2019_la", "asvspoof2021_la", "voxceleb2", "lrs2", "lrs3", "grid", "vico", "csv"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_says_what_it_reads_and_refuses_an_empty_folder(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    assert reader.title and reader.layout and "\n" not in reader.layout
    assert type(reader).__doc__ and "Notes" in str(type(reader).__doc__)
    assert not reader.recognises(tmp_path)
    with pytest.raises((FileNotFoundError, ValueError), match=r"\w"):
        reader.read(tmp_path)
    with pytest.raises(FileNotFoundError):
        reader.read(tmp_path / "absent")


def test_the_table_has_a_problem_with_a_row(tmp_path: Path) -> None:
    for name in "abcdefgh":
        (tmp_path / f"{name}.mp4").write_bytes(b"x")
    rows = [
        {"path": "a.mp4", "video_label": 1, "audio_label": 0, "video_intervals": [(0.5, 1.0)]},
        {"path": "b.mp4", "video_label": 0, "video_intervals": [(0.5, 1.0)]},
        {"path": "c.mp4", "has_audio": False, "audio_label": 0},
        {"path": "d.mp4", "video_label": 1, "video_intervals": [(1.0, 0.5)]},
        {"path": "e.mp4", "video_label": 0},
        {"path": "e.mp4", "video_label": 0},
        {"path": "f.mp4", "video_label": 0},
        {"path": "./f.mp4", "video_label": 1},
        {"path": "absent.mp4", "video_label": 0},
        {"path": "g.mp4", "video_label": 2},
        {"path": "h.mp4", "problem": "the reader's own"},
    ]
    table = tabulate(rows, tmp_path, "made_up")
    assert tuple(table.columns) == COLUMNS and set(table.corpus) == {"made_up"}
    assert table.problem.tolist() == [
        "",
        "video is called genuine, yet parts of it fake",
        "there is a label of audio, and no audio",
        "an interval of video does not end after it begins",
        "",
        "the file is listed before",
        "the file is listed more than once, with different labels",
        "the file is listed more than once, with different labels",
        "the file is missing",
        "video_label 2 is neither 0 nor 1",
        "the reader's own",
    ]
    assert table.video_label.dtype == "Int8" and table.video_intervals[0] == "[[0.5, 1.0]]" and pd.isna(table.video_label[9])
    with pytest.raises(KeyError, match="no columns lable"):
        tabulate([{"path": "a.mp4", "lable": 1}], tmp_path, "made_up")


def test_categories_follow_from_labels(tmp_path: Path) -> None:
    rows = [
        {"path": "a", "video_label": 0, "audio_label": 0},
        {"path": "b", "video_label": 1, "audio_label": 0},
        {"path": "c", "video_label": 1, "has_audio": False},
        {"path": "d", "has_video": False, "audio_label": 1},
        {"path": "e", "video_label": 1},
    ]
    assert categories(tabulate(rows, tmp_path, "x")).tolist() == ["RVRA", "FVRA", "FV", "FA", ""]


def test_a_benchmark_is_read_by_name_and_split(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.mp4").write_bytes(b"x")
    (tmp_path / "manifest.csv").write_text("path,video_label,audio_label,split\na.mp4,1,0,train\nb.mp4,0,0,test\n")
    table = read_benchmark("csv", tmp_path, "test")
    assert table.path.tolist() == ["b.mp4"] and table.category.tolist() == ["RVRA"]
    with pytest.raises(ValueError, match="no row has the split dev; there are test, train"):
        read_benchmark("csv", tmp_path, "dev")
    with pytest.raises(ValueError, match="'moon' is none of csv"):
        read_benchmark("moon", tmp_path)


def test_a_folder_is_recognised_and_what_is_not_or_could_be_two_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError):
        recognise(tmp_path / "absent")
    with pytest.raises(ValueError, match="is no benchmark"):
        recognise(tmp_path)
    (tmp_path / "manifest.csv").write_text("path,video_label\n")
    assert recognise(tmp_path) == recognise(tmp_path / "manifest.csv") == "csv"
    (tmp_path / "trainval").mkdir()
    (tmp_path / "test").mkdir()
    assert recognise(tmp_path) == "lrs3"  # before a table that anybody may have put there
    monkeypatch.setattr(type(READERS["grid"]), "recognises", lambda *_: True)
    with pytest.raises(ValueError, match="could be lrs3 or grid"):
        recognise(tmp_path)
