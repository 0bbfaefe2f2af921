"""The forge: genuine clips in, labelled fakes of every kind and their genuine twins out, at any size.

A set is planned at once from the seed (:mod:`.plan`) and written clip by clip in processes. A clip's record appears after
its file is complete, and the manifest lists records alone, so a forge that was killed goes on where it stood and lists no
half-written file.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from ...datasets.manifest import read_labels
from ...media.clip import FRAME_RATE, MediaError
from ...media.files import PARTIAL, atomic_write
from ...media.parallel import make_files
from ..faces.coarse import blur_to_match
from ..methods.base import CannotForge, Forgery, Intervals
from ..methods.source import Facts, Origin, Source, cache_name, load_facts, load_source, track_clip
from ..voices.resynthesis import VOICES
from .plan import REPLACEMENT_OFFSET, Attempt, Job, draw_plan, origins
from .postprocess import Postprocess, write_clip
from .registry import GENUINE, METHOD_SEPARATOR, METHODS

CLIPS, RECORDS, PLAN = "clips", "records", "plan.json"
BYTES_PER_SECOND = 40_000  # of the written clips, for the estimate: measured on faces of 250 to 360 lines, rounded up
HEADROOM = 2  # times the estimate that must be free
MANIFEST_COLUMNS = (
    "path",
    "video_label",
    "audio_label",
    "sync_label",
    "video_method",
    "audio_method",
    "video_intervals",
    "audio_intervals",
    "offset_ms",
    "source_clip",
    "identity",
    "donor_clip",
    "corpus",
    "split",
    "speaker",
    "method",
    "transcript",
    "seconds",
    "seed",
    "slot",
    "tool_version",
)


@dataclass(frozen=True)
class ForgeConfig:
    """What a set is made of.

    Parameters
    ----------
    methods : tuple of str
    per_clip, genuine_per_clip : int
        Forged and genuine clips of every source.
    seed : int
    split : str or None
        Of the manifest; all of it otherwise.
    limit : int or None
        Clips in all.
    """

    methods: tuple[str, ...]
    per_clip: int = 1
    genuine_per_clip: int = 1
    seed: int = 0
    split: str | None = None
    limit: int | None = None


@dataclass(frozen=True)
class ForgedSet:
    """What a forge did: the manifest as file and table, and a sentence for every clip that could not be made."""

    manifest: Path
    table: pd.DataFrame
    failures: tuple[str, ...]

    @property
    def clips(self) -> int:
        """How many there are."""
        return len(self.table)


def genuine_rows(manifest: str | os.PathLike[str], split: str | None) -> pd.DataFrame:
    """The rows of a manifest whose streams are all genuine.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`avwitness.datasets.manifest.read_labels`, and if no row is genuine.
    """
    table = read_labels(manifest, split)
    labels = table[["video_label", "audio_label"]]
    rows = table[labels.eq(0).any(axis=1) & ~labels.eq(1).any(axis=1)]
    if rows.empty:
        raise ValueError(f"{manifest}: holds no genuine clip to forge from: no row has a label 0 and none that is 1")
    return rows.reset_index(drop=True)


def plan_forge(
    manifest: str | os.PathLike[str], cache: str | os.PathLike[str], config: ForgeConfig, workers: int
) -> tuple[list[Job], list[str]]:
    """Follow the faces of all sources (once; kept in ``cache``) and draw the clips to be written.

    Returns
    -------
    jobs : list of Job
    failures : list of str
        One sentence for every source that could not be read.
    """
    clips = origins(genuine_rows(manifest, config.split))
    known, failures = track_faces(clips, cache, workers)
    jobs = draw_plan(clips, known, config.methods, config.per_clip, config.genuine_per_clip, config.seed, config.limit)
    if not jobs:
        raise ValueError(f"{manifest}: none of the methods {', '.join(config.methods)} can be made from any of its clips")
    return jobs, failures


def estimate(jobs: Sequence[Job]) -> tuple[float, int]:
    """Seconds of media that a plan will write, and about how many bytes."""
    seconds = sum(job.window.frames for job in jobs) / FRAME_RATE
    return seconds, round(seconds * BYTES_PER_SECOND)


def forge_set(
    jobs: Sequence[Job], out: str | os.PathLike[str], cache: str | os.PathLike[str], config: ForgeConfig, workers: int
) -> ForgedSet:
    """Write all clips of a plan that are not there yet, then the manifest.

    Raises
    ------
    ValueError
        If ``out`` holds a set of another plan.
    OSError
        If the disk has no room for it.
    """
    out = Path(out)
    (out / CLIPS).mkdir(parents=True, exist_ok=True)
    for job in jobs:
        if not _clip(out, job).exists():
            _record(out, job).unlink(missing_ok=True)
    todo = [job for job in jobs if not _record(out, job).exists()]
    needed, free = HEADROOM * estimate(todo)[1], shutil.disk_usage(out).free
    if needed > free:
        raise OSError(f"{out}: the clips may need {needed / 1e6:.0f} MB and {free / 1e6:.0f} MB are free; name another folder or a --limit")
    _same_plan(out / PLAN, jobs, config)
    for partial in (out / CLIPS).glob(f"{PARTIAL}*"):
        partial.unlink()
    work = ((job, _record(out, job), _clip(out, job), Path(cache)) for job in jobs)
    failures = make_files(work, run_job, workers, "forging")
    return ForgedSet(out / "manifest.csv", write_manifest(jobs, out), tuple(failures))


def _record(out: Path, job: Job) -> Path:
    return out / RECORDS / f"{job.name}.json"


def _clip(out: Path, job: Job) -> Path:
    return out / CLIPS / f"{job.name}.mp4"


def _same_plan(file: Path, jobs: Sequence[Job], config: ForgeConfig) -> None:
    """Keep what the set is made of beside it; refuse to mix two sets in one folder."""
    content = "\n".join(f"{job.name} {job.source.path} {[attempt.method for attempt in job.attempts]}" for job in jobs)
    plan = {"tool_version": version("avwitness"), "clips": len(jobs), **asdict(config), "methods": list(config.methods)}
    # Word edits draw from the voices that are there.
    plan["voices"] = [name for name, voice in VOICES.items() if voice.missing_reason() is None]
    plan["jobs"] = hashlib.sha1(content.encode()).hexdigest()
    if file.exists():
        before = json.loads(file.read_text())
        changed = [name for name in plan if before.get(name) != plan[name]]
        if changed:
            raise ValueError(
                f"{file.parent}: holds a set forged with other settings ({', '.join(changed)}); name another folder or delete this one"
            )
    else:
        _write(file, json.dumps(plan, indent=2) + "\n")


def _write(file: Path, text: str) -> None:
    with atomic_write(file) as partial:
        partial.write_text(text)


def run_job(job: Job, record: Path, target: Path, cache: Path) -> None:
    """Forge one clip, or let a genuine one through, and write its record when its file is complete.

    Raises
    ------
    MediaError
        If a clip cannot be read.
    """
    source = load_origin(job.source, cache)
    span = source.cut(job.window.begin, job.window.frames)
    if job.beside:
        span = _as_soft(span, _attempt(replace(job, attempts=job.beside), source, cache))
    found = _attempt(job, source, cache) if job.attempts else None
    if job.attempts and found is None:
        # A genuine clip instead, so that sources which are hard to forge do not become the genuine ones.
        job = replace(job, attempts=(), slot=job.slot + REPLACEMENT_OFFSET)
    made, attempt = found or (Forgery(span.frames, span.waveform), Attempt(GENUINE, None))
    landmarks = span.landmarks if made.landmarks is None else made.landmarks
    postprocess = job.postprocess
    target.parent.mkdir(parents=True, exist_ok=True)
    write_clip(target, made.frames, made.waveform, landmarks if source.has_face else None, postprocess)
    row = _row(job, attempt, made, postprocess)
    _write(record, json.dumps({**row, "postprocess": postprocess.to_dict(), "window": asdict(job.window)}, ensure_ascii=False) + "\n")


def track_path(origin: Origin, cache: str | os.PathLike[str]) -> Path:
    """Where the followed face of a clip is kept."""
    return Path(cache) / cache_name(origin.file, origin.transcript)


def load_origin(origin: Origin, cache: str | os.PathLike[str]) -> Source:
    """Decode a followed clip; a stream that nobody calls genuine is left out.

    Raises
    ------
    MediaError
        If the file cannot be read.
    """
    source = load_source(origin.file, track_path(origin, cache), origin.path, origin.identity, origin.transcript)
    if not origin.video:
        source = replace(source, frames=None, landmarks=None, usable=None, depth=None)
    return source if origin.audio else replace(source, waveform=None)


def track_faces(clips: Sequence[Origin], cache: str | os.PathLike[str], workers: int) -> tuple[dict[str, Facts], list[str]]:
    """Follow the faces of clips whose tracks are not there yet.

    Returns
    -------
    facts : dict
        Of the clips that could be read, by their paths; streams that nobody calls genuine are not in them.
    failures : list of str
        One sentence for every clip that could not be read.
    """
    failures = make_files(((clip.file, track_path(clip, cache), clip.transcript) for clip in clips), track_clip, workers, "following faces")
    known = {clip.path: load_facts(track) for clip in clips if (track := track_path(clip, cache)).exists()}
    for clip in clips:
        if clip.path in known:
            seen = known[clip.path]
            known[clip.path] = replace(
                seen, video=seen.video and clip.video, face=seen.face and clip.video, audio=seen.audio and clip.audio
            )
    return known, failures


def _attempt(job: Job, source: Source, cache: Path) -> tuple[Forgery, Attempt] | None:
    for attempt in job.attempts:
        try:
            donor = None if attempt.donor is None else load_origin(attempt.donor, cache)
            return forge_clip(attempt.method, source, donor, job), attempt
        except (CannotForge, MediaError):
            continue
    return None


def _as_soft(span: Source, found: tuple[Forgery, Attempt] | None) -> Source:
    """A genuine stretch as soft as the coarse forgery beside it."""
    if found is None or span.frames is None or found[0].frames is None or not METHODS[found[1].method.split(METHOD_SEPARATOR)[0]].coarse:
        return span
    return replace(span, frames=blur_to_match(span.frames, found[0].frames))


def forge_clip(method: str, source: Source, donor: Source | None, job: Job) -> Forgery:
    """Apply one method, or one to the picture and one to the sound.

    Raises
    ------
    CannotForge
        If this source will not do.
    """
    first, *rest = method.split(METHOD_SEPARATOR)
    made = METHODS[first].forge(source, donor, job.window, job.rng(first))
    for name in rest:
        voiced = METHODS[name].forge(source, None, job.window, job.rng(name))
        known = (made.mismatch, voiced.mismatch)
        mismatch = True if True in known else None if None in known else False
        made = replace(made, waveform=voiced.waveform, audio_intervals=voiced.audio_intervals, mismatch=mismatch)
    return made


def _row(job: Job, attempt: Attempt, made: Forgery, postprocess: Postprocess) -> dict[str, Any]:
    """A line of the manifest, in the time of the written clip; a stream that the clip lacks has no label."""
    length = job.window.frames / FRAME_RATE
    lead, trail, jitter = (frames / FRAME_RATE for frames in (postprocess.lead, postprocess.trail, postprocess.jitter))

    def moved(intervals: Intervals, by: float, before: float, after: float) -> str:
        """What reaches an edge goes on in what the postprocess puts there: the picture is held, the sound mirrored."""
        edges = [
            (-before if begin <= 0.0 else max(begin + by, 0.0), length + after if end >= length else min(end + by, length))
            for begin, end in intervals
        ]
        return json.dumps([[round(begin + lead, 3), round(end + lead, 3)] for begin, end in edges])

    names = attempt.method.split(METHOD_SEPARATOR)
    by_stream = {
        stream: METHOD_SEPARATOR.join(name for name in names if name != GENUINE and stream in METHODS[name].streams)
        for stream in ("video", "audio")
    }
    both = made.frames is not None and made.waveform is not None
    return {
        "path": f"{CLIPS}/{job.name}.mp4",
        "video_label": None if made.frames is None else int(bool(made.video_intervals)),
        "audio_label": None if made.waveform is None else int(bool(made.audio_intervals)),
        "sync_label": int(made.mismatch) if both and made.mismatch is not None else None,
        "video_method": by_stream["video"],
        "audio_method": by_stream["audio"],
        "video_intervals": moved(made.video_intervals, 0.0, lead, trail),
        "audio_intervals": moved(made.audio_intervals, jitter, 0.0, 0.0),
        "offset_ms": round(1000.0 * (made.offset + jitter)) if both and (made.offset or made.mismatch is False) else None,
        "source_clip": job.source.path,
        "identity": job.source.identity,
        "donor_clip": "" if attempt.donor is None else attempt.donor.path,
        "corpus": job.source.corpus,
        "split": job.source.split,
        "speaker": job.source.identity,
        "method": attempt.method,
        "transcript": job.source.transcript,
        "seconds": (job.window.frames + postprocess.lead + postprocess.trail) / FRAME_RATE,
        "seed": job.seed,
        "slot": job.slot,
        "tool_version": version("avwitness"),
    }


def write_manifest(jobs: Sequence[Job], out: str | os.PathLike[str]) -> pd.DataFrame:
    """``manifest.csv`` and ``manifest.parquet`` of the clips that are complete, sorted by their names."""
    out = Path(out)
    rows = []
    for job in sorted(jobs, key=lambda job: job.name):
        record = _record(out, job)
        if record.exists() and _clip(out, job).exists():
            rows.append(json.loads(record.read_text()))
    table = pd.DataFrame(rows, columns=list(MANIFEST_COLUMNS))
    for column in ("video_label", "audio_label", "sync_label"):
        table[column] = table[column].astype("Int8")
    table["offset_ms"] = table["offset_ms"].astype("Int32")
    for kind, write in (("csv", table.to_csv), ("parquet", table.to_parquet)):
        with atomic_write(out / f"manifest.{kind}") as partial:
            write(partial, index=False)
    return table


def counts(table: pd.DataFrame) -> dict[str, int]:
    """How many clips of a manifest there are of every method, two methods of one clip counted apart."""
    return dict(Counter(name for method in table["method"] for name in method.split(METHOD_SEPARATOR)))
