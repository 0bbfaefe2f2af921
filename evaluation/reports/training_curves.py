"""Plot of the curves of an AVSR training run."""

from __future__ import annotations

import os

import pandas as pd

COLOURS = {"audio": "tab:blue", "video": "tab:orange", "joint": "tab:green"}


def draw_curves(curves: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Losses in training and character error rates on held-out clips, stage after stage, over the run's minutes.

    Parameters
    ----------
    curves : pandas.DataFrame
        Columns ``stage, step, minutes`` and any of ``ctc_*, masked_prediction_*, cer_*``; see
        :func:`avwitness.avsr.training.export.read_curves`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.4), layout="constrained")
    axes = figure.subplots(1, 3)
    titles = {
        "ctc": "CTC loss per character",
        "masked_prediction": "masked prediction loss, nats",
        "cer": "CER, held-out clips",
    }
    for axis, (kind, title) in zip(axes, titles.items(), strict=True):
        axis.set_title(title)
        axis.set_xlabel("minutes")
        begin = 0.0
        for stage in curves.stage.unique():
            part = curves[curves.stage == stage]
            for stream, colour in COLOURS.items():
                column = f"{kind}_{stream}"
                if column in part and part[column].notna().any():
                    known = part[part[column].notna()].sort_values("minutes")
                    label = None if stream in axis.get_legend_handles_labels()[1] else stream
                    axis.plot(begin + known.minutes, known[column], color=colour, label=label)
            begin += float(part.minutes.max())
            axis.axvline(begin, color="0.85", linewidth=1)
        axis.set_ylim(bottom=0, top=8 if kind != "cer" else 1.05)
    axes[0].legend()
    figure.savefig(path, dpi=80)
