from __future__ import annotations

import asyncio
import io
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from makers import Talk
from processes import is_running, scoring_processes

import avwitness
from avwitness.detector.inference.detector import Detector
from avwitness.media.encode import write_media

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")]


@pytest.fixture(scope="module")
def detector() -> Iterator[Detector]:
    with avwitness.load(device="cpu", workers=1) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def speech(talk: Talk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of sound, which takes little time to score."""
    return write_media(tmp_path_factory.mktemp("speech") / "speech.wav", waveform=talk.waveform[:16_000], audio_codec="pcm_s16le")


@pytest.fixture
def frozen(detector: Detector, speech: Path) -> Callable[[], int]:
    """Stops the one worker process, as a decoder that hangs does."""

    def stop() -> int:
        assert detector.score(speech).status == "ok"
        (pid,) = scoring_processes()
        os.kill(pid, signal.SIGSTOP)
        return pid

    return stop


def test_processes_are_kept_between_calls(detector: Detector, speech: Path) -> None:
    first = detector.score(speech)
    before = scoring_processes()
    assert list(detector.score_many([speech, speech])) == [first, first]
    assert asyncio.run(detector.ascore(speech)) == first
    assert scoring_processes() == before and len(before) == 1


def test_processes_end_with_the_block(speech: Path) -> None:
    before = set(scoring_processes())
    with avwitness.load(device="cpu", workers=2) as detector:
        assert detector.score(speech).status == "ok"
        assert len(set(scoring_processes()) - before) == 2
    assert set(scoring_processes()) == before


def test_a_file_that_takes_too_long_is_given_up(detector: Detector, speech: Path, frozen: Callable[[], int]) -> None:
    frozen()
    (slow,) = detector.score_many([speech], timeout=0.5)
    assert slow.error is not None and slow.error.type == "Timeout"
    assert slow.error.message == f"{speech}: took longer than 0.5 s and was given up"
    assert detector.score(speech).status == "ok"


def test_closing_the_iterator_frees_the_process(detector: Detector, speech: Path, talk: Talk, tmp_path: Path) -> None:
    minutes = write_media(tmp_path / "minutes.wav", waveform=np.tile(talk.waveform, 200), audio_codec="pcm_s16le")
    results = detector.score_many([speech, minutes])
    assert next(results).status == "ok"
    time.sleep(0.5)  # the second file is begun
    (pid,) = scoring_processes()
    os.kill(pid, signal.SIGSTOP)
    results.close()  # type: ignore[attr-defined]
    assert detector.score(speech).status == "ok"  # would wait for 300 s
    assert pid not in scoring_processes()


def test_cancelling_a_coroutine_frees_the_process(detector: Detector, speech: Path, frozen: Callable[[], int]) -> None:
    frozen()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await detector.ascore(speech)
        verdicts = await asyncio.gather(*(detector.ascore(speech) for _ in range(5)))
        assert [v.status for v in verdicts] == ["ok"] * 5

    asyncio.run(main())


def test_a_detector_without_workers_can_be_awaited(speech: Path) -> None:
    detector = avwitness.load(device="cpu")
    assert asyncio.run(detector.ascore(speech)) == detector.score(speech)
    detector.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_bytes_and_file_objects(detector: Detector, workers: int, speech: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scorer = detector if workers else avwitness.load(device="cpu")
    data, expected = speech.read_bytes(), scorer.score(speech)
    with speech.open("rb") as file:
        verdicts = list(scorer.score_many([data, io.BytesIO(data), file, b"no film"]))
    assert [v.path for v in verdicts] == ["<bytes>", "<file>", str(speech), "<bytes>"]
    assert [(v.sha256, v.p_fake) for v in verdicts[:3]] == [(expected.sha256, expected.p_fake)] * 3
    error = verdicts[3].error
    assert error is not None and error.message.startswith("<bytes>: is not a media file")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TypeError, match="a path, bytes or a binary file object"):
        scorer.score(17)  # type: ignore[arg-type]


def test_a_detector_is_pickled_by_the_name_of_its_weights(speech: Path) -> None:
    detector = avwitness.load(device="cpu")
    data = pickle.dumps(detector)
    assert len(data) < 1000
    assert pickle.loads(data).score(speech) == detector.score(speech)
    detector.source = "gone"
    with pytest.raises(pickle.PicklingError, match="gone: no such model"):
        pickle.dumps(detector)


FORK = """
import multiprocessing, os, sys
import avwitness

path = sys.argv[1]

def child():
    verdict = detector.score(path)
    assert verdict == expected, verdict
    detector.close()

detector = avwitness.load(device="cpu")
expected = detector.score(path)  # torch has started its threads
process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join()
assert process.exitcode == 0, process.exitcode
pid = os.fork()
if not pid:
    child()
    sys.exit()
assert os.waitpid(pid, 0)[1] == 0
assert detector.score(path) == expected
print("done")
"""


def test_a_fork_of_a_process_that_loaded_the_model_scores(talk_file: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FORK, talk_file], capture_output=True, text=True, timeout=600)
    assert done.stdout == "done\n", done.stderr
    assert done.stderr == ""  # mediapipe's native code writes warnings as it pleases


ORPHAN = """
import sys, time
import avwitness
from avwitness.detector.inference.processes.pool import WorkerPool

pool = WorkerPool(2)
assert pool.submit(sys.argv[1]).result().status == "ok"
print("ready", flush=True)
time.sleep(60)
"""


def test_processes_end_with_their_parent(speech: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ORPHAN, speech], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == "ready\n"
        orphans = scoring_processes(parent.pid)
        assert len(orphans) == 2
        parent.kill()
        parent.wait()
    end = time.monotonic() + 60.0  # a process that still loads libraries looks late
    while any(map(is_running, orphans)):
        assert time.monotonic() < end
        time.sleep(0.1)
