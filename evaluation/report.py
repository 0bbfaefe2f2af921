"""The tables of ``docs/RESULTS.md``: forged dev identities and every wild group, each beside the trivial rivals."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..datasets.manifest import read_manifest
from ..detector.calibration import StreamCalibration, sync_statistic
from ..detector.pipeline import Detector, find_weights, load
from ..detector.pool import score_in_processes
from ..detector.prepare import Material, prepare
from ..detector.scoring import SYNC_FRAMES
from ..detector.train import load_corpora
from ..detector.trials import audio_trials, sync_trials, video_trials
from ..detector.verdict import Verdict
from ..media.clip import MediaError
from ..media.decode import read_clip
from ..media.face import FaceTracker, speaking_face
from ..media.mouth import mouth_crops, native_scale
from .document import markdown, write_section
from .metrics import Interval, auc, bootstrap, eer
from .shortcuts import AUDIO_RIVALS, mouth_blur

LOOKS = "looks.json"  # beside the report: how often the wild groups were read, by the checksum of the weights
SECTION = "detection"  # of the results file
FACE_RIVALS = ("mouth blur", "native face size")


@dataclass(frozen=True)
class Scored:
    """Scores of one stream over many clips."""

    scores: np.ndarray
    labels: np.ndarray
    families: np.ndarray
    units: np.ndarray
    rivals: dict[str, np.ndarray]


def write_report(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    model: str,
    workers: int,
    seed: int,
    cache: str | os.PathLike[str] | None = None,
) -> None:
    """Measure everything and write the markdown file.

    Parameters
    ----------
    data : path-like
        Folder with the manifest. Its ``dev`` rows are forged here; its ``wild`` rows are scored as they are.
    out : path-like
        Markdown file, whose section on detection is replaced.
    cache : path-like, optional
        Folder of prepared clips; a temporary one is made otherwise.
    """
    table = read_manifest(data)
    detector = load(model, device="cpu")
    lines = _head(detector, model, seed, _count_look(Path(out).with_name(LOOKS), detector.info.sha256))
    with tempfile.TemporaryDirectory() as temporary:
        dev = table[table.split == "dev"]
        prepare(dev, cache or temporary, workers, seed)
        for corpus, materials in load_corpora(dev, cache or temporary).items():
            lines += _dev_tables(detector, corpus, materials, seed)
    lines += _wild_tables(detector, table[table.split == "wild"], model, workers, seed)
    write_section(out, SECTION, lines)


def _head(detector: Detector, model: str, seed: int, looks: int) -> list[str]:
    folder = find_weights(model)
    card = json.loads((folder / "card.json").read_text())
    calibration = detector.calibration
    return [
        "# Detection",
        "",
        f"Written by `avwitness report --model {model} --seed {seed}` (`make results`); do not edit by hand.",
        f"Model `{detector.info.name}` {detector.info.version}, sha256 `{detector.info.sha256[:16]}`, "
        f"{card['parameters'] / 1e6:.2f} M parameters; Python {platform.python_version()}.",
        "Square brackets are 95 % bootstrap intervals over source clips (500 rounds). `-` means that a class is missing.",
        "",
        f"These weights have been read on the wild groups {looks} time(s). Nothing was chosen on them: architecture, "
        "training and calibration used the training split alone.",
        "",
        "A probability above the upper threshold is called fake, one below the lower genuine; between them the verdict is inconclusive: "
        + "; ".join(
            f"{n} {c.genuine_below:.2f} / {c.fake_above:.2f}" for n, c in (("audio", calibration.audio), ("video", calibration.video))
        )
        + ".",
        "",
    ]


def _count_look(file: Path, sha256: str) -> int:
    looks = json.loads(file.read_text()) if file.exists() else {}
    looks[sha256] = looks.get(sha256, 0) + 1
    file.write_text(json.dumps(looks, indent=2) + "\n")
    return int(looks[sha256])


def _share(mask: np.ndarray) -> str:
    return f"{100.0 * mask.mean():.0f} %" if len(mask) else "-"


def _dev_tables(detector: Detector, corpus: str, materials: list[Material], seed: int) -> list[str]:
    rng = np.random.default_rng((seed, int(hashlib.sha1(corpus.encode()).hexdigest()[:8], 16)))
    rows: dict[str, list[tuple[float, int, str, int, dict[str, float]]]] = {"audio": [], "video": []}
    matches: list[tuple[float, int, int]] = []
    errors: list[int] = []
    for unit, material in enumerate(materials):
        for trial in audio_trials(material, rng):
            evidence = detector.weigh(trial.features, None, None)
            assert evidence.audio is not None
            assert trial.waveform is not None
            rows["audio"].append((evidence.audio, trial.label, trial.family, unit, {n: f(trial.waveform) for n, f in AUDIO_RIVALS.items()}))
        for trial in video_trials(material, materials, rng):
            evidence = detector.weigh(None, trial.crops, trial.usable)
            assert evidence.video is not None
            assert trial.crops is not None
            assert trial.usable is not None
            rows["video"].append((evidence.video, trial.label, trial.family, unit, {"mouth blur": mouth_blur(trial.crops, trial.usable)}))
        offset = int(rng.integers(-8, 9))
        for pair in sync_trials(material, materials, rng, offset):
            if pair.usable.sum() >= SYNC_FRAMES:
                curve = detector.weigh(pair.features, pair.crops, pair.usable).sync
                assert curve is not None
                if pair.offset is not None:
                    errors.append(abs(int(curve.argmax()) - len(curve) // 2 - pair.offset))
        for pair in sync_trials(material, materials, rng):
            if pair.usable.sum() >= SYNC_FRAMES:
                curve = detector.weigh(pair.features, pair.crops, pair.usable).sync
                assert curve is not None
                matches.append((sync_statistic(curve), int(pair.offset is None), unit))
    seen = "the speaker was seen in training, the clips were not" if corpus == "grid" else "speakers never seen in training"
    lines = [f"## Forged dev clips: {corpus} ({len(materials)} genuine clips, {seen})", ""]
    for stream, calibration in (("audio", detector.calibration.audio), ("video", detector.calibration.video)):
        scored = _collect(rows[stream])
        lines += [f"### {stream.capitalize()}", "", *_family_table(scored, calibration, seed)]
    if matches:
        values, labels, units = (np.array(column) for column in zip(*matches, strict=True))
        lines += ["### Sound and picture", ""]
        lines += markdown(
            ("trial", "AUC", "offset within 1 frame (40 ms)", "within 3 frames"),
            [
                (
                    "own or foreign sound",
                    bootstrap(auc, values, labels, units, seed),
                    _share(np.array(errors) <= 1),
                    _share(np.array(errors) <= 3),
                )
            ],
        )
        lines += [
            "Offsets: the sound was moved by -8 to 8 frames; answering 0 every time would be within 1 frame in 18 % and within 3 in 41 %.",
            "",
        ]
    return lines


def _collect(rows: list[tuple[float, int, str, int, dict[str, float]]]) -> Scored:
    scores, labels, families, units, rivals = zip(*rows, strict=True)
    return Scored(
        np.array(scores),
        np.array(labels),
        np.array(families),
        np.array(units),
        {name: np.array([r[name] for r in rivals]) for name in rivals[0]},
    )


def _family_table(scored: Scored, calibration: StreamCalibration, seed: int) -> list[str]:
    p = calibration.probability(scored.scores)
    rows = []
    for family in [*dict.fromkeys(scored.families[scored.labels == 1]), "all"]:
        keep = (scored.labels == 0) | (scored.families == family) if family != "all" else np.ones(len(p), dtype=bool)
        fake = keep & (scored.labels == 1)
        rivals = [_rival(values[keep], scored.labels[keep]) for values in scored.rivals.values()]
        rows.append(
            (
                family,
                int(fake.sum()),
                bootstrap(auc, scored.scores[keep], scored.labels[keep], scored.units[keep], seed),
                f"{100 * eer(scored.scores[keep], scored.labels[keep]):.1f} %",
                _share(p[fake] > calibration.fake_above),
                *rivals,
            )
        )
    genuine = p[scored.labels == 0]
    lines = markdown(("forgery", "clips", "AUC", "EER", "called fake", *(f"rival: {name}" for name in scored.rivals)), rows)
    alarms, unsure = genuine > calibration.fake_above, (genuine >= calibration.genuine_below) & (genuine <= calibration.fake_above)
    return [*lines, f"Genuine clips called fake: {_share(alarms)}; left inconclusive: {_share(unsure)}.", ""]


def _rival(values: np.ndarray, labels: np.ndarray) -> str:
    """AUC of a statistic, turned the way that suits it best: a rival is given every advantage."""
    known = ~np.isnan(values)
    value = auc(values[known], labels[known])
    return "-" if np.isnan(value) else f"{max(value, 1.0 - value):.3f}"


def statistics(file: str | os.PathLike[str]) -> dict[str, float]:
    """The trivial rivals of one file, NaN where a stream is missing or unreadable."""
    names = (*AUDIO_RIVALS, *FACE_RIVALS)
    found = dict.fromkeys(names, float("nan"))
    try:
        clip = read_clip(file, max_seconds=8.0)
    except MediaError:
        return found
    if clip.waveform is not None:
        found |= {name: rival(clip.waveform) for name, rival in AUDIO_RIVALS.items()}
    if clip.frames is not None:
        with FaceTracker() as tracker:
            track = speaking_face(tracker.track(clip.frames), clip.waveform)
        if track is not None:
            found["mouth blur"] = mouth_blur(mouth_crops(clip.frames, track)[0], track.usable)
            found["native face size"] = -native_scale(track)
    return found


def _wild_tables(detector: Detector, wild: pd.DataFrame, model: str, workers: int, seed: int) -> list[str]:
    files = [os.fspath(file) for file in wild.file]
    verdicts = list(score_in_processes(files, workers, model=model, device="cpu"))
    with ProcessPoolExecutor(workers) as pool:
        found = pd.DataFrame(list(pool.map(statistics, files)), index=wild.index)
    judgements = pd.DataFrame([v.to_dict() for v in verdicts], index=wild.index)
    wild = wild.join(found).assign(
        **{stream: pd.DataFrame(list(judgements[stream]), index=wild.index).p_fake for stream in ("audio", "video")},
        **{f"{stream}_verdict": pd.DataFrame(list(judgements[stream]), index=wild.index).label for stream in ("audio", "video")},
        mismatch=pd.DataFrame(list(judgements.sync), index=wild.index).p_mismatch,
        status=judgements.status,
    )
    lines = ["## Wild groups (never trained or calibrated on)", ""]
    lines += [f"{len(wild)} files, {(wild.status == 'error').sum()} of them not readable{_failures(verdicts)}.", ""]
    for stream in ("audio", "video"):
        lines += [f"### {stream.capitalize()}: what was called what", ""]
        rows = []
        for (corpus, method), group in wild[wild[f"{stream}_label"].notna()].groupby(["corpus", "method"]):
            verdict = group[f"{stream}_verdict"]
            truth = "fake" if group[f"{stream}_label"].iloc[0] == 1 else "genuine"
            judged = group[stream].notna()
            median = group[stream].median()
            rows.append(
                (
                    corpus,
                    method,
                    truth,
                    len(group),
                    f"{judged.mean():.0%}",
                    *(f"{(verdict[judged] == label).mean():.0%}" if judged.any() else "-" for label in ("fake", "inconclusive", "genuine")),
                    "-" if np.isnan(median) else f"{median:.2f}",
                )
            )
        header = ("group", "method", "truth", "clips", "judged", "called fake", "inconclusive", "called genuine", "median p(fake)")
        lines += markdown(header, rows)
    lines += ["### Ranking, beside the trivial rivals", ""]
    lines += _ranking(wild, seed)
    return lines


def _failures(verdicts: Sequence[Verdict]) -> str:
    names = [Path(v.path).name for v in verdicts if v.error is not None]
    return f" ({', '.join(names)})" if names else ""


def _ranking(wild: pd.DataFrame, seed: int) -> list[str]:
    genuine_video = (wild.video_label == 0) & (wild.corpus != "mcgurk")
    portraits = wild.corpus.isin(["sadtalker", "edtalk", "dreamtalk", "anitalker"])
    comparisons: list[tuple[str, str, pd.Series, pd.Series, Sequence[str]]] = [
        (
            "FastSpeech2 speech against the genuine speech of the same clips",
            "audio",
            wild.method == "fastspeech2_av",
            (wild.corpus == "lip2speech") & (wild.method == "real"),
            tuple(AUDIO_RIVALS),
        ),
        (
            "FastSpeech2 speech against all genuine speech",
            "audio",
            wild.method == "fastspeech2_av",
            wild.audio_label == 0,
            tuple(AUDIO_RIVALS),
        ),
        (
            "Wav2Lip against genuine clips of the same source",
            "video",
            wild.method == "wav2lip_gan",
            (wild.corpus == "wav2lip_quiz") & (wild.method == "real"),
            FACE_RIVALS,
        ),
        ("generated portraits against genuine video of every group", "video", portraits, genuine_video, FACE_RIVALS),
        ("foreign against own sound (mcgurk)", "mismatch", wild.method == "av_mismatch", wild.method == "congruent", ()),
    ]
    rows = []
    for title, stream, fakes, genuine, rivals in comparisons:
        part = pd.concat([wild[fakes], wild[genuine]])
        labels = np.array([1] * int(fakes.sum()) + [0] * int(genuine.sum()))
        scores = part[stream].astype(float).to_numpy()
        known = ~np.isnan(scores)
        interval: Interval | str = "-"
        if known.any():
            interval = bootstrap(auc, scores[known], labels[known], np.arange(int(known.sum())), seed)
        best = ", ".join(f"{name} {_rival(part[name].to_numpy(), labels)}" for name in rivals) or "-"
        rows.append((title, f"{int(labels[known].sum())} / {int((1 - labels[known]).sum())}", interval, best))
    return markdown(("comparison", "fake / genuine", "AUC", "rivals on the same rows"), rows)
