"""The commands `avwitness evaluate`, `compare` and `datasets`."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from makers import Talk
from typer.testing import CliRunner

from avwitness.cli import app
from avwitness.media.encode import write_media


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, " ".join((done.stdout + done.stderr).replace("│", " ").split())


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Forty clips of twenty people, and a row whose file is missing."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    rows = []
    for number in range(40):
        (folder / f"{number}.wav").write_bytes(b"%d" % max(number, 1))  # 0 and 1 have equal content and different labels
        rows.append((f"{number}.wav", "", number % 2, f"p{number // 2}", "dev", "tts" if number % 2 else "real"))
    rows.append(("absent.wav", "", 0, "p1", "train", "real"))
    pd.DataFrame(rows, columns=["path", "video_label", "audio_label", "identity", "split", "method"]).to_csv(
        folder / "manifest.csv", index=False
    )
    return folder


def test_evaluate_and_compare_score_files(corpus: Path, tmp_path: Path) -> None:
    for name, step in (("good", 1), ("poor", 3)):
        scores = [(f"{n}.wav", (n % 2 + (n * step % 7) / 7 * step) / 4) for n in range(40)]
        pd.DataFrame(scores, columns=["path", "p_audio"]).to_csv(tmp_path / f"{name}.csv", index=False)
        code, said = run(
            *("evaluate", "--root", corpus, "--protocol", "zero-shot", "--bootstrap", 20, "--name", name),
            *("--scores", tmp_path / f"{name}.csv", "--out", tmp_path / name),
        )
        assert code == 1 and "1 rows: the file is missing" in said and "40 of 41 rows, coverage 1.000" in said
        assert "splits dev and train share 1 identities, such as p1" in said
        assert (
            "2 files have the same content as another file, such as 0.wav and 1.wav" in said and "2 of them have different labels" in said
        )
    results = json.loads((tmp_path / "good" / "results.json").read_text())
    assert results["setting"]["detector"] == "good" and {row["stream"] for row in results["results"]} == {"audio", "overall"}
    listed = pd.read_csv(tmp_path / "good" / "benchmark.csv")
    assert len(listed) == 41 and listed.problem.notna().sum() == 1
    code, said = run("compare", tmp_path / "good" / "results.json", tmp_path / "poor", "--bootstrap", 50)
    assert code == 0 and "whole set audio 20 / 20 1.000" in said


def test_split_command(corpus: Path, tmp_path: Path) -> None:
    code, said = run("split", "--root", corpus, "--protocol", "random", "--out", tmp_path / "parts.csv")
    assert code == 0 and said == "random train 28 test 12"
    parts = pd.read_csv(tmp_path / "parts.csv")
    scores = pd.DataFrame({"path": parts.path[parts.random == "test"], "p_audio": 0.5})
    scores.to_csv(tmp_path / "s.csv", index=False)
    options = ("--root", corpus, "--protocol", "random", "--bootstrap", 5, "--out", tmp_path / "out")
    code, said = run("evaluate", *options, "--scores", tmp_path / "s.csv")
    assert "coverage 1.000" in said  # of the tested rows
    assert (pd.read_csv(tmp_path / "out" / "benchmark.csv").random == "test").sum() == 12
    assert run("split", "--root", corpus, "--protocol", "moon", "--out", tmp_path / "p.csv")[0] == 2


@pytest.mark.slow
def test_bundled_detector_is_evaluated_and_cached(talk_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (folder / name).write_bytes(talk_file.read_bytes())
    (folder / "c.mp4").write_bytes(b"this is no film" * 100)
    (folder / "manifest.csv").write_text("path,video_label,audio_label\na.mp4,1,0\nb.mp4,0,0\nc.mp4,0,1\n")
    command = (
        "evaluate",
        "--root",
        folder,
        "--protocol",
        "zero-shot",
        "--bootstrap",
        5,
        "--workers",
        1,
        "--device",
        "cpu",
        "--out",
        tmp_path / "out",
    )
    code, said = run(*command)
    assert code == 1 and "3 of 3 rows, coverage 0.667" in said  # the file that cannot be decoded is a failure
    kept = (tmp_path / "out" / "verdicts.jsonl").read_text()
    assert len(kept.splitlines()) == 2  # two of the three have equal content
    code, again = run(*command)
    assert code == 1 and again == said and (tmp_path / "out" / "verdicts.jsonl").read_text() == kept


def test_usage_errors(corpus: Path, tmp_path: Path) -> None:
    for arguments, why in (
        (("--protocol", "moon"), "is none of random, identity-disjoint"),
        (("--dataset", "moon"), "'moon' is none of csv"),
        (("--dataset", "lavdf"), "no such file"),
        (("--split", "test"), "no row has the split test; there are dev, train"),
        (("--protocol", "official", "--split", "train"), "no row is without a problem"),
        (("--missing", "moon"), "none of none, video"),
        (("--scores", corpus / "manifest.csv", "--model", "small"), "either a model or a score file"),
        (("--scores", tmp_path / "absent.csv"), "no such score file"),
    ):
        given = arguments if "--scores" in arguments else (*arguments, "--scores", tmp_path / "s.csv")
        (tmp_path / "s.csv").write_text("path,p_audio\n0.wav,0.5\n")
        code, said = run("evaluate", "--root", corpus, "--out", tmp_path / "out", "--bootstrap", 5, *given)
        assert code == 2 and why in said, arguments
    code, said = run("compare", tmp_path / "a", tmp_path / "b")
    assert code == 2 and "avwitness evaluate" in said


def test_benchmarks_and_protocols_are_listed() -> None:
    code, said = run("datasets")
    assert code == 0 and "fakeavceleb" in said and "identity-disjoint" in said and said.count("(the default)") == 1


@pytest.mark.slow
def test_ray_cluster_gives_the_same_scores(talk: Talk, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for fake in (0, 1):
        write_media(folder / f"{fake}.wav", waveform=talk.waveform[fake * 8000 : fake * 8000 + 24_000], audio_codec="pcm_s16le")
    (folder / "manifest.csv").write_text("path,audio_label\n0.wav,0\n1.wav,1\n")
    command = ("evaluate", "--root", folder, "--protocol", "zero-shot", "--bootstrap", 5, "--workers", 1, "--device", "cpu")
    for name, options in (("here", ()), ("ray", ("--cluster", "local"))):
        code, said = run(*command, "--out", tmp_path / name, *options)
        assert code == 0 and "2 of 2 rows, coverage 1.000" in said
    here, ray = (pd.read_parquet(tmp_path / name / "rows.parquet") for name in ("here", "ray"))
    pd.testing.assert_frame_equal(here, ray)
    code, said = run(*command, "--out", tmp_path / "none", "--cluster", "127.0.0.1:1")
    assert code == 2 and "answers there" in said
