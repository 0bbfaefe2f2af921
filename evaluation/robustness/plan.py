"""The plan of a robustness run: which clips are degraded how, decided from a benchmark's table and the settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...media.files import file_sha256
from ..benchmarks.evaluate import ROUNDS
from .conditions import LEVELS, Condition, applies, conditions_of
from .copies import Job
from .degradations.base import Degradation
from .sampling import sample, voices


@dataclass(frozen=True)
class RobustnessSetting:
    """How robustness is measured.

    Parameters
    ----------
    dataset, detector : str
        Names, for the reader of the tables.
    names : tuple of str
        Degradations, see :data:`avwitness.evaluation.robustness.degradations.registry.DEGRADATIONS`.
    limit : int, optional
        How many clips are drawn, as evenly as they come from all categories and labels; all of them otherwise.
    seed : int
        Of that draw, of what degradations draw, and of the bootstrap.
    rounds : int
        Of the bootstrap.
    levels : tuple of int
        Severities to score, 1 the mildest and 5 the worst.
    """

    dataset: str
    detector: str
    names: tuple[str, ...]
    limit: int | None = None
    seed: int = 0
    rounds: int = ROUNDS
    levels: tuple[int, ...] = tuple(range(1, LEVELS + 1))


@dataclass(frozen=True)
class Plan:
    """Which clips are put through what.

    Parameters
    ----------
    setting : RobustnessSetting
    listed, sound : int
        Rows of the benchmark, and those without a problem.
    clips : pandas.DataFrame
        That were drawn, each with its ``content`` and the ``voices`` that may talk over it.
    degradations : tuple of Degradation
        That some clip can be put through.
    conditions : tuple of (Condition, pandas.DataFrame)
        And the clips that can be put through each.
    notes : list of str
        Sentences on what was left out.
    """

    setting: RobustnessSetting
    listed: int
    sound: int
    clips: pd.DataFrame
    degradations: tuple[Degradation, ...]
    conditions: tuple[tuple[Condition, pd.DataFrame], ...]
    notes: list[str]

    def jobs(self) -> list[Job]:
        """Every copy that is to be made."""
        return [job for condition, clips in self.conditions for job in _jobs(clips, condition, self.setting.seed)]


def plan_of(table: pd.DataFrame, setting: RobustnessSetting) -> Plan:
    """Draw the clips, and decide what each can be put through.

    Raises
    ------
    ValueError
        If no row is without a problem, or a degradation is not known.
    """
    degradations = _chosen(setting.names)
    sound = table[table["problem"] == ""].reset_index(drop=True)
    if sound.empty:
        raise ValueError(f"{setting.dataset}: no row is without a problem")
    clips, notes = _with_content(sample(sound, setting.limit, setting.seed))
    if clips.empty:
        raise ValueError(f"{setting.dataset}: {notes[0]}")
    clips["voices"] = voices(clips, sound, setting.seed) if any(d.needs_voices for d in degradations) else [()] * len(clips)
    able = {d.name: _able(d, clips) for d in degradations}
    notes += [sentence for d in degradations if (sentence := _unheard(d, clips, able[d.name]))]
    left = tuple(d for d in degradations if able[d.name].any())
    everybody = np.ones(len(clips), dtype=bool)
    conditions = tuple((c, clips[able.get(c.kind, everybody)]) for c in conditions_of(left, setting.levels))
    return Plan(setting, len(table), len(sound), clips, left, conditions, notes)


def _chosen(names: Sequence[str]) -> list[Degradation]:
    from .degradations.registry import DEGRADATIONS

    unknown = [name for name in names if name not in DEGRADATIONS]
    if unknown:
        raise ValueError(f"no degradation {', '.join(unknown)}; there are {', '.join(DEGRADATIONS)}")
    return [DEGRADATIONS[name] for name in dict.fromkeys(names)]


def _with_content(clips: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Clips with the checksum of their files, and a note on files that cannot be read."""
    contents, lost = [], []
    for path, file in zip(clips["path"], clips["file"], strict=True):
        try:
            contents.append(file_sha256(file))
        except OSError as error:
            contents.append("")
            lost.append(f"{path} ({error.strerror})")
    note = [f"{len(lost)} clips were left out, since their files cannot be read, such as {lost[0]}"] if lost else []
    clips = clips.assign(content=contents)
    return clips[clips["content"] != ""].reset_index(drop=True), note


def _able(degradation: Degradation, clips: pd.DataFrame) -> np.ndarray:
    """Which clips can be degraded, bool [N]: they have the streams and, where those are needed, there are voices."""
    used = applies(degradation, clips).to_numpy(dtype=bool)
    return used & clips["voices"].map(bool).to_numpy(dtype=bool) if degradation.needs_voices else used


def _unheard(degradation: Degradation, clips: pd.DataFrame, able: np.ndarray) -> str:
    """A note on the clips that a degradation leaves out, unless it is for want of the stream alone and others have it."""
    streams = applies(degradation, clips).to_numpy(dtype=bool)
    if not streams.any():
        return f"{degradation.name} was left out, since no clip has what it changes ({degradation.stream})"
    why = "the benchmark has no genuine sound of other people, known by name, to talk over them"
    if not able.any():
        return f"{degradation.name} was left out: {why}"
    return f"{degradation.name} left out {int((streams & ~able).sum())} clips: {why}" if (streams & ~able).any() else ""


def _jobs(clips: pd.DataFrame, condition: Condition, seed: int) -> Iterator[Job]:
    for content, file, heard in zip(clips["content"], clips["file"], clips["voices"], strict=True):
        yield Job(content, str(file), condition, seed, heard)
