"""Talking heads on genuine clips: what is generated of each, and the tables of how like the genuine heads it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ....generators.talking.models.base import DrivingSignals, Portrait, TalkingHead
from ....generators.talking.models.mfr_net import MfrNet
from ....generators.talking.rendering.head_clips import HeadClip
from ....generators.talking.rendering.motion import Motion
from ....generators.talking.rendering.renderer import Renderer
from ....generators.talking.synthesis import render
from ....media.clip import SAMPLES_PER_FRAME
from ...document import markdown_table
from .cast import Cast
from .likeness import Filmed, Likeness, compare, diversity, film, jitter, liveliness, mean_interval, nearest, shown
from .lipsync import OffsetProbe

MAX_FRAMES = 50  # of a clip, 2 s
DRAWS = 4  # motions of each head
TALKERS = {  # of the main table, and what its ablation lacks
    "font": ("FONT", "pose sampling"),
    "opt": ("OPT", "disentanglement"),
    "osm-net": ("OSM-Net", "motion space"),
}
GENUINE, HELD, REPLAYED, DRIVEN = (
    "genuine heads",
    "the source, held still",
    "genuine pose, expression of the source",
    "genuine pose and expression (self-reenactment)",
)


@dataclass(frozen=True)
class Scene:
    """A genuine clip from its first usable frame on, which is the source.

    Parameters
    ----------
    portrait : Portrait
    heads : uint8 [T, 96, 96, 3]
    motion : Motion
        The genuine one.
    sound : float32 [T, 320]
    waveform : float32 [S]
    """

    portrait: Portrait
    heads: np.ndarray
    motion: Motion
    sound: np.ndarray
    waveform: np.ndarray


@dataclass(frozen=True)
class Measured:
    """One row of a table over all clips of a group: likenesses (none for genuine heads), and mouths with their voices."""

    likenesses: list[Likeness]
    clips: list[tuple[np.ndarray, np.ndarray]]


Perform = Callable[[Scene, np.random.Generator], Motion]


def scene_of(clip: HeadClip, waveform: np.ndarray, renderer: Renderer) -> Scene:
    """At most two seconds of a clip, from its first usable frame on."""
    first = int(np.flatnonzero(clip.usable)[0])
    span = slice(first, first + MAX_FRAMES)
    motion = Motion(clip.pose[span], renderer.space.expression(clip.points[span], clip.pose[span]))
    voice = waveform[first * SAMPLES_PER_FRAME : (first + MAX_FRAMES) * SAMPLES_PER_FRAME]
    portrait = Portrait.from_crop(clip.heads[first], clip.points[first], renderer.space)
    return Scene(portrait, clip.heads[span], motion, clip.audio[span], voice)


def performer(head: TalkingHead) -> Perform:
    """A head that moves the source of a scene to its sound; where it follows a pose, to the genuine one."""
    return lambda scene, rng: head.move(scene.portrait, DrivingSignals(scene.sound, pose=scene.motion.pose), rng)


def performers(cast: Cast) -> dict[str, Perform]:
    """The rows of the main table in which a head moves."""
    out: dict[str, Perform] = {}
    for name, (title, claim) in TALKERS.items():
        for heads, suffix in ((cast.heads, ""), (cast.ablated, f" without {claim}")):
            if name in heads:
                out[title + suffix] = performer(heads[name])
    return out


def replayed(scene: Scene, _: np.random.Generator | None = None) -> Motion:
    """The genuine pose, with the expression of the source."""
    return Motion(scene.motion.pose, np.repeat(scene.portrait.motion.expression, len(scene.motion), axis=0))


def measure(scenes: Sequence[Scene], cast: Cast, seed: int) -> dict[str, Measured]:
    """Let everything be generated, found again and compared; rows by their titles, genuine heads first."""
    from rich.progress import track

    listeners = {
        f"{DRIVEN}, painted by MFR-Net{suffix}": heads[MfrNet.name]
        for heads, suffix in ((cast.heads, ""), (cast.ablated, " without aggregation"))
        if MfrNet.name in heads
    }
    rows: dict[str, Measured] = {}

    def add(title: str, made: Filmed, scene: Scene, real: Filmed | None) -> None:
        row = rows.setdefault(title, Measured([], []))
        row.clips.append((made.mouths, scene.waveform))
        if real is not None:
            row.likenesses.append(compare(real, made, cast.identity))

    for number, scene in enumerate(track(scenes, "generating heads")):
        real = film(scene.heads)
        add(GENUINE, real, scene, None)
        add(HELD, film(np.repeat(scene.portrait.head[None], len(scene.heads), axis=0)), scene, real)
        for title, perform in {REPLAYED: replayed, DRIVEN: lambda scene, _: scene.motion, **performers(cast)}.items():
            motion = perform(scene, np.random.default_rng((seed, number, 0)))
            add(title, film(render(None, cast.renderer, scene.portrait, motion)), scene, real)
        for title, head in listeners.items():
            add(title, film(render(head, cast.renderer, scene.portrait, scene.motion)), scene, real)
    return rows


def likeness_table(rows: Mapping[str, Measured], seed: int) -> list[str]:
    """Pixels, landmarks and identity."""
    lines = []
    for title, row in rows.items():
        if not row.likenesses:
            continue
        found = row.likenesses
        columns = {name: mean_interval([getattr(x, name) for x in found], seed) for name in ("psnr", "ssim", "mouth", "pose", "identity")}
        decimals = {"psnr": 1, "ssim": 3, "mouth": 1, "pose": 1, "identity": 3}
        missed = f"{sum(x.missed for x in found)} of {sum(x.looked for x in found)}"
        lines.append((title, *(shown(interval, decimals[name]) for name, interval in columns.items()), missed))
    header = ("heads", "PSNR (dB)", "SSIM", "lips off (%)", "pose off (%)", "identity", "frames without a face")
    return markdown_table(header, lines)


def lipsync_table(rows: Mapping[str, Measured], probe: OffsetProbe) -> list[str]:
    """How late the voice is, all clips together and clip by clip against the genuine heads."""
    truth = [probe.measure(*clip) for clip in rows[GENUINE].clips]
    lines = []
    for title, row in rows.items():
        pooled = probe.measure_many(row.clips)
        alone = [probe.measure(*clip) for clip in row.clips]
        errors = [abs(a.offset_ms - b.offset_ms) for a, b in zip(alone, truth, strict=True) if a is not None and b is not None]
        lines.append(
            (
                title,
                "-" if pooled is None else f"{pooled.offset_ms:.0f}",
                "-" if pooled is None else f"{pooled.confidence:.3f}",
                f"{np.median(errors):.0f} ({len(errors)})" if errors else "-",
            )
        )
    return markdown_table(("heads", "voice late by (ms), all clips", "confidence", "off the genuine clip's (ms), median (clips)"), lines)


def motion_table(scenes: Sequence[Scene], cast: Cast, seed: int) -> list[str]:
    """How heads move over four draws; poses relative to the source in standard deviations within training clips."""
    scale = cast.renderer.space.pose_scale.numpy()
    genuine = [(scene.motion.pose - scene.portrait.motion.pose) / scale for scene in scenes]
    rows = [
        (GENUINE, "-", *_moves([x[None] for x in genuine]), "-", "-"),
        (HELD, "0.00", "0.00", "0.000", *_distances([np.zeros((1, *x.shape)) for x in genuine], genuine)),
    ]
    for title, perform in performers(cast).items():
        drawn = []
        for number, scene in enumerate(scenes):
            motions = (perform(scene, np.random.default_rng((seed, number, draw))) for draw in range(DRAWS))
            drawn.append(np.stack([(motion.pose - scene.portrait.motion.pose) / scale for motion in motions]))
        spread = f"{np.mean([diversity(x) for x in drawn]):.2f}"
        rows.append((title, spread, *_moves(drawn), *_distances(drawn, genuine)))
    header = ("heads", "diversity over 4 seeds", "liveliness", "jitter", "off the genuine pose, one draw", "best of 4")
    return markdown_table(header, rows)


def _moves(drawn: Sequence[np.ndarray]) -> tuple[str, str]:
    lively, trembling = (np.mean([measure(pose) for draws in drawn for pose in draws]) for measure in (liveliness, jitter))
    return f"{lively:.2f}", f"{trembling:.3f}"


def _distances(drawn: Sequence[np.ndarray], genuine: Sequence[np.ndarray]) -> tuple[str, str]:
    one, best = np.mean([nearest(draws, pose) for draws, pose in zip(drawn, genuine, strict=True)], axis=0)
    return f"{one:.2f}", f"{best:.2f}"
