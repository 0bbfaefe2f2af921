"""Evaluation of OPT's disentanglement: how well probes identify the speaker from its content features."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from ....generators.forge.plan import origins
from ....generators.forge.run import track_path
from ....generators.talking.models.base import TalkingHead
from ....generators.talking.models.opt import Opt, normalise_bands
from ....media.speech import log_mel
from ...document import markdown_table

MAX_CLIPS = 24  # of each speaker, one half for training and one for testing
MIN_CLIPS = 4  # of each speaker
CONTEXT = 2  # frames on either side of a frame that are inputs of a probe
MIN_LOG_PROBABILITY = -30.0  # of a frame, for probes that output a probability of zero

Feature = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class SpeakerClips:
    """Log-mel float32 [T, 320] of clips, and the speaker of each."""

    audio: list[np.ndarray]
    speakers: list[str]


def speaker_clips(rows: pd.DataFrame, cache: str | os.PathLike[str], seed: int) -> SpeakerClips:
    """The audio of up to 24 tracked clips of every speaker in a table of genuine clips; speakers with fewer than four are left out."""
    audio, speakers = [], []
    for name, part in rows.groupby("identity", sort=True):
        found = []
        for clip in origins(part.sample(min(MAX_CLIPS, len(part)), random_state=seed)):
            with np.load(track_path(clip, cache)) as data:
                if "waveform" in data:
                    found.append(log_mel(data["waveform"]))
        found = [log_mels for log_mels in found if len(log_mels) > 2 * CONTEXT]
        if len(found) >= MIN_CLIPS:
            audio += found
            speakers += [str(name)] * len(found)
    return SpeakerClips(audio, speakers)


def with_context(x: np.ndarray) -> np.ndarray:
    """Rows [T, D] concatenated with two neighbours on either side: [T - 4, 5 * D]."""
    width = 2 * CONTEXT + 1
    return np.concatenate([x[begin : len(x) - width + 1 + begin] for begin in range(width)], axis=1)


def speaker_accuracy(sequences: Sequence[np.ndarray], speakers: Sequence[str], seed: int) -> tuple[float, float]:
    """Accuracy of probes that classify the speaker of a clip: logistic regression, and a network with one hidden layer.

    Parameters
    ----------
    sequences : sequence of float [T, D]
        One per clip. Probes are trained on frames with their context, from every second clip of each speaker.
    speakers : sequence of str

    Returns
    -------
    linear, hidden : float
        Share of the other clips whose mean log-probability is highest for the true speaker.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names = np.array(speakers)
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # both are deliberately stopped early
            model.fit(x, y)
        with np.errstate(divide="ignore"):
            best = [model.predict_log_proba(frames[i]).clip(MIN_LOG_PROBABILITY).mean(axis=0).argmax() for i in test]
        found.append(float(np.mean(model.classes_[best] == names[test])))
    return found[0], found[1]


@torch.inference_mode()
def content_features(head: Opt, audio: np.ndarray) -> np.ndarray:
    """Content features of OPT for log-mel float32 [T, 320]: float32 [T, content]."""
    return head.content(torch.from_numpy(audio)[None])[0].numpy()


def normalised(audio: np.ndarray) -> np.ndarray:
    """Log-mel float32 [T, 320] with zero mean and unit variance in every band, which OPT computes before its learned layers."""
    return normalise_bands(torch.from_numpy(audio)[None])[0].numpy()


def content_table(full: TalkingHead | None, ablated: TalkingHead | None, clips: SpeakerClips, seed: int) -> list[str]:
    """A table: accuracy of speaker probes on the content features of OPT and on log-mel."""
    features: dict[str, Feature] = {}
    for title, head in (("content of OPT", full), ("content of OPT without disentanglement", ablated)):
        if isinstance(head, Opt):
            features[title] = lambda audio, head=head: content_features(head, audio)  # type: ignore[misc]
    features |= {"log-mel, every band normalised over the clip": normalised, "log-mel": lambda audio: audio}
    rows = []
    for title, feature in features.items():
        linear, hidden = speaker_accuracy([feature(audio) for audio in clips.audio], clips.speakers, seed)
        rows.append((title, *(f"{100.0 * share:.0f} %" for share in (linear, hidden))))
    n_speakers = len(set(clips.speakers))
    rows.append((f"chance, {n_speakers} speakers", *[f"{100.0 / n_speakers:.0f} %"] * 2))
    return markdown_table(("features", "speaker accuracy, logistic regression", "speaker accuracy, one hidden layer"), rows)
