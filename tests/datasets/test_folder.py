from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from makers import Talk
from typer.testing import CliRunner

from avwitness.cli import app
from avwitness.datasets.folder import list_genuine
from avwitness.datasets.manifest import read_labels
from avwitness.media.encode import write_media


@pytest.fixture
def corpus(talk: Talk, tmp_path: Path) -> Path:
    """Two people: one with three video clips and one audio clip, the other with audio only; a short clip and a broken one."""
    folder = tmp_path / "voices"
    for name in ("anna", "bert"):
        (folder / name).mkdir(parents=True)
    whole = write_media(folder / "anna" / "1.mp4", talk.frames[:50], talk.waveform[:32_000])
    for number in (2, 3):
        shutil.copy(whole, folder / "anna" / f"{number}.mp4")
    for place in ("anna/4.wav", "bert/1.wav"):
        write_media(folder / place, waveform=talk.waveform[:32_000], audio_codec="pcm_s16le")
    write_media(folder / "bert" / "short.wav", waveform=talk.waveform[:3_200], audio_codec="pcm_s16le")
    (folder / "bert" / "broken.wav").write_bytes(b"this is no audio")
    (folder / "bert" / "notes.txt").write_text("not media")
    return folder


def test_every_person_has_a_folder(corpus: Path) -> None:
    table, failures = list_genuine(corpus, {".mp4", ".wav"}, "voices", "train", min_seconds=1.0)
    assert list(table.path) == ["anna/1.mp4", "anna/2.mp4", "anna/3.mp4", "anna/4.wav", "bert/1.wav"]
    assert list(table.speaker) == ["anna"] * 4 + ["bert"]
    assert table.video_label.isna().tolist() == [False, False, False, True, True]
    assert set(table.audio_label) == {0} and set(table.method) == {"genuine"}
    assert len(failures) == 1 and "broken.wav" in failures[0]
    few, _ = list_genuine(corpus, {".mp4", ".wav"}, "voices", "train", min_seconds=1.0, per_identity=2)
    assert list(few.path) == ["anna/1.mp4", "anna/4.wav", "bert/1.wav"]  # the first, the last, evenly between


def test_the_command_writes_what_the_forge_reads(corpus: Path) -> None:
    done = CliRunner().invoke(app, ["catalogue", str(corpus), "--corpus", "chorus", "--split", "dev"])
    assert done.exit_code == 1  # one file is broken: named, and the others are listed
    assert "broken.wav" in done.stderr and "5 clips of 2 people" in done.stdout
    table = read_labels(corpus, "dev")
    assert set(table.corpus) == {"chorus"} and list(table.identity) == ["anna"] * 4 + ["bert"]
    assert all(file.is_file() for file in table.file)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    for folder, why in ((tmp_path, "no subfolder of it holds media"), (tmp_path / "absent", "no such folder")):
        done = CliRunner().invoke(app, ["catalogue", str(folder)])
        assert done.exit_code == 2 and why in " ".join(done.stderr.replace("│", " ").split())
    assert not list(tmp_path.iterdir())
