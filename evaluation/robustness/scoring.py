"""Copies made, scored, kept and thrown away, one after another; a run that was cut goes on."""

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
from ..benchmarks.scoring import Score
from .copies import Copy, Job, Key, copies

KEPT = "verdicts.jsonl"
SCRATCH = ".copies-"  # of the folder beside it that holds the copies which wait to be scored

Said = dict[str, Any]  # scores and status of one content in one condition


def score_copies(
    jobs: Iterable[Job], score: Score, kept: Path, weights: str, seed: int, workers: int
) -> tuple[dict[Key, Said], dict[Key, str]]:
    """Score what the file that is kept does not hold yet.

    Parameters
    ----------
    jobs : iterable of Job
        A content is scored once in each condition, however often it comes.
    score : callable
        From paths to verdicts in their order.
    kept : Path
        One verdict a line; a verdict is there as soon as it is given.
    weights, seed
        What verdicts must have been given with to be taken from the file.
    workers : int
        Processes that make copies.

    Returns
    -------
    known : dict
        Scores and status by content and condition.
    failed : dict
        Sentences on the copies that could not be made, which is tried again in the next run.
    """
    from rich.progress import Progress

    kept.parent.mkdir(parents=True, exist_ok=True)
    known, failed = _known(kept, weights, seed), dict[Key, str]()
    todo = {job.key: job for job in jobs if job.key not in known}
    given: deque[Copy] = deque()  # to the detector, which answers in this order
    for stale in kept.parent.glob(f"{SCRATCH}*"):  # of a run that was killed
        shutil.rmtree(stale, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(prefix=SCRATCH, dir=kept.parent) as scratch,
        closing(copies(todo.values(), Path(scratch), workers)) as made,
        open(kept, "a") as stream,
        Progress(transient=True, disable=not todo) as progress,
    ):
        bar = progress.add_task("scoring", total=len(todo))

        def paths() -> Iterator[str]:
            for copy in made:
                if copy.file is None:
                    failed[copy.job.key] = copy.failure
                    progress.advance(bar)
                else:
                    given.append(copy)
                    yield str(copy.file)

        for verdict in score(paths()):
            copy = given.popleft()
            copy.discard()
            said = {"p_video": verdict.video.p_fake, "p_audio": verdict.audio.p_fake, "p_fake": verdict.p_fake, "status": verdict.status}
            known[copy.job.key] = said
            content, condition = copy.job.key
            stream.write(json.dumps({"content": content, "condition": condition, "seed": seed, "weights": weights, **said}) + "\n")
            stream.flush()
            progress.advance(bar)
    return known, failed


def _known(kept: Path, weights: str, seed: int) -> dict[Key, Said]:
    """What these weights said already of clips degraded with this seed; a last line that was cut is not read."""
    if not kept.exists():
        return {}
    text = kept.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        kept.write_text(whole)
    lines = [json.loads(line) for line in whole.splitlines()]
    return {
        (line["content"], line["condition"]): {name: line[name] for name in (*SCORES, "status")}
        for line in lines
        if (line["weights"], line["seed"]) == (weights, seed)
    }
