"""Training of every network that a generator needs, by name: settings, data, and the card of what ships."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from ..media.clip import SAMPLE_RATE
from .forge import follow, track_of
from .plan import origins
from .resynthesis_training import Faces, LowerFaceTraining, ResynthesisTraining, train_resynthesis
from .training import CURVES
from .vocoder_training import VocoderTraining, train_vocoder
from .weights import save_network

Settings = VocoderTraining | ResynthesisTraining


@dataclass(frozen=True)
class Recipe:
    """How one network is trained.

    Parameters
    ----------
    settings : type
        Dataclass of the run.
    train : callable
        Of the settings, the tracks of the training clips with their identities, and the folder of the run.
    about : str
        For the card.
    """

    settings: type[Settings]
    train: Callable[[Any, Sequence[Faces], Path], nn.Module]
    about: str


def speech(clips: Sequence[Faces]) -> list[np.ndarray]:
    """The sound of followed clips, float32 [S] each."""
    out = []
    for clip in clips:
        with np.load(clip.file) as data:
            if "waveform" in data:
                out.append(data["waveform"])
    return out


RECIPES: dict[str, Recipe] = {
    "vocoder": Recipe(
        VocoderTraining,
        lambda settings, clips, run: train_vocoder(settings, speech(clips), run),
        "mel spectrogram to waveform at 16 kHz, to make fakes that carry the traces of a neural vocoder",
    ),
    "lower_face": Recipe(
        LowerFaceTraining,
        lambda settings, clips, run: train_resynthesis("lower_face", settings, clips, run),
        "paints the lower half of a face from its upper half, a reference and the sound, to make fakes in the manner of Wav2Lip",
    ),
    "face_autoencoder": Recipe(
        ResynthesisTraining,
        lambda settings, clips, run: train_resynthesis("face_autoencoder", settings, clips, run),
        "a face through 8 numbers for every 4x4 pixels and back, to make fakes all of whose pixels a network made",
    ),
}


def train_network(
    name: str,
    settings: Settings,
    table: pd.DataFrame,
    cache: str | os.PathLike[str],
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    workers: int,
) -> Path:
    """Follow the faces of the training clips, train, and write what ships.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows to train on, as :func:`avwitness.datasets.manifest.read_labels` reads them.

    Returns
    -------
    Path
        The folder with the weights and their card.
    """
    recipe = RECIPES[name]
    known = origins(table)
    _, failures = follow(known, cache, workers)
    clips = [Faces(track, clip.identity) for clip in known if (track := track_of(clip, cache)).exists()]
    network = recipe.train(settings, clips, Path(run))
    seconds = sum(len(waveform) for waveform in speech(clips)) / SAMPLE_RATE
    card = {
        "about": recipe.about,
        "training": asdict(settings),
        "data": {
            "clips": {corpus: int(count) for corpus, count in table.corpus.value_counts().items()},
            "identities": int(table.identity.nunique()),
            "minutes_of_sound": round(seconds / 60.0, 1),
            "left_out": len(failures),
        },
        "command": f"avwitness train generator {name}",
        "limits": "A tool to make training data for detectors, of a modest quality. Not for deceiving anyone.",
        "licence": "Apache-2.0; the training footage stays with its owners and is not part of this",
    }
    folder = save_network(network, out, card)
    if (Path(run) / CURVES).exists():  # a run of a few steps has none
        shutil.copyfile(Path(run) / CURVES, folder / CURVES)
    return folder
