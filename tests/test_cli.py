from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
import typer
from makers import Talk, noise_frames
from typer.testing import CliRunner

from avwitness.cli import app, expand
from avwitness.detector.inference.writers import flatten, open_writer
from avwitness.detector.verdict import Verdict, error_verdict, schema
from avwitness.media.encode import write_media

COMMAND = Path(sys.executable).with_name("avwitness")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def mixed(talk: Talk, broken_files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twenty files: talking faces, sound alone, silent, muted, faceless, short and broken ones."""
    folder = tmp_path_factory.mktemp("mixed")
    frames, waveform = talk.frames[:50], talk.waveform[:32_000]
    both = [write_media(folder / f"both.{kind}", frames, waveform) for kind in ("mp4", "mov", "mkv")]
    sound = [
        write_media(folder / f"sound.{kind}", waveform=waveform, audio_codec=codec)
        for kind, codec in (("wav", "pcm_s16le"), ("flac", "flac"), ("m4a", "aac"))
    ]
    return [
        *both,
        *sound,
        write_media(folder / "silent.mp4", frames),
        write_media(folder / "muted.mp4", frames, np.zeros_like(waveform)),
        write_media(folder / "noface.mp4", noise_frames(30), waveform),
        write_media(folder / "short.mp4", frames[:5], waveform[:3200]),
        write_media(folder / "name with spaces ünï.mp4", frames, waveform),
        *broken_files.values(),
    ]


@pytest.mark.slow
def test_twenty_mixed_files_give_twenty_rows(mixed: list[Path], tmp_path: Path) -> None:
    assert len(mixed) == 20
    done = run("score", "--json", "--out", tmp_path / "rows.csv", "--workers", 2, *[m for m in mixed if not m.is_dir()], mixed[0])
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    files = [str(m) for m in mixed if not m.is_dir()]
    assert [v["path"] for v in verdicts] == files  # a file named twice is scored once
    for verdict in verdicts:
        jsonschema.validate(verdict, schema())
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    states = {Path(v["path"]).name: v["status"] for v in verdicts}
    assert states["both.mp4"] == states["sound.wav"] == "ok"
    assert {states["silent.mp4"], states["muted.mp4"]} <= {"ok", "inconclusive"}  # as the video head deserves
    assert states["short.mp4"] == "inconclusive"
    assert all(states[name] == "error" for name in states if name.split(".")[0] in {"empty", "text", "corrupt", "tiny", "huge", "missing"})
    with (tmp_path / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == files


@pytest.mark.slow
def test_the_table_names_every_file_and_its_trouble(talk_file: Path, broken_files: dict[str, Path]) -> None:
    done = run("score", talk_file, broken_files["empty"])
    assert done.returncode == 1
    assert "is empty" in " ".join(done.stdout.split())
    assert "talk.mp4" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
def test_debug_shows_the_traceback(broken_files: dict[str, Path]) -> None:
    done = run("score", "--debug", broken_files["text"])
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.slow
def test_usage_errors_exit_with_2(tmp_path: Path, talk_file: Path) -> None:
    for arguments in (
        ("score",),
        ("score", talk_file, "--modality", "smell"),
        ("score", talk_file, "--out", "rows.xls"),
        ("score", tmp_path),
        ("score", str(tmp_path / "*.mp4")),
        ("score", talk_file, "--resume", "--out", "rows.csv"),
        ("score", talk_file, "--resume"),
        ("score", "-"),
        ("score", "https://example.org/clip.mp4"),
        ("score", talk_file, "--model", "gigantic"),
    ):
        assert run(*arguments).returncode == 2, arguments


def test_fail_on_fake(talk_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Which verdict the model gives is not at issue here, only what becomes of it.
    def verdicts(kind: str) -> object:
        return lambda paths, *_, **__: (Verdict(path=str(p), status="ok", verdict=kind) for p in paths)

    for kind, flags, code in (("fake", ["--fail-on-fake"], 3), ("fake", [], 0), ("genuine", ["--fail-on-fake"], 0)):
        monkeypatch.setattr("avwitness.detector.inference.processes.pool.score_in_processes", verdicts(kind))
        assert CliRunner().invoke(app, ["score", str(talk_file), *flags]).exit_code == code


def test_directories_and_patterns_are_expanded(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.WAV", "sub/c.mkv", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folder = str(tmp_path)
    assert [Path(p).name for p in expand([folder])] == ["a.WAV", "b.mp4", "c.mkv"]
    assert [Path(p).name for p in expand([f"{folder}/*.mp4", f"{folder}/b.mp4"])] == ["b.mp4"]
    assert expand(["nowhere.mp4"]) == ["nowhere.mp4"]  # reported as a row, not dropped
    (tmp_path / "odd[1].mp4").touch()
    assert expand([f"{folder}/odd[1].mp4"]) == [f"{folder}/odd[1].mp4"]
    with pytest.raises(typer.BadParameter):
        expand([f"{folder}/*.avi"])


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_every_output_holds_every_verdict(tmp_path: Path, suffix: str) -> None:
    verdicts = [Verdict(path="a.mp4", status="ok", verdict="fake", p_fake=0.9), error_verdict("b.mp4", "MediaError", "b.mp4: is empty")]
    writer = open_writer(tmp_path / f"rows{suffix}")
    for verdict in verdicts:
        writer.write(verdict)
    writer.close()
    file = tmp_path / f"rows{suffix}"
    if suffix == ".jsonl":
        assert [Verdict.from_dict(json.loads(line)) for line in file.read_text().splitlines()] == verdicts
        return
    table = pd.read_csv(file) if suffix == ".csv" else pd.read_parquet(file)
    assert table.columns.tolist() == list(flatten(verdicts[0]))
    assert table["path"].tolist() == ["a.mp4", "b.mp4"]
    assert table["error.message"].tolist()[1] == "b.mp4: is empty"
    assert table["p_fake"].tolist()[0] == 0.9


@pytest.mark.slow
def test_version_and_schema() -> None:
    assert run("--version").stdout.startswith("avwitness ")
    assert json.loads(run("schema").stdout) == schema()


@pytest.mark.slow
def test_the_demo_is_rendered_and_scored(tmp_path: Path) -> None:
    assert run("demo", tmp_path / "demo.mp4").returncode == 0
    done = run("score", "--json", tmp_path / "demo.mp4")
    verdict = json.loads(done.stdout)
    assert verdict["status"] == "ok"
    assert verdict["audio"]["present"]
    assert verdict["video"]["present"]


@pytest.mark.parametrize(
    "command", [("evaluate", "--root", ".", "--out", "o"), ("robustness", "--root", ".", "--out", "o"), ("audit", ".")]
)
def test_what_is_not_installed_is_named_before_anything_begins(command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "sklearn" else found(name, *rest))
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2 and "this needs sklearn: pip install avwitness[evaluate]" in " ".join(done.stderr.replace("│", " ").split())


def test_names_of_version_0_1_still_work_and_tell_the_new_ones(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["families"])
    assert done.exit_code == 0 and "lpc\taudio" in done.stdout and "avwitness families is now avwitness methods" in done.stderr
    assert CliRunner().invoke(app, ["methods"]).stdout == done.stdout
    done = CliRunner().invoke(app, ["divide", "--root", str(tmp_path), "--out", str(tmp_path / "folds.csv")])
    assert done.exit_code == 2 and "avwitness divide is now avwitness split" in done.stderr
    for command, options, new in (
        ("forge", ("--manifest", tmp_path, "--out", tmp_path / "out", "--families", "magic"), "--methods"),
        ("compare", (tmp_path, tmp_path, "--rounds", 5), "--bootstrap"),
    ):
        done = CliRunner().invoke(app, [command, *map(str, options)])
        assert done.exit_code == 2 and f" is now {new}" in done.stderr
    names = CliRunner().invoke(app, ["--help"]).stdout
    assert "families" not in names and "divide" not in names
