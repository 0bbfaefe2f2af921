"""How fast every stage is, in times real time, and how much memory the whole takes."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Sequence

import numpy as np
import torch
from rich.table import Table

from ..detector.inference.detector import load
from ..detector.inference.pool import score_in_processes
from ..media.clip import FRAME_RATE
from ..media.face.crops import face_crops
from ..media.face.mouth import mouth_crops
from ..media.face.speaking import speaking_face
from ..media.face.tracking import FaceTracker
from ..media.speech import log_spectrum
from ..media.windows import MediaReader

MIB = 1024 * 1024  # bytes


def run(paths: Sequence[str], model: str) -> Table:
    """Time the stages one after the other in this process on one thread, then the whole with one worker per core.

    Start-up (imports, weights) is not counted; the first file of the whole run warms every worker up.

    Raises
    ------
    ValueError
        If there is nothing to score.
    """
    if not paths:
        raise ValueError("nothing to score")
    cores = os.cpu_count() or 1
    torch.set_num_threads(1)
    detector = load(model, device="cpu")
    spent = dict.fromkeys(("decode", "landmark", "crop", "encode"), 0.0)
    seconds = 0.0
    for path in paths:
        # The whole file as one window: each stage is timed once per frame, without the overlap of long files.
        begun = time.perf_counter()
        clip = next(MediaReader(path).windows(60.0, 60.0))
        spent["decode"] += time.perf_counter() - begun
        seconds += clip.duration
        crops = usable = faces = None
        if clip.frames is not None:
            with FaceTracker() as tracker:
                begun = time.perf_counter()
                track = speaking_face(tracker.track(clip.frames), clip.waveform)
                spent["landmark"] += time.perf_counter() - begun
            if track is not None:
                begun = time.perf_counter()
                crops, usable, faces = mouth_crops(clip.frames, track)[0], track.usable, face_crops(clip.frames, track)
                spent["crop"] += time.perf_counter() - begun
        begun = time.perf_counter()
        features = spectrum = None
        if clip.waveform is not None:
            features, spectrum = detector.extract_audio_features(clip.waveform), log_spectrum(clip.waveform)
        if features is not None or crops is not None:
            detector.predict_window(features, crops, usable, spectrum, faces)
        spent["encode"] += time.perf_counter() - begun
    warm = [paths[0]] * cores
    results = score_in_processes([*warm, *paths], cores, model=model, device="cpu")
    total = 0.0
    for index, _ in enumerate(results):
        if index == len(warm) - 1:
            begun = time.perf_counter()
        total = time.perf_counter() - begun if index >= len(warm) else 0.0
    memory = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) * 1024 / MIB
    table = Table(title=f"{len(paths)} files, {seconds:.0f} s of media, {cores} cores", box=None)
    table.add_column("stage")
    table.add_column("x real time", justify="right")
    table.add_column("frames/s", justify="right")
    for stage, value in spent.items():
        table.add_row(f"{stage} (1 thread)", f"{seconds / value:.1f}", f"{seconds * FRAME_RATE / value:.0f}")
    alone = float(np.sum(list(spent.values())))
    table.add_row("sum (1 thread)", f"{seconds / alone:.1f}", f"{seconds * FRAME_RATE / alone:.0f}")
    table.add_row(f"total ({cores} workers)", f"{seconds / total:.1f}", f"{seconds * FRAME_RATE / total:.0f}")
    table.add_row("peak memory of one process", f"{memory:.0f} MiB", "")
    return table
