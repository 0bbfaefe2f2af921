"""Plot of a sync measurement: similarity by offset, and the offset over time."""

from __future__ import annotations

import os

from .measure import SyncMeasurement


def plot_sync(measurement: SyncMeasurement, target: str | os.PathLike[str]) -> None:
    """Draw the similarity of audio and lips by offset, and beside it the offset of every two seconds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    curve, time = figure.subplots(1, 2, width_ratios=(1, 1.4))
    curve.plot(measurement.offsets_ms, measurement.similarity)
    curve.axvline(measurement.clip.offset_ms, linestyle="--", color="0.5")
    curve.set(xlabel="offset of the audio [ms]", ylabel="similarity", title=f"{measurement.clip.offset_ms:+.0f} ms")
    middle = [(window.start + window.end) / 2 for window in measurement.windows]
    shades = [window.confidence for window in measurement.windows]
    points = time.scatter(middle, [window.offset_ms for window in measurement.windows], c=shades, vmin=0.0, vmax=0.5, cmap="viridis")
    time.set(xlabel="time [s]", ylabel="offset [ms]", ylim=(measurement.offsets_ms[0], measurement.offsets_ms[-1]))
    time.set_title(f"confidence {measurement.clip.confidence:.2f}, probability of a mismatch {measurement.clip.p_mismatch:.2f}")
    figure.colorbar(points, ax=time, label="confidence")
    figure.savefig(target, dpi=120)
