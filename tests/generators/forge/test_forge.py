"""The forge: from the command to the written files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from people import AUDIO_ONLY, BROKEN, FAST_METHODS, VIDEO_ONLY, forge_command, run_forge_command
from typer.testing import CliRunner

from avwitness.cli import app
from avwitness.datasets.manifest import read_labels, read_manifest
from avwitness.generators.forge import run as forging
from avwitness.generators.forge.plan import Attempt, Job
from avwitness.generators.forge.registry import METHODS
from avwitness.generators.forge.run import MANIFEST_COLUMNS, ForgeConfig, counts, estimate, forge_clip, forge_set, genuine_rows, plan_forge
from avwitness.generators.methods.base import Window
from avwitness.generators.methods.source import Origin, Source, cache_name, load_facts, load_source, track_clip
from avwitness.media.clip import MediaError
from avwitness.media.encode import write_media
from avwitness.media.windows import read_clip

pytestmark = pytest.mark.usefixtures("one_thread")


def contents(out: Path) -> dict[str, str]:
    return {file.name: hashlib.sha1(file.read_bytes()).hexdigest() for file in sorted((out / "clips").iterdir())}


def records(out: Path) -> list[dict]:
    return [json.loads(file.read_text()) for file in sorted((out / "records").glob("*.json"))]


@pytest.fixture(scope="module")
def table(forged_set: Path) -> pd.DataFrame:
    return pd.read_csv(forged_set / "manifest.csv", keep_default_na=False)


@pytest.mark.slow
def test_a_set_is_complete(forged_set: Path, table: pd.DataFrame) -> None:
    assert tuple(table.columns) == MANIFEST_COLUMNS
    assert len(table) == 6 * (2 + 1)  # sources, forged and genuine clips of each
    assert sorted(table.path) == list(table.path) and table.path.is_unique
    assert set(contents(forged_set)) == {Path(path).name for path in table.path}
    assert not [file for file in forged_set.rglob("*") if "partial" in file.name]
    assert set(table.split) == {"train"} and set(table.seed) == {5}


def test_parquet_and_csv_agree(forged_set: Path, table: pd.DataFrame) -> None:
    parquet = pd.read_parquet(forged_set / "manifest.parquet")
    assert list(parquet.columns) == list(table.columns)
    assert {str(parquet[name].dtype) for name in ("video_label", "audio_label", "sync_label")} == {"Int8"}
    as_text = parquet.astype(object).where(parquet.notna(), "").astype(str)
    assert as_text.equals(table.astype(str))


def test_labels_follow_from_the_families(table: pd.DataFrame) -> None:
    assert set(table.method) - {"genuine"}
    for row in table.itertuples():
        names = [] if row.method == "genuine" else row.method.split("+")
        streams = set().union(*(METHODS[name].streams for name in names))
        for stream in ("video", "audio"):
            label, intervals = str(getattr(row, f"{stream}_label")), json.loads(getattr(row, f"{stream}_intervals"))
            absent = (stream, Path(row.source_clip).stem) in {("video", AUDIO_ONLY), ("audio", VIDEO_ONLY)}
            assert label == ("" if absent else str(int(stream in streams))), row
            assert bool(intervals) == (label == "1")
            assert all(0.0 <= a < b <= row.seconds + 0.4 for a, b in intervals)
            assert getattr(row, f"{stream}_method") == "+".join(n for n in names if stream in METHODS[n].streams)
        if "" in (str(row.video_label), str(row.audio_label)):
            assert row.sync_label == ""
        elif row.method == "genuine":
            assert str(row.sync_label) == "0"
        assert row.method == row.method and row.speaker == row.identity
        assert (row.donor_clip != "") == any(METHODS[name].donor != "none" for name in names)
        if row.offset_ms != "":
            assert (abs(float(row.offset_ms)) > 40) == (row.method == "desync")  # one frame of jitter is below that


def test_sources_without_a_stream_give_clips_without_it(forged_set: Path, table: pd.DataFrame) -> None:
    for name, absent in ((AUDIO_ONLY, "video"), (VIDEO_ONLY, "audio")):
        rows = table[table.source_clip == f"clips/{name}.mp4"]
        assert len(rows) == 3
        assert set(rows[f"{absent}_label"].astype(str)) == {""}
        for path in rows.path:
            with av.open(str(forged_set / path)) as container:
                assert {stream.type for stream in container.streams} == {"video", "audio"} - {absent}


def test_every_file_decodes_to_the_length_of_its_window(forged_set: Path, table: pd.DataFrame) -> None:
    by_path = {row["path"]: row for row in records(forged_set)}
    assert set(by_path) == set(table.path)
    for row in table.itertuples():
        record = by_path[row.path]
        frames = record["window"]["frames"] + record["postprocess"]["lead"] + record["postprocess"]["trail"]
        clip = read_clip(forged_set / row.path)
        if clip.frames is not None:
            assert len(clip.frames) == frames
        if clip.waveform is not None:
            assert 640 * (frames - 1) <= len(clip.waveform) <= 640 * frames + 3 * 1024
            assert np.abs(clip.waveform).max() > 0.01


def test_the_manifest_holds_the_durations_of_its_files(forged_set: Path, table: pd.DataFrame) -> None:
    for row, record in zip(table.itertuples(), sorted(records(forged_set), key=lambda r: r["path"]), strict=True):
        frames = record["window"]["frames"] + record["postprocess"]["lead"] + record["postprocess"]["trail"]
        assert row.seconds == pytest.approx(frames / 25), row.path


def test_other_tools_read_the_manifest(forged_set: Path) -> None:
    assert len(read_manifest(forged_set / "manifest.csv")) == 18
    labels = read_labels(forged_set)
    assert all(file.is_file() for file in labels.file)
    assert set(labels.source) == {
        f"clips/{name}.mp4" for name in ("collins-1", "collins-2", "hopper-1", "hopper-2", AUDIO_ONLY, VIDEO_ONLY)
    }


def test_paired_clips_have_the_same_postprocess(forged_set: Path) -> None:
    by_slot: dict[tuple, list[dict]] = {}
    for record in records(forged_set):
        by_slot.setdefault((record["source_clip"], record["slot"]), []).append(record)
    pairs = [pair for pair in by_slot.values() if len(pair) == 2]
    assert len(pairs) >= 4
    for one, other in pairs:
        assert one["postprocess"] == other["postprocess"] and one["window"] == other["window"]
        assert {one["method"] == "genuine", other["method"] == "genuine"} == {True, False}


@pytest.mark.slow
def test_the_same_seed_writes_the_same_bytes_however_many_workers(forged_set: Path, people: Path, tmp_path: Path) -> None:
    done = run_forge_command(people, tmp_path / "again", workers=1)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "again") == contents(forged_set)
    for name in ("manifest.csv", "plan.json"):
        assert (tmp_path / "again" / name).read_bytes() == (forged_set / name).read_bytes()


@pytest.mark.slow
def test_a_killed_forge_goes_on_where_it_stood(forged_set: Path, people: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    process = subprocess.Popen(forge_command(people, out, 1), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(list((out / "records").glob("[!.]*.json"))) < 3 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    complete = {record["path"] for record in records(out)}
    assert 3 <= len(complete) < 18, "killed too early or too late"
    assert not (out / "manifest.csv").exists()
    for path in complete:  # a record is there only when its file is
        with av.open(str(out / path)) as container:
            assert sum(1 for packet in container.demux() for _ in packet.decode()) > 10
    (out / "clips" / ".partial-0123456789abcdef.mp4").write_bytes(b"half a film")
    kept = {path: (out / path).stat().st_mtime_ns for path in complete}
    done = run_forge_command(people, out, workers=2)
    assert done.returncode == 0, done.stderr
    assert set(contents(out)) == set(contents(forged_set))
    assert all((out / "clips" / name).stat().st_size > 1000 for name in contents(out))
    assert (out / "manifest.csv").read_bytes() == (forged_set / "manifest.csv").read_bytes()
    assert {path: (out / path).stat().st_mtime_ns for path in complete} == kept  # no clip was written twice


def sentence(output: str) -> str:
    """The text of an error message without its frame."""
    return " ".join(word for word in output.split() if word.strip("│╭╮╰╯─"))


def refused(people: Path, out: Path, **options: object) -> str:
    done = CliRunner().invoke(app, forge_command(people, out, **options)[3:])
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    return sentence(done.output)


def test_a_folder_holds_one_set(forged_set: Path, people: Path, tmp_path: Path) -> None:
    before = contents(forged_set)
    message = refused(people, forged_set, seed=6, per_clip=1)
    assert "contains a set forged with other settings" in message
    assert "per_clip" in message and "seed" in message and "delete this one" in message
    assert contents(forged_set) == before


def test_a_set_of_other_sources_is_another_set(forged_set: Path, people: Path, tmp_path: Path) -> None:
    """The same number of clips and the same settings, but other clips."""
    copy = tmp_path / "set"
    shutil.copytree(forged_set, copy)
    config = ForgeConfig(tuple(FAST_METHODS.split(",")), 2, 1, 5, "train")
    jobs, _ = plan_forge(people, people / "tracks", config, 1)
    foreign = [
        replace(job, name=job.name[::-1], source=replace(job.source, path=f"other/{job.source.path}", file="/nowhere")) for job in jobs
    ]
    with pytest.raises(ValueError, match="another folder"):
        forge_set(foreign, copy, people / "tracks", config, 1)


@pytest.mark.slow
def test_what_cannot_be_read_is_reported_while_the_rest_is_written(people: Path, followed: dict[str, Source], tmp_path: Path) -> None:
    done = run_forge_command(people, tmp_path / "set", workers=1, split=None, methods="lpc", per_clip=1)
    assert done.returncode == 1
    complaints = [line for line in done.stderr.splitlines() if line.startswith("avwitness: ")]
    assert len(complaints) == 1 and BROKEN in complaints[0]
    assert "Traceback" not in done.stderr
    table = pd.read_csv(tmp_path / "set" / "manifest.csv", keep_default_na=False)
    assert len(table) == 12
    assert BROKEN not in " ".join(table.source_clip)
    assert len(contents(tmp_path / "set")) == 12
    assert "12 clips" in done.stdout


def test_usage_errors_are_sentences(people: Path, tmp_path: Path) -> None:
    assert "unknown methods nonsense" in refused(people, tmp_path / "a", methods="nonsense")
    assert "no row has the split moon" in refused(people, tmp_path / "b", split="moon")
    assert "no manifest there" in refused(tmp_path / "nowhere", tmp_path / "c")
    fakes = tmp_path / "fakes"
    fakes.mkdir()
    (fakes / "manifest.csv").write_text("path,video_label,audio_label\na.mp4,1,0\nb.mp4,,\n")
    assert "contains no genuine clip" in refused(fakes, tmp_path / "d", split=None)
    assert not any((tmp_path / name / "manifest.csv").exists() for name in "abcd")


def test_methods_are_listed() -> None:
    done = CliRunner().invoke(app, ["methods"])
    assert done.exit_code == 0
    lines = dict(line.split("\t")[:2] for line in done.stdout.splitlines())
    assert set(lines) == set(METHODS)
    assert lines["word_insert_both"] == "audio+video" and lines["desync"] == "mismatch" and lines["lpc"] == "audio"


def test_a_full_disk_is_noticed_beforehand(forged_set: Path, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(forging.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    assert "MB are free" in refused(people, tmp_path / "set")
    assert not list((tmp_path / "set" / "clips").iterdir())


def test_the_estimate_is_of_the_right_order(forged_set: Path, people: Path, followed: dict[str, Source]) -> None:
    jobs, failures = plan_forge(people, people / "tracks", ForgeConfig(tuple(FAST_METHODS.split(",")), 2, 1, 5, "train"), 1)
    assert not failures
    seconds, size = estimate(jobs)
    assert seconds == pytest.approx(sum(r["window"]["frames"] for r in records(forged_set)) / 25)
    written = sum(file.stat().st_size for file in (forged_set / "clips").iterdir())
    assert 0.5 * written < size < 10 * written


def test_only_genuine_rows_are_forged(people: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("path,video_label,audio_label\na,0,0\nb,1,0\nc,0,\nd,,0\ne,,\nf,0,1\n")
    assert list(genuine_rows(tmp_path, None).path) == ["a", "c", "d"]


@pytest.fixture
def job(followed: dict[str, Source]) -> Job:
    return Job("n", Origin("p", "f", "hopper", "c", "train", ""), Window(2, 50), 0, 0, (Attempt("x", None),), 3)


def test_a_face_and_a_voice_are_forged_in_one_clip(job: Job, followed: dict[str, Source]) -> None:
    source = followed["hopper-1"]
    made = forge_clip("self_blend+griffin_lim", source, None, job)
    face, voice = (forge_clip(name, source, None, job) for name in ("self_blend", "griffin_lim"))
    assert np.array_equal(made.frames, face.frames) and np.array_equal(made.waveform, voice.waveform)
    assert made.video_intervals == face.video_intervals and made.audio_intervals == voice.audio_intervals
    assert made.mismatch is False
    assert forge_clip("mouth_replacement+griffin_lim", source, followed["collins-1"], job).mismatch is True


def test_counts_of_combined_methods() -> None:
    assert counts(pd.DataFrame({"method": ["genuine", "lpc", "face_swap+lpc"]})) == {"genuine": 1, "lpc": 2, "face_swap": 1}


def test_facts_of_a_tracked_clip(people: Path, followed: dict[str, Source], tmp_path: Path) -> None:
    for name, source in followed.items():
        known = load_facts(people / "tracks" / cache_name(people / source.path, source.transcript))
        assert known.length == source.length == 60
        assert (known.video, known.audio, known.face) == (name != AUDIO_ONLY, name != VIDEO_ONLY, name != AUDIO_ONLY)
        assert known.words == source.words
        assert known.portrait.any() == known.face
    with pytest.raises(MediaError):
        track_clip(people / "clips" / f"{BROKEN}.mp4", tmp_path / "track.npz")
    assert not list(tmp_path.iterdir())


def test_a_clip_with_very_short_audio_is_used(people: Path, followed: dict[str, Source], tmp_path: Path) -> None:
    frames = followed["hopper-1"].frames
    assert frames is not None
    file, track = tmp_path / "clip.mkv", tmp_path / "track.npz"
    write_media(file, frames[:30], np.zeros(300, np.float32), audio_codec="pcm_s16le")
    track_clip(file, track)
    source = load_source(file, track, "clip", "hopper")
    assert source.waveform is not None and len(source.waveform) < 640
    assert load_facts(track).length == source.length


def test_a_cut_keeps_what_lies_in_it(followed: dict[str, Source]) -> None:
    source = followed["hopper-1"]
    part = source.cut(10, 25)
    assert part.frames is not None and source.frames is not None and part.landmarks is not None
    assert np.array_equal(part.frames, source.frames[10:35]) and len(part.landmarks) == 25 == part.length
    assert part.waveform is not None and len(part.waveform) == 25 * 640
    inside = [(a, b) for a, b in source.words if a >= 0.4 and b <= 1.4]
    assert len(inside) >= 2
    assert np.allclose(part.words, np.array(inside) - 0.4)
