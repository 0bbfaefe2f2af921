"""Speed of every stage of scoring, in times real time, and peak memory."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rich.table import Table

from ..detector.inference.detector import Detector, load
from ..detector.inference.processes.pool import score_in_processes
from ..media.clip import FRAME_RATE, SAMPLE_RATE
from ..media.encode import write_media
from ..media.face.crops import face_crops
from ..media.face.mouth import mouth_crops
from ..media.face.portraits import portrait_crops
from ..media.face.speaking import speaking_face
from ..media.face.tracking import FaceTracker
from ..media.windows import MediaReader

MIB = 1024 * 1024  # bytes
MAX_SECONDS = 60.0  # of each file
STAGES = ("decode", "landmark", "crop", "encode")


def measure_speed(paths: Sequence[str], model: str) -> Table:
    """Time the stages one after the other in this process on one thread, then all of them with one worker per core.

    Imports and loading of weights are not counted; every worker scores one file first, which is not counted either.

    Parameters
    ----------
    paths : sequence of str
        Media files.
    model : str
        Bundled weights by name, or a folder.

    Returns
    -------
    rich.table.Table
        Columns: stage, times real time, frames per second.

    Raises
    ------
    ValueError
        If there is no file.
    """
    if not paths:
        raise ValueError("nothing to score")
    cores = os.cpu_count() or 1
    torch.set_num_threads(1)
    detector = load(model, device="cpu")
    spent = dict.fromkeys(STAGES, 0.0)
    seconds = sum(_time_stages(path, detector, spent) for path in paths)
    heard, alone = _time_audio(paths, detector)
    joined, long = _time_long_audio(paths, detector)
    total = _time_workers(paths, model, cores)
    memory = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) * 1024 / MIB
    table = Table(title=f"{len(paths)} files, {seconds:.0f} s of media, {cores} cores", box=None)
    table.add_column("stage")
    table.add_column("x real time", justify="right")
    table.add_column("frames/s", justify="right")
    for stage, value in (
        *((f"{stage} (1 thread)", value) for stage, value in spent.items()),
        ("sum (1 thread)", sum(spent.values())),
        (f"total ({cores} workers)", total),
    ):
        table.add_row(stage, f"{seconds / value:.1f}", f"{seconds * FRAME_RATE / value:.0f}")
    if heard:
        table.add_row("audio alone, all of scoring (1 thread)", f"{heard / alone:.1f}", f"{heard * FRAME_RATE / alone:.0f}")
    if joined:
        table.add_row(
            f"audio alone, one recording of {joined:.0f} s (1 thread)", f"{joined / long:.1f}", f"{joined * FRAME_RATE / long:.0f}"
        )
    table.add_row("peak memory of one process", f"{memory:.0f} MiB", "")
    return table


def _time_stages(path: str, detector: Detector, spent: dict[str, float]) -> float:
    """Add the seconds of each stage on one file to ``spent``; returns the seconds of media.

    The file is one window: each stage is timed once per frame, without the overlap of long files.
    """
    begun = time.perf_counter()
    clip = next(MediaReader(path).windows(MAX_SECONDS, MAX_SECONDS))
    spent["decode"] += time.perf_counter() - begun
    crops = lips = usable = faces = portraits = None
    if clip.frames is not None:
        with FaceTracker() as tracker:
            begun = time.perf_counter()
            track = speaking_face(tracker.track(clip.frames), clip.waveform)
            spent["landmark"] += time.perf_counter() - begun
        if track is not None:
            begun = time.perf_counter()
            crops, lips = mouth_crops(clip.frames, track)
            usable, faces = track.usable, face_crops(clip.frames, track)
            portraits = portrait_crops(clip.frames, track) if detector.uses_portraits else None
            spent["crop"] += time.perf_counter() - begun
    begun = time.perf_counter()
    features = None if clip.waveform is None else detector.extract_audio_features(clip.waveform)
    if features is not None or crops is not None:
        detector.predict_window(features, crops, usable, faces, clip.waveform, portraits, lips)
    spent["encode"] += time.perf_counter() - begun
    return clip.duration


def _time_audio(paths: Sequence[str], detector: Detector) -> tuple[float, float]:
    """Seconds of audio, and seconds in which the audio alone is scored, after one file that is not counted."""
    detector.score(paths[0], modality="audio")
    heard = alone = 0.0
    for path in paths:
        begun = time.perf_counter()
        verdict = detector.score(path, modality="audio")
        if verdict.audio.p_fake is not None:
            alone += time.perf_counter() - begun
            heard += verdict.duration or 0.0
    return heard, alone


def _time_long_audio(paths: Sequence[str], detector: Detector) -> tuple[float, float]:
    """Seconds of a recording that is made of the audio of all files, and seconds in which it is scored."""
    parts = [clip.waveform for path in paths for clip in MediaReader(path, video=False).windows(MAX_SECONDS, MAX_SECONDS)]
    waveform = np.concatenate([np.zeros(0, np.float32), *(part for part in parts if part is not None)])[: round(MAX_SECONDS * SAMPLE_RATE)]
    if not len(waveform):
        return 0.0, 0.0
    with TemporaryDirectory() as folder:
        file = write_media(Path(folder) / "long.wav", waveform=waveform, audio_codec="pcm_s16le")
        begun = time.perf_counter()
        detector.score(file, modality="audio")
        return len(waveform) / SAMPLE_RATE, time.perf_counter() - begun


def _time_workers(paths: Sequence[str], model: str, workers: int) -> float:
    """Seconds in which worker processes score all files, after one file each that is not counted."""
    warm_up = [paths[0]] * workers
    times = [time.perf_counter() for _ in score_in_processes([*warm_up, *paths], workers, model=model, device="cpu")]
    return times[-1] - times[workers - 1]
