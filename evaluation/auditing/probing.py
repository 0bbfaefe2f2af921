"""The probes of one stream: every statistic on its own, all together, and by kind of fake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from .cross_validation import make_folds, probe_auc
from .results import Method, Probe, StreamAudit
from .statistics import NUMBERS, TAGS, StreamStatistics

MIN_IDENTITIES = 10  # below which intervals are drawn over source clips
MIN_FAKES = 20  # of one method, below which nothing is said of it
MIN_TAGGED = 5  # clips that must share a tag, and lack it, before it is looked at: no classifier learns from fewer
MAX_TAGS = 500  # the most frequent ones


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
        With the columns ``identity``, ``source`` and ``method`` (or, which outranks it, ``audio_method``, ``video_method``).
    labels : int array [N]
        1 for fake; both occur.
    statistics : sequence of StreamStatistics or None
        Of the same N clips; ``None`` where a clip lacks the stream.
    seed : int
        Of folds, classifiers and bootstrap.
    on_step : callable
        Told after every probe how many are done, and how many there are.
    """
    values = {name: _numbers(statistics, name, len(units)) for name, units in NUMBERS[stream].items()}
    inputs = {**values, TAGS: _indicators([[] if s is None else s.tags for s in statistics])}
    source = rows.source.to_numpy(dtype=str)
    identity = np.where(rows.identity.to_numpy(dtype=str) == "", source, rows.identity.to_numpy(dtype=str))
    groups, grouped_by = _groups(identity, source, labels)
    folds = make_folds(groups, labels, seed)
    many = len(np.unique(identity)) >= MIN_IDENTITIES
    units = identity if many else source
    method_of = rows[f"{stream}_method" if f"{stream}_method" in rows else "method"].to_numpy(dtype=str)
    kinds = _methods(method_of, labels)
    total = len(inputs) * (1 + sum(n >= MIN_FAKES for n in kinds.values())) + 1
    done = 0

    def probe(name: str, x: np.ndarray, keep: np.ndarray | None = None) -> Probe:
        nonlocal done
        part = np.ones(len(labels), dtype=bool) if keep is None else keep
        auc = probe_auc(x[part], labels[part], folds[part], units[part], seed)
        done += 1
        on_step(done, total)
        return Probe(name, auc, len(inputs))

    probes = [probe(name, x) for name, x in inputs.items()]
    together = probe("all numbers together", np.concatenate(list(values.values()), axis=1))
    methods = []
    for method, count in kinds.items():
        worst = None
        if count >= MIN_FAKES:
            keep = _beside(method_of == method, labels, source)
            worst = max((probe(name, x, keep) for name, x in inputs.items()), key=_height)
        methods.append(Method(method or "unnamed", count, worst))
    return StreamAudit(
        stream=stream,
        genuine=int((labels == 0).sum()),
        fakes=int((labels == 1).sum()),
        without=sum(s is None for s in statistics),
        identities=len(np.unique(identity)),
        grouped_by=grouped_by,
        folds=int(folds.max()) + 1,
        unit_name="identities" if many else "source clips",
        probes=sorted(probes, key=_height, reverse=True),
        together=together,
        methods=methods,
    )


def _beside(fakes: np.ndarray, labels: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Fakes bool [N] with the genuine clips of the same sources, or with all of them where those are too few.

    A method that can be made from some sources alone (text to speech needs a transcript) would else be told by these.
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


def _methods(method: np.ndarray, labels: np.ndarray) -> dict[str, int]:
    """Fakes of every method, in order of appearance; empty where there is but one."""
    kinds = Counter(method[labels == 1].tolist())
    return dict(kinds) if len(kinds) > 1 else {}
