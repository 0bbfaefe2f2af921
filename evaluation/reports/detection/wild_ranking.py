"""Fakes of wild groups against genuine clips: of the same clip, speaker or quality where that can be had, and of all groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from ...auditing.statistics import AUDIO_BASELINES
from ...document import format_number, markdown_table
from ...metrics.baselines import ScoredRows, exceeds_baselines
from ...metrics.bootstrap import Interval, bootstrap, bootstrap_units
from ...metrics.ranking import auc, average_precision, eer
from .matched import NEAREST, matched_shares, nearest_genuine, within
from .wild import FACE_BASELINES, tied

PORTRAITS = ("sadtalker", "edtalk", "dreamtalk", "anitalker")
BASELINES: dict[str, Sequence[str]] = {"audio": tuple(AUDIO_BASELINES), "video": FACE_BASELINES, "p_mismatch": ()}


def wild_ranked(fakes: pd.DataFrame, genuine: pd.DataFrame, stream: str) -> ScoredRows:
    """Two lots of clips by a stream's probability; clips that show the same pictures are drawn together."""
    rows = pd.concat([fakes, genuine])
    units, over = bootstrap_units(rows["person"].to_numpy(), rows["picture"].to_numpy())
    return ScoredRows(
        rows[stream].to_numpy(dtype=float),
        np.repeat([1, 0], [len(fakes), len(genuine)]),
        units,
        rows["corpus"].to_numpy(),
        {name: rows[name].to_numpy(dtype=float) for name in BASELINES[stream]},
        over,
    ).scored()


def ranking_table(wild: pd.DataFrame, seed: int) -> tuple[list[str], dict[str, Interval]]:
    """The table, and the AUC of each comparison by the name that :mod:`.targets` knows."""
    speech, pictures = wild["audio_label"] == 0, wild["video_label"] == 0
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
        ("audio against all", "FastSpeech2 speech against all genuine speech", "audio", fastspeech, speech),
        ("wav2lip mixed", "Wav2Lip against all genuine clips of its group", "video", quiz & (wild["video_label"] == 1), quiz & pictures),
        ("portraits all", "generated portraits against all genuine video", "video", portraits, pictures),
        (
            "mismatch wild",
            "foreign against own sound (mcgurk)",
            "p_mismatch",
            wild["method"] == "av_mismatch",
            wild["method"] == "congruent",
        ),
    )
    rows: list[tuple[object, ...]] = []
    figures: dict[str, Interval] = {}
    for key, title, stream, fakes, genuine in comparisons:
        order = wild_ranked(wild[fakes], wild[genuine], stream)
        three = order.ranking(seed)
        rows.append(
            (title, order.counts, *three, _baselines(order, seed), exceeds_baselines(three[0], order.baseline_aucs()), order.unit_name)
        )
        figures[key] = three[0]
    for key, row, interval in (_same_speaker(wild[quiz], seed), _matched(wild[portraits], wild[pictures], seed)):
        rows.append(row)
        figures[key] = interval
    header = (
        "comparison",
        "fake / genuine",
        "AUC",
        "AP",
        "EER",
        "baselines on the same rows, AUC",
        "beats the baselines",
        "bootstrap unit",
    )
    ties = ", ".join(f"{stream} {100 * tied(wild, stream):.1f} %" for stream in ("audio", "video"))
    remark = f"ScoredRows by p(fake), which verdicts give to four digits; pairs of a fake and a genuine clip that tie count half: {ties}."
    return [*markdown_table(header, rows), remark, ""], figures


def _baselines(order: ScoredRows, seed: int) -> str:
    return ", ".join(f"{name} {order.baseline(name).auc(seed)}" for name in order.baselines) or "-"


def _same_speaker(quiz: pd.DataFrame, seed: int) -> tuple[str, tuple[object, ...], Interval]:
    """Wav2Lip among the clips of each speaker; a baseline is turned the way that suits it best over all speakers."""
    quiz = quiz[quiz["video"].notna()]
    labels, people = quiz["video_label"].to_numpy(dtype=float), quiz["person"].to_numpy()
    units = quiz["picture"].to_numpy()

    def averaged(figure: Callable[[np.ndarray, np.ndarray], float], values: np.ndarray) -> Interval:
        return bootstrap(lambda rows: within(figure, values[rows], labels[rows], people[rows]), units, seed)

    scores = quiz["video"].to_numpy(dtype=float)
    three = [averaged(figure, scores) for figure in (auc, average_precision, eer)]
    best, said = {}, []
    for name in FACE_BASELINES:
        values = quiz[name].fillna(quiz[name].median()).to_numpy(dtype=float)
        turned = values if not within(auc, values, labels, people) < 0.5 else -values
        interval = averaged(auc, turned)
        best[name] = interval.value
        said.append(f"{name} {interval}")
    both = {name for name in set(people) if name and len(set(labels[people == name])) == 2}
    kept = np.isin(people, list(both))
    counts = f"{int((labels[kept] == 1).sum())} / {int((labels[kept] == 0).sum())}"
    title = f"Wav2Lip within speakers, mean over {len(both)}"
    return "wav2lip same speaker", (title, counts, *three, ", ".join(said), exceeds_baselines(three[0], best), "source clips"), three[0]


def quality(clips: pd.DataFrame) -> np.ndarray:
    """Log blur of the mouth and log size of the face in the file, float [N, 2]."""
    return np.stack([clips["mouth blur"].to_numpy(dtype=float), -np.log(-clips["native face size"].to_numpy(dtype=float))], axis=1)


def _matched(fakes: pd.DataFrame, genuine: pd.DataFrame, seed: int) -> tuple[str, tuple[object, ...], Interval]:
    """Portraits, each against the genuine clips nearest in blur and size; a picture that several clips share counts once."""
    genuine = genuine.drop_duplicates("picture")
    fakes, genuine = (part[part["video"].notna() & np.isfinite(quality(part)).all(axis=1)] for part in (fakes, genuine))
    title = f"generated portraits, each against the {NEAREST} genuine clips of any group most like it in blur and face size"
    if fakes.empty or genuine.empty:
        none = Interval()
        return "portraits matched", (title, f"{len(fakes)} / {len(genuine)}", "-", "-", "-", "-", "-", "-"), none
    matches = nearest_genuine(quality(fakes), quality(genuine))

    def share(column: str, sign: float = 1.0) -> np.ndarray:
        own, others = (sign * part[column].to_numpy(dtype=float) for part in (fakes, genuine))
        return matched_shares(own, others, matches)

    def interval(shares: np.ndarray) -> Interval:
        return bootstrap(lambda rows: float(shares[rows].mean()), np.arange(len(shares)), seed)

    found = interval(share("video"))
    baselines = {name: interval(share(name, 1.0 if share(name).mean() >= 0.5 else -1.0)) for name in FACE_BASELINES}
    said = ", ".join(f"{name} {value}" for name, value in baselines.items())
    counts = f"{len(fakes)} / {len(np.unique(matches))}"
    best = {name: value.value for name, value in baselines.items()}
    return "portraits matched", (title, counts, found, "-", "-", said, exceeds_baselines(found, best), "fakes"), found


def headline(wild: pd.DataFrame, seed: int) -> tuple[list[str], dict[str, Interval]]:
    """Share of fakes found at 5 % false alarms balanced over genuine groups, beside every baseline's at the same rate."""
    rows, figures = [], {}
    for stream in ("audio", "video"):
        label = wild[f"{stream}_label"]
        order = wild_ranked(wild[label == 1], wild[label == 0], stream)
        figures[f"{stream} found"] = found = order.tpr_at_fpr(0.05, seed)
        baselines = []
        for name in order.baselines:
            baselines.append(f"{name} {format_number(order.baseline(name).tpr_at_fpr(0.05, seed).value)}")
        rows.append((stream, order.counts, len(set(order.groups[order.labels == 0])), found, ", ".join(baselines), order.unit_name))
    header = ("stream", "fake / genuine", "genuine groups", "fakes found at 5 % alarms", "baselines at the same rate", "bootstrap unit")
    return markdown_table(header, rows), figures
