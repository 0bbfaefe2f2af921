"""Ranking metrics of wild fakes against genuine clips of the same clip, speaker or quality, and of all groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from ...auditing.statistics import AUDIO_BASELINES
from ...document import format_number, markdown_table
from ...metrics.baselines import ScoredRows, exceeds_baselines
from ...metrics.bootstrap import SOURCE_CLIPS, Interval, bootstrap, bootstrap_mean, bootstrap_units
from ...metrics.ranking import auc, average_precision, eer
from .matched import N_NEAREST, matched_shares, mean_within, nearest_genuine
from .wild import FACE_BASELINES, tie_share

PORTRAITS = ("sadtalker", "edtalk", "dreamtalk", "anitalker")
BASELINES: dict[str, Sequence[str]] = {"audio": tuple(AUDIO_BASELINES), "video": FACE_BASELINES, "p_mismatch": ()}


def wild_rows(fakes: pd.DataFrame, genuine: pd.DataFrame, stream: str) -> ScoredRows:
    """Fakes and genuine clips by the probability of a stream; clips with the same video are one bootstrap unit."""
    rows = pd.concat([fakes, genuine])
    units, unit_name = bootstrap_units(rows["person"].to_numpy(), rows["video_name"].to_numpy())
    return ScoredRows(
        rows[stream].to_numpy(dtype=float),
        np.repeat([1, 0], [len(fakes), len(genuine)]),
        units,
        rows["corpus"].to_numpy(),
        {name: rows[name].to_numpy(dtype=float) for name in BASELINES[stream]},
        unit_name,
    ).scored()


def ranking_table(wild: pd.DataFrame, seed: int) -> tuple[list[str], dict[str, Interval]]:
    """The table, and the AUC of each comparison by its key in :mod:`.targets`."""
    genuine_audio, genuine_video = wild["audio_label"] == 0, wild["video_label"] == 0
    fastspeech, quiz = wild["method"] == "fastspeech2_av", wild["corpus"] == "wav2lip_quiz"
    portraits, real = wild["corpus"].isin(PORTRAITS) & (wild["video_label"] == 1), wild["method"] == "real"
    comparisons = (
        (
            "audio against same clips",
            "FastSpeech2 speech against the genuine speech of the same clips",
            "audio",
            fastspeech,
            (wild["corpus"] == "lip2speech") & real,
        ),
        ("audio against all", "FastSpeech2 speech against all genuine speech", "audio", fastspeech, genuine_audio),
        (
            "wav2lip mixed",
            "Wav2Lip against all genuine clips of its group",
            "video",
            quiz & (wild["video_label"] == 1),
            quiz & genuine_video,
        ),
        ("portraits all", "generated portraits against all genuine video", "video", portraits, genuine_video),
        (
            "mismatch wild",
            "foreign against own audio (mcgurk)",
            "p_mismatch",
            wild["method"] == "av_mismatch",
            wild["method"] == "congruent",
        ),
    )
    rows: list[tuple[object, ...]] = []
    figures: dict[str, Interval] = {}
    for key, title, stream, fakes, genuine in comparisons:
        order = wild_rows(wild[fakes], wild[genuine], stream)
        metrics = order.ranking(seed)
        exceeds = exceeds_baselines(metrics[0], order.baseline_aucs())
        rows.append((title, order.counts, *metrics, _baselines(order, seed), exceeds, order.unit_name))
        figures[key] = metrics[0]
    for key, row, interval in (_same_speaker(wild[quiz], seed), _matched(wild[portraits], wild[genuine_video], seed)):
        rows.append(row)
        figures[key] = interval
    header = (
        "comparison",
        "fake / genuine",
        "AUC",
        "AP",
        "EER",
        "baselines on the same rows, AUC",
        "exceeds the baselines",
        "bootstrap unit",
    )
    ties = ", ".join(f"{stream} {100 * tie_share(wild, stream):.1f} %" for stream in ("audio", "video"))
    remark = f"Ranked by p(fake), which verdicts give with four digits; pairs of a fake and a genuine clip with equal values: {ties}."
    return [*markdown_table(header, rows), remark, ""], figures


def _baselines(order: ScoredRows, seed: int) -> str:
    return ", ".join(f"{name} {order.baseline(name).auc(seed)}" for name in order.baselines) or "-"


def _same_speaker(quiz: pd.DataFrame, seed: int) -> tuple[str, tuple[object, ...], Interval]:
    """Wav2Lip among the clips of each speaker; baselines are oriented over all speakers."""
    quiz = quiz[quiz["video"].notna()]
    labels, people = quiz["video_label"].to_numpy(dtype=float), quiz["person"].to_numpy()
    units = quiz["video_name"].to_numpy()

    def averaged(metric: Callable[[np.ndarray, np.ndarray], float], values: np.ndarray) -> Interval:
        return bootstrap(lambda rows: mean_within(metric, values[rows], labels[rows], people[rows]), units, seed)

    scores = quiz["video"].to_numpy(dtype=float)
    metrics = [averaged(metric, scores) for metric in (auc, average_precision, eer)]
    best, texts = {}, []
    for name in FACE_BASELINES:
        values = quiz[name].fillna(quiz[name].median()).to_numpy(dtype=float)
        oriented = -values if mean_within(auc, values, labels, people) < 0.5 else values
        interval = averaged(auc, oriented)
        best[name] = interval.value
        texts.append(f"{name} {interval}")
    both = {name for name in set(people) if name and len(set(labels[people == name])) == 2}
    kept = np.isin(people, list(both))
    counts = f"{int((labels[kept] == 1).sum())} / {int((labels[kept] == 0).sum())}"
    title = f"Wav2Lip within speakers, mean over {len(both)}"
    return (
        "wav2lip same speaker",
        (title, counts, *metrics, ", ".join(texts), exceeds_baselines(metrics[0], best), SOURCE_CLIPS),
        metrics[0],
    )


def quality(clips: pd.DataFrame) -> np.ndarray:
    """Log blur of the mouth and log size of the face in the file, float [N, 2]."""
    return np.stack([clips["mouth blur"].to_numpy(dtype=float), -np.log(-clips["native face size"].to_numpy(dtype=float))], axis=1)


def _matched(fakes: pd.DataFrame, genuine: pd.DataFrame, seed: int) -> tuple[str, tuple[object, ...], Interval]:
    """Portraits, each against the genuine clips nearest in blur and face size; clips with the same video count once."""
    genuine = genuine.drop_duplicates("video_name")
    fakes, genuine = (part[part["video"].notna() & np.isfinite(quality(part)).all(axis=1)] for part in (fakes, genuine))
    title = f"generated portraits, each against the {N_NEAREST} genuine clips nearest to it in blur and face size"
    if fakes.empty or genuine.empty:
        none = Interval()
        return "portraits matched", (title, f"{len(fakes)} / {len(genuine)}", "-", "-", "-", "-", "-", "-"), none
    matches = nearest_genuine(quality(fakes), quality(genuine))

    def share(column: str, sign: float = 1.0) -> np.ndarray:
        own, others = (sign * part[column].to_numpy(dtype=float) for part in (fakes, genuine))
        return matched_shares(own, others, matches)

    def interval(shares: np.ndarray) -> Interval:
        return bootstrap_mean(shares, np.arange(len(shares)), seed)

    found = interval(share("video"))
    baselines = {name: interval(share(name, 1.0 if share(name).mean() >= 0.5 else -1.0)) for name in FACE_BASELINES}
    texts = ", ".join(f"{name} {value}" for name, value in baselines.items())
    counts = f"{len(fakes)} / {len(np.unique(matches))}"
    best = {name: value.value for name, value in baselines.items()}
    return "portraits matched", (title, counts, found, "-", "-", texts, exceeds_baselines(found, best), "fakes"), found


def tpr_table(wild: pd.DataFrame, seed: int) -> tuple[list[str], dict[str, Interval]]:
    """TPR at 5 % FPR balanced over genuine groups, beside that of every baseline."""
    rows, figures = [], {}
    for stream in ("audio", "video"):
        label = wild[f"{stream}_label"]
        order = wild_rows(wild[label == 1], wild[label == 0], stream)
        figures[f"{stream} TPR"] = tpr = order.tpr_at_fpr(0.05, seed)
        baselines = []
        for name in order.baselines:
            baselines.append(f"{name} {format_number(order.baseline(name).tpr_at_fpr(0.05, seed).value)}")
        rows.append((stream, order.counts, len(set(order.groups[order.labels == 0])), tpr, ", ".join(baselines), order.unit_name))
    header = ("stream", "fake / genuine", "genuine groups", "TPR at 5 % FPR", "baselines at the same FPR", "bootstrap unit")
    return markdown_table(header, rows), figures
