"""Figures of a classifier of one stream with intervals over pages: ranking, pairs, and the FPR of every genuine page."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from ..document import markdown_table
from ..metrics.bootstrap import Interval, bootstrap
from ..metrics.ranking import auc, tpr_at_fpr

FPR = 0.05
HEADER = ("AUC", "fake above its own genuine clip", "TPR at 5 % FPR")
LEARNING_CURVE = (10, 20, 40)  # training pages
MIN_FAKES = 5  # of a kind or language that gets a row
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
