"""Plan of a robustness run: which clips are degraded how."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...media.files import file_sha256
from ..benchmarks.score_file import TARGETS
from ..metrics.bootstrap import N_BOOTSTRAP
from .conditions import N_LEVELS, Condition, all_conditions, applicable
from .copies import Job
from .degradations.base import Degradation
from .sampling import sample_clips, sample_voices


@dataclass(frozen=True)
class RobustnessSettings:
    """How robustness is measured.

    Parameters
    ----------
    dataset, detector : str
        Names that the tables show.
    names : tuple of str
        Degradations, see :data:`avwitness.evaluation.robustness.degradations.registry.DEGRADATIONS`.
    limit : int, optional
        Number of clips to sample, balanced over categories and labels; all clips by default.
    seed : int
        Of that sample, of random degradations, and of the bootstrap.
    n_bootstrap : int
    levels : tuple of int
        Severity levels to score, from 1 (mildest) to 5.
    modality : str
        ``audio`` or ``video`` for that stream, of the clips that have it and a label of it; ``auto`` for the streams that each clip has.
    """

    dataset: str
    detector: str
    names: tuple[str, ...]
    limit: int | None = None
    seed: int = 0
    n_bootstrap: int = N_BOOTSTRAP
    levels: tuple[int, ...] = tuple(range(1, N_LEVELS + 1))
    modality: str = "auto"

    @property
    def targets(self) -> tuple[str, ...]:
        """Targets that are evaluated."""
        return tuple(TARGETS) if self.modality == "auto" else (self.modality,)


@dataclass(frozen=True)
class Plan:
    """Clips and the conditions in which each is scored.

    Parameters
    ----------
    settings : RobustnessSettings
    n_listed, n_valid : int
        Rows of the benchmark, and those without a problem.
    clips : pandas.DataFrame
        The sampled clips, each with ``content`` (checksum) and ``voices`` (files of other speakers).
    degradations : tuple of Degradation
        Those that apply to at least one clip.
    conditions : tuple of (Condition, pandas.DataFrame)
        Each with the clips to which it applies.
    notes : list of str
        Sentences on what was left out.
    """

    settings: RobustnessSettings
    n_listed: int
    n_valid: int
    clips: pd.DataFrame
    degradations: tuple[Degradation, ...]
    conditions: tuple[tuple[Condition, pd.DataFrame], ...]
    notes: list[str]

    def jobs(self) -> list[Job]:
        """Every copy to make."""
        return [job for condition, clips in self.conditions for job in _jobs(clips, condition, self.settings.seed)]


def make_plan(table: pd.DataFrame, settings: RobustnessSettings) -> Plan:
    """Sample the clips, and choose the conditions that apply to each.

    Raises
    ------
    ValueError
        If no row is without a problem and with the stream to score, or a degradation is not known.
    """
    degradations = _find_degradations(settings.names)
    valid = table[table["problem"] == ""].reset_index(drop=True)
    if valid.empty:
        raise ValueError(f"{settings.dataset}: no row is without a problem")
    if settings.modality != "auto":
        labelled = valid[f"has_{settings.modality}"].astype(bool) & valid[f"{settings.modality}_label"].notna()
        valid = valid[labelled].reset_index(drop=True)
    if valid.empty:
        raise ValueError(f"{settings.dataset}: no clip has {settings.modality} with a label; choose another --modality")
    clips, notes = _with_content(sample_clips(valid, settings.limit, settings.seed))
    if clips.empty:
        raise ValueError(f"{settings.dataset}: {notes[0]}")
    needs_voices = any(d.needs_voices for d in degradations)
    clips["voices"] = sample_voices(clips, valid, settings.seed) if needs_voices else [()] * len(clips)
    applies = {d.name: _applies(d, clips) for d in degradations}
    notes += [sentence for d in degradations if (sentence := _left_out_note(d, clips, applies[d.name]))]
    used = tuple(d for d in degradations if applies[d.name].any())
    every_clip = np.ones(len(clips), dtype=bool)
    conditions = tuple((c, clips[applies.get(c.kind, every_clip)]) for c in all_conditions(used, settings.levels))
    return Plan(settings, len(table), len(valid), clips, used, conditions, notes)


def _find_degradations(names: Sequence[str]) -> list[Degradation]:
    from .degradations.registry import DEGRADATIONS

    unknown = [name for name in names if name not in DEGRADATIONS]
    if unknown:
        raise ValueError(f"no degradation {', '.join(unknown)}; there are {', '.join(DEGRADATIONS)}")
    return [DEGRADATIONS[name] for name in dict.fromkeys(names)]


def _with_content(clips: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Clips with the checksum of their files, and a note on files that cannot be read."""
    contents, unreadable = [], []
    for path, file in zip(clips["path"], clips["file"], strict=True):
        try:
            contents.append(file_sha256(file))
        except OSError as error:
            contents.append("")
            unreadable.append(f"{path} ({error.strerror})")
    note = [f"{len(unreadable)} clips were left out, since their files cannot be read, such as {unreadable[0]}"] if unreadable else []
    clips = clips.assign(content=contents)
    return clips[clips["content"] != ""].reset_index(drop=True), note


def _applies(degradation: Degradation, clips: pd.DataFrame) -> np.ndarray:
    """Which clips can be degraded, bool [N]: they have the streams and, if the degradation needs them, voices."""
    used = applicable(degradation, clips).to_numpy(dtype=bool)
    return used & clips["voices"].map(bool).to_numpy(dtype=bool) if degradation.needs_voices else used


def _left_out_note(degradation: Degradation, clips: pd.DataFrame, applies: np.ndarray) -> str:
    """A note on the clips that a degradation leaves out; empty where some clips have the stream and only the others are left out."""
    streams = applicable(degradation, clips).to_numpy(dtype=bool)
    if not streams.any():
        return f"{degradation.name} was left out, since no clip has the stream that it changes ({degradation.stream})"
    why = "the benchmark has no genuine audio of other known identities to mix in"
    if not applies.any():
        return f"{degradation.name} was left out: {why}"
    return f"{degradation.name} left out {int((streams & ~applies).sum())} clips: {why}" if (streams & ~applies).any() else ""


def _jobs(clips: pd.DataFrame, condition: Condition, seed: int) -> Iterator[Job]:
    for content, file, voices in zip(clips["content"], clips["file"], clips["voices"], strict=True):
        yield Job(content, str(file), condition, seed, voices)
