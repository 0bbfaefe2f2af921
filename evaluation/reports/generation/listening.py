"""Evaluation of listening heads on simulated dyads, against the simulated listener."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ....generators.talking.models.base import Attitude, DrivingSignals, Portrait, TalkingHead
from ....generators.talking.models.dyads import Dyad, SimulatedDyads, motion_array, smile_expression
from ....generators.talking.rendering.head_crops import HEAD_SIZE, Box
from ....generators.talking.rendering.motion import POSE_SIZE, Motion, MotionSpace
from ...document import markdown_table
from .similarity import diversity, sample_distances
from .talking import N_SAMPLES

N_DYADS = 60  # simulated windows, a third of each attitude
YAW, PITCH = 0, 1  # indices into a pose
PARTS = (slice(0, POSE_SIZE), slice(POSE_SIZE, None))  # of a motion: pose, expression
SMILE_SIGNS = {Attitude.positive: 1.0, Attitude.negative: -1.0}  # by attitude


@dataclass(frozen=True)
class ListenerSamples:
    """Motions of listeners in one simulated window, relative to the listener's source: pose in standard deviations, then expression.

    Parameters
    ----------
    attitude : Attitude
    reference : float32 [T, 38]
        Of the simulated listener.
    samples : float32 [S, T, 38]
        Of the evaluated listener.
    """

    attitude: Attitude
    reference: np.ndarray
    samples: np.ndarray


def draw_dyads(source: SimulatedDyads, seed: int) -> list[Dyad]:
    """Windows of simulated dyads, equally many of each attitude."""
    attitudes = list(Attitude)
    return [source.draw(np.random.default_rng((seed, number)), attitudes[number % len(attitudes)]) for number in range(N_DYADS)]


def relative(motion: Motion, dyad: Dyad) -> np.ndarray:
    """A listener's motion with its expression relative to the source's, float32 [T, 38]; its pose is already relative."""
    return motion_array(Motion(motion.pose, motion.expression - dyad.source_expression))


def rest(dyad: Dyad) -> np.ndarray:
    """A listener that does not move."""
    return np.zeros_like(relative(dyad.listener, dyad))


def mirror(dyad: Dyad) -> np.ndarray:
    """A listener that copies the speaker without delay."""
    return motion_array(Motion(dyad.speaker.pose, dyad.speaker.expression - dyad.speaker.expression[:1]))


def generate_listener(head: TalkingHead, dyad: Dyad, seed: int, space: MotionSpace) -> np.ndarray:
    """Motions of a listening head, one for each of four seeds: float32 [4, T, 38]."""
    scale = space.pose_scale.numpy()
    source = Motion(dyad.source_pose[None], dyad.source_expression[None])
    no_landmarks = np.zeros((len(space.mean), 3), np.float32)  # which a listener's motion does not depend on
    portrait = Portrait(dyad.face, no_landmarks, source, no_landmarks, Box(0.0, 0.0, float(HEAD_SIZE)))
    signals = DrivingSignals(dyad.audio, speaker=Motion(dyad.speaker.pose * scale, dyad.speaker.expression), attitude=dyad.attitude)
    made = (head.generate_motion(portrait, signals, np.random.default_rng((seed, sample))) for sample in range(N_SAMPLES))
    return np.stack([relative(Motion((m.pose - dyad.source_pose) / scale, m.expression), dyad) for m in made])


def mean_smile(samples: np.ndarray, smiling: np.ndarray) -> np.ndarray:
    """Mean smile of motions float32 [S, T, 38] over time, [S]: 1 as in :func:`.smile_expression`, negative for a frown."""
    return (samples[..., POSE_SIZE:].mean(axis=1) @ smiling) / float(smiling @ smiling)


def nods_to_shakes(windows: Sequence[ListenerSamples]) -> float:
    """Energy of the frame-to-frame change of pitch divided by that of yaw."""
    speed = np.concatenate([np.diff(w.samples[..., :POSE_SIZE], axis=1).reshape(-1, POSE_SIZE) for w in windows])
    energy = np.square(speed).sum(axis=0)
    return float(energy[PITCH] / max(float(energy[YAW]), 1e-12))


def listener_row(windows: Sequence[ListenerSamples], smiling: np.ndarray) -> list[str]:
    """Cells of :func:`listener_table`."""
    pose = np.mean([sample_distances(w.samples[..., :POSE_SIZE], w.reference[:, :POSE_SIZE]) for w in windows], axis=0)
    expression = np.mean([sample_distances(w.samples[..., POSE_SIZE:], w.reference[:, POSE_SIZE:]) for w in windows], axis=0)
    spread = [float(np.mean([diversity(w.samples[..., part]) if len(w.samples) > 1 else 0.0 for w in windows])) for part in PARTS]
    by_attitude = {mood: [w for w in windows if w.attitude is mood] for mood in Attitude}
    right = [mean_smile(w.samples, smiling) * sign > 0.0 for mood, sign in SMILE_SIGNS.items() for w in by_attitude[mood]]
    moves = all(np.ptp(w.samples[..., [YAW, PITCH]], axis=1).any() for w in windows)
    ratios = [f"{nods_to_shakes(by_attitude[mood]):.2f}" if moves and by_attitude[mood] else "-" for mood in Attitude]
    cells = [f"{x:.2f}" for x in (*pose, *expression, *spread)]
    return [*cells, f"{100.0 * float(np.concatenate(right).mean()):.0f} %", *ratios]


def listener_table(heads: Mapping[str, TalkingHead], source: SimulatedDyads, space: MotionSpace, seed: int) -> list[str]:
    """A table of listening heads, a still listener, a copy of the speaker, and the simulated listener itself."""
    from rich.progress import track

    dyads, smiling = draw_dyads(source, seed), smile_expression(space)
    makers: dict[str, Callable[[Dyad], np.ndarray]] = {
        "still": lambda dyad: rest(dyad)[None],
        "copy of the speaker": lambda dyad: mirror(dyad)[None],
        **{title: lambda dyad, head=head: generate_listener(head, dyad, seed, space) for title, head in heads.items()},  # type: ignore[misc]
        "simulated listener": lambda dyad: relative(dyad.listener, dyad)[None],
    }
    rows = []
    for title, make in track(makers.items(), "listening", total=len(makers)):
        windows = [ListenerSamples(dyad.attitude, relative(dyad.listener, dyad), make(dyad)) for dyad in dyads]
        rows.append((title, *listener_row(windows, smiling)))
    header = (
        *("listener", "pose distance, one sample", "best of 4", "expression distance, one sample", "best of 4"),
        *("pose diversity", "expression diversity"),
        *("smile of the right sign", *(f"nods / shakes, {mood}" for mood in Attitude)),
    )
    return markdown_table(header, rows)
