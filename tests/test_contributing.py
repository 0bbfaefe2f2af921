"""The snippets of CONTRIBUTING.md work as they are printed there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef

ROOT = Path(__file__).parents[1]
SNIPPET = re.compile(r"```python\n(# (\S+)\.py\n.*?)```", re.DOTALL)


def snippet(path: str) -> dict[str, Any]:
    """The names that a snippet defines, executed as the file that its first line names."""
    code = {name: text for text, name in SNIPPET.findall((ROOT / "CONTRIBUTING.md").read_text())}[path]
    assert not (ROOT / f"{path}.py").exists()
    module = "avwitness." + path.replace("/", ".")
    names: dict[str, Any] = {"__name__": module, "__package__": module.rpartition(".")[0]}
    exec(compile(code, f"{path}.py", "exec"), names)
    return names


def test_the_benchmark_reader(tmp_path: Path) -> None:
    reader = snippet("datasets/deepfake/clipset")["ClipSet"]()
    assert not reader.recognises(tmp_path)
    (tmp_path / "videos").mkdir()
    for name in "abc":
        (tmp_path / "videos" / f"{name}.mp4").write_bytes(b"x")
    (tmp_path / "clipset.csv").write_text("file,fake,person\na.mp4,0,p1\nb.mp4,1,p2\nd.mp4,1,p2\n")
    assert reader.recognises(tmp_path)
    table = reader.read(tmp_path)
    assert table["path"].tolist() == ["videos/a.mp4", "videos/b.mp4", "videos/d.mp4", "videos/c.mp4"]
    assert table["problem"].tolist() == ["", "", "the file is missing", "the file is in no table"]
    assert table["video_label"].tolist()[:2] == [0, 1]


def test_the_forging_method() -> None:
    voice = snippet("generators/voices/mu_law")["MuLaw"]()
    waveform = np.sin(np.arange(1600) / 20).astype(np.float32)
    made = voice(waveform, np.random.default_rng(0))
    assert made.shape == waveform.shape and made.dtype == np.float32
    assert 0 < np.abs(made - waveform).max() < 0.2


def test_the_metric() -> None:
    matthews = snippet("evaluation/metrics/matthews")["matthews"]
    scores, labels = np.array([0.1, 0.6, 0.7, 0.9]), np.array([0, 0, 1, 1])
    assert matthews(scores, labels) == pytest.approx(matthews_corrcoef(labels, scores >= 0.5))
    assert np.isnan(matthews(scores, np.ones(4)))
