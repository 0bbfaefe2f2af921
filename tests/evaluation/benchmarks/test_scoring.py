from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from avwitness.detector.verdict import StreamVerdict, Verdict, error_verdict
from avwitness.evaluation.benchmarks.scoring import VERDICTS_FILE, score_benchmark


def benchmark(folder: Path, *names: str) -> pd.DataFrame:
    for name in names:
        (folder / name).write_text("the same" if name.startswith("copy") else name)
    return pd.DataFrame({"path": names, "file": [folder / name for name in names], "problem": ""})


class Scorer:
    """Records the scored paths, and may be interrupted after ``last`` of them."""

    def __init__(self, last: int | None = None) -> None:
        self.asked: list[str] = []
        self.last = last

    def __call__(self, paths: Iterable[str]) -> Iterator[Verdict]:
        for number, path in enumerate(paths):
            if number == self.last:
                raise KeyboardInterrupt
            self.asked.append(Path(path).name)
            if "broken" in path:
                yield error_verdict(path, "MediaError", "cannot be read")
            else:
                yield Verdict(path, "ok", "fake", p_fake=0.75, audio=StreamVerdict(True, 0.25, "genuine"), video=StreamVerdict(False, None))


def test_equal_files_are_scored_once_and_cached(tmp_path: Path) -> None:
    table = benchmark(tmp_path, "a", "copy1", "copy2", "broken")
    table.loc[len(table)] = ["absent", tmp_path / "absent", "the file is missing"]
    first = Scorer()
    found = score_benchmark(table, first, {"weights": "ours"}, tmp_path / "out").set_index("path")
    assert first.asked == ["a", "copy1", "broken"]  # one of the two equal files
    assert list(found.index) == ["a", "copy1", "copy2", "broken"]
    assert found.p_fake.tolist()[:3] == [0.75] * 3 and found.p_audio["a"] == 0.25 and pd.isna(found.p_video["a"])
    assert found.status["broken"] == "error: cannot be read" and pd.isna(found.p_fake["broken"])
    second = Scorer()
    again = score_benchmark(table, second, {"weights": "ours"}, tmp_path / "out").set_index("path")
    assert second.asked == [] and again.p_fake["copy2"] == 0.75
    third = Scorer()
    score_benchmark(table, third, {"weights": "others"}, tmp_path / "out")
    assert len(third.asked) == 3  # verdicts of other weights are not used


def test_interrupted_run_is_resumed(tmp_path: Path) -> None:
    table = benchmark(tmp_path, "a", "b", "c")
    with pytest.raises(KeyboardInterrupt):
        score_benchmark(table, Scorer(last=2), {"weights": "ours"}, tmp_path / "out")
    kept = tmp_path / "out" / VERDICTS_FILE
    kept.write_text(kept.read_text()[:-5])  # an incomplete last line
    rest = Scorer()
    found = score_benchmark(table, rest, {"weights": "ours"}, tmp_path / "out")
    assert rest.asked == ["b", "c"] and found.status.tolist() == ["ok"] * 3
    assert len(kept.read_text().splitlines()) == 3


def test_unreadable_files_and_transient_errors(tmp_path: Path) -> None:
    table = benchmark(tmp_path, "a", "slow")
    (tmp_path / "mem").symlink_to("/proc/self/mem")  # a file whose reading gives an input/output error
    table.loc[len(table)] = ["mem", tmp_path / "mem", ""]
    asked: list[list[str]] = []

    def score(paths: Iterable[str]) -> Iterator[Verdict]:
        asked.append([Path(path).name for path in paths])
        for path in asked[-1]:
            yield error_verdict(path, "Timeout", "made no progress") if path == "slow" else Verdict(path, "ok", "fake", p_fake=0.75)

    for _ in range(2):
        found = score_benchmark(table, score, {"weights": "ours"}, tmp_path / "out").set_index("path")
        said = {"a": "ok", "slow": "error: made no progress", "mem": "error: the file cannot be read"}
        assert found.status.to_dict() == said and pd.isna(found.p_fake["mem"])
        assert found.video_intervals["mem"] == ""
    assert asked == [["a", "slow"], ["slow"]]
