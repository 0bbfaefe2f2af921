"""The section on the sync network of ``docs/RESULTS.md``: offsets, mismatches by length, fakes of others, fusion with the face model."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from ...avsr.sync_network import SyncNetwork
from ...avsr.whisper.encoder import WhisperAudioEncoder
from ...checkpoints import find_weights, read_card
from ...datasets.manifest import read_manifest
from ...detector.inference.detector import Detector, load
from ...detector.sync import sync_statistic
from ...detector.training.classifiers.field_data import field_table
from ...detector.training.classifiers.linear import cross_validated_logits, fit_linear
from ...detector.training.classifiers.video_data import VideoTrainConfig, load_video_samples
from ...detector.training.synchronisation.config import SyncAugment, SyncTrainConfig
from ...detector.training.synchronisation.export import (
    TrainedSync,
    cross_validated,
    load_data,
    talking_clips,
    train_and_validate,
    validated_table,
)
from ...detector.training.synchronisation.recordings import Recording, field_recordings, load_recordings
from ...detector.training.synchronisation.validation import KINDS, Span, compare, mismatch_table, offset_table
from ...media.clip import FRAME_RATE
from ..document import markdown_table, write_section
from ..metrics.bootstrap import Interval, bootstrap
from ..metrics.ranking import auc
from .page_figures import HEADER, figures

SECTION = "sync"
FIELD = "field"  # folder of the field set among the development data
LENGTHS = (1.1, 1.5, 2.0, 3.0, 4.0)  # seconds of the windows; shorter ones cannot be compared at every offset
DRIVEN = ("lipsync", "head", "dub")  # kinds whose lips or whose sound were made for the other stream
TOLERANCE = 1.5  # frames; an offset is within one frame when it rounds to it
SECONDS = 2.0  # of the windows of the ablations
Hook = Callable[[int, int], None]
Variant = tuple[str, SyncTrainConfig, bool]  # name, settings, and whether originals are trained on


def report_sync(
    data: str | os.PathLike[str],
    model: str | os.PathLike[str],
    cache: str | os.PathLike[str],
    runs: str | os.PathLike[str],
    out: str | os.PathLike[str],
    originals: str | os.PathLike[str] | None = None,
    hook: Hook | None = None,
) -> None:
    """Measure the sync network of a detector with the settings of its card, and write the section.

    Parameters
    ----------
    data : path-like
        Folder of the development data, with the field set in ``field/``.
    model : str or path-like
        Bundled name or folder.
    cache : path-like
        Folder for the recordings and for the statistics of portraits.
    runs : path-like
        Folder of the trainings of the cross-validation and of the ablations; finished ones found there are kept.
    out : path-like
        Markdown file.
    originals : path-like, optional
        Full-length originals that the network was trained on.
    hook : callable, optional
        Called with what is done and all there is, for each part anew.

    Raises
    ------
    ValueError
        If the detector has no sync network.
    """
    detector = load(model, device="cpu")
    card = read_card(find_weights("detector", model)).get("sync_network")
    network, classifier = detector.model.sync_network, detector.model.audio_classifier
    if network is None or classifier is None or card is None:
        raise ValueError(f"{model}: has no sync network")
    config = SyncTrainConfig(**{**card["training"], "augment": SyncAugment(**card["training"]["augment"])})
    field, encoder = Path(data) / FIELD, classifier.encoder
    trained = train_and_validate(load_data(field, data, encoder, config, cache, originals, hook), config, Path(runs) / "chosen", hook)
    held = _held_out(field, encoder, network.config.layer, cache, hook)
    lines = [*_heading(trained, held, config), *_offset_lines(trained, network, held, config.seed)]
    lines += _mismatch_lines(trained, network, held, config.seed)
    lines += _field_lines(detector, trained, field, data, cache, config.seed, hook)
    lines += _mcgurk_lines(network, encoder, data, cache, config.seed)
    lines += [
        "### Ablations",
        "",
        f"Cross-validation on train, windows of {SECONDS:g} s. The variants are trained for one round, without estimated lags.",
        "",
    ]
    rows = [("as it ships", *_mismatch_figures(validated_table(trained.folds, SECONDS, config.seed), config.seed))]
    for name, settings, longer in variants(config, originals is not None):
        clips = load_data(field, data, encoder, settings, cache, originals if longer else None, hook)
        folds = cross_validated(clips, settings, Path(runs) / re.sub(r"[^a-z0-9]+", "-", name), hook)
        rows.append((name, *_mismatch_figures(validated_table(folds, SECONDS, config.seed), config.seed)))
    lines += markdown_table(("training", *_MISMATCH_HEADER), rows)
    write_section(out, SECTION, lines)


def variants(config: SyncTrainConfig, originals: bool) -> Iterator[Variant]:
    """Trainings of one round that differ from the first of them in one thing."""
    one = replace(config, rounds=1)
    yield "one round", one, originals
    yield "one round, convolutions of the encoder alone", replace(one, network={**config.network, "layer": 0}), originals
    if originals:
        yield "one round, clips of the field set in place of originals", one, False
    unchanged = SyncAugment(mirror=0.0, rotation=0.0, scale=0.0, jitter=0.0, tempo=0.0, audio_noise=0.0, audio_dropout=0.0)
    yield "one round, no random changes of lips and features", replace(one, augment=unchanged), originals
    yield "one round, no corpora beside the field set", replace(one, genuine_corpora={}), originals


def _held_out(field: Path, encoder: WhisperAudioEncoder, layer: int, cache: str | os.PathLike[str], hook: Hook | None) -> list[Recording]:
    """Genuine clips with genuine sound of val."""
    return field_recordings(talking_clips(field, "val"), encoder, layer, cache, hook=hook)[0]


def _heading(trained: TrainedSync, held: Sequence[Recording], config: SyncTrainConfig) -> list[str]:
    train = trained.data.train
    return [
        "## Synchronisation of audio and lips",
        "",
        f"Sync network: {sum(p.numel() for p in trained.network.parameters()):,} parameters, trained on {len(train)} recordings "
        f"({sum(r.frames for r in train) / FRAME_RATE / 60:.0f} min) of {len({r.page for r in train})} pages and speakers. Asked about "
        f"{len(trained.data.scored)} genuine clips of {len({r.page for r in trained.data.scored})} pages of train in cross-validation "
        f"({config.folds} folds by page), and about {len(held)} of {len({r.page for r in held})} pages of val. Seed {config.seed}. "
        "Intervals are 95 % bootstrap intervals over pages. Settings were chosen by cross-validation on train.",
        "",
    ]


def _offset_lines(trained: TrainedSync, network: SyncNetwork, held: Sequence[Recording], seed: int) -> list[str]:
    """Offsets of moved sound, by length."""
    rows: list[tuple[object, ...]] = []
    for name, parts in (("train, cross-validation", trained.folds), ("val", [(network, list(held))])):
        for seconds in LENGTHS:
            table = pd.concat([offset_table(of_fold, clips, round(seconds * FRAME_RATE), seed) for of_fold, clips in parts])
            error = (table.offset - table.move).to_numpy()
            own = (table.offset - table.move - table.still).to_numpy()
            pages, known = table.page.to_numpy(), ~np.isnan(own)
            baseline = float((table.move.abs() <= 1).mean()) if len(table) else float("nan")
            rows.append(
                (
                    name,
                    f"{seconds:g} s",
                    int(known.sum()),
                    _share(np.abs(own[known]) <= TOLERANCE, pages[known], seed),
                    len(error),
                    _share(np.abs(error) <= TOLERANCE, pages, seed),
                    _share(np.abs(error) <= 3.0, pages, seed),
                    f"{baseline:.2f}",
                )
            )
    header = (
        "clips",
        "length",
        "clips twice as long",
        "within 1 frame of the clip's own offset",
        "clips, all",
        "within 1 frame of no offset",
        "within 3 frames",
        "baseline: no shift, within 1",
    )
    return [
        "### Offset of sound that was moved",
        "",
        "Sound moved by -8 to 8 frames of 40 ms. Footage from the web is itself not in sync to the frame. So clips of twice the length are "
        "measured twice: the offset of the one half, with moved sound, against that of the other half, which was not moved, plus the "
        "shift. The next columns take all clips and assume that they were in sync.",
        "",
        *markdown_table(header, rows),
    ]


_MISMATCH_HEADER = ("windows in sync", "moved", "AUC, moved", "foreign", "AUC, foreign", "AUC, both")


def _mismatch_figures(table: pd.DataFrame, seed: int) -> tuple[object, ...]:
    """Numbers of windows and AUC of moved and of foreign sound against sound in sync."""
    cells: list[object] = [int((table.kind == KINDS[0]).sum())]
    for kinds in ((KINDS[1],), (KINDS[2],), KINDS[1:]):
        rows = table[table.kind.isin((KINDS[0], *kinds))]
        values, labels = rows.statistic.to_numpy(), rows.kind.ne(KINDS[0]).to_numpy(dtype=int)
        cells += [int(labels.sum())] * (len(kinds) == 1) + [_auc(values, labels, rows.page.to_numpy(), seed)]
    return tuple(cells)


def _mismatch_lines(trained: TrainedSync, network: SyncNetwork, held: Sequence[Recording], seed: int) -> list[str]:
    rows = []
    for name, parts in (("train, cross-validation", trained.folds), ("val", [(network, list(held))])):
        for seconds in LENGTHS:
            table = pd.concat([mismatch_table(of_fold, clips, round(seconds * FRAME_RATE), seed) for of_fold, clips in parts])
            if (table.kind == KINDS[0]).any():
                rows.append((name, f"{seconds:g} s", *_mismatch_figures(table, seed)))
    return [
        "### Mismatch by length",
        "",
        "Sound of the clip moved by 0.4 to 2 s, and sound of other clips of the same split, against sound in sync; windows from the middle "
        "of the clips. Windows below a second have no score: at an offset of 0.6 s too little of them overlaps.",
        "",
        *markdown_table(("clips", "length", *_MISMATCH_HEADER), rows),
    ]


def _field_lines(
    detector: Detector,
    trained: TrainedSync,
    field: Path,
    data: str | os.PathLike[str],
    cache: str | os.PathLike[str],
    seed: int,
    hook: Hook | None,
) -> list[str]:
    """Fakes of the field set with sound: the statistic alone, the face model alone, and both."""
    network, classifier, faces = detector.model.sync_network, detector.model.audio_classifier, detector.model.video_classifier
    assert network is not None
    assert classifier is not None
    table = field_table(field, "video")
    dubs = table.category.eq("dub")
    table = table[(table.category.isin(DRIVEN)) | (table.label.eq(0) & table.audio_label.eq(0) & ~dubs)].reset_index(drop=True)
    found, _ = load_recordings(list(table.file), list(table.page), classifier.encoder, network.config.layer, cache, hook)
    by_page = {recording.page: of_fold for of_fold, clips in trained.folds for recording in clips}
    statistic = np.full(len(table), np.nan)
    for row, parts in enumerate(found):
        split, page = table.split.iloc[row], table.page.iloc[row]
        used = network if split == "val" else by_page.get(page, trained.folds[0][0])
        curve = compare(used, parts[0], parts[0], Span(0, parts[0].frames)) if parts else None
        statistic[row] = np.nan if curve is None else sync_statistic(curve)
    table = table.assign(sync=statistic, wrong=(table.label.eq(1) | table.category.eq("dub")).astype(int))
    lines = [
        "### Fakes of the field set",
        "",
        "Lip sync, heads and dubs with sound against genuine clips with genuine sound, whole clips. Train: by networks that did not see "
        "the page.",
        "",
    ]
    rows: list[tuple[object, ...]] = []
    for split in ("train", "val"):
        of_split = table[(table.split == split) & table.sync.notna()].reset_index(drop=True)
        for kind in DRIVEN:
            chosen = of_split[of_split.category.eq(kind) | of_split.wrong.eq(0)]
            labels = chosen.wrong.to_numpy()
            if labels.any():
                cells = int(labels.sum()), int((labels == 0).sum()), _auc(chosen.sync.to_numpy(), labels, chosen.page.to_numpy(), seed)
                rows.append((split, kind, *cells))
    lines += markdown_table(("clips", "kind", "fakes", "genuine", "AUC of the statistic"), rows)
    card = read_card(find_weights("detector", detector.source)).get("video_classifier")
    if faces is None or card is None:
        return lines
    settings = VideoTrainConfig(**card["training"])
    clips, samples, _ = load_video_samples(field, data, faces, settings, cache, hook)
    scored, extra = samples[samples.scored], samples[~samples.scored]
    train = (clips.split == "train").to_numpy()
    logits = np.full(len(clips), np.nan)
    logits[train] = cross_validated_logits(scored[train].with_more(extra), settings)
    logits[~train] = fit_linear(scored[train].with_more(extra), settings)(scored.statistics[~train])
    table = table[table.category.ne("dub")].assign(face=lambda x: x.path.map(dict(zip(clips.path, logits, strict=True))))
    return [*lines, *fusion_lines(table[table.sync.notna() & table.face.notna()].reset_index(drop=True), seed)]


def fusion_lines(table: pd.DataFrame, seed: int) -> list[str]:
    """The face model alone, the statistic alone, and their logistic regression fitted on train: figures on val, and the gain."""
    from sklearn.linear_model import LogisticRegression

    train, val = (table[table.split == split].reset_index(drop=True) for split in ("train", "val"))
    values = [part[["face", "sync"]].to_numpy() for part in (train, val)]
    center, scale = values[0].mean(axis=0), values[0].std(axis=0) + 1e-6
    model = LogisticRegression(class_weight="balanced").fit((values[0] - center) / scale, train.label)
    both = model.decision_function((values[1] - center) / scale)
    scores = {"face model": val.face.to_numpy(), "statistic of the sync network": val.sync.to_numpy(), "both": both}
    rows = [(name, *figures(value, val, seed)) for name, value in scores.items()]
    labels, pages = val.label.to_numpy(), val.page.to_numpy()
    gain = bootstrap(lambda r: auc(both[r], labels[r]) - auc(scores["face model"][r], labels[r]), pages, seed)
    weights = ", ".join(f"{name} {weight:.2f}" for name, weight in zip(("face", "sync"), model.coef_[0], strict=True))
    return [
        f"Fusion with the face model on lip sync and heads of val ({int(labels.sum())} fakes, {int((labels == 0).sum())} genuine): a "
        f"logistic regression of both, fitted on train (standardised weights: {weights}). Gain in AUC {gain}.",
        "",
        *markdown_table(("scores", *HEADER), rows),
    ]


def _mcgurk_lines(
    network: SyncNetwork, encoder: WhisperAudioEncoder, data: str | os.PathLike[str], cache: str | os.PathLike[str], seed: int
) -> list[str]:
    """Genuine streams of different syllables."""
    table = read_manifest(data)
    table = table[table.corpus == "mcgurk"].reset_index(drop=True)
    lines = ["### McGurk clips", ""]
    if table.empty:
        return [*lines, "The clips are not there.", ""]
    found, _ = load_recordings(list(table.file), list(table.speaker), encoder, network.config.layer, cache)
    wrong = table.method.eq("av_mismatch").to_numpy(dtype=int)
    statistic = np.full(len(table), np.nan)
    lengths = np.array([parts[0].frames if parts else 0 for parts in found]) / FRAME_RATE
    for row, parts in enumerate(found):
        curve = compare(network, parts[0], parts[0], Span(0, parts[0].frames)) if parts else None
        statistic[row] = np.nan if curve is None else sync_statistic(curve)
    judged = ~np.isnan(statistic)
    value = _auc(statistic[judged], wrong[judged], table.file.astype(str).to_numpy()[judged], seed)
    return [
        *lines,
        f"{len(table)} wild clips of {lengths[lengths > 0].min():.2f} to {lengths.max():.2f} s, {int(wrong.sum())} of them with the sound "
        f"of another syllable. {int(judged.sum())} are long enough for a score; AUC {value} (over clips).",
        "",
    ]


def _auc(values: np.ndarray, labels: np.ndarray, pages: np.ndarray, seed: int) -> Interval:
    return bootstrap(lambda rows: auc(values[rows], labels[rows]), pages, seed)


def _share(hits: np.ndarray, pages: np.ndarray, seed: int) -> Interval:
    return bootstrap(lambda rows: float(hits[rows].mean()), pages, seed) if len(hits) else Interval()
