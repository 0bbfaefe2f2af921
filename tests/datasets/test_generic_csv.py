from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from avwitness.datasets.benchmark import COLUMNS
from avwitness.datasets.generic_csv import GenericCsv

HEADER = "path,video_label,audio_label,speaker,identity,family,method,split,video_intervals,gender,source_clip,language"
LINES = [
    "a/real.mp4,0,0,007,,,,train,,f,,en",
    'a/fake.mp4,1,0,007,12,swap,FaceX,test,"[[0.5, 1.25], [2, 3]]",,a/real.mp4,',
    "a/voice.wav,,1,007,,tts,,test,,,,",
    "a/silent.mp4,1.0,,,,,,,,,,",
    "gone.mp4,0,0,,,,,,,,,",
    "a/invalid.mp4,2,fake,,,,,,,,,",
    "a/twice.mp4,0,0,,,,,,,,,",
    "a/twice.mp4,0,0,,,,,,,,,",
    "a/both.mp4,0,0,,,,,,,,,",
    "a/both.mp4,1,0,,,,,,,,,",
    'a/cut.mp4,0,0,,,,,,"[[0.5, 1.25]]",,,',
    'a/torn.mp4,1,0,,,,,,"[[0.5, 1.25",,,',
    "a/flat.mp4,1,0,,,,,,0.5,,,",
    'a/back.mp4,1,0,,,,,,"[[2, 1]]",,,',
    ",0,0,,,,,,,,,",
    "a/music.flac,1,0,,,,,,,,,",
]


def write_tree(root: Path, name: str = "manifest.csv", lines: list[str] = LINES) -> Path:
    (root / "a").mkdir(parents=True)
    for line in lines:
        path = line.split(",")[0]
        if path and path != "gone.mp4":
            (root / path).write_bytes(b"media")
    (root / "a" / "stray.mp4").write_bytes(b"media")
    (root / name).write_text("\n".join([HEADER, *lines]) + "\n")
    return root


def problems(table: pd.DataFrame, path: str) -> list[str]:
    return table.problem[table.path == path].tolist()


def test_good_rows(tmp_path: Path) -> None:
    table = GenericCsv().read(write_tree(tmp_path))
    assert tuple(table) == COLUMNS
    assert len(table) == len(LINES) + 1
    real, fake, voice, silent = (table.iloc[i] for i in range(4))
    assert table.problem[:4].tolist() == [""] * 4
    assert (real.video_label, real.audio_label, real.identity, real.split) == (0, 0, "007", "train")
    assert (real.gender, real.language, real.source_clip, real.corpus) == ("f", "en", "a/real.mp4", "csv")
    assert real.file == tmp_path / "a" / "real.mp4"
    assert (fake.video_label, fake.audio_label, fake.identity, fake.method) == (1, 0, "12", "FaceX")
    assert json.loads(fake.video_intervals) == [[0.5, 1.25], [2.0, 3.0]]
    assert fake.source_clip == "a/real.mp4"
    assert (voice.audio_label, voice.method, voice.has_video, voice.has_audio) == (1, "tts", False, True)
    assert voice.video_label is pd.NA
    assert (silent.video_label, silent.has_audio) == (1, True)
    assert silent.audio_label is pd.NA


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("gone.mp4", ["the file is missing"]),
        ("a/invalid.mp4", ["audio_label 'fake' is neither 0 nor 1; video_label '2' is neither 0 nor 1"]),
        ("a/twice.mp4", ["", "the file is listed before"]),
        ("a/both.mp4", ["the file is listed more than once, with different labels"] * 2),
        ("a/cut.mp4", ["video is called genuine, yet parts of it fake"]),
        ("a/torn.mp4", ["video_intervals is no list of pairs of seconds: [[0.5, 1.25"]),
        ("a/flat.mp4", ["video_intervals is no list of pairs of seconds: 0.5"]),
        ("a/back.mp4", ["an interval of video does not end after it begins"]),
        ("", ["the row names no file; the file is missing"]),
        ("a/music.flac", ["there is a label of video, and no video"]),
        ("a/stray.mp4", ["the file is in no table"]),
    ],
)
def test_a_broken_row_has_a_problem(tmp_path: Path, path: str, expected: list[str]) -> None:
    assert problems(GenericCsv().read(write_tree(tmp_path)), path) == expected


def test_a_bad_label_is_unknown(tmp_path: Path) -> None:
    table = GenericCsv().read(write_tree(tmp_path)).set_index("path")
    assert table.video_label["a/invalid.mp4"] is pd.NA
    assert table.audio_label["a/invalid.mp4"] is pd.NA


def test_parquet_holds_numbers_lists_and_truth(tmp_path: Path) -> None:
    for name in ("x.mp4", "y.mp4", "z.mp4"):
        (tmp_path / name).write_bytes(b"media")
    frame = pd.DataFrame(
        {
            "path": ["x.mp4", "y.mp4", "z.mp4"],
            "video_label": [1.0, None, 0.0],
            "audio_label": [True, False, None],
            "video_intervals": [[[0.0, 1.5]], None, None],
            "identity": ["1", None, "3"],
        }
    )
    frame.to_parquet(tmp_path / "manifest.parquet")
    table = GenericCsv().read(tmp_path)
    assert table.problem.tolist() == ["", "", ""]
    assert table.video_label.tolist() == [1, pd.NA, 0]
    assert table.audio_label.tolist() == [1, 0, pd.NA]
    assert table.video_intervals.tolist() == ["[[0.0, 1.5]]", "", ""]
    assert table.identity.tolist() == ["1", "", "3"]


def test_the_file_itself_may_be_named_and_paths_be_absolute(tmp_path: Path) -> None:
    for name in ("far.mp4", "near.mp4"):
        (tmp_path / name).write_bytes(b"media")
    (tmp_path / "sub").mkdir()
    file = tmp_path / "sub" / "mine.csv"
    file.write_text(
        f"path,audio_label,corpus,has_video,file_label\n{tmp_path / 'far.mp4'},1,home,False,\n../near.mp4,,home,True,1\n",
        encoding="utf-8-sig",
    )
    table = GenericCsv().read(file)
    assert table.problem.tolist() == ["", ""]
    assert table.corpus.tolist() == ["home", "home"]
    assert table.has_video.tolist() == [False, True]
    assert table.audio_label.tolist() == [1, pd.NA]
    assert table.file_label.tolist() == [pd.NA, 1]
    assert GenericCsv().recognises(file)
    file.write_text(f"path,audio_label,file_label\n{tmp_path / 'far.mp4'},1,\n../far.mp4,0,\n../near.mp4,0,1\n")
    table = GenericCsv().read(file)
    assert table.problem.tolist()[:2] == ["the file is listed more than once, with different labels"] * 2  # by whatever name
    assert table.problem[2] == ""  # the picture may be what is fake
    file.write_text("path,audio_label,video_label,file_label\n../near.mp4,0,0,1\n")
    assert GenericCsv().read(file).problem.tolist() == ["the file is called fake, yet every stream of it genuine"]


def test_what_it_writes_it_reads(tmp_path: Path) -> None:
    first = GenericCsv().read(write_tree(tmp_path))
    first.drop(columns="file").to_csv(tmp_path / "again.csv", index=False)
    again = GenericCsv().read(tmp_path / "again.csv")
    same = [name for name in COLUMNS if name not in ("file", "problem", "video_label", "audio_label", "source_clip")]
    pd.testing.assert_frame_equal(again[same], first[same])
    assert (again.problem == "").tolist() == (first.problem == "").tolist()


def test_recognises(tmp_path: Path) -> None:
    assert not GenericCsv().recognises(tmp_path)
    assert GenericCsv().recognises(write_tree(tmp_path / "full"))


def test_errors_name_file_and_cure(tmp_path: Path) -> None:
    read = GenericCsv().read
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such file or folder; name the table"):
        read(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"manifest.csv: no manifest there"):
        read(tmp_path)
    file = tmp_path / "manifest.csv"
    file.write_text("video_label\n1\n")
    with pytest.raises(ValueError, match=r"manifest.csv: the column path is missing"):
        read(tmp_path)
    file.write_text("path\na.mp4\n")
    with pytest.raises(ValueError, match=r"manifest.csv: the columns video_label and audio_label are missing"):
        read(tmp_path)
    file.write_text("path,video_label\na.mp4,1,\n")
    with pytest.raises(ValueError, match=r"manifest.csv: the rows have more cells than the header"):
        read(tmp_path)
    for bad in (b"", b"path,video_label\n\xff\xfe\x80,1\n"):
        file.write_bytes(bad)
        with pytest.raises(ValueError, match=r"cannot be read as a table .*save it as CSV"):
            read(file)
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    with pytest.raises(ValueError, match=r"bad.parquet: cannot be read as a table"):
        read(tmp_path / "bad.parquet")
