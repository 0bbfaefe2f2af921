"""How well the comparison of sound and picture finds an offset, and what does not belong together."""

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
from ...metrics.bootstrap import Interval, bootstrap, bootstrap_units, percent
from .forged_dev import ForgedDev

MOST_SHIFT = 8  # frames (0.32 s) by which sound is moved either way
CLOSE = (1, 3)  # frames (40 and 120 ms)


def shifted(sample: Sample, frames: int) -> Sample:
    """A clip whose sound lags by so many frames more than it did; what has no counterpart is cut off at its start.

    Sound is not rolled: what came round at the other end would have to be masked, and masking leaves as little as cutting.
    """
    assert sample.waveform is not None and sample.mouth is not None and sample.usable is not None
    late, early = max(frames, 0), max(-frames, 0)
    mouth = sample.mouth[late:]
    return replace(
        sample,
        mouth=mouth,
        usable=sample.usable[late:],
        # Faces are every fifth; which ones they are is of no matter to the comparison of the streams.
        face=None if sample.face is None else sample.face[: -(-len(mouth) // FACE_STRIDE)],
        visual_features=None if sample.visual_features is None else sample.visual_features[:, late:],
        waveform=sample.waveform[early * SAMPLES_PER_FRAME :],
        labels={},
        lag=(sample.lag or 0) + frames,
    )


def offset_errors(dev: ForgedDev, model: DualLabelDetector, seed: int) -> pd.DataFrame:
    """One row for each genuine clip with both streams: its corpus, source, shift and the error of its offset in frames.

    A corpus' own lag is the median offset of its clips as they are, less what the door is known to have added.
    """
    rng = np.random.default_rng(seed)
    kept = [
        i for i, s in enumerate(dev.samples) if s.genuine and s.waveform is not None and s.mouth is not None and len(s.mouth) > MOST_SHIFT
    ]
    before = dev.table.iloc[kept].reset_index(drop=True)
    known = np.array([dev.samples[i].lag or 0 for i in kept], dtype=float)
    own = (before["offset"].astype(float) - known).groupby(before["corpus"]).transform("median")
    shifts = rng.integers(-MOST_SHIFT, MOST_SHIFT + 1, len(kept))
    moved = [shifted(dev.samples[i], int(shift)) for i, shift in zip(kept, shifts, strict=True)]
    after = predict(model, moved) if moved else before
    found = after["offset"].astype(float).to_numpy()
    return before[["corpus", "identity", "source"]].assign(
        shift=shifts, error=np.abs(found - (own.to_numpy() + known + shifts)), own=own.to_numpy()
    )


def offset_table(errors: pd.DataFrame, seed: int) -> list[str]:
    """Shares of offsets found to a frame and to three, beside what saying the corpus' lag every time would find."""
    rows = []
    for corpus, group in errors.groupby("corpus"):
        judged = group[group["error"].notna()]
        units, over = bootstrap_units(judged["identity"].to_numpy(), judged["source"].to_numpy())
        error, shift = judged["error"].to_numpy(), judged["shift"].abs().to_numpy()
        shares = [percent(_share(error <= close, units, seed)) for close in CLOSE]
        baselines = [f"{100 * (shift <= close).mean():.0f} %" if len(shift) else "-" for close in CLOSE]
        own = group["own"].iloc[0]
        lag = "-" if np.isnan(own) else f"{own:+.1f}"
        rows.append((corpus, f"{len(judged)} of {len(group)}", lag, *shares, *baselines, over))
    header = ("clips", "judged", "own lag, frames", *(f"within {n} frame{'s' * (n > 1)}" for n in CLOSE))
    return markdown_table((*header, *(f"baseline: no shift, within {n}" for n in CLOSE), "bootstrap unit"), rows)


def _share(mask: np.ndarray, units: np.ndarray, seed: int) -> Interval:
    return bootstrap(lambda rows: float(mask[rows].mean()), units, seed)


def mismatched(table: pd.DataFrame) -> pd.DataFrame:
    """Clips whose streams do not belong together, and those that are genuine and in step."""
    clean = ~table[["audio_label", "video_label"]].eq(1).any(axis=1)
    wrong = table["mismatch"].eq(True)
    return table.assign(wrong=wrong.astype(int))[wrong | (clean & table["mismatch"].eq(False))]


def compared(rows: pd.DataFrame) -> ScoredRows:
    """Those clips by the statistic of the comparison, where enough could be compared."""
    units, over = bootstrap_units(rows["identity"].to_numpy(), rows["source"].to_numpy())
    baselines = {name: rows[name].to_numpy(dtype=float) for name in AUDIO_BASELINES}
    return ScoredRows(
        rows["sync"].to_numpy(dtype=float), rows["wrong"].to_numpy(), units, rows["corpus"].to_numpy(), baselines, over
    ).scored()


def mismatch_table(table: pd.DataFrame, seed: int) -> tuple[list[str], Interval]:
    """AUC of the comparison for each corpus and method, and over all that are nothing but mismatched."""
    rows_of, lines = mismatched(table), []
    bare = rows_of[~rows_of[["audio_label", "video_label"]].eq(1).any(axis=1)]

    def row(corpus: str, name: str, part: pd.DataFrame) -> Interval:
        order = compared(part)
        interval, best = order.auc(seed), order.baseline_aucs()
        wrong, told = part["wrong"].to_numpy(), part["sync"].notna().to_numpy()
        judged = " / ".join(f"{int((told & (wrong == label)).sum())} of {int((wrong == label).sum())}" for label in (1, 0))
        lines.append(
            (corpus, name, judged, interval, format_number(max(best.values())), exceeds_baselines(interval, best), order.unit_name)
        )
        return interval

    for corpus, group in rows_of.groupby("corpus"):
        in_step = group[group["wrong"] == 0]
        for method, wrong in group[group["wrong"] == 1].groupby("method"):
            row(str(corpus), f"`{method}`", pd.concat([wrong, in_step]))
    found = row("all", "genuine streams that do not match", bare)
    header = (
        "clips",
        "method",
        "judged: mismatched / in step",
        "AUC",
        "best baseline of the sound",
        "beats the baselines",
        "bootstrap unit",
    )
    return markdown_table(header, lines), found


def sync_section(dev: ForgedDev, model: DualLabelDetector, wild: pd.DataFrame, seed: int) -> tuple[list[str], Interval]:
    """Offsets, mismatches of forged dev, and how many clips of mcgurk could be judged; the AUC over forged dev."""
    mismatches, found = mismatch_table(dev.table, seed)
    mcgurk = wild[wild["corpus"] == "mcgurk"]
    judged = mcgurk["p_mismatch"].notna()
    lines = [
        "## Sound and picture",
        "",
        f"Sound of genuine forged-dev clips moved by -{MOST_SHIFT} to {MOST_SHIFT} frames of 40 ms. Error: distance to the shift plus the",
        "corpus' own lag, the median offset of its clips as they are. The baseline says that lag every time. Clips of less than 1.1 s hold",
        "too little to compare.",
        "",
        *offset_table(offset_errors(dev, model, seed), seed),
        "Streams of different moments, against clips that are genuine and in step; the baselines are those of the sound.",
        "",
        *mismatches,
        f"mcgurk (wild): {int(judged.sum())} of {len(mcgurk)} clips were long enough to be judged; their AUC is among the wild rankings.",
        "",
    ]
    return lines, found
