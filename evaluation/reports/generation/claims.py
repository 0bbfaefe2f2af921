"""What two of the generators claim, measured: content that does not tell who speaks, and a listener that responds as it was taught."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from ....generators.forge.plan import origins
from ....generators.forge.run import track_path
from ....generators.talking.models.base import Attitude, DrivingSignals, Portrait, TalkingHead
from ....generators.talking.models.dyads import Dyad, SimulatedDyads, motion_array, smile_expression
from ....generators.talking.models.opt import Opt, normalise_bands
from ....generators.talking.rendering.head_crops import SIDE, Box
from ....generators.talking.rendering.motion import POSE, Motion, MotionSpace
from ....media.speech import log_mel
from ...document import markdown_table
from .likeness import diversity, nearest
from .talking import DRAWS

SPEAKER_CLIPS = 24  # of each speaker at most, one half to train on and one to test on
CONTEXT = 2  # frames on either side that a probe of speakers hears with one frame
DYADS = 60  # simulated windows, a third of each attitude
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
            with np.load(track_path(clip, cache)) as data:
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
    from sklearn.exceptions import ConvergenceWarning
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # both are stopped early on purpose
            model.fit(x, y)
        with np.errstate(divide="ignore"):  # a probability of zero counts as e^-30
            sure = [model.predict_log_proba(frames[i]).clip(-30.0).mean(axis=0).argmax() for i in test]
        found.append(float(np.mean(model.classes_[sure] == names[test])))
    return found[0], found[1]


@torch.inference_mode()
def content_of(head: Opt, sound: np.ndarray) -> np.ndarray:
    """What OPT hears of log-mel float32 [T, 320]: float32 [T, content]."""
    return head.content(torch.from_numpy(sound)[None])[0].numpy()


def normalised(sound: np.ndarray) -> np.ndarray:
    """Log-mel float32 [T, 320] with every band at zero mean and unit variance: what is disentangled before anything is learned."""
    return normalise_bands(torch.from_numpy(sound)[None])[0].numpy()


def content_table(full: TalkingHead | None, ablated: TalkingHead | None, said: Spoken, seed: int) -> list[str]:
    """A table: how well fresh probes name the speaker from what OPT hears, and from the sound itself."""
    features: dict[str, Feature] = {}
    for title, head in (("content of OPT", full), ("content of OPT without disentanglement", ablated)):
        if isinstance(head, Opt):
            features[title] = lambda sound, head=head: content_of(head, sound)  # type: ignore[misc]
    features |= {"log-mel, every band normalised over the clip": normalised, "log-mel as it is": lambda sound: sound}
    rows = []
    for title, feature in features.items():
        linear, hidden = speaker_accuracy([feature(sound) for sound in said.sounds], said.who, seed)
        rows.append((title, *(f"{100.0 * share:.0f} %" for share in (linear, hidden))))
    people = len(set(said.who))
    rows.append((f"chance, {people} speakers", *[f"{100.0 / people:.0f} %"] * 2))
    return markdown_table(("what a probe hears", "speaker named by logistic regression", "by a network of one hidden layer"), rows)


@dataclass(frozen=True)
class Heard:
    """A simulated window, and listeners to it, relative to the listener's source: pose in standard deviations, then expression.

    Parameters
    ----------
    attitude : Attitude
    rule : float32 [T, 38]
        The listener that the rule makes.
    draws : float32 [draws, T, 38]
        Those that are measured.
    """

    attitude: Attitude
    rule: np.ndarray
    draws: np.ndarray


def draw_dyads(source: SimulatedDyads, seed: int) -> list[Dyad]:
    """Windows of simulated dyads, each attitude as often."""
    attitudes = list(Attitude)
    return [source.draw(np.random.default_rng((seed, number)), attitudes[number % len(attitudes)]) for number in range(DYADS)]


def relative(motion: Motion, dyad: Dyad) -> np.ndarray:
    """A listener's motion, whose pose is relative already, with its expression relative to the source's: float32 [T, 38]."""
    return motion_array(Motion(motion.pose, motion.expression - dyad.source_expression))


def rest(dyad: Dyad) -> np.ndarray:
    """A listener that holds still."""
    return np.zeros_like(relative(dyad.listener, dyad))


def mirror(dyad: Dyad) -> np.ndarray:
    """A listener that does at once what the speaker does."""
    return motion_array(Motion(dyad.speaker.pose, dyad.speaker.expression - dyad.speaker.expression[:1]))


def listened(head: TalkingHead, dyad: Dyad, seed: int, space: MotionSpace) -> np.ndarray:
    """Motions of a listening head, one for each of four seeds: float32 [4, T, 38]."""
    scale = space.pose_scale.numpy()
    source = Motion(dyad.source_pose[None], dyad.source_expression[None])
    nowhere = np.zeros((len(space.mean), 3), np.float32)  # a listener's motion asks for no landmarks
    portrait = Portrait(dyad.face, nowhere, source, nowhere, Box(0.0, 0.0, float(SIDE)))
    cue = DrivingSignals(dyad.audio, speaker=Motion(dyad.speaker.pose * scale, dyad.speaker.expression), attitude=dyad.attitude)
    made = (head.move(portrait, cue, np.random.default_rng((seed, draw))) for draw in range(DRAWS))
    return np.stack([relative(Motion((m.pose - dyad.source_pose) / scale, m.expression), dyad) for m in made])


def mood_shown(draws: np.ndarray, smiling: np.ndarray) -> np.ndarray:
    """Mean smile of motions float32 [draws, T, 38] over time, [draws]: 1 as in :func:`.smile_expression`, negative for a frown."""
    return (draws[..., POSE:].mean(axis=1) @ smiling) / float(smiling @ smiling)


def nods_to_shakes(heard: Sequence[Heard]) -> float:
    """Energy of how pitch changes from frame to frame over that of yaw."""
    speed = np.concatenate([np.diff(h.draws[..., :POSE], axis=1).reshape(-1, POSE) for h in heard])
    energy = np.square(speed).sum(axis=0)
    return float(energy[PITCH] / max(float(energy[YAW]), 1e-12))


def listener_row(heard: Sequence[Heard], smiling: np.ndarray) -> list[str]:
    """Cells of :func:`listener_tables`."""
    pose = np.mean([nearest(h.draws[..., :POSE], h.rule[:, :POSE]) for h in heard], axis=0)
    expression = np.mean([nearest(h.draws[..., POSE:], h.rule[:, POSE:]) for h in heard], axis=0)
    spread = [float(np.mean([diversity(h.draws[..., part]) if len(h.draws) > 1 else 0.0 for h in heard])) for part in _PARTS]
    by_mood = {mood: [h for h in heard if h.attitude is mood] for mood in Attitude}
    right = [mood_shown(h.draws, smiling) * sign > 0.0 for mood, sign in _SIGNS.items() for h in by_mood[mood]]
    moves = all(np.ptp(h.draws[..., [YAW, PITCH]], axis=1).any() for h in heard)
    ratios = [f"{nods_to_shakes(by_mood[mood]):.2f}" if moves and by_mood[mood] else "-" for mood in Attitude]
    cells = [f"{x:.2f}" for x in (*pose, *expression, *spread)]
    return [*cells, f"{100.0 * float(np.concatenate(right).mean()):.0f} %", *ratios]


_PARTS = (slice(0, POSE), slice(POSE, None))  # of a motion: pose, expression
_SIGNS = {Attitude.positive: 1.0, Attitude.negative: -1.0}  # of the smile that each attitude asks for


def listener_table(heads: Mapping[str, TalkingHead], source: SimulatedDyads, space: MotionSpace, seed: int) -> list[str]:
    """A table of listening heads, a listener at rest, the speaker's mirror, and the rule itself, on simulated windows."""
    from rich.progress import track

    dyads, smiling = draw_dyads(source, seed), smile_expression(space)
    makers: dict[str, Callable[[Dyad], np.ndarray]] = {
        "at rest": lambda dyad: rest(dyad)[None],
        "mirror of the speaker": lambda dyad: mirror(dyad)[None],
        **{title: lambda dyad, head=head: listened(head, dyad, seed, space) for title, head in heads.items()},  # type: ignore[misc]
        "the rule's own listener": lambda dyad: relative(dyad.listener, dyad)[None],
    }
    rows = []
    for title, make in track(makers.items(), "listening", total=len(makers)):
        heard = [Heard(dyad.attitude, relative(dyad.listener, dyad), make(dyad)) for dyad in dyads]
        rows.append((title, *listener_row(heard, smiling)))
    header = (
        *("listener", "pose off, one draw", "best of 4", "expression off, one draw", "best of 4", "pose diversity", "expression diversity"),
        *("mood of the right sign", *(f"nods / shakes, {mood}" for mood in Attitude)),
    )
    return markdown_table(header, rows)
