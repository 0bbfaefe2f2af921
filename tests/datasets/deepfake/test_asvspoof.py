from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from avwitness.datasets.benchmark import COLUMNS
from avwitness.datasets.deepfake.asvspoof import Asvspoof2019La, Asvspoof2021La

PROTOCOLS = "ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm"
LISTS = {
    "train.trn": ["LA_0079 LA_T_1138215 - - bonafide", "LA_0079 LA_T_1000001 - A05 spoof", "LA_0080 LA_T_gone - A01 spoof"],
    "dev.trl": [
        "LA_0069 LA_D_1047731 - - bonafide",
        "LA_0069 LA_D_2 - A06 bonafide",
        "LA_0070 LA_D_3 - - spoof",
        "LA_0070 LA_D_4 - A02 maybe",
        "LA_0070 LA_D_5 spoof",
    ],
    "eval.trl": [
        "LA_0039 LA_E_2834763 - A11 spoof",
        "LA_0039 LA_E_2834763 - A11 spoof",
        "LA_0040 LA_E_9 - A13 spoof",
        "LA_0040 LA_E_9 - - bonafide",
    ],
}
KEYS = [
    "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval",
    "LA_0020 LA_E_7294490 g722 loc_tx bonafide bonafide notrim progress",
    "LA_0021 LA_E_1 none - - bonafide trim hidden",
    "LA_0021 LA_E_gone pstn mad_tx A19 spoof notrim eval",
    "LA_0022 LA_E_2 opus loc_tx A08 spoof notrim eval",
    "LA_0022 LA_E_2 opus loc_tx - bonafide notrim eval",
    "LA_0023 LA_E_3 opus loc_tx A08 spoof",
]


def write_2019(root: Path, folder: str = "LA") -> Path:
    base = root / folder
    for split in ("train", "dev", "eval"):
        (base / f"ASVspoof2019_LA_{split}" / "flac").mkdir(parents=True)
    (base / "ASVspoof2019_LA_cm_protocols").mkdir()
    (base / "ASVspoof2019_LA_asv_protocols").mkdir()
    for name, lines in LISTS.items():
        (base / f"{PROTOCOLS}.{name}.txt").write_text("\n".join(lines) + "\n")
        flac = base / f"ASVspoof2019_LA_{name.split('.')[0]}" / "flac"
        for line in lines:
            if "gone" not in line:
                (flac / f"{line.split()[1]}.flac").write_bytes(b"fLaC")
    for gender, text in (("female", "LA_0069 LA_D_71,LA_D_72\n"), ("male", "LA_0070 LA_D_73\n")):
        (base / "ASVspoof2019_LA_asv_protocols" / f"ASVspoof2019.LA.asv.dev.{gender}.trn.txt").write_text(text)
    for name in ("LA_D_71", "LA_D_72", "LA_D_73", "LA_D_stray"):
        (base / "ASVspoof2019_LA_dev" / "flac" / f"{name}.flac").write_bytes(b"fLaC")
    return root


def write_2021(root: Path, keys: str = "LA/CM") -> Path:
    flac = root / "ASVspoof2021_LA_eval" / "flac"
    flac.mkdir(parents=True)
    for line in [*KEYS, "- LA_E_stray"]:
        if "gone" not in line:
            (flac / f"{line.split()[1]}.flac").write_bytes(b"fLaC")
    (root / keys).mkdir(parents=True)
    (root / keys / "trial_metadata.txt").write_text("\n".join(KEYS) + "\n")
    return root


def named(table: pd.DataFrame, name: str) -> pd.DataFrame:
    return table[table["path"].str.endswith(f"/{name}.flac")]


def one(table: pd.DataFrame, name: str) -> pd.Series:
    (row,) = (row for _, row in named(table, name).iterrows())
    return row


def test_2019_good_rows(tmp_path: Path) -> None:
    table = Asvspoof2019La().read(write_2019(tmp_path))
    assert tuple(table) == COLUMNS
    assert len(table) == 12 + 3 + 1
    genuine, spoof = one(table, "LA_T_1138215"), one(table, "LA_T_1000001")
    assert genuine.path == "LA/ASVspoof2019_LA_train/flac/LA_T_1138215.flac"
    assert (genuine.audio_label, genuine.identity, genuine.method, genuine.split, genuine.problem) == (0, "LA_0079", "", "train", "")
    assert (spoof.audio_label, spoof.method, spoof.category, spoof.problem) == (1, "A05", "VC", "")
    assert genuine.source_clip == genuine.path
    assert not table.has_video.any()
    assert table.has_audio.all()
    assert table.video_label.isna().all()
    assert set(table.corpus) == {"asvspoof2019_la"}
    assert one(table, "LA_D_1047731").gender == "female"
    assert genuine.gender == ""  # no list of enrolment holds speakers of the training set


def test_2019_enrolment_is_genuine(tmp_path: Path) -> None:
    row = one(Asvspoof2019La().read(write_2019(tmp_path)), "LA_D_73")
    assert (row.audio_label, row.category, row.identity, row.gender, row.split, row.problem) == (
        0,
        "enrolment",
        "LA_0070",
        "male",
        "dev",
        "",
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("LA_T_gone", "the file is missing"),
        ("LA_D_2", "names the attack A06, yet calls the speech bonafide"),
        ("LA_D_3", "spoof, yet names no attack"),
        ("LA_D_4", "maybe is neither"),
        ("LA_D_5", "3 fields instead of 5"),
        ("LA_D_stray", "the file is in no table"),
    ],
)
def test_2019_a_broken_row_has_a_problem(tmp_path: Path, name: str, expected: str) -> None:
    row = one(Asvspoof2019La().read(write_2019(tmp_path)), name)
    assert expected in row.problem
    assert not row.has_video
    if name in ("LA_D_4", "LA_D_5", "LA_D_stray"):
        assert row.audio_label is pd.NA


def test_2019_listed_twice(tmp_path: Path) -> None:
    table = Asvspoof2019La().read(write_2019(tmp_path))
    assert named(table, "LA_E_2834763").problem.tolist() == ["", "the file is listed before"]
    assert named(table, "LA_E_9").problem.tolist() == ["the file is listed more than once, with different labels"] * 2
    assert (table.problem == "").sum() == 3 + 4


def test_2019_the_inner_folder_will_do(tmp_path: Path) -> None:
    table = Asvspoof2019La().read(write_2019(tmp_path) / "LA")
    assert one(table, "LA_T_1138215").path == "ASVspoof2019_LA_train/flac/LA_T_1138215.flac"
    assert one(table, "LA_T_1138215").problem == ""


@pytest.mark.parametrize("keys", ["LA/CM", "keys/LA/CM", "LA-keys-full/keys/LA/CM"])
def test_2021(tmp_path: Path, keys: str) -> None:
    table = Asvspoof2021La().read(write_2021(tmp_path, keys))
    assert len(table) == 8
    spoof, genuine, cut = (one(table, name) for name in ("LA_E_9332881", "LA_E_7294490", "LA_E_1"))
    assert spoof.path == "ASVspoof2021_LA_eval/flac/LA_E_9332881.flac"
    assert (spoof.audio_label, spoof.method, spoof.category, spoof.identity) == (1, "A07", "alaw ita_tx", "LA_0009")
    assert (spoof.split, spoof.problem) == ("eval", "")
    assert (genuine.audio_label, genuine.method, genuine.split, genuine.problem) == (0, "", "progress", "")
    assert (cut.audio_label, cut.category, cut.split) == (0, "none - trim", "hidden")
    assert one(table, "LA_E_gone").problem == "the file is missing"
    assert named(table, "LA_E_2").problem.tolist() == ["the file is listed more than once, with different labels"] * 2
    assert one(table, "LA_E_3").problem == "the line has 6 fields instead of 8"
    assert one(table, "LA_E_stray").problem == "the file is in no table"
    assert not table.has_video.any()


def test_recognises(tmp_path: Path) -> None:
    old, new, empty = write_2019(tmp_path / "old"), write_2021(tmp_path / "new"), tmp_path / "empty"
    empty.mkdir()
    assert [Asvspoof2019La().recognises(folder) for folder in (old, old / "LA", new, empty)] == [True, True, False, False]
    assert [Asvspoof2021La().recognises(folder) for folder in (old, new, empty)] == [False, True, False]


def test_errors_name_file_and_cure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"ASVspoof2019.LA.cm.train.trn.txt: no such protocol; name the folder"):
        Asvspoof2019La().read(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"LA/CM/trial_metadata.txt: no such table; unpack the keys"):
        Asvspoof2021La().read(tmp_path)
    file = write_2021(tmp_path / "new") / "LA" / "CM" / "trial_metadata.txt"
    file.write_bytes(b"\xff\xfe\x80")
    with pytest.raises(ValueError, match=r"trial_metadata.txt: is no text"):
        Asvspoof2021La().read(tmp_path / "new")
    file.write_text("\n")
    with pytest.raises(ValueError, match=r"trial_metadata.txt: holds no lines"):
        Asvspoof2021La().read(tmp_path / "new")
