from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest
from audited import rows

from avwitness.evaluation.auditing.file_statistics import NUMBERS, StreamStatistics
from avwitness.evaluation.auditing.probing import audit_stream
from avwitness.evaluation.auditing.results import Audit, Probe, StreamAudit, is_leak
from avwitness.evaluation.auditing.tables import remarks, section
from avwitness.evaluation.metrics.bootstrap import Interval


def test_what_counts_as_a_leak() -> None:
    for auc, n_probes, verdict in (
        (Interval(0.56, 0.4, 0.7), 1, "suspect"),
        (Interval(0.53, 0.51, 0.55), 1, "leak"),
        (Interval(0.525, 0.505, 0.545), 14, "suspect"),  # one of fourteen is that far off by chance in a tenth of all sets
        (Interval(0.6, 0.55, 0.65), 14, "leak"),
        (Interval(1.0, 1.0, 1.0), 14, "leak"),
        (Interval(0.54, 0.49, 0.6), 1, "clean"),
        (Interval(0.3, 0.2, 0.4), 1, "clean"),
        (Interval(0.5, 0.5, 0.5), 1, "clean"),
    ):
        assert Probe("x", auc, n_probes).verdict == verdict
        assert is_leak(auc, n_probes) == (verdict == "leak")


def made_up(change: Callable[[dict[str, list[float]], int], None], methods: Sequence[str] = ("a",), people: int = 30) -> StreamAudit:
    """An audio stream of 240 clips in which every number is noise with equal values in a genuine clip and its fake, until changed."""
    rng = np.random.default_rng(0)
    labels, identities = rows(240, people)
    statistics = []
    for pair in range(120):
        numbers = {name: rng.normal(size=len(units)).tolist() for name, units in NUMBERS["audio"].items()}
        for label in (0, 1):
            own = {name: list(values) for name, values in numbers.items()}
            if label:
                change(own, pair)
            statistics.append(StreamStatistics(own, ["codec=aac"]))
    method = [methods[i // 2 % len(methods)] if label else "real" for i, label in enumerate(labels)]
    sources = [f"clip{i // 2}" for i in range(240)]
    frame = pd.DataFrame({"identity": [f"p{i}" for i in identities], "source": sources, "method": method})
    return audit_stream("audio", frame, labels, statistics, 0, lambda *_: None)


@pytest.fixture(scope="module")
def untouched() -> StreamAudit:
    return made_up(lambda *_: None)


@pytest.fixture(scope="module")
def three_kinds() -> StreamAudit:
    """Fakes of three methods, two of which have too long a duration."""

    def longer(numbers: dict[str, list[float]], pair: int) -> None:
        if pair % 2:
            numbers["duration"][1] += 5.0

    return made_up(longer, ("sound", "cut") * 9 + ("sound", "rare"))


@pytest.mark.slow
def test_a_planted_leak_is_found(untouched: StreamAudit) -> None:
    def louder(numbers: dict[str, list[float]], _: int) -> None:
        numbers["loudness"][0] += 3.0

    assert made_up(louder).leaks == ["loudness"]
    assert untouched.leaks == []


@pytest.mark.slow
def test_the_best_probe_of_every_method(three_kinds: StreamAudit, untouched: StreamAudit) -> None:
    methods = {method.name: method for method in three_kinds.methods}
    assert {name: method.fakes for name, method in methods.items()} == {"sound": 60, "cut": 54, "rare": 6}
    assert methods["rare"].best is None
    assert methods["cut"].best is not None and methods["sound"].best is not None
    assert methods["cut"].best.name == "duration"
    assert methods["cut"].best.auc.value > 0.95
    assert methods["sound"].best.auc.value < 0.6
    assert untouched.methods == []  # with a single method


@pytest.mark.slow
def test_folds_of_a_single_identity_are_grouped_by_source_clip(untouched: StreamAudit) -> None:
    alone = made_up(lambda *_: None, people=1)
    assert (alone.grouped_by, alone.unit_name, alone.identities) == ("source clip", "source clips", 1)
    assert (untouched.grouped_by, untouched.unit_name, untouched.identities, untouched.folds) == ("identity", "identities", 30, 5)


def test_section(three_kinds: StreamAudit) -> None:
    text = "\n".join(section(Audit(240, {}, [three_kinds]), "Set", "avwitness audit x"))
    assert "Written by `avwitness audit x`" in text
    assert "every method against the genuine clips of its sources" in text
    assert "| rare | 6 | too few | - |" in text
    assert "Video: not audited" in text


@pytest.mark.slow
def test_pairs_in_different_folds_are_reported() -> None:
    # Without a common source, the classifier memorises the paired real clip and scores its fake as genuine.
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 2
    twins = np.repeat(rng.integers(0, 15, 150), 2).astype(float)
    frame = pd.DataFrame({"identity": "", "source": [f"clip{i}" for i in range(300)], "method": "f"}, index=range(300))
    statistics = [StreamStatistics({n: [t] * len(u) for n, u in NUMBERS["audio"].items()}, []) for t in twins]
    torn = audit_stream("audio", frame, labels, statistics, 0, lambda *_: None)
    assert torn.leaks == []
    assert "Worse than chance" in " ".join(remarks(Audit(300, {}, [torn])))
