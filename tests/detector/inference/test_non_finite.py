from __future__ import annotations

import json
import math
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch

import avwitness
from avwitness.detector.calibration import Calibration, StreamCalibration
from avwitness.detector.inference.detector import Detector
from avwitness.detector.inference.window_model import NonFiniteOutput, WindowOutput
from avwitness.detector.inference.writers import open_writer, read_done
from avwitness.detector.inference.zero_shot import load_zero_shot
from avwitness.detector.model import DetectorOutput
from avwitness.detector.verdict import Segment, StreamVerdict, Verdict, schema

READER = Path(__file__).parents[3] / "avsr" / "weights" / "small"


@pytest.fixture(scope="module")
def detector(one_thread: None) -> Detector:
    return avwitness.load("small", device="cpu")


@pytest.fixture
def damage(detector: Detector) -> Iterator[list[tuple[str, str, float]]]:
    """What to write into the model's output: stream, field, number."""
    damages: list[tuple[str, str, float]] = []

    def change(_module: object, _inputs: object, output: DetectorOutput) -> DetectorOutput:
        for stream, field, value in damages:
            if field == "sync":
                assert output.sync is not None
                output = replace(output, sync=output.sync.index_fill(2, torch.tensor([3]), value))
            else:
                part = getattr(output, stream)
                tensor = getattr(part, field).clone()
                tensor[(0,) * tensor.ndim] = value
                output = replace(output, **{stream: replace(part, **{field: tensor})})
        return output

    handle = detector.model.register_forward_hook(change)
    yield damages
    handle.remove()


def refused(verdict: Verdict, path: Path, what: str) -> None:
    """An error verdict that names file, cause and cure, and is valid JSON."""
    jsonschema.validate(verdict.to_dict(), schema())
    assert verdict.status == "error" and verdict.error is not None
    assert verdict.error.type == "NonFiniteOutput"
    assert verdict.error.message.startswith(f"{path}: ")
    assert what in verdict.error.message and "install avwitness again" in verdict.error.message
    assert "NaN" not in json.dumps({**verdict.to_dict(), "error": None}, allow_nan=False)


@pytest.mark.slow
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("stream", "field", "name"),
    [
        ("audio", "clip", "audio"),
        ("video", "clip", "video"),
        ("audio", "frames", "audio_frames"),
        ("video", "frames", "video_frames"),
        ("", "sync", "sync"),
    ],
)
def test_no_verdict_rests_on_nan_or_infinity(
    detector: Detector, damage: list, talk_file: Path, stream: str, field: str, name: str, value: float
) -> None:
    damage.append((stream, field, value))
    refused(detector.score(talk_file), talk_file, f"({name})")


def test_a_calibration_that_gives_nan_is_no_verdict(detector: Detector, talk_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "calibration", Calibration(audio=StreamCalibration(intercept=math.nan)))
    refused(detector.score(talk_file), talk_file, "calibrated probabilities")


def test_zero_shot_refuses_nan_encodings(talk_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zero_shot = load_zero_shot(READER, "cpu")
    encode = zero_shot.encode

    def damaged(*arguments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        audio, video = encode(*arguments)
        return audio, np.where(np.arange(len(video))[:, None] == 5, np.nan, video)

    monkeypatch.setattr(zero_shot, "encode", damaged)
    refused(zero_shot.score(talk_file), talk_file, "encodings")


def test_every_field_of_a_window_is_checked() -> None:
    WindowOutput().check()
    WindowOutput(audio=1.0, audio_frames=np.zeros(3)).check()
    bad: dict[str, Any] = {"audio": math.nan, "video": -math.inf, "audio_frames": np.array([0.0, np.nan]), "sync": np.full((2, 31), np.inf)}
    with pytest.raises(NonFiniteOutput) as caught:
        WindowOutput(**bad).check()
    assert caught.value.fields == ("audio", "video", "audio_frames", "sync")
    assert pickle.loads(pickle.dumps(caught.value)).fields == caught.value.fields


@pytest.mark.parametrize(
    "change",
    [
        {"p_fake": math.nan},
        {"duration": math.inf},
        {"duration": math.nan},
        {"audio": StreamVerdict(True, math.nan, "fake")},
        {"timeline": (Segment(0.0, math.nan, None, None),)},
        {"timeline": (Segment(0.0, 1.0, math.nan, None),)},
    ],
)
def test_non_finite_verdicts_are_never_json(tmp_path: Path, change: dict[str, Any]) -> None:
    verdict = Verdict("a.mp4", "ok", "fake", **change)
    assert not verdict.is_finite()
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        writer = open_writer(tmp_path / name)
        with pytest.raises(ValueError, match="JSON compliant"):
            writer.write(verdict)
        writer.close()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "0.5", 1e12])
def test_the_schema_refuses_numbers_that_are_not_finite(value: object) -> None:
    good = Verdict("a.mp4", "ok", "fake", timeline=(Segment(0.0, 1.0, 0.5, None),)).to_dict()
    jsonschema.validate(good, schema())
    face = {"name": "face-1", "speaking": True, "start": 0.0, "end": 1.0, "seen": 1.0, "box": [0.1, 0.1, 0.2, 0.2]}
    changes: list[dict[str, Any]] = [{"p_fake": value}, {"duration": value}]
    changes += [{"audio": {**good["audio"], "p_fake": value}}, {"timeline": [{**good["timeline"][0], "start": value}]}]
    changes += [{"sync": {**good["sync"], name: value}} for name in good["sync"]]
    changes += [{"faces": [{**face, "seen": value}]}, {"faces": [{**face, "box": [value, 0.1, 0.2, 0.2]}]}]
    for change in changes:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**good, **change}, schema())
    jsonschema.validate({**good, "faces": [face]}, schema())


def test_rows_with_nan_of_an_older_version_are_scored_again(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    good = Verdict("good.mp4", "ok", "fake", p_fake=0.9)
    bad = json.dumps({**Verdict("bad.mp4", "ok", "fake").to_dict(), "p_fake": math.nan})
    file.write_text(json.dumps(good.to_dict()) + "\n" + bad + "\n")
    assert read_done(file) == {"good.mp4": good}
