"""The section on the audio classifier of ``docs/RESULTS.md``: the field set by page, beside baselines, ablations and a learning curve."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ...avsr.whisper.conversion import load_whisper_encoder
from ...avsr.whisper.encoder import WhisperAudioEncoder
from ...checkpoints import find_weights, read_card
from ...detector.audio_classifier import AudioClassifier, with_encoder
from ...detector.inference.detector import load
from ...detector.training.classifiers.audio_data import AudioSamples, load_audio_samples
from ...detector.training.classifiers.audio_statistics import AudioTrainConfig, clip_statistics, layer_columns
from ...detector.training.classifiers.audio_validation import held_out_logits, validate_audio_classifier
from ...detector.training.classifiers.export import calibrate_stream
from ...detector.training.classifiers.fine_tuning import FineTuning
from ...detector.training.classifiers.linear import LinearConfig, cross_validated_logits
from ...media.clip import SAMPLE_RATE, MediaError
from ...media.windows import read_clip
from ...settings import build_settings
from ..auditing.statistics import bandwidth, leading_silence, level
from ..document import markdown_table, write_section
from ..metrics.ranking import auc
from .page_figures import HEADER, LEARNING_CURVE, coverage_lines, figures, fpr_lines, group_rows

SECTION = "audio"
FIELD = "field"  # folder of the field set among the development data
BAND_EDGES = (0.0, 4000.0, 5500.0, 7000.0, 8001.0)  # Hz
SCRATCH = FineTuning(epochs=30, encoder_rate=3e-4, linear_rate=3e-4)  # of an encoder with random weights
PUBLISHED = (
    "Published figures of others are of other sets: AASIST (Jung et al., *AASIST: audio anti-spoofing using integrated "
    "spectro-temporal graph attention networks*, ICASSP 2022) states an EER of 0.83 % on ASVspoof 2019 LA, whose training and "
    "evaluation parts come from the same source; Müller et al. (*Does audio deepfake detection generalize?*, Interspeech 2022) "
    "found that detectors trained on ASVspoof do up to ten times worse on recordings found in the wild."
)
BASELINES: dict[str, Callable[[np.ndarray], float]] = {
    "band limit": bandwidth,
    "level": level,
    "leading silence": lambda waveform: leading_silence(waveform, SAMPLE_RATE)[0],
    "duration": lambda waveform: float(len(waveform)),
}
Hook = Callable[[int, int], None]


def baseline_statistics(files: Sequence[str | os.PathLike[str]], cache: str | os.PathLike[str]) -> pd.DataFrame:
    """One-line statistics of every clip, kept in the cache; NaN where a clip cannot be read."""
    target = Path(cache) / "audio-baselines.csv"
    if target.exists():
        found = pd.read_csv(target)
        if len(found) == len(files):
            return found[list(BASELINES)]
    rows = []
    for path in files:
        try:
            waveform = read_clip(path, video=False).waveform
        except MediaError:
            waveform = None
        rows.append({name: float("nan") if waveform is None else statistic(waveform) for name, statistic in BASELINES.items()})
    table = pd.DataFrame(rows)
    table.to_csv(target, index=False)
    return table


def report_audio(
    data: str | os.PathLike[str],
    model: str | os.PathLike[str],
    whisper: str | os.PathLike[str],
    cache: str | os.PathLike[str],
    out: str | os.PathLike[str],
    before: str | os.PathLike[str] | None = None,
    hook: Hook | None = None,
) -> None:
    """Measure the audio classifier of a detector with the settings of its card, and write the section.

    Parameters
    ----------
    data : path-like
        Folder of the development data, with the field set in ``field/``.
    model : str or path-like
        Bundled name or folder.
    whisper : path-like
        Folder of the Whisper checkpoint that training began with.
    cache : path-like
        Folder for the statistics of clips and for finished folds.
    out : path-like
        Markdown file.
    before : str or path-like, optional
        Another detector, for a row of its own.
    hook : callable, optional
        Called with what is done and all there is, for each part anew.

    Raises
    ------
    ValueError
        If the detector has no audio classifier.
    """
    card = read_card(find_weights("detector", model)).get("audio_classifier")
    if card is None:
        raise ValueError(f"{model}: has no audio classifier")
    config = build_settings(AudioTrainConfig, card["training"])
    encoder = load_whisper_encoder(whisper, layers=max(3, *config.layers))
    every = with_encoder(encoder, range(encoder.config.layers + 1), config.statistics)
    clips = load_audio_samples(Path(data) / FIELD, data, every, config, cache, hook)
    scores_before = None if before is None else detector_scores(clips.table, before)
    write_audio(clips, encoder, config, cache, out, scores_before, hook)


def detector_scores(table: pd.DataFrame, model: str | os.PathLike[str]) -> pd.Series:
    """Audio logits of another detector by path."""
    detector = load(model, device="cpu")
    return pd.Series(
        {path: _logit(v.audio.p_fake) for path, v in zip(table.path, detector.score_many(list(table.file), modality="audio"), strict=True)}
    )


def _logit(p: float | None) -> float:
    return float("nan") if p is None else float(np.log(p / (1.0 - p)))


def write_audio(
    clips: AudioSamples,
    encoder: WhisperAudioEncoder,
    config: AudioTrainConfig,
    cache: str | os.PathLike[str],
    out: str | os.PathLike[str],
    scores_before: pd.Series | None = None,
    hook: Hook | None = None,
) -> None:
    """Measure the audio classifier on the field set and write the section.

    Parameters
    ----------
    clips : AudioSamples
        Of a classifier that uses all layers.
    encoder : WhisperAudioEncoder
        As it was pretrained.
    config : AudioTrainConfig
    cache : path-like
        Folder for the statistics of baselines and for finished folds.
    out : path-like
        Markdown file.
    scores_before : pandas.Series, optional
        Scores of another detector by path, for a row of its own.
    hook : callable, optional
        Called with the steps done and all steps, for each fold anew.
    """
    table, samples, waveforms = clips.table, clips.samples, clips.waveforms
    baselines = baseline_statistics(list(table.file), cache)
    labels, pages = table.label.to_numpy(), table.page.to_numpy(dtype=str)
    scored = slice(len(table))  # of all clips
    train = (table.split == "train").to_numpy()
    val = ~train & ~np.isin(pages, np.unique(pages[train]))  # pages with clips in both splits are in neither row of val
    audio = np.where(table.path.str.startswith("audio/"), 0.0, np.nan)
    width, parts = encoder.config.width, len(config.statistics)
    chosen = samples.columns(*layer_columns(config.layers, width, parts))
    forged = ~samples.scored & (samples.labels == 1)
    # In training on `train`, neither clips of pages of val nor their forged copies.
    of_train = ~np.isin(samples.pages, np.unique(pages[~train]))
    classifier = with_encoder(encoder, config.layers, config.statistics)
    frozen = replace(config, fine_tuning=replace(config.fine_tuning, epochs=0))

    def validated(settings: AudioTrainConfig, rows: np.ndarray) -> np.ndarray:
        """Cross-validated logits of the scored clips among ``rows`` (bool, of all clips), NaN for the others."""
        part, logits = chosen[rows], np.full(len(table), np.nan)
        heard = [waveforms[row] for row in np.flatnonzero(rows)]
        logits[rows[scored]] = validate_audio_classifier(classifier, part, heard, settings, cache, hook=hook)
        return logits

    def asked(settings: AudioTrainConfig, rows: np.ndarray, test: np.ndarray, scratch: bool = False) -> np.ndarray:
        """Logits of the clips ``test`` (bool, of the table) after training on ``rows``, NaN for the others."""
        model, given, logits = classifier, chosen, np.full(len(table), np.nan)
        if scratch:
            model = random_classifier(classifier, config.seed)
            given = replace(chosen, statistics=clip_statistics(waveforms, model, cache, hook))
        logits[test] = held_out_logits(model, given, waveforms, settings, cache, np.flatnonzero(rows), np.flatnonzero(test), hook)
        return logits

    def row(name: str, logits: np.ndarray) -> tuple[object, ...]:
        return (name, *figures(logits, table, config.seed), *figures(logits + audio, table, config.seed))

    everything, of_val = np.ones(len(samples.labels), dtype=bool), of_train & ~(samples.scored & ~np.isin(samples.pages, pages[train]))
    logits_all = validated(config, everything)
    tuned = config.fine_tuning.epochs > 0
    how = "fine-tuned with the linear layer" if tuned else "frozen"
    lines = ["## Audio classifier", ""]
    lines += [
        f"Field set: {int(labels.sum())} fake and {int((labels == 0).sum())} genuine recordings of {len(np.unique(pages))} pages; "
        f"{int((~samples.scored & (samples.labels == 0)).sum())} genuine clips of other corpora and {int(forged.sum())} forged copies are "
        f"trained on and not scored. The encoder is {how}. Seed {config.seed}. Intervals are 95 % bootstrap intervals over pages. "
        f"In cross-validation ({config.folds} folds) no page stands on both sides. Settings were chosen by cross-validation on `train`. "
        "*Audio pages* are those of the audio recordings: the audio of genuine videos comes from other pages than most fake audio, so "
        "that a classifier may tell the pages apart; figures without the videos are the stricter ones.",
        "",
        "### Ranking",
        "",
    ]
    header = ("scores", *HEADER, *(f"{name}, audio pages" for name in HEADER))
    rows = [
        row("cross-validation, train", validated(config, of_val)),
        row("cross-validation, train and val", logits_all),
        row("val, trained on train", asked(config, of_val, val)),
    ]
    if scores_before is not None:
        rows.append(row("the detector before, train and val", table.path.map(scores_before).to_numpy(dtype=float)))
    for name in BASELINES:
        values = baselines[name].to_numpy(dtype=float)
        known = ~np.isnan(values)
        sign = 1.0 if auc(values[known], labels[known]) >= 0.5 else -1.0
        rows.append(row(f"baseline: {name}, better direction, train and val", sign * values))
    lines += markdown_table(header, rows)

    lines += ["### Ablations", "", "The first row is that of the classifier above.", "", PUBLISHED, ""]
    scratch = replace(config, fine_tuning=replace(SCRATCH, augment=config.fine_tuning.augment))
    rows = [row("val, trained on train", asked(config, of_val, val))]
    if tuned:
        rows.append(row("the same, encoder frozen", asked(frozen, of_val, val)))
        rows.append(row("the same, without forged copies", asked(config, of_val & ~forged, val)))
    rows.append(row("the same, encoder from scratch", asked(scratch, of_val, val, scratch=True)))
    rows.append(row("train and val, trained without the field set", asked(config, no_field(samples.pages, pages), everything[scored])))
    rows.append(row("cross-validation, train, encoder frozen", validated(frozen, of_val)))
    rows.append(row("the same, without forged copies", validated(frozen, of_val & ~forged)))
    for layer in range(encoder.config.layers + 1):
        logits = np.full(len(table), np.nan)
        one = samples.columns(*layer_columns((layer,), width, parts))
        logits[of_val[scored]] = cross_validated_logits(one[of_val & ~forged], frozen)
        rows.append(row(f"the same, layer {layer} alone", logits))
    lines += markdown_table(header, rows)

    lines += group_lines(logits_all, table, baselines["band limit"].to_numpy(dtype=float), config)
    lines += [
        "### Learning curve",
        "",
        "Cross-validation on train and val with the encoder frozen; each fold is fitted to this many other pages, drawn with the seed.",
        "",
    ]
    rows = []
    order = np.random.default_rng(config.seed).permutation(np.unique(pages))
    for count in (*LEARNING_CURVE, len(order)):
        keep = np.isin(samples.pages, order[:count]) | ~np.isin(samples.pages, order)
        rows.append(row(str(min(count, len(order))), cross_validated_logits(chosen, frozen, keep)))
    lines += markdown_table(("pages", *header[1:]), rows)

    calibration = calibrate_stream(logits_all, table, config)
    lines += ["### Coverage", "", *coverage_lines(logits_all, table, calibration, config.seed)]
    threshold = float(np.max(logits_all[np.asarray(calibration.probability(logits_all)) <= calibration.fake_above]))
    lines += ["### FPR of genuine pages", "", *fpr_lines(logits_all, table, threshold)]
    write_section(out, SECTION, lines)


def group_lines(logits: np.ndarray, table: pd.DataFrame, bands: np.ndarray, config: LinearConfig) -> list[str]:
    """Tables by kind, language, method and band limit."""
    band = pd.cut(pd.Series(bands, index=table.index), list(BAND_EDGES)).astype(str).replace("nan", None)
    rows = [
        *group_rows("kind", table.category, logits, table, config.seed),
        *group_rows("language", table.language, logits, table, config.seed),
        *group_rows("band limit in Hz, genuine ones of it too", band, logits, table, config.seed, within=True),
        *group_rows("method", table.method, logits, table, config.seed),
    ]
    intro = "Fakes of the row against all genuine recordings, where the row does not say otherwise; cross-validation on train and val."
    return ["### By kind, language, band limit and method", "", intro, "", *markdown_table(("", "value", "fakes", "pages", *HEADER), rows)]


def no_field(clip_pages: np.ndarray, field_pages: np.ndarray) -> np.ndarray:
    """Which clips are of none of the pages of the field set: bool [N]."""
    return ~np.isin(clip_pages, np.unique(field_pages))


def random_classifier(classifier: AudioClassifier, seed: int) -> AudioClassifier:
    """A classifier of the same sizes whose encoder has random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AudioClassifier(classifier.config).eval()
