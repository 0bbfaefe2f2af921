"""AUC of a small classifier of the label in grouped cross-validation."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..metrics.bootstrap import Interval, bootstrap

N_FOLDS = 5
N_TREES = 40
MAX_LEAVES = 8  # of a tree
MIN_ROWS_PER_LEAF = 10


def make_folds(groups: np.ndarray, labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """Fold of every row [N]; groups are not divided, and classes are stratified as far as the groups allow.

    Five folds, or fewer if a class has fewer groups; all zero if it has one.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    count = min(N_FOLDS, *(len(np.unique(groups[labels == label])) for label in (0, 1)))
    folds = np.zeros(len(labels), dtype=int)
    if count >= 2:
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        for number, (_, held) in enumerate(splitter.split(np.zeros((len(labels), 1)), labels, groups)):
            folds[held] = number
    return folds


def probe_auc(x: np.ndarray, labels: np.ndarray, folds: np.ndarray, units: np.ndarray, seed: int = 0) -> Interval:
    """AUC of a classifier of the label from numbers, on rows of folds that it was not fitted to.

    Parameters
    ----------
    x : float array [N, K]
        NaN where a number does not exist.
    labels, folds : int array [N]
    units : array [N]
        Bootstrap unit of each row.

    Returns
    -------
    Interval
        AUC with its 95 % interval; NaN if no number exists or no fold has both classes.

    Notes
    -----
    Only rows of the same fold are compared: scores of classifiers fitted to different rows have no common scale, and a fold with
    more fakes leaves fewer for training, which would bias pooled ranks against the true label.
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

    ``codes`` [N] are ranks that increase from fold to fold, and ``fold_of`` [ranks] is the fold of each rank.
    """
    fakes, genuine = (np.bincount(codes[labels == label], minlength=len(fold_of)).astype(float) for label in (1, 0))
    per_fold = np.bincount(fold_of, genuine)
    earlier = np.cumsum(per_fold) - per_fold
    below = np.cumsum(genuine) - genuine / 2.0 - earlier[fold_of]
    pairs = float(np.bincount(fold_of, fakes) @ per_fold)
    return float(fakes @ below) / pairs if pairs else float("nan")


def held_out_scores(x: np.ndarray, labels: np.ndarray, folds: np.ndarray, seed: int = 0) -> np.ndarray:
    """Score [N] of every row by a classifier fitted to the other folds; zero if those have one class.

    Boosted trees model non-monotonic relations; leaves of at least a fiftieth of the rows prevent overfitting to single clips.
    """
    scores = np.zeros(len(labels))
    if not x.size or all(np.array_equal(column, np.full_like(column, column[0]), equal_nan=True) for column in x.T):
        return scores
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    # More threads are slower for so few rows.
    with threadpool_limits(1):
        for fold in np.unique(folds):
            held = folds == fold
            truth = labels[~held]
            classes = np.bincount(truth, minlength=2)
            present = ~np.isnan(x[~held]).all(axis=0)  # the trees need at least one value in training
            if classes.min() == 0 or not present.any():
                continue
            leaf = max(MIN_ROWS_PER_LEAF, min(len(truth) // 50, int(classes.min()) // 4))
            model: Any = HistGradientBoostingClassifier(
                max_iter=N_TREES,
                max_leaf_nodes=MAX_LEAVES,
                min_samples_leaf=leaf,
                early_stopping=False,
                class_weight="balanced",
                random_state=seed,
            )
            scores[held] = model.fit(x[~held][:, present], truth).decision_function(x[held][:, present])
    return scores
