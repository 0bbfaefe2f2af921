from __future__ import annotations

import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers import Talk

import avwitness
from avwitness.detector.inference import ray_cluster as cluster
from avwitness.detector.inference.processes.pool import ModelUnavailable
from avwitness.detector.inference.ray_actor import actor_class
from avwitness.detector.inference.ray_cluster import ClusterUnavailable, score_on_cluster
from avwitness.media.encode import write_media

ROOT = Path(__file__).parents[3]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """Ray as a caller has started it, on two CPUs, in the repository root (the worst place)."""
    ray = pytest.importorskip("ray")
    here = Path.cwd()
    os.chdir(ROOT)
    quiet: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    try:
        ray.init("local", num_cpus=2, object_store_memory=cluster.OBJECT_STORE, **quiet)
        yield ray
        ray.shutdown()
    finally:
        os.chdir(here)


@pytest.fixture(scope="module")
def sound(talk: Talk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of audio, which is scored at once."""
    return write_media(tmp_path_factory.mktemp("sound") / "sound.wav", waveform=talk.waveform[:16_000], audio_codec="pcm_s16le")


@pytest.fixture(scope="module")
def long_sounds(talk: Talk, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two files long enough to be struck in the middle."""
    folder, waveform = tmp_path_factory.mktemp("long"), np.tile(talk.waveform, 12)
    return [write_media(folder / f"{name}.wav", waveform=waveform, audio_codec="pcm_s16le") for name in ("one", "two")]


def given_back(ray: Any) -> bool:
    """Whether both CPUs are free, some seconds granted."""
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline:
        if ray.available_resources().get("CPU") == 2.0:
            return True
        time.sleep(0.1)
    return False


def scorers() -> list[int]:
    """The processes of actors that this one has started, as /proc tells."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with_name = _text(stat)
        parents[int(stat.parent.name)] = int(with_name.rpartition(")")[2].split()[1]) if with_name else 0

    def ours(pid: int) -> bool:
        return pid == os.getpid() or (pid in parents and ours(parents[pid]))

    return [pid for pid in parents if "Scorer" in _text(Path(f"/proc/{pid}/cmdline")) and ours(pid)]


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_every_path_gets_in_order_what_a_detector_here_says(ray: Any, talk_file: Path, broken_files: dict[str, Path], sound: Path) -> None:
    relative = Path(os.path.relpath(sound))
    paths = [talk_file, broken_files["text"], relative, broken_files["missing"]]
    *scored, missing = score_on_cluster(paths, trim_silence=True)
    detector = avwitness.load(device="cpu")
    assert scored == [detector.score(path, trim_silence=True) for path in paths[:-1]]
    assert [verdict.status for verdict in scored] == ["ok", "error", "ok"]
    assert missing.error is not None
    assert missing.error.message.startswith(f"{broken_files['missing']}: no such file")
    assert socket.gethostname() in missing.error.message
    assert given_back(ray)


@pytest.mark.slow
@linux
def test_what_strikes_an_actor_costs_at_most_the_file_it_was_at(
    ray: Any, sound: Path, long_sounds: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "POLL", 0.1)
    blows = {str(long_sounds[0]): signal.SIGKILL, str(long_sounds[1]): signal.SIGSTOP}

    def strike(path: str, done: float, total: float | None) -> None:
        for pid in scorers() if path in blows else []:
            os.kill(pid, blows[path])
        blows.pop(path, None)

    paths = [sound, sound, long_sounds[0], long_sounds[1], sound]
    verdicts = []
    for verdict in score_on_cluster(paths, actors=1, stall=6.0, on_progress=strike):
        verdicts.append(verdict)
        if len(verdicts) == 1:  # between two files the actor is idle: its death is nobody's fault
            for pid in scorers():
                os.kill(pid, signal.SIGKILL)
    assert not blows
    assert [verdict.path for verdict in verdicts] == [str(path) for path in paths]
    assert [verdict.error and verdict.error.type for verdict in verdicts] == [None, None, "Crash", "Timeout", None]
    assert all(verdict.error is None or verdict.error.message.startswith(f"{verdict.path}: ") for verdict in verdicts)
    assert given_back(ray)
    assert ray.is_initialized()


@pytest.mark.slow
def test_an_endless_list_is_read_only_a_little_ahead(
    ray: Any, sound: Path, long_sounds: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "MAX_AHEAD", 3)
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        for path in itertools.chain([long_sounds[0]], itertools.repeat(sound)):
            taken += 1
            yield path

    verdicts = score_on_cluster(endless())
    assert next(verdicts).path == str(long_sounds[0])
    assert taken <= 10  # while one actor was at the long file, the other went on, but not far
    assert next(verdicts).status == "ok"
    verdicts.close()
    assert given_back(ray)


@pytest.mark.slow
@linux
def test_a_pause_of_the_caller_is_no_stall(ray: Any, long_sounds: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "POLL", 0.1)
    stopped: list[int] = []

    def pause(path: str, done: float, total: float | None) -> None:
        if not stopped:
            stopped.extend(scorers())
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(4.0)
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)

    assert [verdict.status for verdict in score_on_cluster([long_sounds[0]], stall=3.0, on_progress=pause)] == ["ok"]
    assert stopped
    assert given_back(ray)


def test_actors_load_nothing_from_the_folder_they_are_started_from(ray: Any, tmp_path: Path) -> None:
    def origin(_: Any = None) -> str | None:
        import importlib.util

        found = importlib.util.find_spec("datasets")
        return found.origin if found else None

    def enter(_: Any, folder: str) -> None:
        sys.path.insert(0, folder)

    # Ray alone falls into the trap: it puts the folder in which it was started first on the path.
    assert str(ROOT / "datasets") in str(ray.get(ray.remote(origin).remote()))
    settings = {"folder": str(tmp_path), "version": "none of ours", "model": "small", "device": "cpu", "scoring": {}}
    actor = actor_class(ray).remote(settings)
    actor.__ray_call__.remote(enter, str(tmp_path))
    assert ray.get(actor.load.remote())["version"] == avwitness.__version__
    assert str(ROOT / "datasets") not in str(ray.get(actor.__ray_call__.remote(origin)))
    assert str(tmp_path) not in ray.get(actor.__ray_call__.remote(lambda _: sys.path))


def test_a_node_without_the_package_says_so(ray: Any) -> None:
    def forget(_: Any) -> None:
        sys.modules["avwitness"] = None  # type: ignore[assignment]

    actor = actor_class(ray).remote({"folder": str(ROOT), "model": "small"})
    ray.get(actor.__ray_call__.remote(forget))
    with pytest.raises(ClusterUnavailable, match="lacks avwitness"):
        cluster._check(ray.get(actor.load.remote()))


def test_another_version_on_a_node_is_an_error(ray: Any, sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "__version__", "99.0")
    with pytest.raises(ClusterUnavailable, match=rf"{socket.gethostname()}.* has avwitness {avwitness.__version__}, this machine has 99.0"):
        list(score_on_cluster([sound]))
    assert given_back(ray)


@pytest.mark.slow
def test_a_full_cluster_is_waited_for_and_named(
    ray: Any, sound: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cluster, "START_WARNING", 0.5)
    monkeypatch.setattr(cluster, "__version__", "99.0")  # ends the wait before a model is loaded
    assert given_back(ray)
    other = ray.remote(num_cpus=2)(type("Other", (), {})).remote()
    ray.get(other.__ray_ready__.remote())
    release = threading.Timer(3.0, ray.kill, [other])
    release.start()
    with pytest.raises(ClusterUnavailable, match=r"99\.0"):
        list(score_on_cluster([sound]))
    release.join()
    assert "no actor has started yet: 0 CPUs" in caplog.text


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_is_said(ray: Any, sound: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"gigantic: no such model"):
        list(score_on_cluster([sound], model="gigantic"))
    assert given_back(ray)
    assert ray.is_initialized()


def test_a_cluster_without_gpus_refuses_to_score_on_them(ray: Any, sound: Path) -> None:
    if ray.cluster_resources().get("GPU"):
        pytest.skip("there is a GPU here")
    with pytest.raises(ClusterUnavailable, match="has no GPU"):
        list(score_on_cluster([sound], device="cuda"))


@pytest.mark.slow
def test_options_reach_the_nodes(ray: Any, sound: Path) -> None:
    (verdict,) = score_on_cluster([sound], audio_track=7)
    assert verdict.error is not None and "has no audio track 7" in verdict.error.message
    (verdict,) = score_on_cluster([sound], max_seconds=0.2)
    assert verdict.error is not None and "is longer than 0 s" in verdict.error.message


def test_the_callers_cluster_is_never_left_for_another(ray: Any, sound: Path) -> None:
    with pytest.raises(ClusterUnavailable, match="connected to another cluster"):
        list(score_on_cluster([sound], "localhost:1"))
    assert ray.is_initialized()


CALLER = """
import json, signal, sys
from avwitness.detector.inference.ray_actor import actor_class
from avwitness.detector.inference.ray_cluster import ClusterUnavailable, score_on_cluster
import ray
sound, nobody, address = sys.argv[1:]
for where in (nobody, f"ray://{nobody}", address, None):
    try:
        result = [verdict.status for verdict in score_on_cluster([sound], where)]
    except ClusterUnavailable as error:
        result = str(error)
    print(json.dumps([result, ray.is_initialized(), signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, "torch" in sys.modules]))
"""


@pytest.mark.slow
def test_a_cluster_is_found_by_its_address_or_started_and_stopped_without_a_word(ray: Any, sound: Path, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("localhost", 0))
        nobody = f"localhost:{closed.getsockname()[1]}"
    arguments = [str(sound), nobody, ray.get_runtime_context().gcs_address]
    done = subprocess.run([sys.executable, "-P", "-c", CALLER, *arguments], capture_output=True, text=True, cwd=tmp_path)
    refused = [f"{where}: no ray cluster answers there (Connection refused)" for where in (nobody, f"ray://{nobody}")]
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        [result, False, True, False] for result in (*refused, ["ok"], ["ok"])
    ]
    assert done.stderr == ""
    assert given_back(ray)


def test_nothing_to_do_starts_nothing() -> None:
    assert list(score_on_cluster([], "localhost:1")) == []


def test_without_ray_the_cure_is_named(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterUnavailable, match=r"pip install avwitness\[cluster\]"):
        list(score_on_cluster([sound]))
