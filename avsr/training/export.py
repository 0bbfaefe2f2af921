"""A trained speech reader to weights that ship: half precision, its letter model and its card beside it."""

from __future__ import annotations

import copy
import json
import os
from collections import Counter
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from ..language_model import LetterModel
from ..model import AVSRModel
from ..text import normalise
from ..transcriber import CURVES, LANGUAGE
from .config import PretrainConfig
from .pretrain import split

LIMITS = (
    "A small model that knows two things: the 51 words of the GRID corpus as one English speaker says them, and short word groups of "
    "Arabic broadcast news. It is the backbone of a detector, not a dictation system: it will write GRID words or news words for anything."
)


def export(
    reader: AVSRModel,
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
        The rows that were trained on.
    run : path-like
        Folder of the run, for its curves.
    name : str
        Of the configuration file, for the card.
    """
    out = Path(out)
    shipped = copy.deepcopy(reader).half()
    shipped.save_pretrained(out, safe_serialization=True)
    (out / "model.safetensors").chmod(0o644)  # others may read what ships
    spoken = table[table.transcript.notna()]
    LetterModel.fit(normalise(text) for text in spoken.transcript).save(out / LANGUAGE)
    kept, held = split(list(spoken[["corpus", "speaker"]].itertuples()), config)  # type: ignore[arg-type]
    curves = curves_of(config, run)
    curves.to_csv(out / CURVES, index=False, float_format="%.4f")
    card = {
        "name": out.name,
        "version": version("avwitness"),
        "parameters": sum(p.numel() for p in reader.parameters()),
        "backbone_parameters": sum(p.numel() for p in reader.backbone.parameters()),
        "precision": "fp16",
        "data": {
            "training_clips": dict(Counter(u.corpus for u in kept)),
            "training_speakers": {
                corpus: len({u.speaker for u in kept if u.corpus == corpus}) for corpus in sorted({u.corpus for u in kept})
            },
            "clips_kept_back": dict(Counter(u.corpus for u in held)),
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


def curves_of(config: PretrainConfig, run: str | os.PathLike[str]) -> pd.DataFrame:
    """What every stage of a run wrote down: losses on what it learned from, letter error rates on the clips kept back."""
    rows = []
    for stage in config.stages:
        for file in sorted((Path(run) / stage.name / "metrics").glob("*.jsonl")):
            for line in file.read_text().splitlines():
                values = json.loads(line)
                kept = {k: v for k, v in values.items() if k.startswith(("letters_", "clusters_", "cer_"))}
                rows.append(
                    {"stage": stage.name, "step": values["Step"], "minutes": values.get("Total Time", values["Wall Time"]) / 60.0, **kept}
                )
    return pd.DataFrame(rows)
