from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from avwitness.datasets.deepfake.field import Field
from avwitness.datasets.registry import recognise

ROWS = [
    ("clips/a.mp4", "someone/page", "train", "1", "0", "lipsync", "wav2lip", "someone/page#1", "en"),
    ("clips/b.mp4", "someone/page", "train", "0", "0", "genuine", "real", "someone/page#1", "en"),
    ("clips/c.mp4", "other/page", "val", "0", "1", "dub", "yourtts", "other/page#2", ""),
    ("audio/d.flac", "third/page", "val", "", "1", "tts", "vits", "third/page#3", "ja"),
    ("audio/e.flac", "third/page", "val", "", "maybe", "tts", "vits", "third/page#3", "ja"),
    ("audio/gone.flac", "third/page", "val", "", "0", "genuine", "real", "third/page#3", "ja"),
]
COLUMNS = ["path", "page", "split", "video_label", "audio_label", "kind", "method", "source_clip", "language"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    pd.DataFrame(ROWS, columns=COLUMNS).to_csv(tmp_path / "manifest.csv", index=False)
    for path, *_ in ROWS:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        if "gone" not in path:
            (tmp_path / path).write_bytes(b"media")
    (tmp_path / "clips" / "more.mp4").write_bytes(b"media")
    return tmp_path


def test_rows_and_their_problems(root: Path) -> None:
    table = Field().read(root).set_index("path")
    assert table.loc["clips/a.mp4", ["identity", "category", "method", "split"]].tolist() == ["someone/page", "lipsync", "wav2lip", "train"]
    assert table.loc["clips/a.mp4", "source_clip"] == table.loc["clips/b.mp4", "source_clip"]
    assert (table.loc["clips/c.mp4", "video_label"], table.loc["clips/c.mp4", "audio_label"]) == (0, 1)
    assert not table.loc["audio/d.flac", "has_video"] and pd.isna(table.loc["audio/d.flac", "video_label"])
    assert (table.problem == "").sum() == 4
    assert "missing" in table.loc["audio/gone.flac", "problem"] and "no table" in table.loc["clips/more.mp4", "problem"]
    assert table.loc["audio/e.flac", "problem"]


def test_it_is_recognised_before_any_table(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert recognise(root) == "field"
    plain = tmp_path_factory.mktemp("plain")
    (plain / "clips").mkdir()
    (plain / "manifest.csv").write_text("path,video_label\nclips/a.mp4,0\n")
    assert recognise(plain) == "csv"


def test_the_set_itself(footage: Path) -> None:
    if not (footage / "field" / "manifest.csv").is_file():
        pytest.skip("no field set among the development footage")
    table = Field().read(footage / "field")
    assert (table.problem == "").all() and len(table) > 1600
    both = table.groupby("identity").split.nunique().loc[lambda count: count > 1].index
    of_both = table[table.identity.isin(both)]
    fakes = of_both[(of_both.video_label == 1).fillna(False) | (of_both.audio_label == 1).fillna(False)]
    assert fakes.groupby("identity").split.nunique().le(1).all()  # only genuine clips of a page stand in both splits
