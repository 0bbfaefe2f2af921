"""How well numbers tell the label of rows that the classifier was not fitted to."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..metrics.bootstrap import Interval, bootstrap

FOLDS = 5


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
        return Interval()
    scores = held_out_scores(x, labels, folds, seed)
    _, codes = np.unique(np.stack([folds.astype(float), scores], axis=1), axis=0, return_inverse=True)
    codes = codes.reshape(-1)
    fold_of = np.zeros(codes.max() + 1, dtype=int)
    fold_of[codes] = folds
    return bootstrap(lambda rows: _auc_within(codes[rows], labels[rows], fold_of), units, seed)


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
