from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from avwitness.datasets.deepfake.lavdf import LavDF


def entry(file: str, video: Any, audio: Any, periods: Any, original: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "file": file,
        "n_fakes": len(periods) if isinstance(periods, list) else 0,
        "fake_periods": periods,
        "timestamps": [["hello", 0.1, 0.4]],
        "duration": 4.672,
        "transcript": "hello",
        "original": original,
        "modify_video": video,
        "modify_audio": audio,
        "split": file.split("/")[0],
        "video_frames": 115,
        "audio_channels": 1,
        "audio_frames": 72704,
    } | more


ENTRIES = [
    entry("test/000000.mp4", False, False, []),
    entry("test/000001.mp4", True, True, [[1.184, 1.76], [2.0, 2.5]], "test/000000.mp4"),
    entry("dev/000002.mp4", True, False, [[0.0, 0.64]], "dev/000009.mp4"),
    entry("train/000003.mp4", False, True, [[3.5, 4.7]], "000004.mp4"),
    entry("train/000004.mp4", False, False, []),
]


def write_tree(root: Path, entries: list[dict[str, Any]], name: str = "metadata.json") -> Path:
    """A miniature of the published layout, with every file that is listed but for those called ``gone``."""
    for item in entries:
        file = root / item["file"]
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.name.startswith("gone"):
            file.write_bytes(b"mp4")
    root.mkdir(exist_ok=True)
    (root / name).write_text(json.dumps(entries))
    return root


@pytest.mark.parametrize("name", ["metadata.json", "metadata.min.json"])
def test_good_rows(tmp_path: Path, name: str) -> None:
    table = LavDF().read(write_tree(tmp_path, ENTRIES, name))
    assert table.problem.tolist() == [""] * 5
    assert table.path.tolist() == [item["file"] for item in ENTRIES]
    assert table.file[0] == tmp_path / "test" / "000000.mp4"
    assert table.video_label.tolist() == [0, 1, 1, 0, 0]
    assert table.audio_label.tolist() == [0, 1, 0, 1, 0]
    assert table.video_intervals.tolist() == ["", "[[1.184, 1.76], [2.0, 2.5]]", "[[0.0, 0.64]]", "", ""]
    assert table.audio_intervals.tolist() == ["", "[[1.184, 1.76], [2.0, 2.5]]", "", "[[3.5, 4.7]]", ""]
    assert table.method.tolist() == ["real", "sv2tts-wav2lip", "wav2lip", "sv2tts", "real"]
    assert table.category.tolist() == ["RVRA", "FVFA", "FVRA", "RVFA", "RVRA"]
    assert table.split.tolist() == ["test", "test", "dev", "train", "train"]
    assert table.source_clip.tolist() == ["test/000000.mp4", "test/000000.mp4", "dev/000009.mp4", "train/000004.mp4", "train/000004.mp4"]
    assert set(table.identity) == {""}
    assert table.has_audio.all() and table.has_video.all()


def test_the_full_table_is_read_before_the_small_one(tmp_path: Path) -> None:
    write_tree(tmp_path, ENTRIES[:1], "metadata.min.json")
    assert len(LavDF().read(write_tree(tmp_path, ENTRIES))) == 5


def test_missing_and_unlisted_files_are_told(tmp_path: Path) -> None:
    write_tree(tmp_path, [*ENTRIES, entry("test/gone.mp4", False, False, [])])
    (tmp_path / "dev" / "stray.mp4").write_bytes(b"mp4")
    (tmp_path / "demo dataset").mkdir()
    (tmp_path / "demo dataset" / "demo.mp4").write_bytes(b"mp4")
    table = LavDF().read(tmp_path)
    assert table.problem.tolist() == [""] * 5 + ["the file is missing", "the file is in no table"]
    assert table.path.tolist()[-1] == "dev/stray.mp4"
    assert pd.isna(table.video_label.tolist()[-1]) and pd.isna(table.audio_label.tolist()[-1])


def test_a_repeated_row_keeps_its_first_and_a_differing_one_condemns_both(tmp_path: Path) -> None:
    differing = entry("dev/000002.mp4", True, False, [[0.0, 0.9]], "dev/000009.mp4")
    found = LavDF().read(write_tree(tmp_path, [*ENTRIES, ENTRIES[1], differing])).problem.tolist()
    expected = "the file is listed more than once, with different labels"
    assert found == ["", "", expected, "", "", "the file is listed before", expected]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (entry("test/a.mp4", False, False, [[1, 2]]), "neither stream is modified, yet there are fake periods"),
        (entry("test/a.mp4", True, False, [], "test/000000.mp4"), "the file is modified, yet no fake period is given"),
        (entry("test/a.mp4", True, False, [[1, 2]]), "the file is modified, yet its original is not given"),
        (entry("test/a.mp4", False, False, [], n_fakes=2), "n_fakes is 2, yet 0 periods are given"),
        (entry("test/a.mp4", False, False, [], split="dev"), "the file is not in the folder of its split dev"),
        (entry("test/a.mp4", False, False, [], split="val"), "the split 'val' is none of train, dev, test"),
        (entry("test/a.mp4", None, False, []), "modify_video or modify_audio is neither true nor false"),
        (entry("test/a.mp4", False, True, [1, 2], "b.mp4"), "fake_periods are no pairs of seconds"),
        (entry("test/a.mp4", False, True, [[2, 1]], "b.mp4"), "an interval of audio does not end after it begins"),
        (entry("test/a.mp4", False, True, [[5, 6]], "b.mp4"), "a fake period begins after the clip's end at 4.672 s"),
        (entry("test/a.mp4", False, True, [[1, 2]], "b.mp4", audio_channels=0), "there is a label of audio, and no audio"),
    ],
)
def test_a_contradictory_row_has_a_problem(tmp_path: Path, item: dict[str, Any], expected: str) -> None:
    *others, found = LavDF().read(write_tree(tmp_path, [*ENTRIES, item])).problem.tolist()
    assert others == [""] * 5
    assert found == expected


def test_a_silent_clip_has_no_label_of_audio(tmp_path: Path) -> None:
    table = LavDF().read(write_tree(tmp_path, [entry("test/a.mp4", False, False, [], audio_channels=0)]))
    assert table.problem.tolist() == [""]
    assert not table.has_audio[0] and pd.isna(table.audio_label[0]) and table.video_label[0] == 0


def test_recognises(tmp_path: Path) -> None:
    assert not LavDF().recognises(tmp_path)
    (tmp_path / "metadata.json").write_text("[]")  # a common name, which says nothing without the folders
    assert not LavDF().recognises(tmp_path)
    assert LavDF().recognises(write_tree(tmp_path, ENTRIES))


def test_errors_name_file_and_cure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere/metadata.json: no such file; name the folder"):
        LavDF().read(tmp_path / "nowhere")
    for text, expected in [
        ("[", "is no JSON"),
        ("{}", "holds no list of rows; take the file as it was published"),
        ('[{"file": "a.mp4", "split": "test"}]', "row 0 lacks original, modify_video, modify_audio, n_fakes, fake_periods; take"),
    ]:
        (tmp_path / "metadata.json").write_text(text)
        with pytest.raises(ValueError, match=f"metadata.json: {expected}"):
            LavDF().read(tmp_path)
