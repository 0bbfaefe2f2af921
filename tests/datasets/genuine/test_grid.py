from __future__ import annotations

from pathlib import Path

import pytest

from avwitness.datasets.benchmark import COLUMNS
from avwitness.datasets.genuine.grid import WOMEN, Grid

FILES = [
    "s1/bbaf2n.mpg",
    "s1/bbaf3s.mpg",
    "s1/bbwf3s.mpg",  # the letter is f, the preposition with
    "s1/video/mpg_6000/bbaf2n.mpg",
    "s1/holiday.mpg",
    "s4/swiu3s.mpg",
    "s4/lgbz1a.mpg",
    "s21/pwbd6s.mpg",
    "s35/pwbd6s.mpg",
    "extra.mpg",
    "audio_25k/s1/bbaf2n.wav",
    "audio_25k/s21/pwbd6s.wav",
]
ALIGNMENTS = ["s1/bbaf2n", "s1/bbaf3s", "s1/bbwf3s", "s1/bbaz9p", "s4/prac6n", "s4/prac7n", "s5/srwz9n"]


def write_tree(root: Path, folder: str = "alignments", files: list[str] = FILES) -> Path:
    for name in files + [f"{folder}/{name}.align" for name in ALIGNMENTS]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"0 23750 sil\n")
    return root


def test_good_rows(tmp_path: Path) -> None:
    table = Grid().read(write_tree(tmp_path))
    assert tuple(table) == COLUMNS
    assert len(table) == len(FILES) + 2  # a missing video, a missing speaker
    table = table.set_index("path")
    video, large, sound, unseen, woman = (table.loc[FILES[i]] for i in (0, 3, 10, 11, 5))
    assert (video.video_label, video.audio_label, video.identity, video.gender, video.language) == (0, 0, "s1", "male", "en")
    assert (video.problem, video.has_video, video.has_audio, video.corpus) == ("", True, True, "grid")
    assert {video.source_clip, large.source_clip, sound.source_clip} == {FILES[0]}
    assert (sound.audio_label, sound.has_video, sound.problem) == (0, False, "")
    assert table.video_label.isna()[FILES[10]]
    assert (unseen.identity, unseen.gender, unseen.problem) == ("s21", "female", "")
    assert (woman.identity, woman.gender, woman.problem) == ("s4", "female", "")
    assert len(WOMEN) == 16


@pytest.mark.parametrize("folder", ["alignments", "align"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("s1/bbaz9p.mpg", "the file is missing"),
        ("s5", "there is nothing of s5 but alignments; the file is missing"),
        ("s1/holiday.mpg", "holiday is no sentence of GRID"),
        ("s21/pwbd6s.mpg", "GRID has no video of s21"),
        ("s35/pwbd6s.mpg", "the file is in no table"),
        ("extra.mpg", "the file is in no table"),
    ],
)
def test_a_broken_row_has_a_problem(tmp_path: Path, folder: str, path: str, expected: str) -> None:
    table = Grid().read(write_tree(tmp_path, folder)).set_index("path")
    assert table.problem[path] == expected


def test_alignments_of_another_speaker_say_nothing(tmp_path: Path) -> None:
    table = Grid().read(write_tree(tmp_path))
    assert table.path[table.identity == "s4"].tolist() == ["s4/lgbz1a.mpg", "s4/swiu3s.mpg"]


@pytest.mark.parametrize("layout", ["s1/{}.mpg", "s1/video/mpg_6000/{}.mpg", "video/s1/{}.mpg", "s1/video/{}.mpg"])
def test_layouts(tmp_path: Path, layout: str) -> None:
    paths = [layout.format(name) for name in ("bbaf2n", "bbaf3s", "bbwf3s")]
    root = write_tree(tmp_path, "align/", paths)
    table = Grid().read(root)
    assert table.path[:3].tolist() == paths
    assert table.identity[:3].tolist() == ["s1"] * 3
    assert table.problem[:4].tolist() == ["", "", "", "the file is missing"]
    assert table.path[3] == layout.format("bbaz9p")
    assert Grid().recognises(root)


def test_recognises(tmp_path: Path) -> None:
    assert not Grid().recognises(tmp_path)
    (tmp_path / "s1").mkdir()
    (tmp_path / "s1" / "holiday.mpg").write_bytes(b"media")
    assert not Grid().recognises(tmp_path)
    assert Grid().recognises(write_tree(tmp_path))


def test_errors_name_file_and_cure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder; name the one"):
        Grid().read(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"s1: no videos .mpg or audio files .wav there; name the folder"):
        Grid().read(tmp_path)
