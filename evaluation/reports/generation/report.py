"""The section on generation of the results file: evaluation of the talking and listening heads, with image sheets."""

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
from ...document import format_number, write_section
from ...metrics.bootstrap import N_BOOTSTRAP
from .disentanglement import MAX_CLIPS, SpeakerClips, content_table, speaker_clips
from .lipsync import OffsetEstimator
from .listening import N_DYADS, listener_table
from .networks import Networks, load_networks
from .sheets import write_sheets
from .similarity import MAX_PSNR, STRIDE, embed, mouths_of_landmarks, verification_auc
from .talking import MAX_FRAMES, N_SAMPLES, Scene, evaluate_heads, lipsync_table, make_scene, motion_table, similarity_table

SECTION = "generation"
N_CLIPS = {"grid": 12, "lrc_ar": 24}  # of each group; clips of the first are twice as long
KNOWN_CORPUS = "grid"  # whose speaker is in the training data of all networks
GROUPS = {  # of the split dev, by corpus
    KNOWN_CORPUS: "unseen clips of one speaker of the training data (GRID s1)",
    "lrc_ar": "three identities not in the training data (LRC-AR)",
}
CALIBRATION_CLIPS = {"lrc_ar": (150, 1), "grid": (100, 0)}  # training clips for the offset estimator, and their audio delay in frames
SPEAKER_CORPUS = "lrc_ar"  # of the speaker probes; across corpora they could use language and room


def write_generation(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    workers: int,
    seed: int,
    cache: str | os.PathLike[str] | None,
    ablations: str | os.PathLike[str] | None = None,
    networks: Networks | None = None,
) -> None:
    """Evaluate the four generators on held-out clips, and write the tables and an image sheet of each generator.

    Parameters
    ----------
    data : path-like
        Folder with the manifest.
    out : path-like
        Markdown file, whose section on generation is replaced; ``generated_NAME.jpg`` are written to the same folder.
    workers : int
        Processes that track faces and crop heads; the evaluation runs in this process on one thread.
    cache : path-like, optional
        Folder of tracked faces and cropped heads; a temporary one by default.
    ablations : path-like, optional
        Folder with the weights of the ablated generators; missing ones are trained and saved there. Without it there are no ablations.
    networks : Networks, optional
        To evaluate instead of the bundled ones; ``ablations`` is not used then.

    Raises
    ------
    FileNotFoundError
        If there is no manifest, or there are no weights.
    ValueError
        If no face is detected in any held-out clip.
    """
    torch.set_num_threads(1)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        tracks = Path(cache or temporary)
        train, dev = genuine_rows(data, "train"), genuine_rows(data, "dev")
        networks = networks or load_networks(ablations, lambda: _heads(train, tracks, workers)[0])
        torch.set_num_threads(1)  # training may have changed it
        clips, scenes = {}, {}
        for corpus in GROUPS:
            clips[corpus], waveforms = _heads(_sample(dev, corpus, N_CLIPS[corpus], seed), tracks, workers)
            scenes[corpus] = [make_scene(c, waveforms[c.path], networks.renderer) for c in clips[corpus] if c.path in waveforms]
        known = [clip for part in clips.values() for clip in part]
        if not known:
            raise ValueError(f"{os.fspath(data)}: none of its clips of the split dev shows a face in {' or '.join(GROUPS)}")
        estimator = fit_offset_estimator(train, tracks, workers, seed)
        lines = _head(seed, identity_aucs(known, networks.identity))
        for corpus, title in GROUPS.items():
            if scenes[corpus]:
                lines += _group(title, scenes[corpus], networks, estimator, seed)
        lines += _disentanglement(networks, train, tracks, workers, seed)
        lines += _listening(networks, known, seed)
    sheets = [file.name for file in write_sheets(networks, Path(out).parent, seed)]
    lines += ["## Examples", "", "Public-domain portraits and a synthetic voice, no footage:", ""]
    lines += [f"![{name}]({name})" for name in sheets]
    lines += ["", f"Evaluated in {(time.monotonic() - began) / 60.0:.0f} minutes on one thread.", ""]
    write_section(out, SECTION, lines)


def _sample(table: pd.DataFrame, corpus: str, count: int, seed: int) -> pd.DataFrame:
    """A random sample of the rows of a corpus, balanced over identities."""
    rows = table[table.corpus == corpus]
    shuffled = rows.sample(frac=1.0, random_state=seed)
    turn = shuffled.groupby("identity").cumcount()
    return shuffled.loc[turn.sort_values(kind="stable").index[:count]]


def _heads(rows: pd.DataFrame, tracks: Path, workers: int) -> tuple[list[HeadClip], dict[str, np.ndarray]]:
    """Cropped heads of the clips of some rows, and their waveforms by path."""
    clips = origins(rows)
    track_faces(clips, tracks, workers)
    heads = load_head_clips(clips, [track_path(clip, tracks) for clip in clips], tracks, workers)
    return heads, {clip.path: waveform for clip in clips if (waveform := _waveform(clip, tracks)) is not None}


def _waveform(clip: Origin, tracks: Path) -> np.ndarray | None:
    track = track_path(clip, tracks)
    if not track.exists():
        return None
    with np.load(track) as data:
        return data["waveform"] if "waveform" in data else None


def _tracked_rows(rows: pd.DataFrame, tracks: Path, workers: int, seed: int) -> pd.DataFrame:
    """Rows of up to 24 clips of every identity in which a face was tracked."""
    shuffled = rows.sample(frac=1.0, random_state=seed)
    rows = shuffled[shuffled.groupby("identity").cumcount() < MAX_CLIPS].sort_index()
    clips = origins(rows)
    track_faces(clips, tracks, workers)
    return rows[[track_path(clip, tracks).exists() for clip in clips]]


def fit_offset_estimator(train: pd.DataFrame, tracks: Path, workers: int, seed: int) -> OffsetEstimator:
    """Fit the estimator of lip sync to genuine training heads in the size of the generated ones."""
    pairs, lags = [], []
    for corpus, (count, lag) in CALIBRATION_CLIPS.items():
        heads, waveforms = _heads(_sample(train, corpus, count, seed), tracks, workers)
        found = [(mouths_of_landmarks(h.heads, h.points, h.usable), waveforms[h.path]) for h in heads if h.path in waveforms]
        pairs += found
        lags += [lag] * len(found)
    return OffsetEstimator.fit(pairs, lags)


def identity_aucs(clips: Sequence[HeadClip], network: IdentityNetwork) -> tuple[float, float]:
    """Verification AUC of the identity embedding: over all clips, and over those of identities not in its training data."""
    vectors, identities = [], []
    for clip in clips:
        frames = np.flatnonzero(clip.usable)[:: max(1, int(clip.usable.sum()) // 4)]
        mean = embed(clip.heads[frames], clip.points[frames], network).mean(axis=0)
        vectors.append(mean / np.linalg.norm(mean))
        identities.append(clip.identity)
    unseen = [index for index, clip in enumerate(clips) if clip.corpus != KNOWN_CORPUS]
    stacked = np.array(vectors)
    return verification_auc(stacked, identities), verification_auc(stacked[unseen], [identities[index] for index in unseen])


def _group(title: str, scenes: Sequence[Scene], networks: Networks, estimator: OffsetEstimator, seed: int) -> list[str]:
    rows = evaluate_heads(scenes, networks, seed)
    frames = sum(len(scene.heads) for scene in scenes)
    lines = [f"## {title[0].upper()}{title[1:]}: {len(scenes)} clips, {frames} frames", "", *similarity_table(rows, seed)]
    return [*lines, *lipsync_table(rows, estimator), *motion_table(scenes, networks, seed)]


def _head(seed: int, aucs: tuple[float, float]) -> list[str]:
    return [
        "# Generation",
        "",
        f"Written by `avwitness report --of generation --seed {seed}`; do not edit by hand. Held-out clips of the split `dev`,",
        f"up to {MAX_FRAMES} frames of each. The first frame is the source. Heads of 96x96 pixels are compared in one frame of {STRIDE},",
        f"without the source. Square brackets are 95 % bootstrap intervals over clips ({N_BOOTSTRAP} draws), not over people.",
        "",
        f"- PSNR and SSIM compare with the genuine head at the same time; PSNR is limited to {MAX_PSNR:.0f} dB. Motion that differs from",
        "  the genuine one lowers both, however natural it is; this affects all generators that sample poses.",
        "- Lip distance, pose distance: landmarks are detected in both enlarged heads; mean distances in percent of the distance of the",
        "  outer eye corners, for the lips with pose removed from both, and for landmarks that speech does not move, in 2-D.",
        "- Identity cosine: of the toolkit's own embedding at the same time. It was trained on a few dozen people and is not comparable",
        f"  with the CSIM of publications. Its verification AUC on dev clips is {format_number(aucs[0])} over all pairs, and",
        f"  {format_number(aucs[1])} over pairs of people who are not in its training data.",
        "- Lip sync: offset by the front ends of the bundled AVSR model (`evaluation/reports/generation/lipsync.py`), calibrated on",
        "  genuine training heads of this size. The row of genuine heads is the reference: their audio may be delayed, and small heads are",
        "  less informative. Clip by clip the offset is compared with that of the genuine clip, where both could be estimated. An",
        "  offset whose confidence is no larger than that of the still source is chance.",
        f"- Diversity: standard deviation over {N_SAMPLES} seeds; liveliness: standard deviation over time; jitter: mean second",
        "  difference. All of the pose, in standard deviations within training clips, averaged over its dimensions; so are pose distances.",
        "- OPT takes the genuine pose as its reference; the inputs of the others are the audio alone.",
        "",
    ]


def _disentanglement(networks: Networks, train: pd.DataFrame, tracks: Path, workers: int, seed: int) -> list[str]:
    if "opt" not in networks.heads and "opt" not in networks.ablated:
        return []
    clips: SpeakerClips = speaker_clips(_tracked_rows(train[train.corpus == SPEAKER_CORPUS], tracks, workers, seed), tracks, seed)
    if len(set(clips.speakers)) < 2:
        return []
    return [
        "## Speaker information in the content features of OPT",
        "",
        f"Probes classify the speaker of {len(clips.audio) // 2} training clips (LRC-AR alone, so that language is no cue) from",
        "frames with two neighbours on either side; they are trained on as many other clips of the same speakers. Lower is better. The",
        "normalisation that OPT applies before its learned layers has its own row. Lip sync is in the tables above.",
        "",
        *content_table(networks.heads.get("opt"), networks.ablated.get("opt"), clips, seed),
    ]


def _listening(networks: Networks, known: Sequence[HeadClip], seed: int) -> list[str]:
    listeners = {
        title: heads[MfrNet.name]
        for title, heads in (("MFR-Net", networks.heads), ("MFR-Net without aggregation", networks.ablated))
        if MfrNet.name in heads
    }
    if not listeners:
        return []
    return [
        "## Listening",
        "",
        f"**The dyads are simulated**: in {N_DYADS} windows of a second a genuine dev clip speaks and a rule generates the listener",
        "(`generators/talking/models/dyads.py`). The metrics show whether MFR-Net learned the rule, not how people listen.",
        "Distances are mean absolute distances to the simulated listener: of the pose in standard deviations, of the expression in units",
        "of about one standard deviation. The rule samples its nods at random, so no distance can be near zero. Smile of the right sign:",
        "share of samples that smile if the attitude is positive and frown if it is negative. Nods / shakes: energy of the change of pitch",
        "divided by that of yaw.",
        "",
        *listener_table(listeners, SimulatedDyads(known, networks.renderer.space), networks.renderer.space, seed),
    ]
