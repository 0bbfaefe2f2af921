from __future__ import annotations

from pathlib import Path

import pytest

from avwitness.datasets.benchmark import COLUMNS
from avwitness.datasets.genuine.voxceleb2 import VoxCeleb2

META = """VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set
id00012 ,n000012 ,m ,dev
id00012 ,n000012 ,m ,dev
id00015 ,n000015 ,f ,dev
id00016 ,n000016 ,f ,dev
id00017 ,n000017 ,m ,test
id00018 ,n000018 ,m ,dev
id00018 ,n000018 ,f ,dev
id00019 ,n000019 ,f ,dev
"""
FILES = [
    "dev/mp4/id00012/21Uxsk56VDQ/00001.mp4",
    "dev/aac/id00012/21Uxsk56VDQ/00001.m4a",
    "dev/aac/id00015/0fijmz4vTVU/00001.m4a",
    "dev/mp4/id00017/gjYcaCzo7UU/00111.mp4",
    "dev/mp4/id00018/5BVBfpfzjIk/00006.mp4",
    "dev/mp4/id00099/5BVBfpfzjIk/00007.mp4",
    "dev/mp4/id00012/stray.mp4",
    "test/mp4/id00017/gjYcaCzo7UU/00112.mp4",
]


def write_tree(root: Path, tracks: bool = False) -> Path:
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"media")
    for name in ("21Uxsk56VDQ/00001", "21Uxsk56VDQ/00002") if tracks else ():
        file = root / "dev" / "txt" / "id00012" / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("Identity  : \tid00012\n")
    (root / "vox2_meta.csv").write_text(META, encoding="utf-8-sig")
    return root


def test_good_rows(tmp_path: Path) -> None:
    table = VoxCeleb2().read(write_tree(tmp_path))
    assert tuple(table) == COLUMNS
    assert len(table) == len(FILES) + 2
    table = table.set_index("path")
    video, sound, alone = (table.loc[name] for name in FILES[:3])
    assert (video.video_label, video.audio_label, video.identity, video.gender, video.split) == (0, 0, "id00012", "male", "dev")
    assert video.problem == ""  # a line that stands twice in the table contradicts nothing
    assert video.has_video
    assert video.source_clip == FILES[0]
    assert (sound.audio_label, sound.has_video, sound.source_clip, sound.problem) == (0, False, FILES[0], "")
    assert sound.video_label is not video.video_label
    assert table.video_label.isna()[FILES[1]]
    assert (alone.gender, alone.source_clip, alone.problem) == ("female", FILES[2], "")
    assert (table.loc[FILES[7]].split, table.loc[FILES[7]].problem) == ("test", "")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (FILES[3], "vox2_meta.csv has id00017 in test, yet the file is in dev"),
        (FILES[4], "vox2_meta.csv has different entries for id00018"),
        (FILES[5], "vox2_meta.csv does not name id00099"),
        (FILES[6], "the file is in no table"),
        ("dev/mp4/id00016", "vox2_meta.csv names id00016, but there is no clip; the file is missing"),
    ],
)
def test_a_broken_row_has_a_problem(tmp_path: Path, path: str, expected: str) -> None:
    assert VoxCeleb2().read(write_tree(tmp_path)).set_index("path").problem[path] == expected


def test_tracks_list_clips(tmp_path: Path) -> None:
    table = VoxCeleb2().read(write_tree(tmp_path, tracks=True)).set_index("path")
    assert table.problem[FILES[0]] == ""
    for path in ("dev/mp4/id00012/21Uxsk56VDQ/00002.mp4", "dev/aac/id00012/21Uxsk56VDQ/00002.m4a"):
        assert table.problem[path] == "the file is missing"
    assert len(table) == len(FILES) + 4


def test_recognises(tmp_path: Path) -> None:
    assert not VoxCeleb2().recognises(tmp_path)
    assert VoxCeleb2().recognises(write_tree(tmp_path / "full"))


def test_errors_name_file_and_cure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"vox2_meta.csv: no such table; name the folder"):
        VoxCeleb2().read(tmp_path)
    (tmp_path / "vox2_meta.csv").write_text("VoxCeleb2 ID ,Gender \n")
    with pytest.raises(ValueError, match=r"vox2_meta.csv: the columns Set are missing; take the published"):
        VoxCeleb2().read(tmp_path)
    (tmp_path / "vox2_meta.csv").write_text(META)
    with pytest.raises(FileNotFoundError, match=r"dev/mp4: no such folder; name the one"):
        VoxCeleb2().read(tmp_path)
