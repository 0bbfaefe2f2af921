"""Export of a trained AVSR model: fp16 weights, language model, training curves and a model card."""

from __future__ import annotations

import copy
import json
import os
from collections import Counter
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from ..language_model import CharacterLanguageModel
from ..model import REPRESENTATIONS, AVSRModel
from ..text import normalise
from ..transcriber import CURVES, LANGUAGE
from .config import PretrainConfig
from .pretrain import split

OLD_COLUMNS = {  # of curves that version 0.1 wrote
    f"{old}_{head}": f"{new}_{head}" for old, new in (("letters", "ctc"), ("clusters", "masked_prediction")) for head in REPRESENTATIONS
}
LIMITS = (
    "A small model trained on two corpora: GRID, of which one English speaker with 51 words, and short word groups of Arabic broadcast "
    "news. It is the backbone of a detector, not a dictation system: its output for any speech is words of GRID or of the news."
)


def export(
    model: AVSRModel,
    config: PretrainConfig,
    table: pd.DataFrame,
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    name: str,
) -> Path:
    """Write ``config.json``, ``model.safetensors`` (fp16), ``language.json``, ``curves.csv`` and ``card.json``.

    Parameters
    ----------
    table : pandas.DataFrame
        The training rows.
    run : path-like
        Folder of the run, which holds its metrics.
    name : str
        Of the configuration file, for the card.
    """
    out = Path(out)
    shipped = copy.deepcopy(model).half()
    shipped.save_pretrained(out, safe_serialization=True)
    (out / "model.safetensors").chmod(0o644)  # readable by other users
    transcribed = table[table.transcript.notna()]
    CharacterLanguageModel.fit(normalise(text) for text in transcribed.transcript).save(out / LANGUAGE)
    train, held = split(list(transcribed[["corpus", "speaker"]].itertuples()), config)  # type: ignore[arg-type]
    curves = collect_curves(config, run)
    curves.to_csv(out / CURVES, index=False, float_format="%.4f")
    card = {
        "name": out.name,
        "version": version("avwitness"),
        "parameters": sum(p.numel() for p in model.parameters()),
        "backbone_parameters": sum(p.numel() for p in model.backbone.parameters()),
        "precision": "fp16",
        "data": {
            "training_clips": dict(Counter(u.corpus for u in train)),
            "training_speakers": {
                corpus: len({u.speaker for u in train if u.corpus == corpus}) for corpus in sorted({u.corpus for u in train})
            },
            "held_out_clips": dict(Counter(u.corpus for u in held)),
        },
        "seed": config.seed,
        "command": f"avwitness train avsr --config configs/{name} --data DATA --cache CACHE --run RUN --out avsr/weights/{out.name}",
        "minutes": {stage.name: round(float(curves[curves.stage == stage.name].minutes.max()), 1) for stage in config.stages},
        "training": asdict(config),
        "limits": LIMITS,
        "licence": "Apache-2.0",
    }
    (out / "card.json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n")
    return out


def collect_curves(config: PretrainConfig, run: str | os.PathLike[str]) -> pd.DataFrame:
    """Metrics of every stage of a run: losses on training batches, character error rates on the held-out clips."""
    rows = []
    for stage in config.stages:
        for file in sorted((Path(run) / stage.name / "metrics").glob("*.jsonl")):
            for line in file.read_text().splitlines():
                values = json.loads(line)
                metrics = {k: v for k, v in values.items() if k.startswith(("ctc_", "masked_prediction_", "cer_"))}
                minutes = values.get("Total Time", values["Wall Time"]) / 60.0
                rows.append({"stage": stage.name, "step": values["Step"], "minutes": minutes, **metrics})
    return pd.DataFrame(rows)


def read_curves(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """Training curves beside the weights in a folder; columns that version 0.1 wrote get their names of today."""
    return pd.read_csv(Path(folder) / CURVES).rename(columns=OLD_COLUMNS)
