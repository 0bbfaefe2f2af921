from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from avwitness.datasets.av_folder import AVFolder, category


def write_tree(root: Path, *files: str) -> Path:
    for name in files:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"media")
    return root


def test_good_rows(tmp_path: Path) -> None:
    files = ["FVFA/wav2lip-sv2tts/1.mp4", "FVRA/wav2lip/person/2.AVI", "RVFA/3.mp4", "RVRA/4.mp4", "RVRA/session/5.mp4"]
    write_tree(tmp_path, *files, "RVRA/notes.txt")
    table = AVFolder().read(tmp_path)
    assert table.path.tolist() == files
    assert table.problem.tolist() == [""] * 5
    assert table.category.tolist() == ["FVFA", "FVRA", "RVFA", "RVRA", "RVRA"]
    assert table.video_label.tolist() == [1, 1, 0, 0, 0]
    assert table.audio_label.tolist() == [1, 0, 1, 0, 0]
    assert table.method.tolist() == ["wav2lip-sv2tts", "wav2lip", "", "real", "real"]
    assert table.source_clip.tolist() == files
    assert table.file[2] == tmp_path / "RVFA" / "3.mp4"
    assert set(table.identity) == set(table.split) == {""}


def test_real_and_fake_may_stand_above(tmp_path: Path) -> None:
    write_tree(
        tmp_path, "Fake/RealVideo-FakeAudio/rtvc/1.mp4", "Fake/fakevideo_realaudio/2.mp4", "Real/RVRA/3.mp4", "Real/s1/4.mp4", "Real/5.mp4"
    )
    table = AVFolder().read(tmp_path)
    assert table.problem.tolist() == [""] * 5
    assert dict(zip(table.path, table.category, strict=True)) == {
        "Fake/RealVideo-FakeAudio/rtvc/1.mp4": "RVFA",
        "Fake/fakevideo_realaudio/2.mp4": "FVRA",
        "Real/5.mp4": "RVRA",
        "Real/RVRA/3.mp4": "RVRA",
        "Real/s1/4.mp4": "RVRA",
    }
    assert table.method.tolist() == ["rtvc", "", "real", "real", "real"]


@pytest.mark.parametrize(
    ("name", "is_"),
    [
        ("RVRA", "RVRA"),
        ("fvfa", "FVFA"),
        ("RealVideo-FakeAudio", "RVFA"),
        ("FakeVideo RealAudio", "FVRA"),
        ("RAFV", "FVRA"),
        ("FakeAudio_RealVideo", "RVFA"),
        ("RVFV", ""),
        ("RVRA2", ""),
        ("fake", ""),
        ("", ""),
    ],
)
def test_names_of_categories(name: str, is_: str) -> None:
    assert category(name) == is_


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("videos/a.mp4", "the folder videos is named after none of RVRA, RVFA, FVRA, FVFA"),
        ("a.mp4", "the file is in none of RVRA, RVFA, FVRA, FVFA"),
        ("fake/a.mp4", "the folder fake does not say which stream is forged"),
        ("fake/wav2lip/a.mp4", "the folder wav2lip is named after none of RVRA, RVFA, FVRA, FVFA"),
    ],
)
def test_a_file_elsewhere_has_no_labels_and_a_problem(tmp_path: Path, file: str, expected: str) -> None:
    table = AVFolder().read(write_tree(tmp_path, "RVRA/1.mp4", file)).set_index("path")
    assert table.problem["RVRA/1.mp4"] == ""
    assert table.problem[file] == expected
    assert pd.isna(table.video_label[file]) and pd.isna(table.audio_label[file])
    assert table.category[file] == table.method[file] == ""


def test_contradictory_folders_are_told(tmp_path: Path) -> None:
    table = AVFolder().read(write_tree(tmp_path, "fake/RVRA/1.mp4", "real/FVRA/2.mp4", "real/RVRA/3.mp4"))
    assert table.problem.tolist() == ["the folder fake contradicts the category RVRA", "the folder real contradicts the category FVRA", ""]


def test_sound_has_no_picture(tmp_path: Path) -> None:
    table = AVFolder().read(write_tree(tmp_path, "FVFA/1.wav"))
    assert table.problem.tolist() == [""]
    assert not table.has_video[0] and pd.isna(table.video_label[0]) and table.audio_label[0] == 1


def test_recognises(tmp_path: Path) -> None:
    assert not AVFolder().recognises(tmp_path)
    assert not AVFolder().recognises(tmp_path / "nowhere")
    assert not AVFolder().recognises(write_tree(tmp_path / "plain", "real/1.mp4", "fake/2.mp4"))
    root = write_tree(tmp_path / "sorted", "FVRA/1.mp4")
    assert AVFolder().recognises(root)
    assert AVFolder().recognises(write_tree(tmp_path / "deeper", "fake/FVRA/1.mp4"))
    assert not AVFolder().recognises(write_tree(root, "meta_data.csv"))  # FakeAVCeleb has the same folders, and a table


def test_errors_name_folder_and_cure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder; name the one that holds RVRA, RVFA, FVRA, FVFA"):
        AVFolder().read(tmp_path / "nowhere")
    write_tree(tmp_path, "RVRA/notes.txt")
    with pytest.raises(ValueError, match=r"holds no media; name the folder that holds RVRA"):
        AVFolder().read(tmp_path)
