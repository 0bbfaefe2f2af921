from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from avwitness.datasets.deepfake.dfdc import DFDC

PART = {
    "aagfhgtpmv.mp4": {"label": "FAKE", "split": "train", "original": "vudstovrck.mp4"},
    "vudstovrck.mp4": {"label": "REAL", "split": "train", "original": None},
    "abarnvbtwb.mp4": {"label": "REAL", "split": "train"},
    "gonegonego.mp4": {"label": "FAKE", "split": "train", "original": "abarnvbtwb.mp4"},
}
TEST = "filename,label\nffcwhpnpuw.mp4,0\naaaaaaaaaa.mp4,1\n"


def write_tree(root: Path, part: Any = PART, test: str = TEST) -> Path:
    """A miniature of the published layout: a part with a missing clip and one too many, and a test with all its clips."""
    folder = root / "train" / "dfdc_train_part_0"
    for file in (
        *(folder / name for name in (*PART, "stray.mp4")),
        *(root / "test" / name for name in ("ffcwhpnpuw.mp4", "aaaaaaaaaa.mp4")),
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.name.startswith("gone"):
            file.write_bytes(b"mp4")
    (folder / "metadata.json").write_text(json.dumps(part))
    (root / "test" / "labels.csv").write_text(test)
    return root


def read(root: Path, part: Any = PART, test: str = TEST) -> pd.DataFrame:
    return DFDC().read(write_tree(root, part, test))


def test_a_genuine_file_is_genuine_in_both_streams(tmp_path: Path) -> None:
    table = read(tmp_path).set_index("path")
    for path, split in (("train/dfdc_train_part_0/vudstovrck.mp4", "train"), ("test/ffcwhpnpuw.mp4", "test")):
        row = table.loc[path]
        assert (row.video_label, row.audio_label, row.file_label, row.split, row.problem) == (0, 0, 0, split, "")
        assert row.source_clip == path
        assert row.has_video and row.has_audio


def test_a_fake_file_does_not_say_which_stream(tmp_path: Path) -> None:
    table = read(tmp_path).set_index("path")
    fake = table.loc["train/dfdc_train_part_0/aagfhgtpmv.mp4"]
    assert fake.video_label is pd.NA
    assert fake.audio_label is pd.NA
    assert (fake.file_label, fake.split, fake.problem) == (1, "train", "")
    assert fake.source_clip == "train/dfdc_train_part_0/vudstovrck.mp4"
    tested = table.loc["test/aaaaaaaaaa.mp4"]
    assert (tested.file_label, tested.split, tested.source_clip, tested.problem) == (1, "test", "", "")


def test_missing_and_unlisted(tmp_path: Path) -> None:
    table = read(tmp_path)
    assert len(table) == 4 + 2 + 1
    assert table[table.problem != ""].set_index("path").problem.to_dict() == {
        "train/dfdc_train_part_0/gonegonego.mp4": "the file is missing",
        "train/dfdc_train_part_0/stray.mp4": "the file is in no table",
    }


def test_clips_of_the_test_may_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    write_tree(tmp_path)
    (tmp_path / "test" / "videos").mkdir()
    for clip in (tmp_path / "test").glob("*.mp4"):
        clip.rename(clip.parent / "videos" / clip.name)
    table = DFDC().read(tmp_path).set_index("path")
    assert table.problem["test/videos/ffcwhpnpuw.mp4"] == ""


def test_listed_twice(tmp_path: Path) -> None:
    table = read(tmp_path, test=TEST + "ffcwhpnpuw.mp4,0\naaaaaaaaaa.mp4,0\n")
    assert table[table.path == "test/ffcwhpnpuw.mp4"].problem.tolist() == ["", "the file is listed before"]
    assert table[table.path == "test/aaaaaaaaaa.mp4"].problem.tolist() == ["the file is listed more than once, with different labels"] * 2


def test_contradictions(tmp_path: Path) -> None:
    part = {
        "aagfhgtpmv.mp4": {"label": "FAKE", "split": "train", "original": "vudstovrck.mp4"},
        "vudstovrck.mp4": {"label": "FAKE", "split": "train", "original": "abarnvbtwb.mp4"},
        "abarnvbtwb.mp4": {"label": "REAL", "split": "train", "original": "aagfhgtpmv.mp4"},
    }
    table = read(tmp_path, part, TEST.replace(",1", ",maybe")).set_index("path")
    assert table.problem["train/dfdc_train_part_0/aagfhgtpmv.mp4"] == "its original vudstovrck.mp4 is not called genuine"
    assert table.problem["train/dfdc_train_part_0/vudstovrck.mp4"] == ""
    assert table.problem["train/dfdc_train_part_0/abarnvbtwb.mp4"] == "it is called genuine, yet made from aagfhgtpmv.mp4"
    assert table.problem["test/aaaaaaaaaa.mp4"] == "the label 'maybe' is neither REAL nor FAKE"


def test_recognises(tmp_path: Path) -> None:
    assert DFDC().recognises(write_tree(tmp_path / "full"))
    assert DFDC().recognises(tmp_path / "full" / "train")
    (tmp_path / "empty").mkdir()
    assert not DFDC().recognises(tmp_path / "empty")


def test_a_test_alone_is_recognised_by_the_name_of_its_folder(tmp_path: Path) -> None:
    for name in ("DFDC", "other"):
        (tmp_path / name / "test").mkdir(parents=True)
        (tmp_path / name / "test" / "labels.csv").write_text(TEST)
    assert DFDC().recognises(tmp_path / "DFDC")
    assert not DFDC().recognises(tmp_path / "other")


def test_errors_name_file_and_cure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no dfdc_train_part_0/metadata.json.*name the folder"):
        DFDC().read(tmp_path)
    with pytest.raises(ValueError, match=r"metadata.json: does not map files to their labels; unpack"):
        read(tmp_path, part={"a.mp4": "FAKE"})
    with pytest.raises(ValueError, match=r"labels.csv: the columns label are missing"):
        read(tmp_path, test="filename\na.mp4\n")
