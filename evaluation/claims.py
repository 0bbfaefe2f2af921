"""What two of the generators claim, measured: content that does not tell who speaks, and a listener that responds as it was taught."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ..generators.forge import track_of
from ..generators.plan import origins
from ..generators.talking.base import Attitude, Cue, Portrait, TalkingHead
from ..generators.talking.dyads import Dyad, SimulatedDyads, as_array, smile
from ..generators.talking.head import SIDE, Box
from ..generators.talking.motion import POSE, Motion, MotionSpace
from ..generators.talking.opt import Opt, without_colour
from ..media.speech import log_mel
from .document import markdown
from .likeness import diversity, nearest

SPEAKER_CLIPS = 24  # of each speaker at most, one half to train on and one to test on
CONTEXT = 2  # frames on either side that a probe of speakers hears with one frame
DYADS = 90  # simulated windows, a third of each attitude
DRAWS = 4  # motions of each
YAW, PITCH = 0, 1  # numbers of a pose

Feature = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Spoken:
    """Log-mel float32 [T, 320] of clips, and who speaks in each."""

    sounds: list[np.ndarray]
    who: list[str]


def spoken(rows: pd.DataFrame, cache: str | os.PathLike[str], seed: int) -> Spoken:
    """The sound of up to 24 followed clips of every speaker of a table of genuine clips; speakers with fewer than four are left out."""
    sounds, who = [], []
    for name, part in rows.groupby("identity", sort=True):
        found = []
        for clip in origins(part.sample(min(SPEAKER_CLIPS, len(part)), random_state=seed)):
            with np.load(track_of(clip, cache)) as data:
                if "waveform" in data:
                    found.append(log_mel(data["waveform"]))
        found = [sound for sound in found if len(sound) > 2 * CONTEXT]
        if len(found) >= 4:
            sounds += found
            who += [str(name)] * len(found)
    return Spoken(sounds, who)


def with_context(x: np.ndarray) -> np.ndarray:
    """Rows [T, D] beside two neighbours on either side: [T - 4, 5 * D]."""
    width = 2 * CONTEXT + 1
    return np.concatenate([x[begin : len(x) - width + 1 + begin] for begin in range(width)], axis=1)


def speaker_accuracy(sequences: Sequence[np.ndarray], who: Sequence[str], seed: int) -> tuple[float, float]:
    """How often fresh probes name the speaker of a clip: logistic regression, and a network of one hidden layer.

    Parameters
    ----------
    sequences : sequence of float [T, D]
        One a clip. Probes learn frames with their neighbours, from every other clip of each speaker.
    who : sequence of str

    Returns
    -------
    linear, hidden : float
        Share of the other clips whose mean log-probability is highest for who speaks.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names = np.array(who)
    position = np.array([int((names[:index] == name).sum()) for index, name in enumerate(names)])
    frames = [with_context(x) for x in sequences]
    train, test = np.flatnonzero(position % 2 == 0), np.flatnonzero(position % 2 == 1)
    x, y = np.concatenate([frames[i] for i in train]), np.concatenate([np.full(len(frames[i]), names[i]) for i in train])
    found = []
    for probe in (
        LogisticRegression(max_iter=60, tol=1e-3, random_state=seed),
        MLPClassifier((64,), alpha=1e-3, batch_size=128, max_iter=12, random_state=seed),
    ):
        model = make_pipeline(StandardScaler(), probe)
        with _quiet():
            model.fit(x, y)
        guesses = [model.classes_[model.predict_log_proba(frames[i]).clip(-30.0).mean(axis=0).argmax()] for i in test]
        found.append(float(np.mean(np.array(guesses) == names[test])))
    return found[0], found[1]


def _quiet():  # type: ignore[no-untyped-def]
    """Both probes are stopped early on purpose."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    context = warnings.catch_warnings()
    context.__enter__()
    warnings.simplefilter("ignore", ConvergenceWarning)
    return context
