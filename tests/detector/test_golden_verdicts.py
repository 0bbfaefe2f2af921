"""The bundled detector gives the recorded verdicts of 24 clips."""

from __future__ import annotations

import json
from pathlib import Path

import golden
import pytest

RECORDED = Path(__file__).parents[1] / "golden" / "verdicts.json"


@pytest.mark.slow
def test_verdicts_are_those_recorded(tmp_path: Path) -> None:
    recorded = json.loads(RECORDED.read_text())
    data = golden.footage_folder()
    found = golden.score(golden.golden_clips(tmp_path, data))
    assert len(found) >= len(golden.SAMPLES) + len(golden.GENERATED)
    assert not golden.compare(recorded, found, golden.tolerance_here(recorded))


@pytest.mark.parametrize("changed", [0.5001, None, float("nan")])
def test_a_changed_number_is_reported(changed: float | None) -> None:
    one = {"p_fake": 0.5, "audio": {"label": "fake"}}
    assert golden.differences(one, {**one, "p_fake": changed}, golden.SAME_PROCESSOR)
    assert not golden.differences(one, dict(one), golden.SAME_PROCESSOR)
