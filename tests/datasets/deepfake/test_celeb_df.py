from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from avwitness.datasets.deepfake.celeb_df import CelebDF

LISTED = """1 YouTube-real/00170.mp4
1 Celeb-real/id0_0003.mp4
0 Celeb-synthesis/id0_id16_0003.mp4
0 Celeb-synthesis/id1_id2_0009.mp4
"""
CLIPS = (
    "YouTube-real/00170.mp4",
    "YouTube-real/00001.mp4",
    "Celeb-real/id0_0003.mp4",
    "Celeb-real/id16_0001.mp4",
    "Celeb-synthesis/id0_id16_0003.mp4",
    "Celeb-synthesis/id16_id0_0001.mp4",
    "Celeb-synthesis/notes.mp4",
)


def write_tree(root: Path, listed: str = LISTED) -> Path:
    """A miniature of the published layout; one listed clip (id1_id2_0009) is missing, and one has no name that says what it is."""
    for clip in CLIPS:
        (root / clip).parent.mkdir(parents=True, exist_ok=True)
        (root / clip).write_bytes(b"mp4")
    (root / "List_of_testing_videos.txt").write_text(listed)
    return root


def read(root: Path, listed: str = LISTED) -> pd.DataFrame:
    return CelebDF().read(write_tree(root, listed))


def test_good_rows(tmp_path: Path) -> None:
    table = read(tmp_path).set_index("path")
    fake = table.loc["Celeb-synthesis/id0_id16_0003.mp4"]
    assert (fake.video_label, fake.split, fake.identity, fake.method) == (1, "test", "id0", "face-swap")
    assert (fake.source_clip, fake.category, fake.problem) == ("Celeb-real/id0_0003.mp4", "Celeb-synthesis", "")
    real = table.loc["Celeb-real/id0_0003.mp4"]
    assert (real.video_label, real.split, real.identity, real.method, real.problem) == (0, "test", "id0", "", "")
    assert real.source_clip == "Celeb-real/id0_0003.mp4"
    other = table.loc["YouTube-real/00170.mp4"]
    assert (other.video_label, other.split, other.identity, other.problem) == (0, "test", "", "")
    assert not table.has_audio.any()
    assert table.audio_label.isna().all()


def test_clips_outside_the_list_are_for_training(tmp_path: Path) -> None:
    table = read(tmp_path).set_index("path")
    fake = table.loc["Celeb-synthesis/id16_id0_0001.mp4"]
    assert (fake.video_label, fake.split, fake.identity, fake.source_clip) == (1, "train", "id16", "Celeb-real/id16_0001.mp4")
    assert (table.loc["YouTube-real/00001.mp4"].video_label, table.loc["YouTube-real/00001.mp4"].split) == (0, "train")
    assert (table.loc["Celeb-real/id16_0001.mp4"].video_label, table.loc["Celeb-real/id16_0001.mp4"].problem) == (0, "")


def test_missing_and_unlisted(tmp_path: Path) -> None:
    table = read(tmp_path)
    assert len(table) == 4 + 3 + 1
    assert table[table.problem != ""].set_index("path").problem.to_dict() == {
        "Celeb-synthesis/id1_id2_0009.mp4": "the file is missing",
        "Celeb-synthesis/notes.mp4": "the file is in no table",
    }
    assert table[table.path == "Celeb-synthesis/notes.mp4"].video_label.isna().all()


def test_listed_twice(tmp_path: Path) -> None:
    table = read(tmp_path, LISTED + "1 YouTube-real/00170.mp4\n")
    assert table[table.path == "YouTube-real/00170.mp4"].problem.tolist() == ["", "the file is listed before"]


def test_a_label_against_its_folder(tmp_path: Path) -> None:
    table = read(tmp_path, "1 Celeb-synthesis/id0_id16_0003.mp4\n0 Celeb-real/id0_0003.mp4\n").set_index("path")
    assert table.problem["Celeb-synthesis/id0_id16_0003.mp4"] == "the list calls it genuine, its folder fake"
    assert table.video_label["Celeb-synthesis/id0_id16_0003.mp4"] == 0
    assert table.problem["Celeb-real/id0_0003.mp4"] == "the list calls it fake, its folder genuine"


def test_a_listed_clip_of_no_folder(tmp_path: Path) -> None:
    table = read(tmp_path, "1 elsewhere/00170.mp4\n").set_index("path")
    assert table.problem["elsewhere/00170.mp4"] == "neither its folder nor its name says what the clip shows; the file is missing"


def test_recognises(tmp_path: Path) -> None:
    assert CelebDF().recognises(write_tree(tmp_path / "full"))
    (tmp_path / "empty").mkdir()
    assert not CelebDF().recognises(tmp_path / "empty")


def test_errors_name_file_and_cure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"List_of_testing_videos.txt: no such list; name the folder"):
        CelebDF().read(tmp_path)
    with pytest.raises(ValueError, match=r"List_of_testing_videos.txt: line 2 is not 0 or 1 and a path; unpack"):
        read(tmp_path, "1 YouTube-real/00170.mp4\nREAL YouTube-real/00001.mp4\n")
