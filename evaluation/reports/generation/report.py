"""How well talking and listening heads are generated: the section of the results file on them, and a sheet of each."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ....generators.forge.plan import origins
from ....generators.forge.run import genuine_rows, track_faces, track_path
from ....generators.methods.source import Origin
from ....generators.talking.models.dyads import SimulatedDyads
from ....generators.talking.models.mfr_net import MfrNet
from ....generators.talking.rendering.head_clips import HeadClip, load_head_clips
from ....generators.talking.rendering.identity import IdentityNetwork
from ...document import write_section
from .cast import Cast, load_cast, write_sheets
from .claims import DYADS, SPEAKER_CLIPS, content_table, listener_table, spoken
from .likeness import PSNR_LIMIT, STRIDE, embed, known_mouths, verification
from .lipsync import OffsetProbe
from .talking import DRAWS, MAX_FRAMES, Scene, likeness_table, lipsync_table, measure, motion_table, scene_of

SECTION = "generation"
N_CLIPS = {"grid": 12, "lrc_ar": 24}  # of each group; clips of the first are twice as long
SEEN = "grid"  # corpus whose speaker all networks know
GROUPS = {  # of the split dev, by corpus
    SEEN: "unseen clips of one speaker who was trained on (GRID s1)",
    "lrc_ar": "three identities never seen in training (LRC-AR)",
}
PROBE = {"lrc_ar": (150, 1), "grid": (100, 0)}  # training clips that set the zero of lip sync, and by how many frames their voice is late
SPEAKERS = "lrc_ar"  # corpus in which a probe looks for speakers; across corpora language and room would tell them


def write_generation(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    workers: int,
    seed: int,
    cache: str | os.PathLike[str] | None,
    ablations: str | os.PathLike[str] | None = None,
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
    ablations : path-like, optional
        Folder with the weights of the ablated generators; they are trained into it if they are not there. Without it
        ablations are left out.
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
            clips[corpus], voices = _heads(_sample(dev, corpus, N_CLIPS[corpus], seed), tracks, workers)
            scenes[corpus] = [scene_of(clip, voices[clip.path], cast.renderer) for clip in clips[corpus] if clip.path in voices]
        known = [clip for part in clips.values() for clip in part]
        if not known:
            raise ValueError(f"{os.fspath(data)}: none of its clips of the split dev shows a face in {' or '.join(GROUPS)}")
        probe = fit_probe(train, tracks, workers, seed)
        lines = _head(seed, verify(known, cast.identity))
        for corpus, title in GROUPS.items():
            if scenes[corpus]:
                lines += _group(title, scenes[corpus], cast, probe, seed)
        lines += _disentanglement(cast, train, tracks, workers, seed)
        lines += _listening(cast, known, seed)
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
    track_faces(clips, tracks, workers)
    heads = load_head_clips(clips, [track_path(clip, tracks) for clip in clips], tracks, workers)
    return heads, {clip.path: voice for clip in clips if (voice := _voice(clip, tracks)) is not None}


def _voice(clip: Origin, tracks: Path) -> np.ndarray | None:
    track = track_path(clip, tracks)
    if not track.exists():
        return None
    with np.load(track) as data:
        return data["waveform"] if "waveform" in data else None


def _followed(rows: pd.DataFrame, tracks: Path, workers: int, seed: int) -> pd.DataFrame:
    """Rows of up to 24 clips of every person, those that could be followed."""
    shuffled = rows.sample(frac=1.0, random_state=seed)
    rows = shuffled[shuffled.groupby("identity").cumcount() < SPEAKER_CLIPS].sort_index()
    clips = origins(rows)
    track_faces(clips, tracks, workers)
    return rows[[track_path(clip, tracks).exists() for clip in clips]]


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
    unseen = [index for index, clip in enumerate(clips) if clip.corpus != SEEN]
    everyone = np.array(vectors)
    return verification(everyone, who), verification(everyone[unseen], [who[index] for index in unseen])


def _group(title: str, scenes: Sequence[Scene], cast: Cast, probe: OffsetProbe, seed: int) -> list[str]:
    rows = measure(scenes, cast, seed)
    frames = sum(len(scene.heads) for scene in scenes)
    lines = [f"## {title[0].upper()}{title[1:]}: {len(scenes)} clips, {frames} frames", "", *likeness_table(rows, seed)]
    return [*lines, *lipsync_table(rows, probe), *motion_table(scenes, cast, seed)]


def _head(seed: int, known: tuple[float, float]) -> list[str]:
    return [
        "# Generation",
        "",
        f"Written by `avwitness report --of generation --seed {seed}`; do not edit by hand. Held-out clips of the split `dev`,",
        f"up to {MAX_FRAMES} frames of each. The first frame is the source; compared are heads of 96x96 pixels, one",
        f"frame in {STRIDE}, the source left out. Square brackets are 95 % bootstrap intervals over clips (500 rounds), and say nothing of",
        "other people.",
        "",
        f"- PSNR and SSIM against the genuine head at the same moment; PSNR counts up to {PSNR_LIMIT:.0f} dB. A head that moves in",
        "  another way than the genuine one did loses here, however natural it is: generators that draw their poses must.",
        "- Lips off, pose off: landmarks found again in both heads, enlarged alike; mean distances in percent of that of the outer",
        "  eye corners, of the lips once pose is removed from both, and of what speech does not move as it lies in the picture.",
        "- Identity: cosine of our own embedding at the same moment. It was trained on a few dozen people, it is not the CSIM of",
        f"  publications and must not be compared with it. That two dev clips are of one person it tells with AUC {_auc(known[0])}",
        f"  over all pairs, and {_auc(known[1])} over pairs of people whom it never saw.",
        "- Lip sync: offset by the front ends of our own speech reader (`evaluation/lipsync.py`), fitted to genuine training heads of",
        "  this size. The row of genuine heads is the zero: their voices may be late, and small heads tell less. Clip by clip the",
        "  offset is compared with that of the genuine clip, where both could be measured. An offset found with no more confidence than",
        "  in a source that is held still is chance.",
        f"- Diversity: deviation over {DRAWS} seeds; liveliness: deviation over time; jitter: mean second difference. All of the pose, in",
        "  standard deviations within training clips, averaged over its numbers; distances from the genuine pose in the same unit.",
        "- OPT is given the genuine pose, as it follows a reference; the others hear the sound alone.",
        "",
    ]


def _auc(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


def _disentanglement(cast: Cast, train: pd.DataFrame, tracks: Path, workers: int, seed: int) -> list[str]:
    if "opt" not in cast.heads and "opt" not in cast.ablated:
        return []
    said = spoken(_followed(train[train.corpus == SPEAKERS], tracks, workers, seed), tracks, seed)
    if len(set(said.who)) < 2:
        return []
    return [
        "## Who speaks, heard in what OPT keeps of the sound",
        "",
        f"Fresh probes name the speaker of {len(said.sounds) // 2} training clips (LRC-AR alone, so that no language is a clue) from",
        "frames with two neighbours on either side; they learned from as many other clips of the same speakers. Lower is better; what is",
        "normalised away before anything is learned has its own row. Whether the mouth moves as it should is in the tables above.",
        "",
        *content_table(cast.heads.get("opt"), cast.ablated.get("opt"), said, seed),
    ]


def _listening(cast: Cast, known: Sequence[HeadClip], seed: int) -> list[str]:
    listeners = {
        title: heads[MfrNet.name]
        for title, heads in (("MFR-Net", cast.heads), ("MFR-Net without aggregation", cast.ablated))
        if MfrNet.name in heads
    }
    if not listeners:
        return []
    return [
        "## Listening",
        "",
        f"**The dyads are simulated**: {DYADS} windows of a second in which a genuine dev clip speaks and a rule listens",
        "(`generators/talking/dyads.py`). These figures show whether MFR-Net learned the rule; of how people listen they say nothing.",
        "Distances are mean absolute ones from the rule's listener: of the pose in standard deviations, of the expression in units of",
        "about one deviation. The rule draws its nods at random, so no distance can be near zero. Mood: share of draws that smile",
        "where the attitude is positive and frown where it is negative. Nods to shakes: energy of how pitch changes over that of yaw.",
        "",
        *listener_table(listeners, SimulatedDyads(known, cast.renderer.space), cast.renderer.space, seed),
    ]
