"""The section on forging."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from avwitness.evaluation.reports import forgery_quality, forging
from avwitness.generators.forge.registry import METHODS
from avwitness.generators.voices.resynthesis import VOICES


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread", "followed")
def test_the_report_on_forging(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pd.read_csv(people / "manifest.csv", keep_default_na=False)
    table = table[table.path.str.contains("collins-|hopper-") & (table.split == "train")].copy()
    table["path"] = [str(people / path) for path in table.path]
    table["split"] = ["dev" if "collins-1" in path else "train" for path in table.path]
    table.to_csv(tmp_path / "manifest.csv", index=False)
    out = tmp_path / "RESULTS.md"
    out.write_text("# Results\n\n<!-- other: begin -->\nkept\n<!-- other: end -->\n")

    class Absent(type(METHODS["lpc"])):  # type: ignore[misc]
        def missing_reason(self) -> str:
            return "it is not at home"

    few = {name: METHODS[name] for name in ("lpc", "self_blend", "face_autoencoder")}
    monkeypatch.setattr(forging, "METHODS", {**few, "away": Absent(VOICES["lpc"])})
    monkeypatch.setattr(forging, "N_CLIPS", 1)
    monkeypatch.setattr(forgery_quality, "VOICES", {"lpc": VOICES["lpc"]})
    forging.write_forging(tmp_path, out, 1, 0, tmp_path / "tracks")
    text = out.read_text()
    assert "kept" in text
    for name in few:
        found = re.search(rf"\| `{name}` \| \w+ \| ([\d.]+) \|", text)
        assert found is not None and float(found[1]) > 0.0
    assert "`away` (it is not at home)" in text
    assert re.search(r"\| genuine \| 1 \| [\d.]+ %", text) and re.search(r"\| lpc \| 1 \| [\d.]+ % \| [\d.]+ \|", text)
    psnr = re.search(r"\| `face_autoencoder` \| \d+ \| ([\d.]+) \| ([\d.]+) \|", text)
    assert psnr is not None and 20.0 < float(psnr[1]) < 60.0 and 0.5 < float(psnr[2]) <= 1.0
