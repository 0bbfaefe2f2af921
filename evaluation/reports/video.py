"""The section on the video classifier of ``docs/RESULTS.md``: the field set by page, beside baselines, ablations and a learning curve."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ...checkpoints import find_weights, read_card
from ...detector.efficientnet import EfficientNetLite
from ...detector.inference.detector import load
from ...detector.thresholds import page_threshold
from ...detector.training.classifiers.export import calibrate_stream
from ...detector.training.classifiers.linear import (
    LinearClassifier,
    PageSamples,
    cross_validated_logits,
    fit_linear,
    set_linear,
)
from ...detector.training.classifiers.video_data import BASELINES, VideoTrainConfig, cached_portraits, load_video_samples
from ...detector.video_classifier import VideoClassifier
from ...media.files import file_sha256
from ..auditing.people import SAME_PERSON, load_embedder, missing_reason, nearest
from ..document import markdown_table, write_section
from ..metrics.ranking import auc
from .occlusion import REGIONS, draw_maps, occlusion_map, region_shares
from .page_figures import HEADER, LEARNING_CURVE, coverage_lines, figures, fpr_lines, group_rows
from .video_ablations import FIELD, Variant, data_variants, held_pages, tuned_variants, validated

SECTION = "video"  # and the name of the detector
KINDS = {"category": "kind"}  # column, and its name in the tables
FACE_EDGES = (0, 90, 130, 180, 100_000)  # pixels of the face
N_MAPS = 10  # hits, and as many misses, whose occlusion maps are drawn
DISTANCES = (0.35, SAME_PERSON, 0.55)  # distances of embeddings below which two clips show the same person
Hook = Callable[[int, int], None]


def report_video(
    data: str | os.PathLike[str],
    model: str | os.PathLike[str],
    cache: str | os.PathLike[str],
    out: str | os.PathLike[str],
    hook: Hook | None = None,
    forged: Sequence[str | os.PathLike[str]] = (),
    outside: Sequence[str | os.PathLike[str]] = (),
    start: str | os.PathLike[str] | None = None,
    with_maps: bool = True,
) -> None:
    """Measure the video classifier of a detector with the settings of its card, and write the section.

    Parameters
    ----------
    data : path-like
        Folder of the development data, with the field set in ``field/``.
    model : str or path-like
        Bundled name or folder.
    cache : path-like
        Folder for the statistics of clips.
    out : path-like
        Markdown file; the occlusion maps are drawn beside it.
    hook : callable, optional
        Called with what is done and all there is, for each part anew.
    forged : sequence of path-like
        Forged sets that the classifier was fitted to.
    outside : sequence of path-like
        Sets that were forged from other corpora, for a row without the field set.
    start : path-like, optional
        Weights that the encoder began with, for a row of its own.
    with_maps : bool
        Whether to draw occlusion maps, which take about half an hour with a large encoder.

    Raises
    ------
    ValueError
        If the detector has no video classifier, or was fitted to forged clips and they are not given.
    """
    classifier = load(model, device="cpu").model.video_classifier
    card = read_card(find_weights("detector", model)).get("video_classifier")
    if classifier is None or card is None:
        raise ValueError(f"{model}: has no video classifier")
    config, name = VideoTrainConfig(**card["training"]), Path(model).name
    if card["data"]["only fitted to"]["forged"] and not forged:
        raise ValueError(f"{model}: was fitted to forged clips too; name their folder with --forged")
    table, samples, failures = load_video_samples(Path(data) / FIELD, data, classifier, config, cache, hook, forged)
    variants = list(data_variants(data, classifier, config, cache, forged, outside, start, hook))
    if isinstance(classifier.encoder, EfficientNetLite):
        variants += tuned_variants(table, samples, classifier, config, cache, hook)
    linear = fit_on_train(table, samples, config)
    maps = Path(out).with_name(f"occlusion-{name}.png")
    more = people_lines(table, samples, linear, config, cache)
    if with_maps:
        more += occlusion_lines(table, samples, classifier, linear, cache, maps, hook)
    write_video(table, samples, linear, classifier.config.parts, config, out, name, len(failures), variants, more)


def fit_on_train(table: pd.DataFrame, samples: PageSamples, config: VideoTrainConfig) -> LinearClassifier:
    """The linear layer fitted to the clips of the training split and to those that are only fitted to."""
    scored, extra = samples[samples.scored], samples[~samples.scored]
    return fit_linear(scored[held_pages(table)[0]].with_more(extra), config)


def write_video(
    table: pd.DataFrame,
    samples: PageSamples,
    linear: LinearClassifier,
    parts: list[tuple[str, int]],
    config: VideoTrainConfig,
    out: str | os.PathLike[str],
    name: str,
    n_failures: int = 0,
    variants: Iterable[Variant] = (),
    more_lines: Sequence[str] = (),
) -> None:
    """Measure the video classifier on the field set and write the section.

    Parameters
    ----------
    table, samples
        See :func:`avwitness.detector.training.classifiers.video_data.load_video_samples`.
    linear : LinearClassifier
        Fitted on train, see :func:`fit_on_train`.
    parts : list of (str, int)
        Name and number of columns of every part of the statistics.
    config : VideoTrainConfig
    out : path-like
        Markdown file.
    name : str
        Of the detector.
    n_failures : int
        Clips that cannot be read or show no face.
    variants : iterable of (str, float [N])
        Further rows of the ablations.
    more_lines : sequence of str
        At the end of the section.
    """
    labels, pages = table.label.to_numpy(), table.page.to_numpy()
    train, val = held_pages(table)  # pages with clips in both splits are in neither row of val
    scored, extra = samples[samples.scored], samples[~samples.scored]
    everything, nothing = np.ones(len(table), dtype=bool), extra[np.zeros(len(extra.labels), dtype=bool)]
    logits_train, logits_all = validated(scored, train, extra, config), validated(scored, everything, extra, config)
    logits_val = np.where(val, linear(scored.statistics), np.nan)
    lines = [
        f"## Video classifier of `{name}`",
        "",
        f"Field set: {int(labels.sum())} fake and {int((labels == 0).sum())} genuine clips of {len(np.unique(pages))} pages. Clips that "
        f"show no face or cannot be read: {n_failures}. {int((extra.labels == 0).sum())} genuine clips of other corpora and of forged "
        f"sets, and {int(extra.labels.sum())} forged clips are fitted to and not scored. Seed {config.seed}. Intervals are 95 % bootstrap "
        f"intervals over pages. In cross-validation ({config.folds} folds) "
        "no page stands on both sides. Settings were chosen by cross-validation on `train`.",
        "",
    ]

    def row(title: str, logits: np.ndarray) -> tuple[object, ...]:
        return (title, *figures(logits, table, config.seed))

    rows: list[tuple[object, ...]] = [
        row("cross-validation, train", logits_train),
        row("cross-validation, train and val", logits_all),
        row("val, fitted on train", logits_val),
    ]
    for baseline in BASELINES:
        values = table[baseline].to_numpy(dtype=float)
        sign = 1.0 if auc(values, labels) >= 0.5 else -1.0
        rows.append(row(f"baseline: {baseline}, better direction, all", sign * values))
    lines += ["### Ranking", "", *markdown_table(("scores", *HEADER), rows)]

    rows = [row("cross-validation, train", logits_train)]
    rows.append(row("cross-validation, train, field set alone", validated(scored, train, nothing, config)))
    begin = 0
    for part_name, size in parts:
        part = slice(begin, begin + size)
        begin += size
        rows.append(row(f"the same, {part_name} alone", validated(scored.columns(part), train, nothing.columns(part), config)))
    rows += [row(title, logits) for title, logits in variants]
    lines += ["### Ablations", "", *markdown_table(("scores", *HEADER), rows)]

    lines += ["### By kind, method and size of the face", "", "Fakes of the row against all genuine clips.", ""]
    header = ("", "value", "fakes", "pages", *HEADER)
    for title, logits, columns in (
        ("Cross-validation, train and val", logits_all, ("category", "method")),
        ("Val, fitted on train", logits_val, ("category",)),
    ):
        rows = [row for column in columns for row in group_rows(KINDS.get(column, column), table[column], logits, table, config.seed)]
        lines += [f"{title}:", "", *markdown_table(header, rows)]
    if "face_px" in table:
        size_of_face = pd.cut(table.face_px.astype(float), list(FACE_EDGES)).astype(str).replace("nan", None)
        rows = group_rows("pixels, genuine clips of it too", size_of_face, logits_all, table, config.seed, within=True)
        lines += ["Cross-validation, train and val, by the height of the face:", "", *markdown_table(header, rows)]
    lines += ["### Kinds that were not trained on", ""]
    lines += ["Cross-validation on train and val without any fake of the row's kind, against all genuine clips.", ""]
    rows = []
    for kind in sorted(table.category[table.label == 1].unique()):
        of_kind = (table.category.eq(kind) & table.label.eq(1)).to_numpy()
        logits = cross_validated_logits(samples, config, np.concatenate([~of_kind, np.ones(len(extra.labels), dtype=bool)]))
        rows += group_rows("kind", table.category.where(of_kind, ""), logits, table, config.seed)
    lines += markdown_table(header, rows)

    rows = []
    for count in (*LEARNING_CURVE, len(np.unique(pages))):
        order = np.random.default_rng(config.seed).permutation(np.unique(pages))
        keep = np.isin(samples.pages, order[:count]) | ~np.isin(samples.pages, order)
        rows.append((min(count, len(order)), *figures(cross_validated_logits(samples, config, keep), table, config.seed)))
    lines += ["### Learning curve", ""]
    lines += ["Cross-validation on train and val; each fold is fitted to this many other pages, drawn with the seed.", ""]
    lines += markdown_table(("pages", *HEADER), rows)

    calibration = calibrate_stream(logits_all, table, config)
    lines += ["### Coverage", "", *coverage_lines(logits_all, table, calibration, config.seed)]
    threshold = page_threshold(logits_all[labels == 0], pages[labels == 0], config.max_fpr, config.max_worst_fpr)
    lines += ["### FPR of genuine pages", "", *fpr_lines(logits_all, table, threshold), *more_lines]
    write_section(out, f"{SECTION}-{name}", lines)


def people_lines(
    table: pd.DataFrame, samples: PageSamples, linear: LinearClassifier, config: VideoTrainConfig, cache: str | os.PathLike[str]
) -> list[str]:
    """How many clips of val show a person of train, by face embedding, and the figures of val without them."""
    lines = ["### People in both splits", ""]
    if reason := missing_reason():
        return [*lines, f"Not measured: {reason}.", ""]
    embed, (train, val) = load_embedder(), held_pages(table)
    embeddings = np.stack([embed(cached_portraits(file, file_sha256(file), cache)) for file in table.file])
    distance = np.full(len(table), np.nan)
    distance[val] = nearest(embeddings[val], embeddings[train])[0]
    logits = np.where(val, linear(samples[samples.scored].statistics), np.nan)
    rows = []
    for limit in DISTANCES:
        known = val & (distance < limit)
        rows.append((f"{limit:g}", int(known.sum()), *figures(np.where(known, np.nan, logits), table, config.seed)))
    lines += [
        f"Distance of dlib's face embeddings, mean over the portraits of a clip, to the nearest clip of train. Val has {int(val.sum())} "
        f"clips. At {SAME_PERSON:g} two clips count as the same person here; the figures are those of val, fitted on train, without the "
        "clips of the row.",
        "",
    ]
    return lines + markdown_table(("distance below", "clips of val", *(f"{title}, without them" for title in HEADER)), rows)


def occlusion_lines(
    table: pd.DataFrame,
    samples: PageSamples,
    classifier: VideoClassifier,
    linear: LinearClassifier,
    cache: str | os.PathLike[str],
    target: Path,
    hook: Hook | None = None,
) -> list[str]:
    """Occlusion maps of the fakes of val with the highest and with the lowest logits, by a classifier fitted on train."""
    fitted = copy.deepcopy(classifier)
    set_linear(fitted, linear)
    fakes = np.flatnonzero(held_pages(table)[1] & (table.label == 1).to_numpy())
    order = fakes[np.argsort(-linear(samples[samples.scored].statistics[fakes]), kind="stable")]
    chosen = [*order[:N_MAPS], *order[::-1][:N_MAPS]]
    maps = []
    for number, row in enumerate(chosen):
        file = table.file.iloc[row]
        maps.append(occlusion_map(fitted, cached_portraits(file, file_sha256(file), cache)))
        if hook is not None:
            hook(number + 1, len(chosen))
    half = len(chosen) // 2
    titles = [f"{table.category.iloc[row]}\n{table.method.iloc[row][:16]}" for row in chosen]
    draw_maps(maps, titles, target, columns=max(1, half))
    rows = [
        (title, *(f"{share:.2f}" for share in region_shares(np.stack(part))))
        for title, part in ((f"{half} hits", maps[:half]), (f"{half} misses", maps[half:]))
    ]
    return [
        "### Occlusion maps",
        "",
        "Fakes of val with the highest logits (hits, above) and the lowest (misses, below), by a classifier fitted on train: fall of the "
        "logit when a square of the portrait is covered. Inside of the line lies the face. The table has the mean absolute fall in a "
        "region over that of the whole portrait.",
        "",
        f"![Occlusion maps]({target.name})",
        "",
        *markdown_table(("clips", *REGIONS), rows),
    ]
