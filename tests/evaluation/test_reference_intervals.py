"""Average precision and recall against the reference implementation of AV-Deepfake1M."""

from __future__ import annotations

import importlib.util
import json
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from avwitness.evaluation.metrics.temporal import IOUS, average_precision_at_iou, average_recall_at

CASES = 1000
FPS = 25.0
COUNTS = (1, 2, 5, 10)

Clips = list[tuple[list[tuple[float, float, float]], list[tuple[float, float]]]]


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """Its compiled part; the rest of the package imports other dependencies."""
    found = importlib.util.find_spec("avdeepfake1m")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the package avdeepfake1m is not installed")
    folder = Path(found.submodule_search_locations[0])
    file = next((path for suffix in EXTENSION_SUFFIXES for path in folder.glob(f"_evaluation*{suffix}")), None)
    if file is None:
        pytest.skip("the package avdeepfake1m holds no compiled part for this Python")
    spec = importlib.util.spec_from_file_location("avdeepfake1m._evaluation", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made_up(rng: np.random.Generator) -> Clips:
    """Clips with and without fake segments, with proposals near them and elsewhere, by falling score."""
    clips: Clips = []
    for _ in range(int(rng.integers(1, 6))):
        end, true = 0.0, []
        for _ in range(int(rng.integers(0, 4))):
            begin = end + float(rng.uniform(0.04, 0.8))
            end = begin + float(rng.uniform(0.04, 1.2))
            true.append((begin, end))
        proposals = []
        for _ in range(int(rng.integers(1, 8))):
            if true and rng.random() < 0.6:
                near = true[int(rng.integers(len(true)))]
                begin = max(0.0, near[0] + float(rng.uniform(-0.16, 0.16)))
                last = max(near[1] + float(rng.uniform(-0.16, 0.16)), begin + 0.04)
            else:
                begin = float(rng.uniform(0.0, 2.4))
                last = begin + float(rng.uniform(0.04, 1.2))
            proposals.append((begin, last, float(rng.random())))
        clips.append((sorted(proposals, key=lambda p: -p[2]), true))
    return clips


def test_a_thousand_random_cases_agree(reference: ModuleType, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels, proposed = tmp_path / "labels.json", tmp_path / "proposals.json"
    judged = 0
    for _ in range(CASES):
        clips = made_up(rng)
        proposals, truth = [p for p, _ in clips], [t for _, t in clips]
        labels.write_text(json.dumps([{"file": str(i), "fake_segments": t} for i, t in enumerate(truth)]))
        proposed.write_text(json.dumps({str(i): [(s, FPS * a, FPS * b) for a, b, s in p] for i, p in enumerate(proposals)}))
        where = (str(proposed), str(labels), "file", "fake_segments", FPS)
        theirs = list(reference.ap_1d(*where, list(IOUS)).values())
        ours = [average_precision_at_iou(proposals, truth, iou, from_first=True) for iou in IOUS]
        assert ours == pytest.approx(theirs, abs=1e-5, nan_ok=True)
        if any(truth):
            judged += 1
            recalled = reference.ar_1d(*where, list(COUNTS), list(IOUS))
            assert [average_recall_at(proposals, truth, n) for n in COUNTS] == pytest.approx([recalled[n] for n in COUNTS], abs=1e-5)
    assert judged > 0.9 * CASES
