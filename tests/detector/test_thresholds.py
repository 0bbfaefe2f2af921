from __future__ import annotations

import numpy as np

from avwitness.detector.thresholds import page_threshold


def test_the_threshold_keeps_both_limits() -> None:
    rng = np.random.default_rng(2)
    pages = np.repeat([f"p{n}" for n in range(20)], 10)
    scores = rng.standard_normal(200) + np.repeat(np.where(np.arange(20) == 3, 4.0, 0.0), 10)  # one page is far above the others
    strict, lax = page_threshold(scores, pages, 0.05, 0.10), page_threshold(scores, pages, 0.05, 1.0)
    rates = np.array([(scores[pages == page] > strict).mean() for page in np.unique(pages)])
    assert rates.mean() <= 0.05 and np.sort(rates)[-2:].mean() <= 0.10
    assert strict > lax and np.mean([(scores[pages == page] > lax).mean() for page in np.unique(pages)]) <= 0.05
