from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from avwitness.evaluation.bench import measure_speed


@pytest.mark.slow
def test_bench_prints_every_stage(talk_file: Path) -> None:
    console = Console(record=True, width=120)
    console.print(measure_speed([str(talk_file)] * 2, "small"))
    text = console.export_text()
    for stage in (
        "decode",
        "landmark",
        "encode",
        "total",
        "audio alone, all of scoring",
        "audio alone, one recording of 6 s",
        "peak memory",
    ):
        assert stage in text


def test_bench_needs_files() -> None:
    with pytest.raises(ValueError, match="nothing"):
        measure_speed([], "small")
