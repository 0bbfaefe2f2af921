from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from avwitness.datasets.deepfake.av_deepfake1m import AVDeepfake1M, AVDeepfake1MPlusPlus

TALK = "id00012/21Uxsk56VDQ/00001"
VOX = "vox_celeb_2/id01358/_1nATum8x78/00030"
SILENT = "silent_videos/subject_17_ddvyjnjfad_vid_2_6"


def entry(file: str, kind: str, video: Any = (), audio: Any = (), split: str = "train", **more: Any) -> dict[str, Any]:
    return {
        "file": file,
        "original": None if kind == "real" else f"{file.rpartition('/')[0]}/real.mp4",
        "split": split,
        "modify_type": kind,
        "audio_model": None,
        "fake_segments": [*video, *audio],
        "audio_fake_segments": list(audio),
        "visual_fake_segments": list(video),
        "video_frames": 236,
        "audio_frames": 151552,
    } | more


TRAIN = [
    entry(f"{TALK}/real.mp4", "real", original="VoxCeleb2/dev/mp4/id00012/21Uxsk56VDQ/00001.mp4"),
    entry(f"{TALK}/real_video_fake_audio.mp4", "audio_modified", audio=[[4.4, 4.64]], audio_model="vits"),
    entry(f"{TALK}/fake_video_real_audio.mp4", "visual_modified", [[0.48, 0.86], [2, 2.5]], audio_model="vits"),
    entry(f"{TALK}/fake_video_fake_audio.mp4", "both_modified", [[4.4, 4.64]], [[4.4, 4.7]], audio_model="yourtts"),
]
VAL = [entry("id08993/NMtZSqGb4DQ/00431/fake_video_fake_audio.mp4", "both-modified", [[1, 2]], [[1, 2]], "val", audio_model="vits")]
PLUS = [
    entry(f"{VOX}/real.mp4", "real", original="VoxCeleb2/dev/mp4/id01358/_1nATum8x78/00030.mp4", video_model=None),
    entry(f"{VOX}/real_p1.mp4", "real", original=f"{VOX}/real.mp4", video_model=None),
    entry(f"{VOX}/fake_video_fake_audio.mp4", "both_modified", [[1, 2]], [[1, 2]], audio_model="yourtts", video_model="Talklip"),
    entry("lrs3/ue2ZEmTJSXo/00013/real.mp4", "real", original=None, video_model=None),
    entry(f"{SILENT}/real.mp4", "real", original=f"{SILENT}/real.mp4", audio_frames=0, video_model=None),
    entry(f"{SILENT}/fake.mp4", "visual_modified", [[0, 1]], audio_frames=0, video_model="diff2lip"),
]


def write_tree(root: Path, below: str = "", **tables: list[dict[str, Any]]) -> Path:
    """A miniature of the published layout, with every file that is listed but for those called ``gone``."""
    for subset, entries in tables.items():
        for item in entries:
            file = root / subset / (subset if below else "") / item["file"]
            file.parent.mkdir(parents=True, exist_ok=True)
            if not file.name.startswith("gone"):
                file.write_bytes(b"mp4")
                file.with_suffix(".json").write_text("{}")
        (root / f"{subset}_metadata.json").write_text(json.dumps(entries))
    return root


def test_good_rows(tmp_path: Path) -> None:
    table = AVDeepfake1M().read(write_tree(tmp_path, train=TRAIN, val=VAL))
    assert table.problem.tolist() == [""] * 5
    assert table.path[0] == "train/id00012/21Uxsk56VDQ/00001/real.mp4"
    assert table.path[4] == "val/id08993/NMtZSqGb4DQ/00431/fake_video_fake_audio.mp4"
    assert table.video_label.tolist() == [0, 0, 1, 1, 1]
    assert table.audio_label.tolist() == [0, 1, 0, 1, 1]  # both-modified is read as both_modified
    assert table.video_intervals.tolist() == ["", "", "[[0.48, 0.86], [2.0, 2.5]]", "[[4.4, 4.64]]", "[[1.0, 2.0]]"]
    assert table.audio_intervals.tolist() == ["", "[[4.4, 4.64]]", "", "[[4.4, 4.7]]", "[[1.0, 2.0]]"]
    assert table.method.tolist() == ["real", "vits", "talklip", "yourtts-talklip", "vits-talklip"]
    assert table.category.tolist() == ["RVRA", "RVFA", "FVRA", "FVFA", "FVFA"]
    assert table.split.tolist() == ["train"] * 4 + ["val"]
    assert table.identity.tolist() == ["id00012"] * 4 + ["id08993"]
    assert table.source_clip.tolist()[:4] == [table.path[0]] * 4
    assert table.source_clip[4] == "val/id08993/NMtZSqGb4DQ/00431/real.mp4"
    assert set(table.corpus) == {"av_deepfake1m"}


def test_clips_of_the_test_set_have_no_labels(tmp_path: Path) -> None:
    write_tree(tmp_path, val=VAL)
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "000001.mp4").write_bytes(b"mp4")
    (tmp_path / "test" / "stray.mp4").write_bytes(b"mp4")
    (tmp_path / "test_files.txt").write_text("000001.mp4\n000002.mp4\n\n")
    rest = AVDeepfake1M().read(tmp_path).iloc[1:]
    assert rest.path.tolist() == ["test/000001.mp4", "test/000002.mp4", "test/stray.mp4"]
    assert rest.problem.tolist() == ["", "the file is missing", "the file is in no table"]
    assert rest.split.tolist() == ["test", "test", ""]
    assert set(rest.identity) == {""}
    assert rest.video_label.isna().all() and rest.audio_label.isna().all()


def test_the_plus_plus_edition(tmp_path: Path) -> None:
    table = AVDeepfake1MPlusPlus().read(write_tree(tmp_path, train=PLUS))
    assert table.problem.tolist() == [""] * 6
    assert table.identity.tolist() == ["id01358"] * 3 + ["ue2ZEmTJSXo", "subject_17", "subject_17"]
    assert table.method.tolist() == ["real", "real", "yourtts-Talklip", "real", "real", "diff2lip"]
    assert table.video_label.tolist() == [0, 0, 1, 0, 0, 1]
    assert table.audio_label.tolist() == [0, 0, 1, 0, pd.NA, pd.NA]
    assert table.has_audio.tolist() == [True] * 4 + [False] * 2
    assert table.source_clip.tolist() == [f"train/{VOX}/real.mp4"] * 3 + [table.path[3], table.path[4], table.path[4]]
    assert set(table.corpus) == {"av_deepfake1m_pp"}


def test_an_archive_may_lie_in_a_folder_of_its_own(tmp_path: Path) -> None:
    table = AVDeepfake1MPlusPlus().read(write_tree(tmp_path, "below", train=PLUS))
    assert not table.problem.any()
    assert table.path[0] == f"train/train/{VOX}/real.mp4"
    assert AVDeepfake1MPlusPlus().recognises(tmp_path)


def test_labels_do_without_segments(tmp_path: Path) -> None:
    """Those who take part in detection alone are not given the segments."""
    bare = [{key: value for key, value in item.items() if not key.endswith("segments")} for item in TRAIN]
    table = AVDeepfake1M().read(write_tree(tmp_path, train=bare))
    assert not table.problem.any()
    assert table.video_label.tolist() == [0, 0, 1, 1]
    assert set(table.video_intervals) == {""}


def test_missing_repeated_and_unlisted_files_are_told(tmp_path: Path) -> None:
    write_tree(tmp_path, train=[*TRAIN, entry(f"{TALK}/gone.mp4", "real"), TRAIN[1]])
    (tmp_path / "train" / "stray.mp4").write_bytes(b"mp4")
    table = AVDeepfake1M().read(tmp_path)
    assert table.problem.tolist() == [""] * 4 + ["the file is missing", "the file is listed before", "the file is in no table"]
    assert pd.isna(table.video_label.tolist()[-1])


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (entry("id1/a.mp4", "audio_modified", [[1, 2]], [[1, 2]]), "video is called genuine, yet parts of it fake"),
        (entry("id1/a.mp4", "both_modified", [[1, 2]], []), "audio is modified, yet no segment of it is given"),
        (entry("id1/a.mp4", "real", fake_segments=[[1, 2]]), "the file is called genuine, yet there are fake segments"),
        (entry("id1/a.mp4", "real", split="val"), "the split 'val' is not that of its table, train"),
        (entry("id1/a.mp4", "mouth_modified"), "modify_type 'mouth_modified' is none of real, audio_modified, "),
        (entry("id1/fake_video_real_audio_p2.mp4", "real"), "modify_type real is not what the file's name says"),
        (entry("id1/a.mp4", "visual_modified", [[2, 1]]), "an interval of video does not end after it begins"),
        (entry("id1/a.mp4", "visual_modified", visual_fake_segments=[1, 2]), "visual_fake_segments are no pairs of seconds"),
        (entry("id1/a.mp4", "audio_modified", audio=[[1, 2]], audio_frames=0), "there is a label of audio, and no audio"),
    ],
)
def test_a_contradictory_row_has_a_problem(tmp_path: Path, item: dict[str, Any], expected: str) -> None:
    *others, found = AVDeepfake1M().read(write_tree(tmp_path, train=[*TRAIN, item])).problem.tolist()
    assert others == [""] * 4
    assert found.startswith(expected)


def test_an_unknown_kind_gives_no_labels(tmp_path: Path) -> None:
    last = AVDeepfake1M().read(write_tree(tmp_path, train=[entry("id1/a.mp4", "mouth_modified")])).iloc[-1]
    assert pd.isna(last.video_label) and pd.isna(last.audio_label)
    assert last.method == last.category == ""


def test_each_edition_recognises_its_own(tmp_path: Path) -> None:
    first, second = write_tree(tmp_path / "1", train=TRAIN), write_tree(tmp_path / "2", train=PLUS)
    assert [AVDeepfake1M().recognises(root) for root in (tmp_path, first, second)] == [False, True, False]
    assert [AVDeepfake1MPlusPlus().recognises(root) for root in (tmp_path, first, second)] == [False, False, True]


def test_errors_name_file_and_cure(tmp_path: Path) -> None:
    for reader in (AVDeepfake1M(), AVDeepfake1MPlusPlus()):
        with pytest.raises(FileNotFoundError, match=r"train_metadata.json: no such file, nor val_metadata.json; name the folder"):
            reader.read(tmp_path)
    (tmp_path / "val_metadata.json").write_text('[{"file": "a.mp4"}]')
    with pytest.raises(ValueError, match=r"val_metadata.json: row 0 lacks split, modify_type; take the file"):
        AVDeepfake1M().read(tmp_path)
    (tmp_path / "val_metadata.json").write_text("[")
    with pytest.raises(ValueError, match=r"val_metadata.json: is no JSON"):
        AVDeepfake1M().read(tmp_path)
