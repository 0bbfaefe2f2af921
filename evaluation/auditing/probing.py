"""Probes of one stream: each statistic alone, all combined, and by method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from ..metrics.bootstrap import bootstrap_units
from .cross_validation import make_folds, probe_auc
from .file_statistics import NUMBERS, TAGS, StreamStatistics
from .results import MethodProbe, Probe, StreamAudit

MIN_FAKES = 20  # of a method that is probed
MIN_TAGGED = 5  # clips with a tag, and clips without it, for the tag to be used
MAX_TAGS = 500  # the most frequent ones are used


def audit_stream(
    stream: str,
    rows: pd.DataFrame,
    labels: np.ndarray,
    statistics: Sequence[StreamStatistics | None],
    seed: int,
    on_step: Callable[[int, int], None],
) -> StreamAudit:
    """Probe every statistic of one stream.

    Parameters
    ----------
    rows : pandas.DataFrame
        With the columns ``identity``, ``source`` and ``method``, or instead of the last ``audio_method``, ``video_method``.
    labels : int array [N]
        1 for fake; both occur.
    statistics : sequence of StreamStatistics or None
        Of the same N clips; ``None`` for a clip without the stream.
    seed : int
        Of folds, classifiers and bootstrap.
    on_step : callable
        Called after every probe with the number of finished probes and their total.
    """
    values = {name: _numbers(statistics, name, len(units)) for name, units in NUMBERS[stream].items()}
    inputs = {**values, TAGS: _indicators([[] if s is None else s.tags for s in statistics])}
    source = rows.source.to_numpy(dtype=str)
    named = rows.identity.to_numpy(dtype=str)
    identity = np.where(named == "", source, named)
    groups, grouped_by = _groups(identity, source, labels)
    folds = make_folds(groups, labels, seed)
    units, unit_name = bootstrap_units(named, source)
    method_of = rows[f"{stream}_method" if f"{stream}_method" in rows else "method"].to_numpy(dtype=str)
    counts = _methods(method_of, labels)
    total = len(inputs) * (1 + sum(n >= MIN_FAKES for n in counts.values())) + 1
    done = 0

    def probe(name: str, x: np.ndarray, keep: np.ndarray | None = None) -> Probe:
        nonlocal done
        part = np.ones(len(labels), dtype=bool) if keep is None else keep
        auc = probe_auc(x[part], labels[part], folds[part], units[part], seed)
        done += 1
        on_step(done, total)
        return Probe(name, auc, len(inputs))

    probes = [probe(name, x) for name, x in inputs.items()]
    combined = probe("all numbers combined", np.concatenate(list(values.values()), axis=1))
    methods = []
    for method, count in counts.items():
        best = None
        if count >= MIN_FAKES:
            keep = _with_genuine(method_of == method, labels, source)
            best = max((probe(name, x, keep) for name, x in inputs.items()), key=_auc)
        methods.append(MethodProbe(method or "unnamed", count, best))
    return StreamAudit(
        stream=stream,
        genuine=int((labels == 0).sum()),
        fakes=int((labels == 1).sum()),
        n_without_stream=sum(s is None for s in statistics),
        identities=len(np.unique(identity)),
        grouped_by=grouped_by,
        folds=int(folds.max()) + 1,
        unit_name=unit_name,
        probes=sorted(probes, key=_auc, reverse=True),
        combined=combined,
        methods=methods,
    )


def _with_genuine(fakes: np.ndarray, labels: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Fakes bool [N] with the genuine clips of the same sources, or with all genuine clips if those are too few.

    Otherwise a method that needs certain sources (text to speech needs a transcript) could be classified by its sources.
    """
    own = (labels == 0) & np.isin(source, source[fakes])
    return fakes | (own if own.sum() >= MIN_FAKES else labels == 0)


def _auc(probe: Probe) -> float:
    return -1.0 if np.isnan(probe.auc.value) else probe.auc.value


def _numbers(statistics: Sequence[StreamStatistics | None], name: str, width: int) -> np.ndarray:
    return np.array([[np.nan] * width if s is None else s.numbers[name] for s in statistics], dtype=np.float64).reshape(-1, width)


def _indicators(tags: Sequence[Sequence[str]]) -> np.ndarray:
    """Indicators float [N, K] of tags and of tag names that enough clips have and enough do not have."""
    tag_sets = [{*own, *(tag.split("=", 1)[0] for tag in own)} for own in tags]
    count = Counter(tag for own in tag_sets for tag in own)
    frequent = [tag for tag, n in count.most_common() if MIN_TAGGED <= n <= len(tags) - MIN_TAGGED][:MAX_TAGS]
    columns = {tag: i for i, tag in enumerate(frequent)}
    found = np.zeros((len(tags), len(columns)))
    for row, own in enumerate(tag_sets):
        found[row, [columns[tag] for tag in own if tag in columns]] = 1.0
    return found


def _groups(identity: np.ndarray, source: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, str]:
    """Groups that no fold may divide: identities, or source clips if a class has one identity."""
    if min(len(np.unique(identity[labels == label])) for label in (0, 1)) >= 2:
        return identity, "identity"
    return source, "source clip"


def _methods(method: np.ndarray, labels: np.ndarray) -> dict[str, int]:
    """Number of fakes of every method, in order of appearance; empty with a single method."""
    counts = Counter(method[labels == 1].tolist())
    return dict(counts) if len(counts) > 1 else {}
