from __future__ import annotations

import unicodedata
from pathlib import Path

import pandas as pd
import pytest

from avwitness.datasets.deepfake.kodf import KoDF

GENUINE = """영상ID,UUID,인물성별,촬영장소,촬영시작,스크립트파일,시나리오번호
aa11_001.mp4,aa11,남성,실내,2020.07.24:15.05.30,s.txt,1
bb22_001.mp4,bb22,여성,실내,2020.07.24:15.05.30,s.txt,1
"""
FAKES = """영상ID,타겟영상,타겟UUID,소스UUID,변조모델,촬영시작,인물성별
aa11_bb22_1_0001.mp4,aa11_001.mp4,aa11,bb22,dfl,2020.07.24:15.05.30,남성
bb22_bb22_5_0001.mp4,bb22_001.mp4,bb22,bb22,audio-driven,2020.07.24:15.05.30,여성
gone_bb22_4_0001.mp4,bb22_001.mp4,bb22,bb22,fo,2020.07.24:15.05.30,여성
"""
CLIPS = ("원천데이터/원본/aa11/aa11_001.mp4", "원천데이터/원본/bb22/bb22_001.mp4", "dfl/aa11/aa11_bb22_1_0001.mp4", "stray.mp4")


def write_tree(root: Path, genuine: str = GENUINE, fakes: str = FAKES, split: str = "training", form: str = "NFC") -> Path:
    """A miniature of what AI-Hub hands out; one fake is missing, and one clip is in no table."""
    for clip in (*CLIPS, "audio-driven/2020/bb22/bb22_bb22_5_0001.mp4"):
        (root / clip).parent.mkdir(parents=True, exist_ok=True)
        (root / clip).write_bytes(b"mp4")
    folder = root / "labels" / "train_meta_data"
    folder.mkdir(parents=True, exist_ok=True)
    for kind, text in (("원본영상", genuine), ("변조영상", fakes)):
        (folder / unicodedata.normalize(form, f"{kind}_{split}_메타데이터.csv")).write_text(text, encoding="utf-8-sig")
    return root


def read(root: Path, genuine: str = GENUINE, fakes: str = FAKES) -> pd.DataFrame:
    return KoDF().read(write_tree(root, genuine, fakes))


def test_good_rows(tmp_path: Path) -> None:
    table = read(tmp_path).set_index("path")
    real = table.loc["원천데이터/원본/aa11/aa11_001.mp4"]
    assert (real.video_label, real.audio_label, real.identity, real.gender, real.split) == (0, 0, "aa11", "male", "train")
    assert (real.method, real.language, real.source_clip, real.problem) == ("", "ko", "원천데이터/원본/aa11/aa11_001.mp4", "")
    fake = table.loc["dfl/aa11/aa11_bb22_1_0001.mp4"]
    assert (fake.video_label, fake.identity, fake.gender, fake.method, fake.split) == (1, "aa11", "male", "dfl", "train")
    assert (fake.source_clip, fake.problem) == ("원천데이터/원본/aa11/aa11_001.mp4", "")
    assert fake.audio_label is pd.NA
    driven = table.loc["audio-driven/2020/bb22/bb22_bb22_5_0001.mp4"]
    assert (driven.method, driven.identity, driven.gender, driven.problem) == ("audio-driven", "bb22", "female", "")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_tables_are_found_however_hangul_is_stored(tmp_path: Path, form: str) -> None:
    table = KoDF().read(write_tree(tmp_path, split="validation", form=form))
    assert table[table.problem == ""].split.tolist() == ["val"] * 4


def test_names_without_suffix(tmp_path: Path) -> None:
    table = read(tmp_path, GENUINE.replace(".mp4", ""), FAKES.replace(".mp4", "")).set_index("path")
    assert table.problem["dfl/aa11/aa11_bb22_1_0001.mp4"] == ""
    assert table.source_clip["dfl/aa11/aa11_bb22_1_0001.mp4"] == "원천데이터/원본/aa11/aa11_001.mp4"


def test_missing_and_unlisted(tmp_path: Path) -> None:
    table = read(tmp_path)
    assert len(table) == 2 + 3 + 1
    assert table[table.problem != ""].set_index("path").problem.to_dict() == {
        "gone_bb22_4_0001.mp4": "the file is missing",
        "stray.mp4": "the file is in no table",
    }


def test_listed_twice(tmp_path: Path) -> None:
    again = GENUINE + GENUINE.splitlines()[1] + "\n"
    table = read(tmp_path, again)
    assert table[table.path == CLIPS[0]].problem.tolist() == ["", "the file is listed before"]


def test_called_genuine_and_fake(tmp_path: Path) -> None:
    table = read(tmp_path, GENUINE + "aa11_bb22_1_0001.mp4,aa11,남성,실내,2020.07.24:15.05.30,s.txt,1\n")
    rows = table[table.path == "dfl/aa11/aa11_bb22_1_0001.mp4"]
    assert rows.problem.tolist() == ["the file is listed more than once, with different labels"] * 2


def test_names_in_two_places(tmp_path: Path) -> None:
    write_tree(tmp_path)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "aa11_001.mp4").write_bytes(b"mp4")
    table = KoDF().read(tmp_path).set_index("path")
    assert table.problem["copy/aa11_001.mp4"] == f"there are several files of this name: copy/aa11_001.mp4, {CLIPS[0]}"
    assert table.problem[CLIPS[0]] == "the file is in no table"


def test_recognises(tmp_path: Path) -> None:
    assert KoDF().recognises(write_tree(tmp_path / "full"))
    (tmp_path / "empty").mkdir()
    assert not KoDF().recognises(tmp_path / "empty")


def test_errors_name_file_and_cure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no table 원본영상_training_메타데이터.csv .*name the folder"):
        KoDF().read(tmp_path)
    with pytest.raises(ValueError, match=r"변조영상_training_메타데이터.csv: the columns 변조모델 are missing"):
        read(tmp_path, fakes=FAKES.replace("변조모델", "model"))
