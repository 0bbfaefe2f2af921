"""How well talking and listening heads are generated: the section of the results file on them, and a sheet of each."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ..generators.forge import follow, genuine_rows, track_of
from ..generators.plan import Origin, origins
from ..generators.talking.base import Cue, Portrait, TalkingHead
from ..generators.talking.corpus import HeadClip, take_heads
from ..generators.talking.dyads import SimulatedDyads
from ..generators.talking.identity import IdentityNetwork
from ..generators.talking.mfr_net import MfrNet
from ..generators.talking.motion import Motion
from ..generators.talking.perform import render
from ..generators.talking.renderer import Renderer
from ..media.clip import SAMPLES_PER_FRAME
from .cast import Cast, load_cast, write_sheets
from .claims import DRAWS, DYADS, SPEAKER_CLIPS, content_table, listener_table, spoken
from .document import markdown, write_section
from .likeness import (
    PSNR_LIMIT,
    STRIDE,
    Filmed,
    Likeness,
    compare,
    diversity,
    embed,
    film,
    jitter,
    known_mouths,
    liveliness,
    mean_interval,
    nearest,
    shown,
    verification,
)
from .lipsync import Clips, OffsetProbe

SECTION = "generation"
N_CLIPS = 24  # of each group
MAX_FRAMES = 50  # of a clip, 2 s
GROUPS = {  # of the split dev, by corpus
    "grid": "unseen clips of one speaker who was trained on (GRID s1)",
    "lrc_ar": "three identities never seen in training (LRC-AR)",
}
PROBE = {"lrc_ar": (150, 1), "grid": (100, 0)}  # training clips that set the zero of lip sync, and by how many frames their voice is late
SPEAKERS = "lrc_ar"  # corpus in which a probe looks for speakers; across corpora language and room would tell them
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
    clips: Clips


Perform = Callable[[Scene, np.random.Generator], Motion]


def write_generation(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    workers: int,
    seed: int,
    cache: str | os.PathLike[str] | None,
    ablations: str | os.PathLike[str],
    cast: Cast | None = None,
) -> None:
    """Measure the four generators on held-out clips, and write the tables and, beside them, a sheet of each generator.

    Parameters
    ----------
    data : path-like
        Folder with the manifest.
    out : path-like
        Markdown file, whose section on generation is replaced; ``generated_NAME.jpg`` are written beside it.
    workers : int
        Processes that follow faces and crop heads; what is measured is measured in this one, on one thread.
    cache : path-like, optional
        Folder of followed faces and cropped heads; a temporary one is made otherwise.
    ablations : path-like
        Folder with the weights of the ablated generators; they are trained into it if they are not there.
    cast : Cast, optional
        Networks to measure instead of the bundled ones; ``ablations`` is not looked at then.

    Raises
    ------
    FileNotFoundError
        If there is no manifest, or there are no weights.
    ValueError
        If no held-out clip shows a face.
    """
    torch.set_num_threads(1)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        tracks = Path(cache or temporary)
        train, dev = genuine_rows(data, "train"), genuine_rows(data, "dev")
        cast = cast or load_cast(ablations, lambda: _heads(train, tracks, workers)[0])
        torch.set_num_threads(1)  # training may have taken more
        clips, scenes = {}, {}
        for corpus in GROUPS:
            clips[corpus], voices = _heads(_sample(dev, corpus, N_CLIPS, seed), tracks, workers)
            scenes[corpus] = [scene_of(clip, voices[clip.path], cast.renderer) for clip in clips[corpus] if clip.path in voices]
        known = [clip for part in clips.values() for clip in part]
        if not known:
            raise ValueError(f"{os.fspath(data)}: none of its clips of the split dev shows a face in {' or '.join(GROUPS)}")
        probe = fit_probe(train, tracks, workers, seed)
        lines = _head(seed, verify(known, cast.identity))
        for corpus, title in GROUPS.items():
            if scenes[corpus]:
                lines += _group(title, scenes[corpus], cast, probe, seed)
        said = spoken(_followed(train[train.corpus == SPEAKERS], tracks, workers, seed), tracks, seed)
        lines += _disentanglement(cast, said, seed)
        lines += _listening(cast, known, scenes, seed)
    sheets = [file.name for file in write_sheets(cast, Path(out).parent, seed)]
    lines += ["## What it looks like", "", "Public-domain portraits and a synthetic voice, no footage:", ""]
    lines += [f"![{name}]({name})" for name in sheets]
    lines += ["", f"Measured in {(time.monotonic() - began) / 60.0:.0f} minutes on one thread.", ""]
    write_section(out, SECTION, lines)


def _sample(table: pd.DataFrame, corpus: str, count: int, seed: int) -> pd.DataFrame:
    """Some rows of a corpus, as many of every person as there are."""
    rows = table[table.corpus == corpus]
    shuffled = rows.sample(frac=1.0, random_state=seed)
    turn = shuffled.groupby("identity").cumcount()
    return shuffled.loc[turn.sort_values(kind="stable").index[:count]]


def _heads(rows: pd.DataFrame, tracks: Path, workers: int) -> tuple[list[HeadClip], dict[str, np.ndarray]]:
    """Cropped heads of the clips of some rows, and their waveforms by path."""
    clips = origins(rows)
    follow(clips, tracks, workers)
    heads = take_heads(clips, [track_of(clip, tracks) for clip in clips], tracks, workers)
    return heads, {clip.path: voice for clip in clips if (voice := _voice(clip, tracks)) is not None}


def _voice(clip: Origin, tracks: Path) -> np.ndarray | None:
    track = track_of(clip, tracks)
    if not track.exists():
        return None
    with np.load(track) as data:
        return data["waveform"] if "waveform" in data else None


def _followed(rows: pd.DataFrame, tracks: Path, workers: int, seed: int) -> pd.DataFrame:
    """Rows of up to 24 clips of every person, those that could be followed."""
    shuffled = rows.sample(frac=1.0, random_state=seed)
    rows = shuffled[shuffled.groupby("identity").cumcount() < SPEAKER_CLIPS].sort_index()
    clips = origins(rows)
    follow(clips, tracks, workers)
    return rows[[track_of(clip, tracks).exists() for clip in clips]]


def scene_of(clip: HeadClip, waveform: np.ndarray, renderer: Renderer) -> Scene:
    """At most two seconds of a clip, from its first usable frame on."""
    first = int(np.flatnonzero(clip.usable)[0])
    span = slice(first, first + MAX_FRAMES)
    motion = Motion(clip.pose[span], renderer.space.expression(clip.points[span], clip.pose[span]))
    voice = waveform[first * SAMPLES_PER_FRAME : (first + MAX_FRAMES) * SAMPLES_PER_FRAME]
    portrait = Portrait.in_crop(clip.heads[first], clip.points[first], renderer.space)
    return Scene(portrait, clip.heads[span], motion, clip.sound[span], voice)


def fit_probe(train: pd.DataFrame, tracks: Path, workers: int, seed: int) -> OffsetProbe:
    """What measures lip sync, fitted to training heads as small as generated ones are."""
    pairs, lags = [], []
    for corpus, (count, lag) in PROBE.items():
        heads, voices = _heads(_sample(train, corpus, count, seed), tracks, workers)
        found = [(known_mouths(h.heads, h.points, h.usable), voices[h.path]) for h in heads if h.path in voices]
        pairs += found
        lags += [lag] * len(found)
    return OffsetProbe.fit(pairs, lags)


def verify(clips: Sequence[HeadClip], network: IdentityNetwork) -> tuple[float, float]:
    """AUC of our own embedding for two clips being of one person: over all clips, and over those of people it never saw."""
    vectors, who = [], []
    for clip in clips:
        frames = np.flatnonzero(clip.usable)[:: max(1, int(clip.usable.sum()) // 4)]
        mean = embed(clip.heads[frames], clip.points[frames], network).mean(axis=0)
        vectors.append(mean / np.linalg.norm(mean))
        who.append(clip.identity)
    unseen = [index for index, clip in enumerate(clips) if clip.corpus != "grid"]
    everyone = np.array(vectors)
    return verification(everyone, who), verification(everyone[unseen], [who[index] for index in unseen])


def performer(head: TalkingHead) -> Perform:
    """A head that moves the source of a scene to its sound; where it follows a pose, to the genuine one."""
    return lambda scene, rng: head.move(scene.portrait, Cue(scene.sound, pose=scene.motion.pose), rng)


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
        row.clips.append((made.mouths, scene.waveform))  # type: ignore[attr-defined]
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
    return markdown(header, lines)


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
    return markdown(("heads", "voice late by (ms), all clips", "confidence", "off the genuine clip's (ms), median (clips)"), lines)


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
    return markdown(header, rows)


def _moves(drawn: Sequence[np.ndarray]) -> tuple[str, str]:
    lively, trembling = (np.mean([measure(pose) for draws in drawn for pose in draws]) for measure in (liveliness, jitter))
    return f"{lively:.2f}", f"{trembling:.3f}"


def _distances(drawn: Sequence[np.ndarray], genuine: Sequence[np.ndarray]) -> tuple[str, str]:
    one, best = np.mean([nearest(draws, pose) for draws, pose in zip(drawn, genuine, strict=True)], axis=0)
    return f"{one:.2f}", f"{best:.2f}"


def _group(title: str, scenes: Sequence[Scene], cast: Cast, probe: OffsetProbe, seed: int) -> list[str]:
    rows = measure(scenes, cast, seed)
    frames = sum(len(scene.heads) for scene in scenes)
    lines = [f"## {title[0].upper()}{title[1:]}: {len(scenes)} clips, {frames} frames", "", *likeness_table(rows, seed)]
    return [*lines, *lipsync_table(rows, probe), *motion_table(scenes, cast, seed)]


def _head(seed: int, known: tuple[float, float]) -> list[str]:
    return [
        "# Generation",
        "",
        f"Written by `avwitness report --of generation --seed {seed}`; do not edit by hand. Held-out clips of the split `dev`, up to",
        f"{N_CLIPS} a group and {MAX_FRAMES} frames a clip. The first frame is the source; what is compared are heads of 96x96 pixels,",
        f"every frame number that {STRIDE} divides, the source left out. Square brackets are 95 % bootstrap intervals over clips (500 rounds);",
        "how much figures differ between people they do not say.",
        "",
        f"- PSNR and SSIM against the genuine head at the same moment; PSNR is counted up to {PSNR_LIMIT:.0f} dB. A head that moves in another",
        "  way than the genuine one did loses here, however natural it is: generators that draw their poses must.",
        "- Lips off, pose off: landmarks found again in both heads, enlarged alike; mean distances in percent of that of the outer eye",
        "  corners, of the lips once pose is removed from both, and of what speech does not move as it lies in the picture.",
        "- Identity: cosine of our own embedding at the same moment. It was trained on a few dozen people; it is not the CSIM of publications",
        f"  and must not be compared with it. Two dev clips are of one person: AUC {known[0]:.3f} over all pairs,",
        f"  {known[1]:.3f} over pairs of people whom it never saw.",
        "- Lip sync: offset by our own speech reader's front ends (`evaluation/lipsync.py`), fitted to genuine training heads of this size.",
        "  The row of genuine heads is the zero: their voices may be late, and small heads tell less. Per clip the offset is compared with",
        "  that of the genuine clip, where both could be measured.",
        f"- Diversity: deviation over {DRAWS} seeds; liveliness: deviation over time; jitter: mean second difference; all of the pose, in",
        "  standard deviations within training clips, averaged over its numbers. Distances from the genuine pose in the same unit.",
        "- OPT is given the genuine pose, as it follows a reference; the others hear the sound alone.",
        "",
    ]


def _disentanglement(cast: Cast, said: Sequence[str] | object, seed: int) -> list[str]:
    return []
