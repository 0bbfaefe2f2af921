from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from avwitness.detector.verdict import Segment, StreamVerdict, Verdict, error_verdict
from avwitness.evaluation.benchmarks.score_file import COLUMNS, match_scores, read_scores


def manifest(folder: Path, *paths: str) -> pd.DataFrame:
    return pd.DataFrame({"path": paths, "file": [folder / path for path in paths]})


def test_minimal_score_file(tmp_path: Path) -> None:
    file = tmp_path / "scores.csv"
    file.write_text("path,p_fake,status\na.mp4,0.25,ok\nb.mp4,,error\n")
    table = read_scores(file)
    assert tuple(table.columns) == COLUMNS
    assert table.p_fake.tolist()[0] == 0.25 and np.isnan(table.p_fake[1]) and table.p_video.isna().all()
    assert table.status.tolist() == ["ok", "error"]
    table.to_parquet(tmp_path / "scores.parquet")
    pd.testing.assert_frame_equal(read_scores(tmp_path / "scores.parquet"), table)


def test_verdicts_are_read(tmp_path: Path) -> None:
    timeline = tuple(Segment(0.48 * i, 0.48 * (i + 1), p, None) for i, p in enumerate((0.1, 0.95, 0.95, 0.1)))
    verdict = Verdict("a.mp4", "ok", "fake", p_fake=0.5, audio=StreamVerdict(True, 0.1, "genuine"), timeline=timeline)
    lines = tmp_path / "v.jsonl"
    lines.write_text(json.dumps(verdict.to_dict()) + "\n\n" + json.dumps(error_verdict("b.mp4", "MediaError", "is empty").to_dict()) + "\n")
    row, failed = read_scores(lines).to_dict("records")
    assert (row["p_audio"], row["p_fake"], row["status"]) == (0.1, 0.5, "ok") and np.isnan(row["p_video"])
    assert json.loads(row["audio_intervals"])[0] == [0.48, 1.44, 0.95]
    assert row["video_intervals"] == row["file_intervals"] == failed["audio_intervals"] == ""
    assert failed["status"] == "error: is empty" and np.isnan(failed["p_fake"])
    table = tmp_path / "v.csv"
    table.write_text("path,status,p_fake,audio.p_fake,video.p_fake\na.mp4,ok,0.5,0.1,\n")
    assert read_scores(table).p_audio.tolist() == [0.1]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("file,p_fake\na,1\n", "the column path is missing"),
        ("path,score\na,1\n", "p_video, p_audio, p_fake"),
        ("path,p_fake\na,high\n", "finite number or empty, not 'high'"),
        ("path,p_fake\na,inf\n", "finite number"),
        ("path,p_fake\na,1\na,0\n", "scored more than once, such as a"),
        ('path,p_fake,audio_intervals\na,1,"[[0, 1]]"\n', "audio_intervals of a is no JSON list of"),
    ],
)
def test_invalid_score_files_are_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(ValueError, match=why):
        read_scores(tmp_path / "s.csv")
    with pytest.raises(FileNotFoundError):
        read_scores(tmp_path / "absent.csv")


def test_matched_and_unmatched_rows(tmp_path: Path) -> None:
    file = tmp_path / "s.csv"
    file.write_text(f"path,p_fake\n{tmp_path / 'x' / 'b.mp4'},0.75\na.mp4,0.25\nstray.mp4,1\n")
    found = match_scores(read_scores(file), manifest(tmp_path / "x", "a.mp4", "b.mp4", "c.mp4"))
    assert found.table.path.tolist() == ["a.mp4", "b.mp4", "c.mp4"]
    assert found.table.p_fake.tolist()[:2] == [0.25, 0.75]
    assert found.table.status.tolist() == ["ok", "ok", "unscored"]
    assert found.notes == (
        "1 scored files are not in the manifest, such as stray.mp4",
        "1 files of the manifest are not scored, such as c.mp4",
    )


def test_empty_cells_in_a_file_with_segments(tmp_path: Path) -> None:
    file = tmp_path / "s.csv"
    file.write_text('path,p_video,p_audio,video_intervals\na,0.1,0.2,\nb,0.9,0.2,"[[0, 1, 0.9]]"\nc,,0.2,\n')
    table = read_scores(file)
    assert table.video_intervals.tolist() == ["[]", "[[0, 1, 0.9]]", ""] and (table.audio_intervals == "").all()


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    manifest = pd.DataFrame({"path": ["a.mp4", "b.mp4"], "file": [tmp_path / "set" / name for name in ("a.mp4", "b.mp4")], "problem": ""})
    (tmp_path / "s.csv").write_text("path,p_video,status\nset/a.mp4,0.5,\n./set/b.mp4,,error: is empty\n")
    found = match_scores(read_scores(tmp_path / "s.csv"), manifest)
    assert found.table.p_video[0] == 0.5 and found.notes == (
        "1 files failed, such as b.mp4 (error: is empty)",
        "The scores have no p_fake: that of a file is the larger one of its streams",
    )
    (tmp_path / "s.csv").write_text("path,p_video\nelsewhere/a.mp4,0.5\n")
    with pytest.raises(ValueError, match="paths like elsewhere/a"):
        match_scores(read_scores(tmp_path / "s.csv"), manifest)


def test_a_data_set_may_be_elsewhere(tmp_path: Path) -> None:
    clips = ["RealVideo-RealAudio/men/id1/1.mp4", "FakeVideo-FakeAudio/men/id1/1.mp4", "FakeVideo-FakeAudio/men/id2/1.mp4"]
    rows = "".join(f"FakeAVCeleb/{clip},{number / 4}\n" for number, clip in enumerate(clips))
    (tmp_path / "s.csv").write_text(f"path,p_fake\n{rows}elsewhere/id9/1.mp4,1\nid1/1.mp4,1\n")
    found = match_scores(read_scores(tmp_path / "s.csv"), manifest(tmp_path / "data", *clips))
    assert found.table.p_fake.tolist() == [0.0, 0.25, 0.5]
    assert found.notes == (
        "3 scored files were matched by the end of their path, such as FakeAVCeleb/RealVideo-RealAudio/men/id1/1.mp4",
        "2 scored files are not in the manifest, such as elsewhere/id9/1.mp4, id1/1.mp4",
    )
    # Two scored paths with the same end: neither is used.
    (tmp_path / "s.csv").write_text("path,p_fake\na/men/id2/1.mp4,1\nb/men/id2/1.mp4,0\nFakeAVCeleb/RealVideo-RealAudio/men/id1/1.mp4,1\n")
    table = match_scores(read_scores(tmp_path / "s.csv"), manifest(tmp_path / "data", *clips)).table
    assert table.status.tolist() == ["ok", "unscored", "unscored"]


def test_escaped_paths_of_our_own_tables_are_read(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("path,p_fake\n'-a.mp4,1\n'quoted'.mp4,0\n")
    assert read_scores(tmp_path / "s.csv").path.tolist() == ["-a.mp4", "'quoted'.mp4"]
