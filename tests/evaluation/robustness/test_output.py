from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from avwitness.evaluation.document import write_section
from avwitness.evaluation.robustness.conditions import CONTROL, ORIGINAL, Condition
from avwitness.evaluation.robustness.metrics import condition_metrics
from avwitness.evaluation.robustness.output import section, write_robustness

LOUD = {"name": "loud", "title": "hiss & hum", "stream": "audio", "unit": "dB", "severities": [20.0, 10.0, 5.0, 0.0, -5.0]}
SMALL = {"name": "small", "title": "small pictures", "stream": "video", "unit": "", "severities": [1.0, 2.0, 3.0, 4.0, 5.0]}


def clips(power: float, sound: bool = True, seed: int = 0) -> pd.DataFrame:
    """Eighty clips of twenty people, whose scores differ by ``power`` standard deviations."""
    rng = np.random.default_rng(seed)
    label = np.arange(80) % 2
    score = 1.0 / (1.0 + np.exp(-(rng.normal(size=80) + power * (label - 0.5))))
    people = {"path": np.arange(80).astype(str), "identity": [f"p{n // 4}" for n in range(80)], "source_clip": ""}
    audio = {"audio_label": label if sound else np.nan, "p_audio": score if sound else np.nan}
    return pd.DataFrame({**people, **audio, "video_label": label, "overall_label": label, "p_video": score, "p_fake": score})


def results(names: tuple[dict[str, Any], ...] = (LOUD, SMALL), sound: bool = True) -> dict[str, Any]:
    powers = {Condition(ORIGINAL): 3.2, Condition(CONTROL): 3.0}
    powers |= {Condition(d["name"], n, s): 3.0 - 0.6 * n for d in names for n, s in enumerate(d["severities"], 1)}
    figures = [
        {"condition": c.kind, "level": c.level, "severity": c.severity, "clips": 80, **row}
        for c, power in powers.items()
        for row in condition_metrics(clips(power, sound), clips(3.0, sound), 20, 0)
    ]
    failure = {"condition": "loud 0", "clips": 80, "not_degraded": 2, "not_scored": 1, "example": "<a>.mp4: is empty (0 bytes)"}
    return {
        "setting": {
            "dataset": "made_up",
            "detector": "witness",
            "weights": "w",
            "degradations": [],
            "limit": 80,
            "seed": 7,
            "n_bootstrap": 20,
        },
        "clips": {"listed": 100, "valid": 90, "sampled": 80},
        "degradations": list(names),
        "results": figures,
        "failures": [failure],
        "notes": ["babble was left out: nobody else speaks"],
    }


def test_results_folder(tmp_path: Path) -> None:
    page = write_robustness(results(), tmp_path / "new" / "out")
    assert page == tmp_path / "new" / "out" / "robustness.html"
    assert sorted(p.suffix for p in page.parent.iterdir()) == [".csv", ".html", ".json", ".md", ".png", ".tex"]
    kept = json.loads(page.with_suffix(".json").read_text())
    table = pd.read_csv(page.with_suffix(".csv"))
    assert len(table) == len(kept["results"]) == 12 * 3
    last = table[(table.condition == "loud") & (table.level == 5) & (table.target == "audio")].iloc[0]
    assert last.severity == -5.0 and last.auc_low <= last.auc <= last.auc_high and last.change_high < 0.0
    text = page.with_suffix(".md").read_text()
    assert text.startswith("# Robustness of witness on made_up")
    assert f"| hiss &amp; hum | -5 dB | audio | 40 / 40 | 1.000 | {last.auc:.3f} [{last.auc_low:.3f}, {last.auc_high:.3f}] | -" in text
    assert f"{last.change:+.3f} [{last.change_low:+.3f}, {last.change_high:+.3f}]" in text
    assert "| small pictures | 5 | video |" in text and "| original | - | overall |" in text
    assert r"hiss \& hum & -5 dB & audio" in page.with_suffix(".tex").read_text()


def test_page_has_the_remarks(tmp_path: Path) -> None:
    page = write_robustness(results(), tmp_path).read_text()
    for sentence in (
        "80 clips, sampled evenly over categories and labels, of 90 without a problem (100 are listed).",
        "Seed 7, 20 bootstrap draws.",
        "with audio at 16 kHz",
        "Silence at the ends of clips is not trimmed here, unless a degradation does",
        "3 copies could not be made or scored, in 1 conditions.",
        "loud 0: of 80 clips 2 could not be degraded and 1 could not be scored, such as: &lt;a&gt;.mp4: is empty (0 bytes).",
        "babble was left out: nobody else speaks.",
    ):
        assert sentence in page
    assert page.count("<img") == 1 and 'src="http' not in page and page.count("<tr>") == 12 * 3 + 1


def test_the_short_table_has_a_row_for_each_degradation(tmp_path: Path) -> None:
    found = results()
    lines = section(json.loads(json.dumps(found)), "avwitness robustness --seed 7")
    auc = {(row["condition"], row["level"]): row["auc"] for row in found["results"] if row["target"] == "video"}
    values = " / ".join(f"{auc[key][0]:.3f}" for key in (("control", 0), ("loud", 1), ("loud", 3), ("loud", 5)))
    row, rates = (line for line in lines if line.startswith("| hiss & hum |"))
    control = next(row for row in found["results"] if (row["condition"], row["target"]) == ("control", "video"))
    shares = f"{100 * control['fpr']:.0f} % / {100 * control['tpr']:.0f} %"
    assert rates.startswith(f"| hiss & hum | 20 / 5 / -5 dB | {shares}, ")
    assert row.startswith(f"| hiss & hum | 20 / 5 / -5 dB | {values} [")
    assert sum(line.startswith("| small pictures | 1 / 3 / 5 |") for line in lines) == 2
    assert any("avwitness robustness --seed 7" in line for line in lines)
    write_section(tmp_path / "RESULTS.md", "robustness", lines)
    assert row in (tmp_path / "RESULTS.md").read_text()


@pytest.mark.parametrize("names", [(), (LOUD,), (LOUD,) * 5])
def test_any_number_of_degradations_and_targets(names: tuple[dict[str, Any], ...], tmp_path: Path) -> None:
    found = results(names, sound=False)
    page = write_robustness(found, tmp_path)
    assert page.with_suffix(".png").stat().st_size > 1000
    assert "| audio |" not in page.with_suffix(".md").read_text()
    header = next(line for line in section(found, "avwitness robustness") if line.startswith("| degradation |"))
    assert header == "| degradation | severities | video | overall |"  # no column for a target without a label
