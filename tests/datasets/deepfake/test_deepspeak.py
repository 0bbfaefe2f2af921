from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from avwitness.datasets.deepfake.deepspeak import DeepSpeak

COLUMNS = "video-file,kind,engine,identity-source,identity-target,recording-source,recording-target"
GENUINE = """video-file,identity,gesture-type,script-type
0-4095.mp4,0,no-gesture,scripted-long
1-4931.mp4,1,no-gesture,scripted-long
284-6868.mp4,284,no-gesture,scripted-short
"""
FAKES_1 = f""",{COLUMNS},recording-target-ai-generated,gesture-type,script-type
0,facefusion--0-1--4095-4931--0.mp4,face-swap,facefusion,0,1,4095,4931,False,no-gesture,scripted-long
1,wav2lip--1-1--4931-5105--0.mp4,lip-sync,wav2lip,1,1,4931,5105,True,no-gesture,scripted-short
"""
FAKES_2 = f"""{COLUMNS},audio-config,gen-config,gesture-type,script-type
diff2lip-6868-6860-playht.mp4,lip-sync,diff2lip,284,284,6868,6860,playht,,no-gesture,scripted-short
hellomeme-6862-6873-elevenlabs.mp4,avatar,hellomeme,284,284,6862,6873,real,,no-gesture,scripted-short
facefusion-4095-6880.mp4,face-swap,facefusion,0,284,4095,6880,,simswap_256_768768,no-gesture,scripted-short
"""
SPLITS = "identity,split\n0,train\n1,train\n284,test\n"


def write_tree(root: Path, fakes: str = FAKES_2, genuine: str = GENUINE, splits: str = SPLITS) -> Path:
    """A miniature of the published tables, with clips in folders as archives may have them, and one clip too many."""
    root.mkdir(exist_ok=True)
    for name, text in (("real", genuine), ("fake", fakes), ("split-def", splits)):
        (root / f"annotations-{name}.csv").write_text(text)
    for table in (genuine, fakes):
        for cell in table.replace("\n", ",").split(","):
            if cell.endswith(".mp4") and not cell.startswith("gone"):
                file = root / ("fake" if table is fakes else "real") / cell
                file.parent.mkdir(exist_ok=True)
                file.write_bytes(b"mp4")
    (root / "fake" / "stray.mp4").write_bytes(b"mp4")
    return root


def read(root: Path, fakes: str = FAKES_2, genuine: str = GENUINE, splits: str = SPLITS) -> pd.DataFrame:
    return DeepSpeak().read(write_tree(root, fakes, genuine, splits))


def test_genuine_clips(tmp_path: Path) -> None:
    row = read(tmp_path).set_index("path").loc["real/284-6868.mp4"]
    assert (row.video_label, row.audio_label, row.identity, row.split, row.language) == (0, 0, "284", "test", "en")
    assert (row.method, row.category, row.source_clip, row.problem) == ("", "", "real/284-6868.mp4", "")


def test_fakes_of_version_2(tmp_path: Path) -> None:
    table = read(tmp_path).set_index("path")
    lips = table.loc["fake/diff2lip-6868-6860-playht.mp4"]
    assert (lips.video_label, lips.audio_label, lips.method, lips.category) == (1, 1, "diff2lip+playht", "lip-sync")
    assert (lips.identity, lips.split, lips.source_clip, lips.problem) == ("284", "test", "real/284-6868.mp4", "")
    avatar = table.loc["fake/hellomeme-6862-6873-elevenlabs.mp4"]  # the table, not the name, says what the voice is
    assert (avatar.video_label, avatar.audio_label, avatar.method, avatar.category, avatar.problem) == (1, 0, "hellomeme", "avatar", "")
    assert avatar.source_clip == "fake/hellomeme-6862-6873-elevenlabs.mp4"  # its source is in no table
    face = table.loc["fake/facefusion-4095-6880.mp4"]
    assert (face.video_label, face.audio_label, face.method, face.identity) == (1, 0, "facefusion", "284")
    assert face.source_clip == "real/0-4095.mp4"


def test_fakes_of_version_1(tmp_path: Path) -> None:
    table = read(tmp_path, FAKES_1).set_index("path")
    face = table.loc["fake/facefusion--0-1--4095-4931--0.mp4"]
    assert (face.video_label, face.audio_label, face.method, face.category) == (1, 0, "facefusion", "face-swap")
    assert (face.identity, face.split, face.source_clip, face.problem) == ("1", "train", "real/0-4095.mp4", "")
    lips = table.loc["fake/wav2lip--1-1--4931-5105--0.mp4"]
    assert (lips.video_label, lips.audio_label, lips.method, lips.problem) == (1, 1, "wav2lip+elevenlabs", "")


def test_missing_and_unlisted(tmp_path: Path) -> None:
    table = read(tmp_path, genuine=GENUINE + "gone-1.mp4,0,no-gesture,scripted-long\n")
    assert len(table) == 4 + 3 + 1
    assert table[table.problem != ""].set_index("path").problem.to_dict() == {
        "gone-1.mp4": "the file is missing",
        "fake/stray.mp4": "the file is in no table",
    }


def test_listed_twice(tmp_path: Path) -> None:
    table = read(tmp_path, genuine=GENUINE + "0-4095.mp4,0,no-gesture,scripted-long\n")
    assert table[table.path == "real/0-4095.mp4"].problem.tolist() == ["", "the file is listed before"]


def test_called_genuine_and_fake(tmp_path: Path) -> None:
    table = read(tmp_path, genuine=GENUINE + "facefusion-4095-6880.mp4,284,no-gesture,scripted-long\n")
    (tmp_path / "real" / "facefusion-4095-6880.mp4").unlink()
    table = DeepSpeak().read(tmp_path)
    rows = table[table.path == "fake/facefusion-4095-6880.mp4"]
    assert rows.problem.tolist() == ["the file is listed more than once, with different labels"] * 2


def test_names_in_two_places(tmp_path: Path) -> None:
    write_tree(tmp_path)
    (tmp_path / "fake" / "0-4095.mp4").write_bytes(b"mp4")
    table = DeepSpeak().read(tmp_path).set_index("path")
    assert table.problem["fake/0-4095.mp4"] == "there are several files of this name: fake/0-4095.mp4, real/0-4095.mp4"
    assert table.problem["real/0-4095.mp4"] == "the file is in no table"


def test_contradictory_rows(tmp_path: Path) -> None:
    fakes = FAKES_1.replace("lip-sync,wav2lip", "puppet,wav2lip").replace("5105,True", "5105,maybe")
    table = read(tmp_path, fakes, splits="identity,split\n0,train\n1,train\n1,test\n").set_index("path")
    row = table.loc["fake/wav2lip--1-1--4931-5105--0.mp4"]
    assert row.problem == (
        "identity 1 stands in the splits test and train; recording-target-ai-generated 'maybe' is neither True nor False; "
        "the kind puppet is none of face-swap, lip-sync, avatar"
    )
    assert (row.video_label, row.split) == (1, "")
    assert row.audio_label is pd.NA
    assert table.problem["real/284-6868.mp4"] == "identity 284 stands in no split"


def test_recognises(tmp_path: Path) -> None:
    assert DeepSpeak().recognises(write_tree(tmp_path / "full"))
    (tmp_path / "empty").mkdir()
    assert not DeepSpeak().recognises(tmp_path / "empty")


def test_errors_name_file_and_cure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"annotations-real.csv: no such table; name the folder"):
        DeepSpeak().read(tmp_path)
    with pytest.raises(ValueError, match=r"annotations-fake.csv: there is neither .* nor audio-config; take the published"):
        read(tmp_path, FAKES_2.replace("audio-config", "voice"))
    with pytest.raises(ValueError, match=r"annotations-fake.csv: the columns engine are missing"):
        read(tmp_path, FAKES_2.replace("engine", "motor"))
