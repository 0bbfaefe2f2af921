"""Figures of a classifier of one stream with intervals over pages: ranking, pairs, and the FPR of every genuine page."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from ...detector.calibration import StreamCalibration
from ..document import markdown_table
from ..metrics.bootstrap import Interval, bootstrap
from ..metrics.ranking import auc, tpr_at_fpr

FPR = 0.05
HEADER = ("AUC", "fake above its own genuine clip", "TPR at 5 % FPR")
LEARNING_CURVE = (10, 20, 40)  # training pages
MIN_FAKES = 5  # of a kind or language that gets a row
COVERAGES = (1.0, 0.75, 0.5, 0.25)
MIN_PAGE_CLIPS = 5  # genuine clips of a page that gets a row of its own


def pair_share(scores: np.ndarray, labels: np.ndarray, sources: np.ndarray) -> float:
    """Share of the pairs of a fake and a genuine clip of the same source in which the fake has the higher score; ties count half."""
    wins = total = 0.0
    for source in np.unique(sources[labels == 1]):
        if source:
            fake, genuine = scores[(sources == source) & (labels == 1)], scores[(sources == source) & (labels == 0)]
            difference = fake[:, None] - genuine[None]
            wins += float((difference > 0).sum() + 0.5 * (difference == 0).sum())
            total += difference.size
    return wins / total if total else float("nan")


def figures(scores: np.ndarray, table: pd.DataFrame, seed: int) -> tuple[Interval, Interval, Interval]:
    """AUC, share of pairs ranked rightly and TPR at 5 % FPR, with intervals over pages."""
    labels, pages, sources = table.label.to_numpy(), table.page.to_numpy(), table.source_clip.to_numpy(dtype=str)
    known = ~np.isnan(scores)
    scores, labels, pages, sources = scores[known], labels[known], pages[known], sources[known]

    def over(figure: Callable[..., float], *columns: np.ndarray) -> Interval:
        return bootstrap(lambda rows: figure(*(column[rows] for column in columns)), pages, seed)

    return over(auc, scores, labels), over(pair_share, scores, labels, sources), over(lambda s, y: tpr_at_fpr(s, y, FPR), scores, labels)


def group_rows(
    column: str, values: pd.Series, logits: np.ndarray, table: pd.DataFrame, seed: int, within: bool = False
) -> list[tuple[object, ...]]:
    """Figures of the fakes of each value with enough of them, against all genuine clips, or with ``within`` those of that value."""
    fake = table.label.to_numpy() == 1
    rows: list[tuple[object, ...]] = []
    for value in sorted(str(v) for v in values[fake].dropna().unique() if v):
        member = values.astype(str).eq(value).to_numpy() & ~np.isnan(logits)
        chosen = member if within else (member & fake) | (~fake & ~np.isnan(logits))
        if (member & fake).sum() >= MIN_FAKES and (chosen & ~fake).sum() >= MIN_FAKES:
            pages = table.page[member & fake].nunique()
            rows.append((column, value, int((member & fake).sum()), pages, *figures(logits[chosen], table[chosen], seed)))
    return rows


def coverage_lines(logits: np.ndarray, table: pd.DataFrame, calibration: StreamCalibration, seed: int) -> list[str]:
    """How often a label is given and how often it is wrong: of the shipped thresholds, and of the surest clips."""
    labels, pages = table.label.to_numpy(), table.page.to_numpy()
    p = np.asarray(calibration.probability(logits))
    verdicts = np.array([calibration.label(value) for value in p])
    rows: list[tuple[object, ...]] = []
    for name, member in (("genuine", labels == 0), ("fake", labels == 1)):

        def share(verdict: str, member: np.ndarray = member) -> Interval:
            return bootstrap(lambda rows: float((verdicts[member][rows] == verdict).mean()), pages[member], seed)

        rows.append((name, int(member.sum()), share("genuine"), share("inconclusive"), share("fake")))
    lines = ["Labels by the calibration on these logits.", ""]
    lines += markdown_table(("recordings", "number", "labelled genuine", "inconclusive", "labelled fake"), rows)
    center = (calibration.genuine_below + calibration.fake_above) / 2
    order = np.argsort(-np.abs(p - center), kind="stable")
    wrong = (p > center) != (labels == 1)
    lines += [
        "Error rate, mean of both classes, of the recordings whose probability is farthest from the middle of the inconclusive band.",
        "",
    ]
    rows = []
    for coverage in COVERAGES:
        kept = order[: round(coverage * len(order))]
        risk = bootstrap(lambda rows, kept=kept: _balanced(wrong[kept][rows], labels[kept][rows]), pages[kept], seed)  # type: ignore[misc]
        rows.append((f"{100 * coverage:.0f} %", len(kept), risk))
    return lines + markdown_table(("coverage", "recordings", "error rate"), rows)


def _balanced(wrong: np.ndarray, labels: np.ndarray) -> float:
    rates = [wrong[labels == label].mean() for label in (0, 1) if (labels == label).any()]
    return float(np.mean(rates)) if rates else float("nan")


def fpr_lines(logits: np.ndarray, table: pd.DataFrame, threshold: float) -> list[str]:
    """FPR and TPR at the shipped threshold, and the FPR of every page with enough genuine clips."""
    fake = logits > threshold
    genuine = (table.label == 0).to_numpy()
    lines = [
        f"Threshold chosen on the same cross-validated logits (limits on the mean over pages and on the worst tenth): FPR "
        f"{100 * fake[genuine].mean():.1f} % of all genuine recordings, TPR {100 * fake[~genuine].mean():.1f} %.",
        "",
    ]
    rates = [(fake[group.index].mean(), page, len(group)) for page, group in table[genuine].groupby("page") if len(group) >= MIN_PAGE_CLIPS]
    rows = [(page, count, f"{100 * rate:.0f} %") for rate, page, count in sorted(rates, reverse=True)]
    return lines + markdown_table(("page", "genuine recordings", "FPR"), rows)
