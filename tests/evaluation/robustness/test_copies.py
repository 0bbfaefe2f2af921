from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from avwitness.evaluation.robustness.conditions import CONTROL, ORIGINAL, Condition
from avwitness.evaluation.robustness.copies import Copy, Job, make_copies, make_copy
from avwitness.media.encode import write_media
from avwitness.media.parallel import AHEAD
from avwitness.media.windows import read_clip

RATE = 16_000
REWRITTEN = Condition(CONTROL)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Six files with half a second of noise each."""
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    return [
        str(write_media(folder / f"{n}.wav", None, 0.1 * rng.normal(size=RATE // 2).astype(np.float32), audio_codec="pcm_s16le"))
        for n in range(6)
    ]


def jobs(files: list[str], condition: Condition = REWRITTEN, voices: tuple[str, ...] = ()) -> list[Job]:
    return [Job(f"{n:064x}", file, condition, 0, voices) for n, file in enumerate(files)]


class KillingPath(str):
    """A path that kills the process that unpickles it."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (1,)


def test_copies_come_in_order_and_are_discarded(sounds: list[str], tmp_path: Path) -> None:
    most = 0
    with closing(make_copies(jobs(sounds), tmp_path, 1)) as made:
        for number, copy in enumerate(made):
            most = max(most, len(list(tmp_path.iterdir())))
            assert copy.job.source == sounds[number] and copy.file is not None
            waveform = read_clip(copy.file).waveform
            assert waveform is not None and np.allclose(waveform, read_clip(sounds[number]).waveform, atol=1e-3)
            copy.discard()
            assert not copy.file.exists()
    assert number == 5 and most <= AHEAD + 1
    assert list(tmp_path.iterdir()) == []


def test_original_is_not_deleted(sounds: list[str], tmp_path: Path) -> None:
    (copy,) = make_copies(jobs(sounds[:1], Condition(ORIGINAL)), tmp_path, 1)
    copy.discard()
    assert copy.file == Path(sounds[0]) and copy.file.exists()


@pytest.mark.slow
def test_failures_do_not_stop_the_others(sounds: list[str], broken_files: dict[str, Path], tmp_path: Path) -> None:
    files = [sounds[0], *(str(broken_files[kind]) for kind in ("empty", "text", "truncated_index", "missing")), sounds[1]]
    made = list(make_copies(jobs(files), tmp_path, 2))
    assert [copy.file is not None for copy in made] == [True, False, False, False, False, True]
    assert all(copy.failure.startswith(copy.job.source) for copy in made[1:5])
    assert len(list(tmp_path.iterdir())) == 2  # failures leave nothing behind
    (blur,) = make_copies(jobs(sounds[:1], Condition("blur", 5, 3.5)), tmp_path, 1)
    assert blur.file is None and sounds[0] in blur.failure  # a degradation of video, which is missing


@pytest.mark.slow
def test_crash_fails_one_copy(sounds: list[str], tmp_path: Path) -> None:
    files = [sounds[0], KillingPath(sounds[1]), sounds[2], KillingPath(sounds[3]), sounds[4]]
    made = list(make_copies(jobs(files), tmp_path, 2))
    assert [copy.file is not None for copy in made] == [True, False, True, False, True]
    assert made[1].failure.startswith(f"{sounds[1]}: the process that degraded it died")


@pytest.mark.slow
def test_unreadable_voices(sounds: list[str], tmp_path: Path) -> None:
    babble = Condition("babble", 5, 0.0)
    lost = str(tmp_path / "lost.wav")
    heard, some, none = (
        next(make_copies(jobs(sounds[:1], babble, voices), tmp_path / str(n), 1))
        for n, voices in enumerate([(sounds[1], sounds[2]), (lost, sounds[1], sounds[2]), (lost,)])
    )
    assert heard.file is not None and some.file is not None and none.file is None
    assert "none of the voices" in none.failure
    first, second, plain = (read_clip(file).waveform for file in (heard.file, some.file, sounds[0]))
    assert first is not None and plain is not None
    assert np.array_equal(first, second) and np.std(first - plain) == pytest.approx(np.std(plain), rel=0.1)  # 0 dB


def test_a_full_disk_ends_the_run(sounds: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = tmp_path / "full.mkv"
    full.symlink_to("/dev/full")
    monkeypatch.setattr("avwitness.media.files.partial_path", lambda target: full)  # where a copy is written before it is complete
    with pytest.raises(OSError, match="no space is left for degraded copies; name a larger disk in TMPDIR"):
        make_copy(jobs(sounds)[0], tmp_path / "0")


@pytest.mark.slow
def test_processes_end_with_their_parent(sounds: list[str], tmp_path: Path) -> None:
    program = (
        "import multiprocessing, sys, time; from pathlib import Path\n"
        "from avwitness.evaluation.robustness.conditions import Condition\n"
        "from avwitness.evaluation.robustness.copies import Job, make_copies\n"
        "if __name__ == '__main__':\n"
        "    made = make_copies([Job(str(n), sys.argv[1], Condition('control'), 0) for n in range(9)], Path(sys.argv[2]), 1)\n"
        "    next(made)\n"
        "    print(*(child.pid for child in multiprocessing.active_children()), flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-P", "-c", program, sounds[0], str(tmp_path)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert parent.stdout is not None
    children = [int(pid) for pid in parent.stdout.readline().split()]
    assert children
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until = time.monotonic() + 20.0
    while any(_alive(pid) for pid in children):
        assert time.monotonic() < until
        time.sleep(0.1)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"  # a zombie process has ended, too
    except FileNotFoundError:
        return False


def test_a_copy_that_failed_can_be_discarded(sounds: list[str]) -> None:
    Copy(jobs(sounds)[0], None, "why").discard()
    assert Path(sounds[0]).exists()
