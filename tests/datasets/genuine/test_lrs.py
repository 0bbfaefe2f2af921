from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from avwitness.datasets.benchmark import COLUMNS
from avwitness.datasets.genuine.lrs import Lrs2, Lrs3

LISTS = {
    "pretrain": ["5535415699068794046/00001", "5535415699068794046/00002"],
    "train": ["5535415699068794046/00003", "5535415699068794046/00004", "5535415699068794046/00004", "6000000000000000001/gone"],
    "val": ["5535423430009926848/00005", "5535423430009926848/00006"],
    "test": ["6330311066473698535/00011 NF", "6330311066473698535/00018 MV", "5535423430009926848/00006 NF"],
}


def write_lrs2(root: Path, lists: str = "mvlrs_v1") -> Path:
    for split, lines in LISTS.items():
        for line in lines:
            file = root / "mvlrs_v1" / ("pretrain" if split == "pretrain" else "main") / f"{line.split()[0]}.mp4"
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.stem != "gone":
                file.write_bytes(b"media")
                file.with_suffix(".txt").write_text("Text:  HELLO\nConf:  3\n")
        (root / lists / f"{split}.txt").write_text("\n".join(lines) + "\n")
    (root / "mvlrs_v1" / "main" / "5535423430009926848" / "00099.mp4").write_bytes(b"media")
    return root


def write_lrs3(root: Path) -> Path:
    for name in ("pretrain/00j9bKdiOjk/00001", "trainval/0Fi83BHQsMA/00002", "trainval/0Fi83BHQsMA/00004", "test/0akiEFwtkyA/00001"):
        file = root / f"{name}.mp4"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_suffix(".txt").write_text("Text:  HELLO\n")
        if name != "trainval/0Fi83BHQsMA/00004":
            file.write_bytes(b"media")
    (root / "test" / "0akiEFwtkyA" / "00077.mp4").write_bytes(b"media")
    return root


def rows(table: pd.DataFrame, path: str) -> pd.DataFrame:
    return table[table["path"] == path]


@pytest.mark.parametrize("lists", ["mvlrs_v1", "."])
def test_lrs2(tmp_path: Path, lists: str) -> None:
    table = Lrs2().read(write_lrs2(tmp_path, lists))
    assert tuple(table) == COLUMNS
    assert len(table) == 11 + 1
    assert table.split[:11].tolist() == ["pretrain"] * 2 + ["train"] * 4 + ["val"] * 2 + ["test"] * 3
    assert table.path[0] == "mvlrs_v1/pretrain/5535415699068794046/00001.mp4"
    assert table.path[2] == "mvlrs_v1/main/5535415699068794046/00003.mp4"
    assert (table.video_label[:11] == 0).all()
    assert (table.audio_label[:11] == 0).all()
    assert not table.identity.any()
    assert table.source_clip[2] == table.path[2]
    assert rows(table, "mvlrs_v1/main/6330311066473698535/00018.mp4").category.tolist() == ["MV"]
    assert table.problem.tolist() == [
        *[""] * 3,
        "",
        "the file is listed before",
        "the file is missing",
        "",
        "the file is listed in more than one split",
        *["", ""],
        "the file is listed in more than one split",
        "the file is in no table",
    ]
    assert table.path[11] == "mvlrs_v1/main/5535423430009926848/00099.mp4"
    assert table.video_label[11] is pd.NA


def test_lrs2_the_inner_folder_will_do_and_a_list_be_absent(tmp_path: Path) -> None:
    root = write_lrs2(tmp_path)
    (root / "mvlrs_v1" / "pretrain.txt").unlink()
    table = Lrs2().read(root / "mvlrs_v1")
    assert table.path[0] == "main/5535415699068794046/00003.mp4"
    assert rows(table, "pretrain/5535415699068794046/00001.mp4").problem.tolist() == ["the file is in no table"]


def test_lrs3(tmp_path: Path) -> None:
    table = Lrs3().read(write_lrs3(tmp_path)).set_index("path")
    assert table.split.to_dict() == {
        "pretrain/00j9bKdiOjk/00001.mp4": "pretrain",
        "trainval/0Fi83BHQsMA/00002.mp4": "trainval",
        "trainval/0Fi83BHQsMA/00004.mp4": "trainval",
        "test/0akiEFwtkyA/00001.mp4": "test",
        "test/0akiEFwtkyA/00077.mp4": "",
    }
    assert table.problem.tolist() == ["", "", "the file is missing", "", "the file is in no table"]
    assert table.video_label.tolist() == [0, 0, 0, 0, pd.NA]
    assert table.audio_label.tolist() == [0, 0, 0, 0, pd.NA]
    assert set(table.corpus) == {"lrs3"}
    assert table.language.tolist() == ["en"] * 4 + [""]


def test_recognises(tmp_path: Path) -> None:
    two, three, empty = write_lrs2(tmp_path / "two"), write_lrs3(tmp_path / "three"), tmp_path / "empty"
    empty.mkdir()
    assert [Lrs2().recognises(folder) for folder in (two, two / "mvlrs_v1", three, empty)] == [True, True, False, False]
    assert [Lrs3().recognises(folder) for folder in (two, two / "mvlrs_v1", three, empty)] == [False, False, True, False]


def test_errors_name_file_and_cure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"train.txt: no such list; put the lists"):
        Lrs2().read(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"trainval: no such folder; name the one that holds pretrain, trainval, test"):
        Lrs3().read(tmp_path)
    (tmp_path / "trainval").mkdir()
    with pytest.raises(FileNotFoundError, match=r"trainval: holds no transcripts"):
        Lrs3().read(tmp_path)
    (tmp_path / "val.txt").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(ValueError, match=r"val.txt: is no text"):
        Lrs2().read(tmp_path)
