"""Contact sheets of a forged set."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from typer.testing import CliRunner

from avwitness.cli import app
from avwitness.evaluation.reports.contact_sheets import TILE_SIZE, contact_sheets

HEIGHT = 3 * TILE_SIZE  # two faces, and two spectrograms of half their height


def pairs(folder: Path) -> dict[str, int]:
    """Number of clips of every method with a paired real clip."""
    table = pd.read_csv(folder / "manifest.csv", keep_default_na=False)
    paired = {(row.source_clip, row.slot) for row in table.itertuples() if row.method == "genuine"}
    count: dict[str, int] = {}
    for row in table.itertuples():
        if row.method != "genuine" and "+" not in row.method and (row.source_clip, row.slot) in paired:
            count[row.method] = count.get(row.method, 0) + 1
    return count


def test_every_method_gets_a_sheet_of_the_right_size(forged_set: Path, tmp_path: Path) -> None:
    expected = pairs(forged_set)
    assert len(expected) >= 3
    sheets = list(contact_sheets(forged_set, tmp_path / "sheets", columns=2))
    assert {sheet.stem for sheet in sheets} == set(expected)
    assert sorted((tmp_path / "sheets").iterdir()) == sorted(sheets)
    for sheet in sheets:
        image = cv2.imread(str(sheet))
        assert image.shape == (HEIGHT, TILE_SIZE * min(2, expected[sheet.stem]), 3)


def test_a_tile_shows_the_genuine_face_above_the_forged_one(forged_set: Path, tmp_path: Path) -> None:
    table = pd.read_csv(forged_set / "manifest.csv", keep_default_na=False)
    paired = {(row.source_clip, row.slot) for row in table.itertuples() if row.method == "genuine"}
    shown = set()
    for sheet in contact_sheets(forged_set / "manifest.csv", tmp_path, columns=1):
        row = next(r for r in table[table.method == sheet.stem].itertuples() if (r.source_clip, r.slot) in paired)
        image = cv2.imread(str(sheet)).astype(int)
        above, below = image[:TILE_SIZE], image[TILE_SIZE : 2 * TILE_SIZE]
        if str(row.video_label) == "":
            assert not above.any() and not below.any()  # audio alone
            continue
        assert above.std() > 10.0
        assert np.corrcoef(above.ravel(), below.ravel())[0, 1] > 0.5
        assert (np.abs(above - below).mean() > 0.8) == (str(row.video_label) == "1"), sheet.stem
        shown.add(str(row.video_label))
        spectrograms = [image[2 * TILE_SIZE : 2 * TILE_SIZE + TILE_SIZE // 2], image[2 * TILE_SIZE + TILE_SIZE // 2 :]]
        if str(row.audio_label) == "":
            assert not spectrograms[0].any() and not spectrograms[1].any()
        else:
            assert spectrograms[0].std() > 10.0
            assert np.array_equal(*spectrograms) == (str(row.audio_label) == "0" and row.offset_ms == 0 and row.method != "foreign_audio")
    assert "1" in shown


def test_command_prints_the_sheets(forged_set: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["sheets", str(forged_set), str(tmp_path / "out"), "--columns", "1"])
    assert done.exit_code == 0
    assert [Path(line).name for line in done.stdout.split()] == sorted(f"{method}.png" for method in pairs(forged_set))
    assert all(Path(line).is_file() for line in done.stdout.split())
