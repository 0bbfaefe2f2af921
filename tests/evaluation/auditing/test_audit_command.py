"""The command `avwitness audit`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from audited import PAIRS, late
from typer.testing import CliRunner

from avwitness.cli import app


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["audit", *map(str, arguments), "--workers", "1"])
    return done.exit_code, done.output


@pytest.mark.slow
def test_the_command(clean: Path, tmp_path: Path, broken_files: dict[str, Path]) -> None:
    code, text = run(clean)
    assert code == 0
    assert "No statistic is a leak." in text
    table = pd.read_csv(clean)
    table["path"] = [str(clean.parent / name) for name in table.path]
    table["split"] = ["dev", "test"] * (len(table) // 2)
    table.loc[table.audio_label == 1, "path"] = [str(late(tmp_path / f"late{clip}", clip, 1)) for clip in range(PAIRS)]
    extra = pd.DataFrame(
        [{"path": str(broken_files[kind]), "audio_label": 1, "identity": "x", "split": "test"} for kind in ("text", "missing")]
    )
    pd.concat([table, extra]).to_parquet(tmp_path / "manifest.parquet")
    out = tmp_path / "RESULTS.md"
    out.write_text("# Results\n\n<!-- other: begin -->\nkept\n<!-- other: end -->\n")
    code, text = run(tmp_path, "--out", out, "--section", "mine", "--title", "My set", "--cache", tmp_path / "cache")
    assert code == 3
    assert "Leaks: audio: leading silence" in text
    assert f"{2 * PAIRS + 2} clips, 2 of them not readable" in text
    assert "text.mp4" in text and "missing.mp4" in text
    written = out.read_text()
    assert "kept" in written
    assert "<!-- mine: begin -->\n# My set\n" in written
    assert f"avwitness audit {tmp_path} --seed 0" in written
    assert "| leading silence | 1.000 [1.000, 1.000] | leak |" in written
    assert f"{PAIRS} genuine and {PAIRS} fake clips of 20 identities; 5 folds" in written


def test_usage_errors(tmp_path: Path) -> None:
    file = tmp_path / "manifest.csv"
    for content, arguments, named in (
        (None, (), "no manifest there"),
        ("name,audio_label\na.wav,0\n", (), "column path is missing"),
        ("path,label\na.wav,0\n", (), "video_label and audio_label are missing"),
        ("path,audio_label\na.wav,maybe\n", (), "audio_label must be 0, 1 or empty"),
        ("path,audio_label\na.wav,0\n", ("--split", "test"), "leave --split out"),
        ("path,audio_label,split\na.wav,0,dev\n", ("--split", "test"), "there are dev"),
        ("path,audio_label\na.wav,0\nb.wav,1\n", (), "none of the 2 clips can be read"),
    ):
        if content is not None:
            file.write_text(content)
        code, text = run(file, *arguments)
        assert code == 2
        assert named in text
        assert content is None or "manifest.csv" in text or "a.wav" in text
