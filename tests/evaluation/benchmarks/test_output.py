from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmarks import benchmark

from avwitness.evaluation.benchmarks.compare import compare
from avwitness.evaluation.benchmarks.evaluate import SILENCE_KEPT, SILENCE_TRIMMED, SILENCE_UNKNOWN, EvaluationSettings, evaluate
from avwitness.evaluation.benchmarks.output import write_results
from avwitness.evaluation.benchmarks.protocols import PROTOCOLS
from avwitness.evaluation.pages import latex_table


def written(folder: Path, power: float, seed: int = 0, protocol: str = "zero-shot", dataset: str = "made_up") -> Path:
    table, scored = benchmark(600, seed, power)
    table.loc[:2, "problem"] = "the file is <missing> & gone"
    figures, tested = evaluate(table, scored, EvaluationSettings(dataset, f"power {power:g}", PROTOCOLS[protocol], n_bootstrap=50))
    return write_results(figures, tested, folder).parent


def test_results_folder(tmp_path: Path) -> None:
    out = written(tmp_path / "new" / "out", 2.0)
    assert {p.name for p in out.iterdir()} == {
        "results.json", "rows.parquet", "table.csv", "table.md", "table.tex", "multi_label.tex", "fairness.csv", "fairness.tex",
        "roc.png", "det.png", "reliability.png", "index.html",
    }  # fmt: skip
    figures = json.loads((out / "results.json").read_text())
    table = pd.read_csv(out / "table.csv")
    assert len(table) == len(figures["results"])
    assert table.auc[0] == pytest.approx(figures["results"][0]["auc"][0])
    assert (table.auc_low <= table.auc).all()
    text = (out / "table.md").read_text()
    assert text.startswith("# power 2 on made_up")
    assert "zero-shot (not the default): nothing of the benchmark is used for training" in text
    assert "3 rows: the file is &lt;missing> &amp; gone." in text
    assert f"{figures['results'][0]['auc'][0]:.3f} [" in text
    page = (out / "index.html").read_text()
    assert page.count("<img") == 3 and "&lt;missing&gt; &amp; gone" in page and 'src="http' not in page
    body = page.split("<h2>")[0]
    assert body.count("<tr>") == len(table) + 1
    assert "<h2>Both streams together" in page and "<h2>Fairness" in page and "<h2>Temporal" not in page  # without intervals
    assert "gender: women" in page and "gap by chance" in text and "No clip has a value of" in text


def test_localisation_has_a_table(tmp_path: Path) -> None:
    table, scored = benchmark(80)
    fake = table.video_label == 1
    table.loc[fake, "video_intervals"] = "[[1.0, 2.0]]"
    scored.table["video_intervals"] = ["[[1.0, 2.0, 0.9], [5.0, 6.0, 0.1]]" if label else "[]" for label in fake]
    scored.table.loc[0, "video_intervals"] = ""
    deprived, _ = evaluate(table, scored, EvaluationSettings("made_up", "exact", PROTOCOLS["zero-shot"], "video", n_bootstrap=20))
    assert not deprived["localisation"]
    figures, tested = evaluate(table, scored, EvaluationSettings("made_up", "exact", PROTOCOLS["zero-shot"], n_bootstrap=20))
    row, whole = figures["localisation"]
    assert (row["stream"], whole["stream"]) == ("video", "overall") and whole["clips"] < row["clips"]  # no segments of fake audio
    assert row["ap_at_0.95"] == [1.0, 1.0, 1.0] and row["ar_at_5"][0] == 1.0 and row["segments"] == fake.sum()
    assert row["clips"] == 79 and row["coverage"] == pytest.approx(79 / 80)
    out = write_results(figures, tested, tmp_path).parent
    assert pd.read_csv(out / "localisation.csv")["ap_at_0.5_low"].tolist() == [1.0, 1.0]
    assert "AP@0.95" in (out / "table.md").read_text() and "<h2>Temporal localisation" in (out / "index.html").read_text()


@pytest.mark.slow
def test_silence_is_reported_and_compared(tmp_path: Path) -> None:
    table, scored = benchmark(200)
    texts = {}
    for silence in (SILENCE_TRIMMED, SILENCE_KEPT, SILENCE_UNKNOWN):
        setting = EvaluationSettings("made_up", "nobody", PROTOCOLS["zero-shot"], n_bootstrap=20, silence=silence)
        texts[silence] = (write_results(*evaluate(table, scored, setting), tmp_path / silence).with_name("table.md")).read_text()
    assert "trimmed before scoring (the default)" in texts[SILENCE_TRIMMED] and "kept (not the default)" in texts[SILENCE_KEPT]
    assert "not known whether it was trimmed" in texts[SILENCE_UNKNOWN]
    assert compare(tmp_path / SILENCE_TRIMMED, tmp_path / SILENCE_UNKNOWN, 10, 0)
    with pytest.raises(ValueError, match="trimmed in one and kept in the other"):
        compare(tmp_path / SILENCE_TRIMMED, tmp_path / SILENCE_KEPT, 10, 0)


def test_a_name_is_neither_html_nor_a_formula(tmp_path: Path) -> None:
    out = written(tmp_path, 2.0, dataset='=<img src="x">\n![a](http://b)')
    text = (out / "table.md").read_text()
    assert '# power 2 on =&lt;img src="x"> !\\[a](http://b)\n' in text and "<img" not in text
    assert pd.read_csv(out / "table.csv").dataset[0].startswith("'=")


def test_results_of_version_0_1_are_compared(tmp_path: Path) -> None:
    new = written(tmp_path / "new", 2.0)
    old = written(tmp_path / "old", 1.0)
    results = json.loads((old / "results.json").read_text())
    results["setting"]["silence"] = "not said"
    results["setting"]["rounds"] = results["setting"].pop("n_bootstrap")
    (old / "results.json").write_text(json.dumps(results))
    assert len(compare(old, new, 10, 0)) == 3


def test_latex_escapes_names() -> None:
    made = latex_table(("a", "b", "c", "AUC"), [["x_y", "50 %", "\\{}", "0.5"]], "A & B")
    assert r"x\_y & 50 \% & \textbackslash{}\{\} & 0.5 \\" in made
    assert r"\caption{A \& B}" in made and r"\begin{tabular}{lllr}" in made


@pytest.mark.slow
def test_default_protocol_is_marked(tmp_path: Path) -> None:
    assert "identities are in both train and test" in (written(tmp_path / "b", 2.0, protocol="random") / "table.md").read_text()
    text = (written(tmp_path / "a", 2.0, protocol="identity-disjoint") / "table.md").read_text()
    assert "identity-disjoint (the default): no identity is in both train and test" in text


@pytest.mark.slow
def test_comparison_of_better_and_equal_detectors(tmp_path: Path) -> None:
    strong, weak, again = written(tmp_path / "a", 3.0), written(tmp_path / "b", 1.0), written(tmp_path / "c", 3.0, seed=0)
    found = {row.stream: row for row in compare(strong / "results.json", weak, 200, 0)}
    assert set(found) == {"video", "audio", "overall"}
    assert found["video"].difference.low > 0.0 and found["video"].p < 0.001
    assert found["video"].difference.value == pytest.approx(found["video"].first - found["video"].second)
    assert (found["video"].fakes, found["video"].genuine, found["video"].unit_name) == (299, 298, "identities")
    same = compare(strong, again, 50, 0)
    assert all(row.difference.value == 0.0 and row.p == 1.0 for row in same)


@pytest.mark.slow
def test_incomparable_results_are_refused(tmp_path: Path) -> None:
    one, other = written(tmp_path / "a", 2.0), written(tmp_path / "b", 2.0, protocol="random")
    with pytest.raises(ValueError, match="protocol is zero-shot in one and random in the other"):
        compare(one, other, 10, 0)
    with pytest.raises(FileNotFoundError, match="avwitness evaluate"):
        compare(one, tmp_path / "nowhere.json", 10, 0)
    rows = pd.read_parquet(one / "rows.parquet")
    rows.assign(p_video=np.nan, p_audio=np.nan, p_fake=np.nan).to_parquet(one / "rows.parquet")
    with pytest.raises(ValueError, match="no row was scored by both"):
        compare(one, one, 10, 0)
