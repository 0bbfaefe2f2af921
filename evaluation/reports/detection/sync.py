"""Metrics of audio-video sync: errors of the estimated offset, and AUC for mismatched streams."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from ....detector.model import DualLabelDetector
from ....detector.training.predict import predict
from ....detector.training.samples import Sample
from ....media.clip import SAMPLES_PER_FRAME
from ....media.face.crops import FACE_STRIDE
from ...auditing.statistics import AUDIO_BASELINES
from ...document import format_number, markdown_table
from ...metrics.baselines import ScoredRows, exceeds_baselines
from ...metrics.bootstrap import Interval, bootstrap_mean, bootstrap_units, percent
from .forged_dev import ForgedDev

MAX_SHIFT = 8  # frames (0.32 s) by which audio is shifted in either direction
TOLERANCES = (1, 3)  # frames (40 and 120 ms)


def shifted(sample: Sample, frames: int) -> Sample:
    """A clip with its audio delayed by that many more frames; frames without a counterpart are cut at the start.

    The audio is not rolled: the wrapped part would have to be masked, which leaves as little as cutting.
    """
    assert sample.waveform is not None and sample.mouth is not None and sample.usable is not None
    late, early = max(frames, 0), max(-frames, 0)
    mouth = sample.mouth[late:]
    return replace(
        sample,
        mouth=mouth,
        usable=sample.usable[late:],
        lips=None if sample.lips is None else sample.lips[late:],
        # Face crops are of every fifth frame; the sync head does not use them.
        face=None if sample.face is None else sample.face[: -(-len(mouth) // FACE_STRIDE)],
        visual_features=None if sample.visual_features is None else sample.visual_features[:, late:],
        waveform=sample.waveform[early * SAMPLES_PER_FRAME :],
        labels={},
        lag=(sample.lag or 0) + frames,
    )


def offset_errors(dev: ForgedDev, model: DualLabelDetector, seed: int) -> pd.DataFrame:
    """One row for each genuine clip with both streams: its corpus, source, shift and the error of its offset in frames.

    The lag of a corpus is the median offset of its unshifted clips, minus the lag that postprocessing is known to have added.
    """
    rng = np.random.default_rng(seed)
    kept = [
        i for i, s in enumerate(dev.samples) if s.genuine and s.waveform is not None and s.mouth is not None and len(s.mouth) > MAX_SHIFT
    ]
    before = dev.table.iloc[kept].reset_index(drop=True)
    known = np.array([dev.samples[i].lag or 0 for i in kept], dtype=float)
    lag = (before["offset"].astype(float) - known).groupby(before["corpus"]).transform("median")
    shifts = rng.integers(-MAX_SHIFT, MAX_SHIFT + 1, len(kept))
    moved = [shifted(dev.samples[i], int(shift)) for i, shift in zip(kept, shifts, strict=True)]
    after = predict(model, moved) if moved else before
    found = after["offset"].astype(float).to_numpy()
    return before[["corpus", "identity", "source"]].assign(
        shift=shifts, error=np.abs(found - (lag.to_numpy() + known + shifts)), lag=lag.to_numpy()
    )


def offset_table(errors: pd.DataFrame, seed: int) -> list[str]:
    """Shares of offsets estimated within one and three frames, beside those of the constant lag of the corpus."""
    rows = []
    for corpus, group in errors.groupby("corpus"):
        scored = group[group["error"].notna()]
        units, unit_name = bootstrap_units(scored["identity"].to_numpy(), scored["source"].to_numpy())
        error, shift = scored["error"].to_numpy(), scored["shift"].abs().to_numpy()
        shares = [percent(bootstrap_mean(error <= tolerance, units, seed)) for tolerance in TOLERANCES]
        baselines = [f"{100 * (shift <= tolerance).mean():.0f} %" if len(shift) else "-" for tolerance in TOLERANCES]
        lag = group["lag"].iloc[0]
        counts = f"{len(scored)} of {len(group)}"
        rows.append((corpus, counts, "-" if np.isnan(lag) else f"{lag:+.1f}", *shares, *baselines, unit_name))
    header = ("clips", "scored", "lag of the corpus, frames", *(f"within {n} frame{'s' * (n > 1)}" for n in TOLERANCES))
    return markdown_table((*header, *(f"baseline: no shift, within {n}" for n in TOLERANCES), "bootstrap unit"), rows)


def mismatched(table: pd.DataFrame) -> pd.DataFrame:
    """Clips with mismatched streams, and those that are genuine and in sync."""
    genuine = ~table[["audio_label", "video_label"]].eq(1).any(axis=1)
    mismatch = table["mismatch"].eq(True)
    return table.assign(wrong=mismatch.astype(int))[mismatch | (genuine & table["mismatch"].eq(False))]


def sync_rows(rows: pd.DataFrame) -> ScoredRows:
    """The rows with a score of the sync head."""
    units, unit_name = bootstrap_units(rows["identity"].to_numpy(), rows["source"].to_numpy())
    baselines = {name: rows[name].to_numpy(dtype=float) for name in AUDIO_BASELINES}
    return ScoredRows(
        rows["sync"].to_numpy(dtype=float), rows["wrong"].to_numpy(), units, rows["corpus"].to_numpy(), baselines, unit_name
    ).scored()


def mismatch_table(table: pd.DataFrame, seed: int) -> tuple[list[str], Interval]:
    """AUC of the sync head for each corpus and method, and over all clips whose only manipulation is the mismatch."""
    selected, lines = mismatched(table), []
    only_mismatched = selected[~selected[["audio_label", "video_label"]].eq(1).any(axis=1)]

    def row(corpus: str, name: str, part: pd.DataFrame) -> Interval:
        order = sync_rows(part)
        interval, best = order.auc(seed), order.baseline_aucs()
        wrong, scored = part["wrong"].to_numpy(), part["sync"].notna().to_numpy()
        counts = " / ".join(f"{int((scored & (wrong == label)).sum())} of {int((wrong == label).sum())}" for label in (1, 0))
        lines.append(
            (corpus, name, counts, interval, format_number(max(best.values())), exceeds_baselines(interval, best), order.unit_name)
        )
        return interval

    for corpus, group in selected.groupby("corpus"):
        in_sync = group[group["wrong"] == 0]
        for method, wrong in group[group["wrong"] == 1].groupby("method"):
            row(str(corpus), f"`{method}`", pd.concat([wrong, in_sync]))
    found = row("all", "genuine streams that do not match", only_mismatched)
    header = (
        "clips",
        "method",
        "scored: mismatched / in sync",
        "AUC",
        "best audio baseline",
        "exceeds the baselines",
        "bootstrap unit",
    )
    return markdown_table(header, lines), found


def sync_section(dev: ForgedDev, model: DualLabelDetector, wild: pd.DataFrame, seed: int) -> tuple[list[str], Interval]:
    """Offsets and mismatches of forged dev, and the number of mcgurk clips with a score; the AUC over forged dev."""
    mismatches, found = mismatch_table(dev.table, seed)
    mcgurk = wild[wild["corpus"] == "mcgurk"]
    scored = mcgurk["p_mismatch"].notna()
    lines = [
        "## Audio-video sync",
        "",
        f"Audio of genuine forged-dev clips shifted by -{MAX_SHIFT} to {MAX_SHIFT} frames of 40 ms. Error: distance to the shift plus the",
        "lag of the corpus, which is the median offset of its unshifted clips. The baseline predicts that lag for every clip. Clips",
        "of less than about a second have no score.",
        "",
        *offset_table(offset_errors(dev, model, seed), seed),
        "Mismatched streams against clips that are genuine and in sync; the baselines are those of the audio.",
        "",
        *mismatches,
        f"mcgurk (wild): {int(scored.sum())} of {len(mcgurk)} clips were long enough for a score; their AUC is among the wild rankings.",
        "",
    ]
    return lines, found
