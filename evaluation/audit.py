"""Can the label of a data set be read off trivial statistics? One small classifier per statistic, judged on unseen identities."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from ..media.clip import MediaError
from .document import markdown
from .metrics import Interval, bootstrap
from .shortcuts import NUMBERS, TAGS, VERSION, StreamStatistics, measure

STREAMS = ("audio", "video")
CACHE_NAME = "shortcuts.jsonl"
FOLDS = 5
MIN_IDENTITIES = 10  # below which intervals are drawn over source clips
MIN_FAKES = 20  # of one family, below which nothing is said of it
MIN_TAGGED = 5  # clips that must share a tag, and lack it, before it is looked at: no classifier learns from fewer
MAX_TAGS = 500  # the most frequent ones
SUSPECT_AUC = 0.55  # above which a statistic may give the label away, however wide its interval
ERROR = 0.05  # chance of calling any probe of a clean stream a leak
BACKWARDS_AUC = 0.45  # below which ranking backwards is no chance, if the interval agrees
TOGETHER = "all numbers together"

OnStep = Callable[[str, int, int], None]  # what is being done, steps done, steps in all


class NothingToAudit(ValueError):
    """A set of which nothing can be said: no clip of it can be read, or no stream has both labels."""


@dataclass(frozen=True)
class Probe:
    """How well one statistic tells fake from genuine on identities it was not fitted to."""

    name: str
    auc: Interval
    among: int = 1  # probes that were tried beside it

    @property
    def leak(self) -> bool:
        """Whether it gives the label away."""
        return is_leak(self.auc, self.among)

    @property
    def verdict(self) -> str:
        """``leak``; ``suspect``; ``clean``; ``not there`` where the clips lack what it measures."""
        if np.isnan(self.auc.value):
            return "not there"
        return "leak" if self.leak else "suspect" if is_suspect(self.auc) else "clean"


@dataclass(frozen=True)
class Family:
    """The statistic that tells one kind of fake best; ``None`` where there are too few of the kind."""

    name: str
    fakes: int
    worst: Probe | None


@dataclass(frozen=True)
class StreamAudit:
    """The probes of one stream, the most telling first."""

    stream: str
    genuine: int
    fakes: int
    without: int  # clips that have a label for this stream, but not the stream
    identities: int
    grouped_by: str  # what a fold never divides
    folds: int
    drawn: str  # what the bootstrap draws
    probes: list[Probe]
    together: Probe
    families: list[Family]

    @property
    def leaks(self) -> list[str]:
        """Names of the probes that give the label away."""
        return [probe.name for probe in self.probes if probe.leak]


@dataclass(frozen=True)
class Audit:
    """The whole of a data set."""

    clips: int
    unreadable: dict[str, str]  # file: why
    streams: list[StreamAudit]

    @property
    def leak(self) -> bool:
        """Whether any statistic of any stream gives the label away."""
        return any(stream.leaks for stream in self.streams)


def is_leak(auc: Interval, among: int = 1) -> bool:
    """Whether an AUC is above 0.5 by more than chance explains where ``among`` probes were tried (Bonferroni).

    One of forty clean probes has a 95 % interval above 0.5, so of thirty probes half of all clean sets would be accused.
    """
    from scipy.stats import norm

    error = (auc.high - auc.low) / (2.0 * norm.ppf(0.975))  # the interval is two standard errors to either side
    return bool(auc.value - 0.5 > norm.ppf(1.0 - ERROR / 2.0 / among) * error)


def is_suspect(auc: Interval) -> bool:
    """Whether an AUC is above 0.55, or its 95 % interval wholly above 0.5: worth a look, on more clips."""
    return bool(auc.value > SUSPECT_AUC or auc.low > 0.5)


def audit(
    table: pd.DataFrame,
    workers: int = 1,
    seed: int = 0,
    cache: str | os.PathLike[str] | None = None,
    on_step: OnStep | None = None,
) -> Audit:
    """Measure every clip of a table and probe every statistic.

    Parameters
    ----------
    table : pandas.DataFrame
        As :func:`avwitness.datasets.manifest.read_labels` gives it.
    workers : int
        Processes; 1 reads in this one.
    seed : int
        Of folds, classifiers and bootstrap.
    cache : path-like, optional
        Folder in which the statistics of every file are kept; a file that has changed since is read again.

    Raises
    ------
    NothingToAudit
        If no clip can be read, or no stream has clips of both labels.
    FileNotFoundError
        If the face landmark model is missing.
    """
    step = on_step or (lambda *_: None)
    with tempfile.TemporaryDirectory() as temporary:
        found = measure_all(list(table.file), workers, Path(cache or temporary) / CACHE_NAME, step)
    unreadable = {str(file): cause for file in table.file if isinstance(cause := found[Path(file)], str)}
    readable = table[[not isinstance(found[Path(file)], str) for file in table.file]]
    if readable.empty:
        raise NothingToAudit(f"none of the {len(table)} clips can be read; the first: {next(iter(unreadable.values()), 'there is none')}")
    streams = []
    for stream in STREAMS:
        rows = readable[readable[f"{stream}_label"].notna()]
        labels = rows[f"{stream}_label"].to_numpy(dtype=int)
        if len(np.unique(labels)) == 2:
            statistics = [found[Path(file)].get(stream) for file in rows.file]  # type: ignore[union-attr]
            streams.append(audit_stream(stream, rows, labels, statistics, seed, step))
    if not streams:
        raise NothingToAudit("no stream has both genuine (0) and fake (1) clips that can be read: there is nothing to tell apart")
    return Audit(len(table), unreadable, streams)


# Reading


Statistics = dict[str, StreamStatistics]


def measure_all(files: Sequence[Path], workers: int, cache: Path, on_step: OnStep) -> dict[Path, Statistics | str]:
    """The statistics of every file, or a sentence on why it has none; what the cache holds is not read again."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    kept = _read_cache(cache)
    found: dict[Path, Statistics | str] = {}
    todo: dict[Path, str] = {}
    for file in dict.fromkeys(map(Path, files)):
        key = _key(file)
        if key in kept:
            found[file] = kept[key]
        else:
            todo[file] = key
    total, known = len(found) + len(todo), len(found)
    on_step("reading clips", known, total)
    with cache.open("a") as lines:
        for done, (file, outcome) in enumerate(_measured(list(todo), workers), 1):
            found[file] = outcome
            if not isinstance(outcome, str):  # a file that could not be read may be whole the next time
                lines.write(json.dumps({"key": todo[file], **{kind: vars(s) for kind, s in outcome.items()}}) + "\n")
                lines.flush()
            on_step("reading clips", known + done, total)
    return found


def _key(file: Path) -> str:
    try:
        state = file.stat()
    except OSError:
        return f"{file}: gone"
    return f"{VERSION}:{state.st_size}:{state.st_mtime_ns}:{file.absolute()}"


def _read_cache(cache: Path) -> dict[str, Statistics]:
    kept: dict[str, Statistics] = {}
    text = cache.read_text() if cache.exists() else ""
    if text and not text.endswith("\n"):  # an interrupted run left half a line; the next one must not be appended to it
        with cache.open("a") as lines:
            lines.write("\n")
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        key = entry.pop("key")
        kept[key] = {kind: StreamStatistics(**statistics) for kind, statistics in entry.items()}
    return kept


def _measured(files: list[Path], workers: int) -> Iterator[tuple[Path, Statistics | str]]:
    """Every file with its statistics, in the order in which they are ready."""
    if workers <= 1 or len(files) < 2:
        yield from ((file, _try(file)) for file in files)
        return
    left = dict.fromkeys(files)
    try:
        with _crew(min(workers, len(files))) as pool:
            jobs = {pool.submit(_try, file): file for file in files}
            try:
                for job in as_completed(jobs):
                    outcome = job.result()
                    del left[jobs[job]]
                    yield jobs[job], outcome
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    except BrokenProcessPool:
        # Some file kills the process that reads it. Alone with it, the process says which.
        for file in left:
            try:
                with _crew(1) as pool:
                    outcome = pool.submit(_try, file).result()
            except BrokenProcessPool:
                outcome = f"{file}: the process that read it died; the file is damaged in a way its decoder does not survive"
            yield file, outcome


def _crew(workers: int) -> ProcessPoolExecutor:
    # A forked copy of a process that has used torch or mediapipe may hang.
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_settle)


def _settle() -> None:
    """One thread per process, and none of the messages that native libraries write past Python into the middle of a progress bar."""
    import torch

    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _try(file: Path) -> Statistics | str:
    try:
        return measure(file)
    except MediaError as error:
        return str(error)


# Probing


def audit_stream(
    stream: str, rows: pd.DataFrame, labels: np.ndarray, statistics: Sequence[StreamStatistics | None], seed: int, on_step: OnStep
) -> StreamAudit:
    """Probe every statistic of one stream.

    Parameters
    ----------
    rows : pandas.DataFrame
        With the columns ``identity``, ``source`` and ``family`` (or, which outranks it, ``audio_family``, ``video_family``).
    labels : int array [N]
        1 for fake; both occur.
    statistics : sequence of StreamStatistics or None
        Of the same N clips; ``None`` where a clip lacks the stream.
    """
    values = {name: _numbers(statistics, name, len(units)) for name, units in NUMBERS[stream].items()}
    inputs = {**values, TAGS: _indicators([[] if s is None else s.tags for s in statistics])}
    source = rows.source.to_numpy(dtype=str)
    identity = np.where(rows.identity.to_numpy(dtype=str) == "", source, rows.identity.to_numpy(dtype=str))
    groups, grouped_by = _groups(identity, source, labels)
    folds = make_folds(groups, labels, seed)
    many = len(np.unique(identity)) >= MIN_IDENTITIES
    units = identity if many else source
    family_of = rows[f"{stream}_family" if f"{stream}_family" in rows else "family"].to_numpy(dtype=str)
    kinds = _families(family_of, labels)
    total = (len(inputs)) * (1 + sum(n >= MIN_FAKES for n in kinds.values())) + 1
    done = 0

    def probe(name: str, x: np.ndarray, keep: np.ndarray | None = None) -> Probe:
        nonlocal done
        part = np.ones(len(labels), dtype=bool) if keep is None else keep
        auc = probe_auc(x[part], labels[part], folds[part], units[part], seed)
        done += 1
        on_step(f"probing {stream}", done, total)
        return Probe(name, auc, len(inputs))

    probes = [probe(name, x) for name, x in inputs.items()]
    together = probe(TOGETHER, np.concatenate(list(values.values()), axis=1))
    families = []
    for family, count in kinds.items():
        worst = None
        if count >= MIN_FAKES:
            keep = _beside(family_of == family, labels, source)
            worst = max((probe(name, x, keep) for name, x in inputs.items()), key=_height)
        families.append(Family(family or "unnamed", count, worst))
    return StreamAudit(
        stream=stream,
        genuine=int((labels == 0).sum()),
        fakes=int((labels == 1).sum()),
        without=sum(s is None for s in statistics),
        identities=len(np.unique(identity)),
        grouped_by=grouped_by,
        folds=int(folds.max()) + 1,
        drawn="identities" if many else "source clips",
        probes=sorted(probes, key=_height, reverse=True),
        together=together,
        families=families,
    )


def _beside(fakes: np.ndarray, labels: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Fakes bool [N] with the genuine clips of the same sources, or with all of them where those are too few.

    A family that can be made from some sources alone (text to speech needs a transcript) would else be told by these.
    """
    own = (labels == 0) & np.isin(source, source[fakes])
    return fakes | (own if own.sum() >= MIN_FAKES else labels == 0)


def _height(probe: Probe) -> float:
    return -1.0 if np.isnan(probe.auc.value) else probe.auc.value


def _numbers(statistics: Sequence[StreamStatistics | None], name: str, width: int) -> np.ndarray:
    return np.array([[np.nan] * width if s is None else s.numbers[name] for s in statistics], dtype=np.float64).reshape(-1, width)


def _indicators(tags: Sequence[Sequence[str]]) -> np.ndarray:
    """One column per tag, and one per name of a tag, that enough clips have and enough lack: float [N, K]."""
    described = [{*own, *(tag.split("=", 1)[0] for tag in own)} for own in tags]
    count = Counter(tag for own in described for tag in own)
    telling = [tag for tag, n in count.most_common() if MIN_TAGGED <= n <= len(tags) - MIN_TAGGED][:MAX_TAGS]
    columns = {tag: i for i, tag in enumerate(telling)}
    found = np.zeros((len(tags), len(columns)))
    for row, own in enumerate(described):
        found[row, [columns[tag] for tag in own if tag in columns]] = 1.0
    return found


def _groups(identity: np.ndarray, source: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, str]:
    """What a fold must not divide: identities, or source clips where a class has but one identity to learn from."""
    if min(len(np.unique(identity[labels == label])) for label in (0, 1)) >= 2:
        return identity, "identity"
    return source, "source clip"


def _families(family: np.ndarray, labels: np.ndarray) -> dict[str, int]:
    """Fakes of every family, in order of appearance; empty where there is but one."""
    kinds = Counter(family[labels == 1].tolist())
    return dict(kinds) if len(kinds) > 1 else {}


def make_folds(groups: np.ndarray, labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """Fold of every row [N]: groups stay whole, classes are spread as evenly as the groups allow.

    Five folds, or fewer where a class has fewer groups; all zero where it has one.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    count = min(FOLDS, *(len(np.unique(groups[labels == label])) for label in (0, 1)))
    folds = np.zeros(len(labels), dtype=int)
    if count >= 2:
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        for number, (_, held) in enumerate(splitter.split(np.zeros((len(labels), 1)), labels, groups)):
            folds[held] = number
    return folds


def probe_auc(x: np.ndarray, labels: np.ndarray, folds: np.ndarray, units: np.ndarray, seed: int = 0) -> Interval:
    """How well numbers tell the label of rows in folds that the classifier has not seen.

    Parameters
    ----------
    x : float array [N, K]
        Any numbers; NaN where one does not exist.
    labels, folds : int array [N]
    units : array [N]
        What the bootstrap draws.

    Returns
    -------
    Interval
        AUC with its 95 % interval; NaN where no number exists or no fold holds both classes.

    Notes
    -----
    Only rows of the same fold are compared: scores of classifiers fitted to different rows share no scale, and a fold that
    holds more fakes leaves fewer to learn from, which would tilt pooled ranks against the truth.
    """
    if x.size and np.isnan(x).all():
        return Interval(float("nan"), float("nan"), float("nan"))
    scores = held_out_scores(x, labels, folds, seed)
    _, codes = np.unique(np.stack([folds.astype(float), scores], axis=1), axis=0, return_inverse=True)
    codes = codes.reshape(-1)
    fold_of = np.zeros(codes.max() + 1, dtype=int)
    fold_of[codes] = folds
    return bootstrap(lambda drawn, truth: _auc_within(drawn, truth, fold_of), codes, labels, units, seed)


def _auc_within(codes: np.ndarray, labels: np.ndarray, fold_of: np.ndarray) -> float:
    """Share of the pairs of a fake and a genuine row of one fold in which the fake ranks higher; ties count half.

    ``codes`` are ranks that grow from fold to fold, and ``fold_of`` [ranks] names the fold of each.
    """
    fakes, genuine = (np.bincount(codes[labels == label], minlength=len(fold_of)).astype(float) for label in (1, 0))
    per_fold = np.bincount(fold_of, genuine)
    earlier = np.cumsum(per_fold) - per_fold
    beaten = np.cumsum(genuine) - genuine / 2.0 - earlier[fold_of]
    pairs = float(np.bincount(fold_of, fakes) @ per_fold)
    return float(fakes @ beaten) / pairs if pairs else float("nan")


def held_out_scores(x: np.ndarray, labels: np.ndarray, folds: np.ndarray, seed: int = 0) -> np.ndarray:
    """Score [N] of every row by a classifier fitted to the other folds; zero where those hold one class alone.

    Boosted trees see relations that rise and fall; leaves of a fiftieth of the rows keep them from learning single clips.
    """
    scores = np.zeros(len(labels))
    if not x.size or all(np.array_equal(column, np.full_like(column, column[0]), equal_nan=True) for column in x.T):
        return scores
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    # For so little work, waking up more threads takes longer than the work.
    with threadpool_limits(1):
        for fold in np.unique(folds):
            held = folds == fold
            truth = labels[~held]
            classes = np.bincount(truth, minlength=2)
            seen = ~np.isnan(x[~held]).all(axis=0)  # the trees refuse a number that no clip they are fitted to has
            if classes.min() == 0 or not seen.any():
                continue
            leaf = max(10, min(len(truth) // 50, int(classes.min()) // 4))
            model: Any = HistGradientBoostingClassifier(
                max_iter=40, max_leaf_nodes=8, min_samples_leaf=leaf, early_stopping=False, class_weight="balanced", random_state=seed
            )
            scores[held] = model.fit(x[~held][:, seen], truth).decision_function(x[held][:, seen])
    return scores


# Tables


def summary(result: Audit) -> str:
    """One sentence: which statistics give the label away."""
    found = [f"{stream.stream}: {', '.join(stream.leaks)}" for stream in result.streams if stream.leaks]
    return f"The label leaks. {'; '.join(found)}." if found else "No statistic gives the label away."


def remarks(result: Audit) -> list[str]:
    """Sentences on what was read, what could not be, and on how each stream was divided."""
    lines = [f"{result.clips} clips, {len(result.unreadable)} of them not readable."]
    for s in result.streams:
        line = f"{s.stream.capitalize()}: {s.genuine} genuine and {s.fakes} fake clips of {s.identities} identities; "
        line += f"{s.folds} folds that never divide one {s.grouped_by}" if s.folds > 1 else "too few groups to hold any of them out"
        if s.grouped_by != "identity":
            line += " (one class has but one identity)"
        line += f"; intervals over {s.drawn}."
        if s.without:
            line += f" {s.without} clips have a label for this stream, but no such stream."
        backwards = [p.name for p in s.probes if p.auc.value < BACKWARDS_AUC and p.auc.high < 0.5]
        if backwards:
            line += (
                f" Worse than chance: {', '.join(backwards)}. So rank fakes whose genuine counterpart lies in another fold; "
                "the column source_clip or identity should tie them together, else leaks stay unseen."
            )
        lines.append(line)
    missing = [stream for stream in STREAMS if stream not in {s.stream for s in result.streams}]
    lines += [f"{stream.capitalize()}: not judged, since its labels are all of one class or empty." for stream in missing]
    return lines


def tables(result: Audit) -> list[Table]:
    """What a terminal shows: for every stream its probes, and its families if there are several."""
    found = []
    for stream in result.streams:
        probes = Table("probe", "AUC", "verdict", title=stream.stream, title_justify="left")
        for probe in stream.probes:
            probes.add_row(probe.name, str(probe.auc), probe.verdict, style="bold red" if probe.leak else None)
        probes.add_section()
        probes.add_row(TOGETHER, str(stream.together.auc), "")
        found.append(probes)
        if stream.families:
            families = Table("family", "fakes", "worst probe", "AUC", title=f"{stream.stream}, by family", title_justify="left")
            for row in _family_rows(stream):
                families.add_row(*row)
            found.append(families)
    return found


def _family_rows(stream: StreamAudit) -> list[tuple[str, str, str, str]]:
    return [
        (f.name, str(f.fakes), "too few", "-") if f.worst is None else (f.name, str(f.fakes), f.worst.name, str(f.worst.auc))
        for f in stream.families
    ]


def section(result: Audit, title: str, command: str) -> list[str]:
    """Lines of markdown for :func:`avwitness.evaluation.document.write_section`."""
    lines = [f"# {title}", "", f"Written by `{command}`; do not edit by hand.", ""]
    lines += [
        "Each probe is a small classifier that sees one trivial statistic of a clip alone, judged on folds it was not fitted to. "
        f"It is suspect if its AUC is above {SUSPECT_AUC} or its 95 % interval wholly above 0.5, which one of forty clean probes is by "
        "chance, and a leak if it is above 0.5 by more than chance explains among so many probes (Bonferroni, 5 % for the "
        "stream). Square brackets are 95 % bootstrap intervals (500 rounds).",
        "",
        summary(result),
        "",
        *(f"- {remark}" for remark in remarks(result)),
        "",
    ]
    for stream in result.streams:
        rows: list[tuple[object, ...]] = [(probe.name, probe.auc, probe.verdict) for probe in stream.probes]
        lines += [f"## {stream.stream.capitalize()}", ""]
        lines += markdown(("probe", "AUC", "verdict"), [*rows, (f"({TOGETHER})", stream.together.auc, "")])
        if stream.families:
            lines += [f"### {stream.stream.capitalize()}: every family against the genuine clips of its sources", ""]
            lines += markdown(("family", "fakes", "worst probe", "AUC"), _family_rows(stream))
            lines += ["The worst of many probes lies above 0.5 by chance; this table is for information.", ""]
    return lines
