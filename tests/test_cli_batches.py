"""`avwitness score` on many files: what is found, resumed runs, and what happens when something breaks on the way."""

from __future__ import annotations

import csv
import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from makers import Talk
from processes import is_running, scoring_processes
from rich.console import Console
from typer.testing import CliRunner

from avwitness.cli import app
from avwitness.cli.options import find_inputs, is_media
from avwitness.detector.inference import writers
from avwitness.detector.inference.writers import PREVIOUS_SUFFIX, RUN_SUFFIX, add_row, open_writer, read_done
from avwitness.detector.verdict import Verdict, error_verdict
from avwitness.media.encode import write_media
from avwitness.media.files import file_sha256, printable

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc or /dev/full")
Scored = list[str]


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Scored:
    """Paths that were scored, by a pool that calls everything genuine."""
    paths: Scored = []

    def pretend(todo: list[str], *_: object, **__: object) -> Iterator[Verdict]:
        for path in todo:
            paths.append(path)
            yield Verdict(path=path, status="ok", verdict="genuine", sha256=file_sha256(path), p_fake=0.125)

    monkeypatch.setattr("avwitness.detector.inference.processes.pool.score_in_processes", pretend)
    return paths


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"{name}.mp4" for name in "abc"]
    for file in files:
        file.write_text(file.name)
    return files


def run(*arguments: object) -> Any:
    done = CliRunner().invoke(app, ["score", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def names(paths: Scored) -> str:
    return "".join(Path(path).stem for path in paths)


def test_a_run_is_resumed_where_nothing_has_changed(clips: list[Path], tmp_path: Path, scored: Scored) -> None:
    out = tmp_path / "rows.jsonl"
    assert run(*clips[:2], "--out", out).exit_code == 0
    with out.open("a") as file:
        file.write(json.dumps(error_verdict(str(clips[2]), "Crash", "x").to_dict()) + "\n" + '{"path": "half')
    scored.clear()
    clips[1].write_text("another clip")
    done = run("--json", *clips, "--out", out, "--resume")
    assert names(scored) == "bc"  # b was replaced, and c had failed
    assert "1 files of" in done.stderr and "have changed or are gone since" in done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert sorted(row["path"] for row in rows) == [str(clip) for clip in clips]
    assert [json.loads(line)["path"] for line in done.stdout.splitlines()] == [str(clip) for clip in clips]
    scored.clear()
    run(*clips, "--out", out, "--resume")
    assert scored == [] and len(out.read_text().splitlines()) == 3


@pytest.mark.parametrize("change", ["modality", "weights", "no settings"])
def test_a_run_with_other_settings_is_not_resumed(
    clips: list[Path], tmp_path: Path, scored: Scored, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    out, flags = tmp_path / "rows.jsonl", []
    run(*clips, "--out", out)
    before = out.read_text()
    scored.clear()
    if change == "modality":
        flags = ["--modality", "audio"]
    elif change == "weights":
        monkeypatch.setattr("avwitness.cli.score._model_hashes", lambda *_: {"weights": "others", "config": "the same"})
    else:
        out.with_name(out.name + RUN_SUFFIX).unlink()
    done = run(*clips, "--out", out, "--resume", *flags)
    assert names(scored) == "abc"
    assert ("unknown settings" if change == "no settings" else change) in done.stderr
    assert out.with_name(out.name + PREVIOUS_SUFFIX).read_text() == before
    assert len(out.read_text().splitlines()) == 3


def test_a_missing_file_is_known_before_anything_is_loaded(clips: list[Path], tmp_path: Path, scored: Scored) -> None:
    (tmp_path / "link.mp4").symlink_to("gone.mp4")
    done = run("--json", tmp_path / "gone.mp4", tmp_path / "link.mp4")
    assert scored == [] and done.exit_code == 1
    gone, link = (json.loads(line)["error"]["message"] for line in done.stdout.splitlines())
    assert gone.endswith("gone.mp4: no such file") and link.endswith("link.mp4: is a link to what does not exist")
    assert "2 of 2 files do not exist" in done.stderr
    done = run("--json", clips[0], tmp_path / "gone.mp4", clips[1])
    assert [json.loads(line)["status"] for line in done.stdout.splitlines()] == ["ok", "error", "ok"]
    assert "3 files: 2 genuine, 0 fake, 0 inconclusive, 1 failed" in done.stderr


@linux
@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_full_disk_ends_the_run_in_a_sentence(clips: list[Path], tmp_path: Path, scored: Scored, suffix: str) -> None:
    out = tmp_path / f"rows{suffix}"
    out.symlink_to("/dev/full")
    done = run(*clips, "--out", out)
    assert done.exit_code == 1
    assert f"{out}: cannot be written (No space left on device); 0 of 3 files are scored" in done.stderr


def test_a_row_that_does_not_fit_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = open_writer(tmp_path / "rows.jsonl")
    assert isinstance(writer, writers.JsonLines)
    writer.write(Verdict(path="a", status="ok", verdict="fake"))

    class Full:
        """A file on a disk that has room for ten bytes more."""

        def __init__(self, file: Any) -> None:
            self.file, self.room = file, 10

        def write(self, data: bytes) -> int:
            if not self.room:
                raise OSError(28, "No space left on device")
            count, self.room = self.file.write(data[: self.room]), 0
            return int(count)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    writer._file = Full(writer._file)  # type: ignore[assignment]
    with pytest.raises(OSError, match="No space"):
        writer.write(Verdict(path="b", status="ok", verdict="fake"))
    writer.close()
    assert [json.loads(line)["path"] for line in (tmp_path / "rows.jsonl").read_text().splitlines()] == ["a"]


def test_an_output_that_cannot_be_opened_is_a_usage_error(clips: list[Path], tmp_path: Path, scored: Scored) -> None:
    done = run(clips[0], "--out", tmp_path / "no" / "rows.jsonl")
    assert done.exit_code == 2 and "cannot be written" in " ".join(done.stderr.replace("│", " ").split())
    (tmp_path / "folder.csv").mkdir()
    assert run(clips[0], "--out", tmp_path / "folder.csv").exit_code == 2
    assert scored == []


@linux
@pytest.mark.slow
@pytest.mark.parametrize(("blow", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_in_order(talk: Talk, tmp_path: Path, blow: signal.Signals, status: int) -> None:
    file = write_media(tmp_path / "speech.wav", waveform=talk.waveform[:16_000], audio_codec="pcm_s16le")
    for number in range(500):
        (tmp_path / f"{number}.wav").hardlink_to(file)
    out = tmp_path / "rows.jsonl"
    command = [Path(sys.executable).with_name("avwitness"), "score", tmp_path, "--out", out, "--workers", "1"]
    # A shell starts jobs in the background with SIGINT ignored, and a program keeps that; the tests may be such a job.
    listen = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listen) as process:
        while not out.exists() or out.stat().st_size < 1000:
            assert process.poll() is None
            time.sleep(0.05)  # a busy loop would take a core from the processes that it waits for
        workers = scoring_processes(process.pid)
        process.send_signal(blow)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == status
    assert f"{'terminated' if blow == signal.SIGTERM else 'interrupted'} after" in stderr and "Traceback" not in stderr
    assert len(read_done(out)) >= 1 and ".wav" in stdout
    assert workers and not any(map(is_running, workers))


def test_folders_are_searched_by_content(talk: Talk, tmp_path: Path) -> None:
    written = []
    for name, container in (
        ("a.mxf", "mxf"),
        ("b.vob", "vob"),
        ("c.3g2", "3g2"),
        ("d", "mp4"),
        ("e.bin", "matroska"),
        ("f.m2v", "mpeg2video"),
    ):
        codec = "mpeg2video" if container in {"mxf", "vob", "mpeg2video"} else "mpeg4"
        written.append(_written(tmp_path / name, container, codec, talk))
    for name, container, codec in (
        ("g.aiff", "aiff", "pcm_s16be"),
        ("h.caf", "caf", "pcm_s16le"),
        ("i.amr", "amr", None),
        ("j.mp2", "mp2", "mp2"),
        ("k.adts", "adts", "aac"),
        ("l.au", "au", "pcm_s16be"),
        ("m.rec", "mpegts", "aac"),
        ("n.data", "flac", "flac"),
    ):
        if codec is None:
            (tmp_path / name).write_bytes(b"#!AMR\n" + bytes(64))
            written.append(tmp_path / name)
        else:
            written.append(_written(tmp_path / name, container, codec, talk))
    for name in ("notes.txt", "photo.jpg", "code.ts"):
        (tmp_path / name).write_bytes(b"\xff\xd8\xff\xe0 or whatever")
    assert find_inputs([str(tmp_path)]).paths == sorted(map(str, written))
    assert not any(is_media(str(tmp_path / name)) for name in ("notes.txt", "photo.jpg", "code.ts"))


def _written(path: Path, container: str, codec: str, talk: Talk) -> Path:
    import av

    with av.open(str(path), "w", format=container) as file:
        video = codec in {"mpeg2video", "mpeg4"}
        stream: Any = file.add_stream(codec, rate=25 if video else 16_000)
        if video:
            stream.width, stream.height, stream.pix_fmt = 352, 288, "yuv420p"
            if container == "mxf":
                stream.bit_rate = 5_000_000
            for image in talk.frames[:5]:
                frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(width=352, height=288)
                file.mux(stream.encode(frame))
        else:
            samples = (talk.waveform[None, :16_000] * 32767).astype("int16")
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate = 16_000
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def test_what_a_folder_leaves_out_is_said(clips: list[Path], tmp_path: Path, scored: Scored) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "dangling.mp4").symlink_to("gone")
    (tmp_path / "linked").symlink_to("/")
    (tmp_path / "drafts").mkdir()
    (tmp_path / "drafts" / "d.mp4").touch()
    os.mkfifo(tmp_path / "pipe.mp4")
    done = run(tmp_path, "--exclude", "drafts", "--exclude", "c.*", "--workers", 1)
    assert names(scored) == "ab"
    for sentence in (
        "1 files that hold neither audio nor video (.txt 1)",
        "2 files or folders that --exclude names",
        "1 links to what does not exist",
        "1 linked folders",
        "1 pipes, devices or sockets",
        "2 files: 2 genuine, 0 fake, 0 inconclusive, 0 failed; 6 left out",
    ):
        assert sentence in done.stderr


@pytest.mark.parametrize(("name", "told"), [("-", "standard input is not read"), ("https://example.org/a.mp4", "download the file")])
def test_what_is_no_file_is_refused_in_a_sentence(name: str, told: str) -> None:
    with pytest.raises(typer.BadParameter, match=told):
        find_inputs([name])


@pytest.mark.parametrize("path", ["=cmd()", "+1", "-1", "@a", "\tb", "\rc"])
def test_no_cell_is_a_formula(path: str, tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "rows.csv")
    writer.write(error_verdict(path, "MediaError", f"{path}: is empty"))
    writer.close()
    with (tmp_path / "rows.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["path"] == f"'{path}" and row["error.message"].startswith("'")


def test_control_characters_are_shown_as_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a\x1b[31m\n\u202eb\udcff.mp4"
    assert printable(name) == "a\\x1b[31m\\n\\u202eb\\udcff.mp4"
    table = writers.table()
    add_row(table, Verdict(path=name, status="ok", verdict="genuine"))
    Console(width=120).print(table)
    assert "a\\x1b[31m\\n\\u202eb\\udcff.mp4" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_name_that_is_no_text_is_written(suffix: str, tmp_path: Path) -> None:
    writer = open_writer(tmp_path / f"rows{suffix}")
    writer.write(error_verdict("\udcff.mp4", "MediaError", "is empty"))
    writer.close()


def test_markup_in_a_name_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "[red].mp4"
    file.touch()
    shown: list[Callable[..., None]] = []

    def pretend(todo: list[str], *_: object, on_progress: Callable[..., None], **__: object) -> Iterator[Verdict]:
        for path in todo:
            on_progress(path, 1.0, None)
            shown.append(on_progress)
            yield Verdict(path=path, status="ok", verdict="genuine")

    monkeypatch.setattr("avwitness.detector.inference.processes.pool.score_in_processes", pretend)
    assert run(file).exit_code == 0 and shown
