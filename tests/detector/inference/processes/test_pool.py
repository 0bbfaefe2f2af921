from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from makers import Talk
from processes import scoring_processes

from avwitness.detector.inference.processes.pool import ModelUnavailable, score_in_processes
from avwitness.detector.inference.processes.worker import Job, Shared, WorkerThread
from avwitness.media.encode import write_media

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


@pytest.mark.slow
def test_one_verdict_per_path_in_order(talk_file: Path, broken_files: dict[str, Path]) -> None:
    paths = [talk_file, broken_files["text"], talk_file, broken_files["missing"], broken_files["empty"]]
    verdicts = list(score_in_processes(paths, 2, device="cpu"))
    assert [v.path for v in verdicts] == [str(p) for p in paths]
    assert [v.status for v in verdicts] == ["ok", "error", "ok", "error", "error"]
    assert verdicts[0] == verdicts[2]


@pytest.fixture(scope="module")
def long_file(talk: Talk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirteen seconds: long enough to be struck in the middle."""
    frames = np.concatenate([talk.frames, talk.frames[::-1], talk.frames, talk.frames[::-1]])
    return write_media(tmp_path_factory.mktemp("long") / "long.mp4", frames)


@pytest.mark.slow
@linux
@pytest.mark.parametrize(("blow", "kind"), [(signal.SIGSEGV, "Crash"), (signal.SIGSTOP, "Timeout")])
def test_a_crash_or_a_hang_costs_only_its_own_file(talk_file: Path, long_file: Path, blow: signal.Signals, kind: str) -> None:
    struck: list[int] = []

    def strike(path: str, done: float, total: float | None) -> None:
        if path == str(long_file) and not struck:
            struck.extend(scoring_processes())
            for pid in struck:
                os.kill(pid, blow)

    verdicts = list(score_in_processes([talk_file, long_file, talk_file], 1, device="cpu", stall=30.0, on_progress=strike))
    assert struck
    assert [v.status for v in verdicts] == ["ok", "error", "ok"]
    assert verdicts[1].error is not None
    assert verdicts[1].error.type == kind
    assert str(long_file) in verdicts[1].error.message


def test_nothing_to_do_starts_nothing() -> None:
    assert list(score_in_processes([], 2)) == []


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_raises_once(talk_file: Path) -> None:
    with pytest.raises(ModelUnavailable, match="gigantic"):
        list(score_in_processes([talk_file], 1, model="gigantic"))


def test_two_replies_in_one_chunk_are_both_read() -> None:
    worker = WorkerThread(Shared({}, 10.0))
    worker.process = subprocess.Popen(
        ["/bin/sh", "-c", 'printf \'{"progress": [1, 2]}\\n{"ver\'; sleep 0.3; printf \'dict": 1}\\n{"a": 1}\\n\''],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    replies = [reply for reply in worker.replies(Job("clip.mp4", {})) if reply is not None]
    worker.stop_process()
    assert replies == [{"progress": [1, 2]}, {"verdict": 1}, {"a": 1}]


@pytest.mark.slow
def test_quick_files_do_not_stall(talk: Talk, tmp_path: Path) -> None:
    # A second of audio is scored so fast that progress and verdict arrive together; both must be read.
    file = write_media(tmp_path / "sound.wav", waveform=talk.waveform[:16_000], audio_codec="pcm_s16le")
    verdicts = list(score_in_processes([file] * 200, 2, device="cpu", stall=60.0))
    assert [v.status for v in verdicts] == ["ok"] * 200
