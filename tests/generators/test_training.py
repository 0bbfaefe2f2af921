"""The training loop: time limit, resuming, determinism of the data."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avwitness.generators import training
from avwitness.generators.training import CHECKPOINT, CURVES, LOG_EVERY, train_for

SECOND = 1 / 60  # minutes


class Tally:
    """A model that records its inputs."""

    def __init__(self) -> None:
        self.inputs: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        return {"seen": torch.tensor(self.inputs, dtype=torch.float64)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.inputs = state["seen"].tolist()


def run_for(minutes: float, folder: Path, seed: int = 0, pause: float = 0.002, **given: Any) -> tuple[Tally, int]:
    tally = Tally()

    def step(number: int, progress: float, rng: np.random.Generator) -> Mapping[str, float]:
        assert number == len(tally.inputs)
        assert 0.0 <= progress < 1.0
        tally.inputs.append(rng.random())
        time.sleep(pause)
        return {"loss": 1.0, "other": 2.0}

    return tally, train_for(minutes, step, {"tally": tally}, folder, seed=seed, **given)


def curve(folder: Path) -> list[dict[str, float]]:
    with open(folder / CURVES, newline="") as stream:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]


def test_a_resumed_run_draws_the_data_of_an_uninterrupted_one(tmp_path: Path) -> None:
    straight, _ = run_for(0.6 * SECOND, tmp_path / "straight")
    _, first = run_for(0.2 * SECOND, tmp_path / "resumed")
    resumed, total = run_for(0.5 * SECOND, tmp_path / "resumed")
    assert 0 < first < total == len(resumed.inputs)
    shared = min(len(straight.inputs), total)
    assert shared > first
    assert resumed.inputs[:shared] == straight.inputs[:shared]
    assert len(set(resumed.inputs)) == total
    other, _ = run_for(0.1 * SECOND, tmp_path / "other", seed=1)
    assert other.inputs[0] != straight.inputs[0]


def test_the_time_counts_over_all_parts(tmp_path: Path) -> None:
    began = time.monotonic()
    _, total = run_for(0.3 * SECOND, tmp_path)
    assert 0.3 <= time.monotonic() - began < 3.0
    again, same = run_for(0.3 * SECOND, tmp_path)
    assert same == total == len(again.inputs)  # the run is complete


def test_curves_hold_every_step_once_and_true_means(tmp_path: Path) -> None:
    for seconds in (0.3, 0.6, 1.0):
        run_for(seconds * SECOND, tmp_path)
    rows = curve(tmp_path)
    steps = [row["step"] for row in rows]
    assert len(rows) >= 3
    assert steps == [LOG_EVERY * (k + 1) for k in range(len(rows))]
    minutes = [row["minutes"] for row in rows]
    assert minutes == sorted(minutes) and minutes[-1] <= 1.1 * SECOND
    assert {row["loss"] for row in rows} == {1.0}
    assert {row["other"] for row in rows} == {2.0}


def test_what_was_logged_after_the_checkpoint_is_forgotten(tmp_path: Path) -> None:
    _, number = run_for(0.3 * SECOND, tmp_path)
    with open(tmp_path / CURVES, "a") as stream:
        stream.write(f"{LOG_EVERY * (number // LOG_EVERY + 1)},9,9,9\n{LOG_EVERY * (number // LOG_EVERY + 2)},9,9,9\n")
    run_for(1.0 * SECOND, tmp_path)
    rows = curve(tmp_path)
    assert len({row["step"] for row in rows}) == len(rows)
    assert max(row["other"] for row in rows) < 9.0


def test_a_run_that_dies_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    tally = Tally()

    def step(number: int, progress: float, rng: np.random.Generator) -> Mapping[str, float]:
        if number == 40:
            raise KeyboardInterrupt
        tally.inputs.append(rng.random())
        time.sleep(0.002)
        return {"loss": 1.0}

    with pytest.raises(KeyboardInterrupt):
        train_for(10 * SECOND, step, {"tally": tally}, tmp_path, checkpoint_every=0.02 * SECOND)
    kept = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert 0 < kept["number"] <= 40
    assert len(kept["parts"]["tally"]["seen"]) == kept["number"]
    resumed, total = run_for((kept["spent"] + 0.1) / 60, tmp_path)
    assert total > kept["number"]
    assert resumed.inputs[: len(tally.inputs)] == tally.inputs[: len(resumed.inputs)]


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, number = run_for(0.1 * SECOND, tmp_path)
    whole = (tmp_path / CHECKPOINT).read_bytes()

    def full_disk(state: object, file: Path) -> None:
        Path(file).write_bytes(whole[:50])
        raise OSError("no space left")

    monkeypatch.setattr(training.torch, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        run_for(0.2 * SECOND, tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == whole
    monkeypatch.undo()
    again, total = run_for(0.3 * SECOND, tmp_path)
    assert total > number and len(again.inputs) == total


def test_models_and_optimisers_go_on_where_they_stood(tmp_path: Path) -> None:
    def learn(minutes: float, folder: Path, steps: int) -> list[float]:
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 1)
        optimiser = torch.optim.Adam(model.parameters(), 0.05)
        count = 0

        def step(number: int, progress: float, rng: np.random.Generator) -> Mapping[str, float]:
            nonlocal count
            count += 1
            x = torch.from_numpy(rng.standard_normal((8, 3)).astype(np.float32))
            loss = torch.square(model(x) - x.sum(dim=1, keepdim=True)).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if number + 1 == steps:
                time.sleep(60 * minutes)  # the time is over after this step
            return {"loss": float(loss.detach())}

        assert train_for(minutes, step, {"model": model, "optimiser": optimiser}, folder) == steps
        return [p.detach().flatten().tolist() for p in model.parameters()]

    straight = learn(0.5 * SECOND, tmp_path / "straight", 20)
    learn(0.2 * SECOND, tmp_path / "resumed", 8)
    assert learn(0.9 * SECOND, tmp_path / "resumed", 20) == straight
