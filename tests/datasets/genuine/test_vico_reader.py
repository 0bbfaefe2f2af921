from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from avwitness.datasets.benchmark import COLUMNS
from avwitness.datasets.genuine.vico import SOURCE_COLUMNS
from avwitness.datasets.genuine.vico_reader import Vico

ROWS = [
    ("positive", "talk_0", "talk_0.listener", "talk_0.speaker", "3", "007", "train"),
    ("Neutral", "talk_0", "talk_0.other", "talk_0.speaker", "4", "007", "test"),  # the same speech has two listeners
    ("negative", "chat_5", "chat_5.listener", "chat_5.speaker", "11", "8", "ood"),
    ("bored", "talk_9", "talk_9.listener", "talk_9.speaker", "3", "9", "train"),
    ("neutral", "talk_9", "talk_9.other", "talk_9.speaker", "4", "9", "train"),
    ("neutral", "lone_1", "gone_listener", "lone_1.speaker", "4", "9", "train"),
    ("positive", "mix_1", "mix_1.listener", "mix_1.speaker", "4", "20", "train"),
    ("positive", "mix_1", "mix_1.other", "mix_1.speaker", "5", "21", "train"),
    ("positive", "chat_7", "chat_7.listener", "chat_7.speaker", "5", "8", "train"),
    ("positive", "chat_7", "chat_7.listener", "chat_7.speaker", "5", "8", "train"),
    ("positive", "chat_8", "chat_8.listener", "chat_8.speaker", "5", "8", "train"),
    ("negative", "chat_8", "chat_8.listener", "chat_8.speaker", "5", "8", "train"),
]


def write_tree(root: Path) -> Path:
    for folder in ("videos", "audios"):
        (root / folder).mkdir(parents=True)
    for _, audio, listener, speaker, *_ in ROWS:
        for file in (f"audios/{audio}.wav", f"videos/{listener}.mp4", f"videos/{speaker}.mp4"):
            if "gone" not in file:
                (root / file).write_bytes(b"media")
    (root / "videos" / "stray.mp4").write_bytes(b"media")
    (root / "audios" / "stray.wav").write_bytes(b"media")
    pd.DataFrame(ROWS, columns=list(SOURCE_COLUMNS)).to_csv(root / "RLD_data.csv", index=False)
    return root


def test_good_rows(tmp_path: Path) -> None:
    table = Vico().read(write_tree(tmp_path))
    assert tuple(table) == COLUMNS
    assert len(table) == len(ROWS) + 7 + 7 + 2  # listeners, speakers, speeches, strays
    assert table.path[0] == "videos/talk_0.listener.mp4"
    assert table.identity[:3].tolist() == ["3", "4", "11"]
    assert table.category[:3].tolist() == ["positive", "neutral", "negative"]
    assert table.split[:3].tolist() == ["train", "test", "ood"]
    assert table.problem[:3].tolist() == ["", "", ""]
    table = table.set_index("path")
    speaker, speech = table.loc["videos/talk_0.speaker.mp4"], table.loc["audios/talk_0.wav"]
    assert (speaker.identity, speaker.has_audio, speaker.video_label, speaker.split, speaker.problem) == ("007", False, 0, "train", "")
    assert speaker.audio_label is pd.NA
    assert (speech.identity, speech.has_video, speech.has_audio, speech.audio_label, speech.problem) == ("007", False, True, 0, "")
    assert speech.video_label is pd.NA
    assert speech.source_clip == "videos/talk_0.speaker.mp4"
    assert speaker.source_clip == "videos/talk_0.speaker.mp4"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("videos/talk_9.listener.mp4", ["the attitude bored is none of"]),
        ("videos/talk_9.speaker.mp4", [""]),  # another, sound row names it too
        ("videos/gone_listener.mp4", ["the listener's file"]),
        ("videos/lone_1.speaker.mp4", ["the listener's file"]),  # no other row names it
        ("videos/mix_1.speaker.mp4", ["different people in it: 20, 21"]),
        ("audios/mix_1.wav", ["different people in it: 20, 21"]),
        ("videos/mix_1.listener.mp4", [""]),
        ("videos/chat_7.listener.mp4", ["", "repeats line 10; the file is listed before"]),
        ("videos/chat_7.speaker.mp4", [""]),
        ("videos/chat_8.listener.mp4", ["contradict each other in attitude"] * 2),
        ("videos/chat_8.speaker.mp4", ["contradict each other in attitude"]),
        ("videos/stray.mp4", ["the file is in no table"]),
        ("audios/stray.wav", ["the file is in no table"]),
    ],
)
def test_problems_are_kept(tmp_path: Path, path: str, expected: list[str]) -> None:
    table = Vico().read(write_tree(tmp_path))
    found = table.problem[table.path == path].tolist()
    assert len(found) == len(expected)
    for problem, part in zip(found, expected, strict=True):
        assert part in problem
        assert bool(part) == bool(problem)


def test_the_missing_are_missing(tmp_path: Path) -> None:
    table = Vico().read(write_tree(tmp_path)).set_index("path")
    assert table.problem["videos/gone_listener.mp4"].endswith("the file is missing")
    assert not table.has_audio["videos/stray.mp4"]
    assert not table.has_video["audios/stray.wav"]


def test_the_table_may_be_named(tmp_path: Path) -> None:
    root = write_tree(tmp_path)
    pd.testing.assert_frame_equal(Vico().read(root / "RLD_data.csv"), Vico().read(root))
    assert Vico().recognises(root / "RLD_data.csv")


def test_recognises(tmp_path: Path) -> None:
    assert not Vico().recognises(tmp_path)
    assert Vico().recognises(write_tree(tmp_path / "full"))


def test_errors_name_file_and_cure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"RLD_data.csv: no table there; name the folder"):
        Vico().read(tmp_path)
    (tmp_path / "RLD_data.csv").write_text("attitude,audio\n")
    with pytest.raises(ValueError, match=r"RLD_data.csv: the columns listener, .* are missing"):
        Vico().read(tmp_path)
