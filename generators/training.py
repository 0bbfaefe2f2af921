"""The training loop of all generators: bounded by wall-clock time, resumable, deterministic in its data; and their adversarial loss."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..media.files import atomic_write

CURVES = "curves.csv"
CHECKPOINT = "checkpoint.pt"
LOG_EVERY = 50  # steps


class Stateful(Protocol):
    """An object with a state dict: a model or an optimiser."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


def discriminator_loss(real: Tensor, generated: Tensor) -> Tensor:
    """Hinge loss of a discriminator, given its outputs (logits of any shape) for real and for generated samples."""
    return F.relu(1.0 - real).mean() + F.relu(1.0 + generated).mean()


StepFunction = Callable[[int, float, np.random.Generator], Mapping[str, float]]


def train_for(
    minutes: float,
    step: StepFunction,
    parts: Mapping[str, Stateful],
    run: str | os.PathLike[str],
    *,
    seed: int = 0,
    checkpoint_every: float = 3.0,
    title: str = "training",
) -> int:
    """Call ``step(number, progress, rng)`` until a run has taken ``minutes`` of wall-clock time, earlier sessions included.

    Parameters
    ----------
    step : callable
        One update. ``progress`` in [0, 1] is the share of the time that has passed; ``rng`` depends on ``seed`` and
        ``number`` alone, so a resumed run draws the same data as an uninterrupted one. Returns the losses by name.
    parts : mapping of str to Stateful
        Models and optimisers, saved in and restored from ``run/checkpoint.pt``.
    checkpoint_every : float
        Minutes.

    Returns
    -------
    int
        Number of steps of the whole run.
    """
    from rich.progress import Progress, TextColumn

    run = Path(run)
    run.mkdir(parents=True, exist_ok=True)
    number, spent = 0, 0.0
    if (run / CHECKPOINT).exists():
        state = torch.load(run / CHECKPOINT, weights_only=True)
        number, spent = state["number"], state["spent"]
        for name, part in parts.items():
            part.load_state_dict(state["parts"][name])
    _truncate_curves(run / CURVES, number)
    began = saved = time.monotonic()
    sums: dict[str, float] = {}
    summed = 0  # steps since the last row of the curves
    budget = 60.0 * minutes

    def save() -> None:
        state = {"number": number, "spent": spent, "parts": {name: part.state_dict() for name, part in parts.items()}}
        with atomic_write(run / CHECKPOINT) as partial:
            torch.save(state, partial)

    with Progress(*Progress.get_default_columns(), TextColumn("{task.fields[losses]}")) as progress:
        bar = progress.add_task(title, total=budget, completed=int(spent), losses="")
        while spent < budget:
            losses = step(number, spent / budget, np.random.default_rng((seed, number)))
            number += 1
            now = time.monotonic()
            spent, began = spent + now - began, now
            summed += 1
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value
            if number % LOG_EVERY == 0:
                means = {name: value / summed for name, value in sums.items()}
                _append_row(run / CURVES, {"step": number, "minutes": spent / 60.0, **means})
                progress.update(
                    bar, completed=min(spent, budget), losses=f"step {number} " + " ".join(f"{k} {v:.3f}" for k, v in means.items())
                )
                sums, summed = {}, 0
            if now - saved > 60.0 * checkpoint_every:
                save()
                saved = now
        save()
    return number


def _append_row(file: Path, row: Mapping[str, float]) -> None:
    new = not file.exists() or not file.stat().st_size
    with open(file, "a", newline="") as stream:
        writer = csv.writer(stream)
        if new:
            writer.writerow(row)
        writer.writerow(f"{value:.5g}" for value in row.values())


def _truncate_curves(file: Path, number: int) -> None:
    """Remove the rows that were written after the checkpoint from which a run is resumed."""
    if file.exists():
        with open(file, newline="") as stream:
            rows = list(csv.reader(stream))
        with open(file, "w", newline="") as stream:
            csv.writer(stream).writerows([*rows[:1], *(row for row in rows[1:] if float(row[0]) <= number)])
