from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from avwitness.datasets.benchmark import tabulate
from avwitness.datasets.registry import read_benchmark
from avwitness.evaluation.benchmarks.score_file import read_scores
from avwitness.evaluation.robustness.conditions import Condition
from avwitness.evaluation.robustness.export import copy_path, write_copies
from avwitness.evaluation.robustness.plan import RobustnessSettings, make_plan
from avwitness.evaluation.robustness.suite import robustness_of_scores
from avwitness.media.encode import write_media
from avwitness.media.windows import read_clip

RATE = 16_000
SETTING = RobustnessSettings("made_up", "theirs", ("band_limit",), n_bootstrap=20, levels=(1, 5))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Audio of six people, fakes with a high tone, in folders; one file is listed twice, and one is no media file."""
    folder = tmp_path_factory.mktemp("corpus")
    time = np.arange(RATE // 2) / RATE
    rows = []
    for person in range(6):
        for fake in (0, 1):
            path = f"p{person}/{fake}.wav"
            (folder / f"p{person}").mkdir(exist_ok=True)
            sound = 0.2 * np.sin(2 * np.pi * (300 + 10 * person) * time) + fake * 0.05 * np.sin(2 * np.pi * 6500 * time)
            write_media(folder / path, None, sound.astype(np.float32), audio_codec="pcm_s16le")
            rows.append({"path": path, "identity": f"p{person}", "has_video": False, "audio_label": fake})
    (folder / "twin.wav").write_bytes((folder / "p0/0.wav").read_bytes())
    (folder / "broken.wav").write_bytes(b"no sound" * 99)
    rows += [{"path": name, "identity": "p9", "has_video": False, "audio_label": 0} for name in ("twin.wav", "broken.wav")]
    return tabulate(rows, folder, "made_up")


def treble(file: Path) -> float:
    waveform = read_clip(file, video=False).waveform
    assert waveform is not None
    power = np.abs(np.fft.rfft(waveform)) ** 2
    return float(power[int(0.75 * len(power)) :].sum() / power.sum())


@pytest.mark.slow
def test_export_and_score_file(table: pd.DataFrame, tmp_path: Path) -> None:
    out = tmp_path / "copies"
    plan = make_plan(table, SETTING)
    (failure, *others) = write_copies(plan, out, 1)
    assert "broken.wav" in failure and len(others) == 2  # of the control and both severities
    assert sorted(folder.name for folder in out.iterdir() if folder.is_dir()) == [
        "band_limit-2500", "band_limit-7000", "control", "original",
    ]  # fmt: skip
    assert (out / "band_limit-2500" / "p3" / "1.wav.mkv").is_file() and (out / "control" / "twin.wav.mkv").is_file()
    listed = read_benchmark("csv", out)
    assert len(listed) == 4 * 14 - 3 and not listed.problem.any() and set(listed.audio_label) == {0, 1}
    dates = {file: file.stat().st_mtime_ns for file in out.rglob("*.mkv")}
    assert write_copies(plan, out, 1) and {file: file.stat().st_mtime_ns for file in out.rglob("*.mkv")} == dates

    sound = listed[~listed.path.str.contains("broken")]
    pd.DataFrame({"path": sound.path, "p_audio": [float(treble(file) > 1e-3) for file in sound.file]}).to_csv(
        tmp_path / "theirs.csv", index=False
    )
    results = robustness_of_scores(table, SETTING, read_scores(tmp_path / "theirs.csv"))
    assert sum(row["not_scored"] for row in results["failures"]) == 4  # the broken file, in every condition
    below = pd.read_csv(tmp_path / "theirs.csv").assign(path=lambda rows: "some/where/" + rows.path)  # as `score some/where` writes them
    below.to_csv(tmp_path / "below.csv", index=False)
    assert robustness_of_scores(table, SETTING, read_scores(tmp_path / "below.csv"))["results"] == results["results"]
    found = {(row["condition"], row["level"]): row for row in results["results"] if row["target"] == "audio"}
    assert found["original", 0]["auc"][0] == found["control", 0]["auc"][0] == 1.0
    assert found["band_limit", 5]["auc"][0] < 1.0 and found["band_limit", 5]["coverage"] == pytest.approx(13 / 14)
    assert "52 copies of different content are planned, and 48 of them are in the score file" in results["notes"]
    pd.DataFrame({"path": ["elsewhere"], "p_audio": [0.5]}).to_csv(tmp_path / "none.csv", index=False)
    with pytest.raises(ValueError, match="no copy of these clips"):
        robustness_of_scores(table, SETTING, read_scores(tmp_path / "none.csv"))


def test_copy_paths_stay_in_their_folder() -> None:
    condition = Condition("h264", 1, 23)
    assert copy_path(condition, "a/b.mp4") == "h264-23/a/b.mp4.mkv"
    assert copy_path(condition, "/data/../b") == "h264-23/data/b.mkv"
