"""The commands `avwitness robustness` and `degrade`."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from makers import Talk
from typer.testing import CliRunner

from avwitness.checkpoints import find_weights
from avwitness.cli import app
from avwitness.media.encode import write_media


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, " ".join((done.stdout + done.stderr).replace("│", " ").split())


@pytest.fixture(scope="module")
def corpus(talk: Talk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for fake in (0, 1):
        write_media(folder / f"{fake}.wav", waveform=talk.waveform[fake * 8000 : fake * 8000 + 24_000], audio_codec="pcm_s16le")
    (folder / "manifest.csv").write_text("path,video_label,audio_label,identity\n0.wav,,0,a\n1.wav,,1,b\n")
    return folder


@pytest.mark.slow
def test_bundled_detector_and_score_file_use_the_same_copies(corpus: Path, tmp_path: Path) -> None:
    asked = ("--root", corpus, "--degradations", "band_limit,h264", "--levels", 5)
    out = ("--out", tmp_path / "ours", "--bootstrap", 5, "--workers", 1, "--device", "cpu", "--section", tmp_path / "R.md")
    code, said = run("robustness", *asked, *out)
    assert code == 0 and "2 clips, 0 copies could not be made" in said
    assert "h264 was left out, since no clip has the stream that it changes (video)" in said
    ours = json.loads((tmp_path / "ours" / "robustness.json").read_text())
    assert {row["condition"] for row in ours["results"]} == {"original", "control", "band_limit"} and ours["setting"]["levels"] == [5]
    section = (tmp_path / "R.md").read_text()
    assert "`avwitness robustness --root FOLDER --dataset csv --model small --levels 5 --seed 0 --degradations band_limit,h264`" in section
    kept = (tmp_path / "ours" / "verdicts.jsonl").read_text()
    weights = find_weights("detector", "small")
    sound = run("robustness", *asked, *out[:1], tmp_path / "sound", *out[2:], "--modality", "audio", "--model", weights)
    heard = json.loads((tmp_path / "sound" / "robustness.json").read_text())
    assert sound[0] == 0 and {row["target"] for row in heard["results"]} == {"audio"}
    section = (tmp_path / "R.md").read_text()
    assert "--model small --levels 5 --seed 0 --modality audio --degradations" in section and "robustness-csv-audio" in section
    assert str(weights) not in section  # no path of this machine
    assert run("robustness", *asked, *out)[0] == 0 and (tmp_path / "ours" / "verdicts.jsonl").read_text() == kept  # verdicts are cached

    code, said = run("degrade", *asked, "--out", tmp_path / "copies", "--workers", 1)
    assert code == 0 and said.endswith("manifest.csv")
    listed = pd.read_csv(tmp_path / "copies" / "manifest.csv")
    assert listed.degradation.tolist() == ["original", "original", "control", "control", "band_limit", "band_limit"]
    pd.DataFrame({"path": listed.path, "p_audio": listed.audio_label}).to_csv(tmp_path / "theirs.csv", index=False)
    code, said = run("robustness", *asked, "--scores", tmp_path / "theirs.csv", "--out", tmp_path / "theirs", "--bootstrap", 5)
    theirs = json.loads((tmp_path / "theirs" / "robustness.json").read_text())
    assert code == 0 and [row["auc"][0] for row in theirs["results"] if row["target"] == "audio"] == [1.0] * 3


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--levels", "1,6"), "no severities from 1 to 5"),
        (("--levels", "mild"), "no severities from 1 to 5"),
        (("--degradations", "moon"), "no degradation moon; there are h264, "),
        (("--dataset", "moon"), "'moon' is none of csv"),
    ],
)
def test_usage_errors(corpus: Path, tmp_path: Path, arguments: tuple[str, ...], why: str) -> None:
    for command in ("robustness", "degrade"):
        code, said = run(command, "--root", corpus, "--out", tmp_path / "out", *arguments)
        assert code == 2 and why in said
