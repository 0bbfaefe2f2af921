"""Degraded copies are made, scored and deleted one after another; verdicts are cached, so that a run can be resumed."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from ..benchmarks.score_file import SCORES
from ..benchmarks.scoring import Score, complete_lines
from .copies import Copy, Job, Key, make_copies

SCRATCH_PREFIX = ".copies-"  # of the folder beside the cache that holds the copies which wait to be scored

Scores = dict[str, Any]  # scores and status of one content in one condition


def score_copies(
    jobs: Iterable[Job], score: Score, cache: Path, weights: str, seed: int, workers: int
) -> tuple[dict[Key, Scores], dict[Key, str]]:
    """Score the copies that have no cached verdict.

    Parameters
    ----------
    jobs : iterable of Job
        Equal contents are scored once in each condition.
    score : callable
        From paths to verdicts in their order.
    cache : Path
        File with one verdict a line, written as soon as it is computed.
    weights, seed
        Only cached verdicts of the same weights and seed are used.
    workers : int
        Processes that make copies.

    Returns
    -------
    known : dict
        Scores and status by content and condition.
    failed : dict
        Sentences on the copies that could not be made; the next run tries them again.
    """
    from rich.progress import Progress

    cache.parent.mkdir(parents=True, exist_ok=True)
    known, failed = _read_cache(cache, weights, seed), dict[Key, str]()
    todo = {job.key: job for job in jobs if job.key not in known}
    waiting: deque[Copy] = deque()  # given to the detector, which returns verdicts in this order
    for stale in cache.parent.glob(f"{SCRATCH_PREFIX}*"):  # of an interrupted run
        shutil.rmtree(stale, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=cache.parent) as scratch,
        closing(make_copies(todo.values(), Path(scratch), workers)) as copies,
        open(cache, "a") as stream,
        Progress(transient=True, disable=not todo) as progress,
    ):
        bar = progress.add_task("scoring", total=len(todo))

        def paths() -> Iterator[str]:
            for copy in copies:
                if copy.file is None:
                    failed[copy.job.key] = copy.failure
                    progress.advance(bar)
                else:
                    waiting.append(copy)
                    yield str(copy.file)

        for verdict in score(paths()):
            copy = waiting.popleft()
            copy.discard()
            scores = {"p_video": verdict.video.p_fake, "p_audio": verdict.audio.p_fake, "p_fake": verdict.p_fake, "status": verdict.status}
            known[copy.job.key] = scores
            content, condition = copy.job.key
            stream.write(json.dumps({"content": content, "condition": condition, "seed": seed, "weights": weights, **scores}) + "\n")
            stream.flush()
            progress.advance(bar)
    return known, failed


def _read_cache(cache: Path, weights: str, seed: int) -> dict[Key, Scores]:
    """Cached scores of these weights for clips degraded with this seed."""
    lines = [json.loads(line) for line in complete_lines(cache)]
    return {
        (line["content"], line["condition"]): {name: line[name] for name in (*SCORES, "status")}
        for line in lines
        if (line["weights"], line["seed"]) == (weights, seed)
    }
