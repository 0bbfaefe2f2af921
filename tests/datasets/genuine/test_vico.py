from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from avwitness.datasets.genuine.vico import COLUMNS, SOURCE_COLUMNS, read_vico

GOOD = [
    ("positive", "talk_0_90", "talk_0_90.listener", "talk_0_90.speaker", "3", "007", "train"),
    ("Neutral ", "talk_90_200", "talk_90_200.listener", "talk_90_200.speaker", "3", "8", "test"),
    ("negative", "chat_5_60", "chat_5_60.listener", "chat_5_60.speaker", "11", "8", "ood"),
]


def write_tree(root: Path, rows: list[tuple[str, ...]], name: str = "RLD_data.csv") -> Path:
    """A miniature of the published layout, with every file that the rows name but for those called ``gone``."""
    for folder in ("videos", "audios"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for _, audio, listener, speaker, *_ in rows:
        for file in (root / "audios" / f"{audio}.wav", root / "videos" / f"{listener}.mp4", root / "videos" / f"{speaker}.mp4"):
            if not file.name.startswith("gone"):
                file.touch()
    pd.DataFrame(rows, columns=list(SOURCE_COLUMNS)).to_csv(root / name, index=False)
    return root


def problems(root: Path, *rows: tuple[str, ...]) -> list[str]:
    table = read_vico(write_tree(root, [*GOOD, *rows]))
    assert len(table) == len(GOOD) + len(rows), "no row is dropped"
    return table.problem.tolist()


def test_good_rows(tmp_path: Path) -> None:
    table = read_vico(write_tree(tmp_path, GOOD))
    assert tuple(table) == COLUMNS
    assert table.problem.tolist() == ["", "", ""]
    assert table.attitude.tolist() == ["positive", "neutral", "negative"]
    assert table.speaker.tolist() == ["007", "8", "8"]  # identities stay as they were written
    assert table.split.tolist() == ["train", "test", "ood"]
    first = table.iloc[0]
    assert first.listener_path == tmp_path / "videos" / "talk_0_90.listener.mp4"
    assert first.speaker_path == tmp_path / "videos" / "talk_0_90.speaker.mp4"
    assert first.audio_path == tmp_path / "audios" / "talk_0_90.wav"


def test_paths_are_absolute_and_the_table_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path / "vico", GOOD, "table.csv")
    monkeypatch.chdir(tmp_path)
    for root in ("vico", "vico/table.csv"):
        table = read_vico(root)
        assert table.audio_path[0] == tmp_path / "vico" / "audios" / "talk_0_90.wav"
        assert not table.problem.any()


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (("positive", "a", "gone_l", "s", "4", "5", "train"), "listener's file"),
        (("positive", "a", "l", "gone_s", "4", "5", "train"), "speaker's file"),
        (("positive", "gone_a", "l", "s", "4", "5", "train"), "gone_a.wav is missing"),
        (("bored", "a", "l", "s", "4", "5", "train"), "bored is none of"),
        (("", "a", "l", "s", "4", "5", ""), "the row lacks attitude, data_split"),
        (("positive", "a", "same", "same", "4", "5", "train"), "both speaker and listener"),
        (("positive", "a", "l", "s", "4", "4", "train"), "listens to itself"),
    ],
)
def test_a_broken_row_has_a_problem(tmp_path: Path, row: tuple[str, ...], expected: str) -> None:
    *others, found = problems(tmp_path, row)
    assert others == ["", "", ""]
    assert expected in found


def test_several_faults_are_all_told(tmp_path: Path) -> None:
    found = problems(tmp_path, ("bored", "gone", "l", "s", "4", "5", "train"))[-1]
    assert "bored" in found
    assert "gone.wav" in found


def test_a_repeated_row_keeps_its_first(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD[0]) == ["", "", "", "repeats line 2"]


def test_contradicting_rows_are_all_suspect(tmp_path: Path) -> None:
    first, *others, last = problems(tmp_path, ("negative", *GOOD[0][1:]))
    assert others == ["", ""]
    assert first == last
    assert "lines 2, 5" in first
    assert "attitude" in first


def test_an_unseen_listener_is_seen_nowhere_else(tmp_path: Path) -> None:
    # Listener 3 of GOOD is in train and in test, as published; 11 must not leave ood.
    found = problems(tmp_path, ("positive", "a", "l", "s", "11", "5", "train"))
    assert found[:2] == ["", ""]
    assert found[2] == found[3]
    assert "listener 11 is in the splits ood, train" in found[2]


def test_errors_name_file_and_cure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder.*RLD_data.csv"):
        read_vico(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"RLD_data.csv: no table there; name the folder"):
        read_vico(tmp_path)
    (tmp_path / "train.csv").write_text("video_id,uuid,speaker_id,listener_id\na,b,1,2\n")
    with pytest.raises(ValueError, match=r"train.csv: the columns attitude, audio, .* challenge edition"):
        read_vico(tmp_path)
    (tmp_path / "other.csv").write_text("")
    with pytest.raises(ValueError, match=r"several tables \(other.csv, train.csv\); name"):
        read_vico(tmp_path)
    with pytest.raises(ValueError, match=r"other.csv: no CSV that can be read"):
        read_vico(tmp_path / "other.csv")
    (tmp_path / "other.csv").write_bytes(b"attitude,\xff\xfe\x00\n\x80")
    with pytest.raises(ValueError, match=r"other.csv: no CSV that can be read"):
        read_vico(tmp_path / "other.csv")
    (tmp_path / "other.csv").write_text(",".join(SOURCE_COLUMNS) + "\n")
    with pytest.raises(ValueError, match=r"other.csv: holds no rows"):
        read_vico(tmp_path / "other.csv")
