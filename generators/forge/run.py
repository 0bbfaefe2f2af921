"""Running the forge: from a manifest of genuine clips to a labelled set of forged and paired genuine clips.

The whole set is planned from the seed (:mod:`.plan`) and written clip by clip in worker processes. The record of a clip is
written after its file is complete, and the manifest lists records only, so an interrupted run can be resumed and no
incomplete file is listed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from ...datasets.manifest import read_labels
from ...media.clip import FRAME_RATE, STREAMS, MediaError
from ...media.files import PARTIAL, atomic_write
from ...media.parallel import make_files
from ..faces.coarse import blur_to_match
from ..methods.base import CannotForge, Forgery, Intervals
from ..methods.source import Facts, Origin, Source, cache_name, load_facts, load_source, track_clip
from ..voices.resynthesis import VOICES
from .plan import REPLACEMENT_OFFSET, Attempt, Job, draw_plan, origins
from .postprocess import Postprocess, write_clip
from .registry import GENUINE, METHOD_SEPARATOR, METHODS

CLIPS_FOLDER, RECORDS_FOLDER, PLAN_FILE = "clips", "records", "plan.json"
BYTES_PER_SECOND = 40_000  # of the written clips, for the size estimate: measured on frames of 250 to 360 lines, rounded up
HEADROOM = 2  # multiple of the estimated size that must be free on the disk
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
    """Settings of a forged set.

    Parameters
    ----------
    methods : tuple of str
        Names, see :mod:`.registry`.
    per_clip, genuine_per_clip : int
        Forged and genuine clips of every source.
    seed : int
    split : str or None
        Split of the manifest to use; all of it if ``None``.
    limit : int or None
        Number of clips in total.
    """

    methods: tuple[str, ...]
    per_clip: int = 1
    genuine_per_clip: int = 1
    seed: int = 0
    split: str | None = None
    limit: int | None = None


@dataclass(frozen=True)
class ForgedSet:
    """A written set: the manifest as file and table, and a sentence for every clip that failed."""

    manifest: Path
    table: pd.DataFrame
    failures: tuple[str, ...]

    @property
    def clips(self) -> int:
        """Number of clips."""
        return len(self.table)


def genuine_rows(manifest: str | os.PathLike[str], split: str | None, streams: Collection[str] = STREAMS) -> pd.DataFrame:
    """The rows of a manifest with a genuine stream and no fake one, among the streams that are named.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`avwitness.datasets.manifest.read_labels`, and if no row is genuine.
    """
    table = read_labels(manifest, split)
    labels = table[[f"{stream}_label" for stream in streams]]
    rows = table[labels.eq(0).any(axis=1) & ~labels.eq(1).any(axis=1)]
    if rows.empty:
        raise ValueError(f"{manifest}: contains no genuine clip: no row has a label 0 without a label 1")
    return rows.reset_index(drop=True)


def plan_forge(
    manifest: str | os.PathLike[str], cache: str | os.PathLike[str], config: ForgeConfig, workers: int
) -> tuple[list[Job], list[str]]:
    """Track the faces of all sources (kept in ``cache``) and plan the clips to write.

    Returns
    -------
    jobs : list of Job
    failures : list of str
        One sentence for every unreadable source.
    """
    clips = origins(genuine_rows(manifest, config.split))
    facts, failures = track_faces(clips, cache, workers)
    jobs = draw_plan(clips, facts, config.methods, config.per_clip, config.genuine_per_clip, config.seed, config.limit)
    if not jobs:
        raise ValueError(f"{manifest}: none of the methods {', '.join(config.methods)} can be applied to any of its clips")
    return jobs, failures


def estimate(jobs: Sequence[Job]) -> tuple[float, int]:
    """Seconds of media that a plan will write, and the estimated size in bytes."""
    seconds = sum(job.window.frames for job in jobs) / FRAME_RATE
    return seconds, round(seconds * BYTES_PER_SECOND)


def forge_set(
    jobs: Sequence[Job], out: str | os.PathLike[str], cache: str | os.PathLike[str], config: ForgeConfig, workers: int
) -> ForgedSet:
    """Write all clips of a plan that do not exist yet, then the manifest.

    Raises
    ------
    ValueError
        If ``out`` contains a set of another plan.
    OSError
        If the disk has not enough space.
    """
    out = Path(out)
    (out / CLIPS_FOLDER).mkdir(parents=True, exist_ok=True)
    for job in jobs:
        if not _clip_path(out, job).exists():
            _record_path(out, job).unlink(missing_ok=True)
    todo = [job for job in jobs if not _record_path(out, job).exists()]
    needed, free = HEADROOM * estimate(todo)[1], shutil.disk_usage(out).free
    if needed > free:
        raise OSError(
            f"{out}: the clips may need {needed / 1e6:.0f} MB and {free / 1e6:.0f} MB are free; choose another folder or a --limit"
        )
    _same_plan(out / PLAN_FILE, jobs, config)
    for partial in (out / CLIPS_FOLDER).glob(f"{PARTIAL}*"):
        partial.unlink()
    work = ((job, _record_path(out, job), _clip_path(out, job), Path(cache)) for job in jobs)
    failures = make_files(work, run_job, workers, "forging")
    return ForgedSet(out / "manifest.csv", write_manifest(jobs, out), tuple(failures))


def _record_path(out: Path, job: Job) -> Path:
    return out / RECORDS_FOLDER / f"{job.name}.json"


def _clip_path(out: Path, job: Job) -> Path:
    return out / CLIPS_FOLDER / f"{job.name}.mp4"


def _same_plan(file: Path, jobs: Sequence[Job], config: ForgeConfig) -> None:
    """Write the settings of the set into its folder; refuse to mix two sets in one folder."""
    content = "\n".join(f"{job.name} {job.source.path} {[attempt.method for attempt in job.attempts]}" for job in jobs)
    plan = {"tool_version": version("avwitness"), "clips": len(jobs), **asdict(config), "methods": list(config.methods)}
    # Word edits draw from the installed voices.
    plan["voices"] = [name for name, voice in VOICES.items() if voice.missing_reason() is None]
    plan["jobs"] = hashlib.sha1(content.encode()).hexdigest()
    if file.exists():
        before = json.loads(file.read_text())
        changed = [name for name in plan if before.get(name) != plan[name]]
        if changed:
            raise ValueError(
                f"{file.parent}: contains a set forged with other settings ({', '.join(changed)}); choose another folder or delete this one"
            )
    else:
        _write(file, json.dumps(plan, indent=2) + "\n")


def _write(file: Path, text: str) -> None:
    with atomic_write(file) as partial:
        partial.write_text(text)


def run_job(job: Job, record: Path, target: Path, cache: Path) -> None:
    """Write one forged or genuine clip, and its record when the file is complete.

    Raises
    ------
    MediaError
        If a clip cannot be read.
    """
    source = load_origin(job.source, cache)
    span = source.cut(job.window.begin, job.window.frames)
    if job.paired_attempts:
        span = _match_softness(span, _first_success(replace(job, attempts=job.paired_attempts), source, cache))
    result = _first_success(job, source, cache) if job.attempts else None
    if job.attempts and result is None:
        # Replaced by a genuine clip, so that sources which are hard to forge are not over-represented among the genuine.
        job = replace(job, attempts=(), slot=job.slot + REPLACEMENT_OFFSET)
    forgery, attempt = result or (Forgery(span.frames, span.waveform), Attempt(GENUINE, None))
    landmarks = span.landmarks if forgery.landmarks is None else forgery.landmarks
    postprocess = job.postprocess
    target.parent.mkdir(parents=True, exist_ok=True)
    write_clip(target, forgery.frames, forgery.waveform, landmarks if source.has_face else None, postprocess)
    row = _manifest_row(job, attempt, forgery, postprocess)
    _write(record, json.dumps({**row, "postprocess": postprocess.to_dict(), "window": asdict(job.window)}, ensure_ascii=False) + "\n")


def track_path(origin: Origin, cache: str | os.PathLike[str]) -> Path:
    """File of the face track of a clip."""
    return Path(cache) / cache_name(origin.file, origin.transcript)


def load_origin(origin: Origin, cache: str | os.PathLike[str]) -> Source:
    """Decode a tracked clip; a stream that is not labelled genuine is left out.

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
    """Track the faces of clips that have no track in the cache yet.

    Returns
    -------
    facts : dict
        Of the readable clips, by their paths; streams that are not labelled genuine count as absent.
    failures : list of str
        One sentence for every unreadable clip.
    """
    failures = make_files(((clip.file, track_path(clip, cache), clip.transcript) for clip in clips), track_clip, workers, "tracking faces")
    facts = {clip.path: load_facts(track) for clip in clips if (track := track_path(clip, cache)).exists()}
    for clip in clips:
        if clip.path in facts:
            found = facts[clip.path]
            facts[clip.path] = replace(
                found, video=found.video and clip.video, face=found.face and clip.video, audio=found.audio and clip.audio
            )
    return facts, failures


def _first_success(job: Job, source: Source, cache: Path) -> tuple[Forgery, Attempt] | None:
    """The first attempt that succeeds, or ``None``."""
    for attempt in job.attempts:
        try:
            donor = None if attempt.donor is None else load_origin(attempt.donor, cache)
            return forge_clip(attempt.method, source, donor, job), attempt
        except (CannotForge, MediaError):
            continue
    return None


def _match_softness(span: Source, found: tuple[Forgery, Attempt] | None) -> Source:
    """The genuine clip blurred to the softness of its paired coarse forgery."""
    if found is None or span.frames is None or found[0].frames is None or not METHODS[found[1].method.split(METHOD_SEPARATOR)[0]].coarse:
        return span
    return replace(span, frames=blur_to_match(span.frames, found[0].frames))


def forge_clip(method: str, source: Source, donor: Source | None, job: Job) -> Forgery:
    """Apply one method, or two joined by ``+``: one to the video and one to the audio.

    Raises
    ------
    CannotForge
        If the method cannot be applied to this source.
    """
    first, *rest = method.split(METHOD_SEPARATOR)
    forgery = METHODS[first].forge(source, donor, job.window, job.rng(first))
    for name in rest:
        voice_forgery = METHODS[name].forge(source, None, job.window, job.rng(name))
        mismatches = (forgery.mismatch, voice_forgery.mismatch)
        mismatch = True if True in mismatches else None if None in mismatches else False
        forgery = replace(forgery, waveform=voice_forgery.waveform, audio_intervals=voice_forgery.audio_intervals, mismatch=mismatch)
    return forgery


def _manifest_row(job: Job, attempt: Attempt, forgery: Forgery, postprocess: Postprocess) -> dict[str, Any]:
    """Row of the manifest; times are those of the written clip, and a missing stream has no label."""
    length = job.window.frames / FRAME_RATE
    lead, trail, jitter = (frames / FRAME_RATE for frames in (postprocess.lead, postprocess.trail, postprocess.jitter))

    def moved(intervals: Intervals, by: float, before: float, after: float) -> str:
        """Shift intervals; one that reaches an edge extends into the held frames or mirrored audio that the postprocess adds there."""
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
    both = forgery.frames is not None and forgery.waveform is not None
    return {
        "path": f"{CLIPS_FOLDER}/{job.name}.mp4",
        "video_label": None if forgery.frames is None else int(bool(forgery.video_intervals)),
        "audio_label": None if forgery.waveform is None else int(bool(forgery.audio_intervals)),
        "sync_label": int(forgery.mismatch) if both and forgery.mismatch is not None else None,
        "video_method": by_stream["video"],
        "audio_method": by_stream["audio"],
        "video_intervals": moved(forgery.video_intervals, 0.0, lead, trail),
        "audio_intervals": moved(forgery.audio_intervals, jitter, 0.0, 0.0),
        "offset_ms": round(1000.0 * (forgery.offset + jitter)) if both and (forgery.offset or forgery.mismatch is False) else None,
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
    """Write ``manifest.csv`` and ``manifest.parquet`` of the complete clips, sorted by name; returns the table."""
    out = Path(out)
    rows = []
    for job in sorted(jobs, key=lambda job: job.name):
        record = _record_path(out, job)
        if record.exists() and _clip_path(out, job).exists():
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
    """Number of clips of every method in a manifest; both methods of a clip with two are counted."""
    return dict(Counter(name for method in table["method"] for name in method.split(METHOD_SEPARATOR)))
