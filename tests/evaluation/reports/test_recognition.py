from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from speech import toy_corpus

from avwitness.avsr.training.corpus import load_utterances
from avwitness.evaluation.document import markdown_table, write_section
from avwitness.evaluation.reports.recognition import Errors, add_babble, error_rate


def test_errors_are_counted_in_words_and_characters() -> None:
    errors = Errors.count([("bin blue at f", "bin blue at f"), ("bin blue at f", "bin red at"), ("ab cd", "")])
    assert errors.words.tolist() == [[0, 4], [2, 4], [2, 2]]
    assert errors.characters[0].tolist() == [0, 13]
    assert errors.characters[2].tolist() == [5, 5]
    assert error_rate(errors.words, seed=0).value == pytest.approx(40.0)
    rate = error_rate(np.tile(errors.words, (2, 1)), seed=0)
    assert rate.value == pytest.approx(40.0) and rate.low <= rate.value <= rate.high
    assert rate == error_rate(np.tile(errors.words, (2, 1)), seed=0)


def test_babble_has_its_snr_and_is_deterministic(tmp_path: Path) -> None:
    table = toy_corpus(tmp_path, clips=6)
    clips = load_utterances(table, tmp_path)
    one, other, third = (add_babble(clips[0], clips[1:], 0.0, seed) for seed in (0, 0, 1))
    assert one.views.waveform is not None and other.views.waveform is not None and third.views.waveform is not None
    assert np.array_equal(one.views.waveform, other.views.waveform)
    assert not np.array_equal(one.views.waveform, third.views.waveform)
    clean = clips[0].views.waveform
    assert clean is not None
    noise = one.views.waveform - clean
    assert np.mean(noise**2) == pytest.approx(np.mean(clean**2), rel=1e-3)
    assert np.array_equal(clips[0].views.mouth, one.views.mouth)  # type: ignore[arg-type]


def test_write_section(tmp_path: Path) -> None:
    file = tmp_path / "RESULTS.md"
    write_section(file, "one", markdown_table(("a", "b"), [(1, 2)]))
    write_section(file, "two", ["second"])
    write_section(file, "one", [r"first \1"])
    text = file.read_text()
    assert text.startswith("# Results\n")
    assert text.count("begin -->") == 2
    assert text.index(r"first \1") < text.index("second")
    assert "| 1 | 2 |" not in text


def test_curves_are_drawn(tmp_path: Path) -> None:
    from avwitness.evaluation.reports.training_curves import draw_curves

    rows = [{"stage": stage, "step": s, "minutes": s / 2, "ctc_audio": 5.0 / s, "cer_joint": 1.0 / s} for stage in "ab" for s in (1, 2, 3)]
    draw_curves(pd.DataFrame(rows), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5000


def test_curves_of_bundled_weights_have_the_current_columns() -> None:
    from avwitness.avsr.training.export import read_curves
    from avwitness.checkpoints import find_weights

    curves = read_curves(find_weights("avsr", "small"))
    heads = ("audio", "video", "joint")
    assert {f"{kind}_{head}" for kind in ("ctc", "masked_prediction", "cer") for head in heads} <= set(curves)
    assert not [column for column in curves if column.startswith(("letters_", "clusters_"))]
