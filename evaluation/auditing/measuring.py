"""Statistics of many files, computed by a process pool and cached."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from ...media.clip import MediaError
from ...media.parallel import WorkerDied, run_parallel
from .file_statistics import VERSION, StreamStatistics, measure_file

Statistics = dict[str, StreamStatistics]


def measure_all(files: Sequence[Path], workers: int, cache: Path, on_step: Callable[[int, int], None]) -> dict[Path, Statistics | str]:
    """The statistics of every file, or the error message of a file that cannot be read; cached files are not read again."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    cached = _read_cache(cache)
    found: dict[Path, Statistics | str] = {}
    todo: dict[Path, str] = {}
    for file in dict.fromkeys(map(Path, files)):
        key = _key(file)
        if key in cached:
            found[file] = cached[key]
        else:
            todo[file] = key
    total, known = len(found) + len(todo), len(found)
    on_step(known, total)
    with cache.open("a") as lines:
        for done, (file, outcome) in enumerate(_measured(list(todo), workers), 1):
            found[file] = outcome
            if not isinstance(outcome, str):  # errors are not cached
                lines.write(json.dumps({"key": todo[file], **{kind: vars(s) for kind, s in outcome.items()}}) + "\n")
                lines.flush()
            on_step(known + done, total)
    return found


def _key(file: Path) -> str:
    try:
        state = file.stat()
    except OSError:
        return f"{file}: missing"
    return f"{VERSION}:{state.st_size}:{state.st_mtime_ns}:{file.absolute()}"


def _read_cache(cache: Path) -> dict[str, Statistics]:
    cached: dict[str, Statistics] = {}
    text = cache.read_text() if cache.exists() else ""
    if text and not text.endswith("\n"):  # of an interrupted run; the next line must not be appended to it
        with cache.open("a") as lines:
            lines.write("\n")
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        key = entry.pop("key")
        cached[key] = {kind: StreamStatistics(**statistics) for kind, statistics in entry.items()}
    return cached


def _measured(files: list[Path], workers: int) -> Iterator[tuple[Path, Statistics | str]]:
    """Every file with its statistics, in the order in which they are finished."""
    if workers <= 1 or len(files) < 2:
        yield from ((file, _measure_or_error(file)) for file in files)
        return
    calls = run_parallel(_measure_or_error, ((file,) for file in files), min(workers, len(files)))
    with closing(calls):
        for (file,), future in calls:
            try:
                yield file, future.result()
            except WorkerDied:
                yield file, f"{file}: the process that read it died; the file is damaged in a way its decoder does not survive"


def _measure_or_error(file: Path) -> Statistics | str:
    try:
        return measure_file(file)
    except MediaError as error:
        return str(error)
