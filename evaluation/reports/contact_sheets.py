"""Contact sheets of a forged set: one picture per method, genuine above and forged below, for a person to judge."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from ...generators.forge.registry import GENUINE, METHOD_SEPARATOR
from ...media.clip import FRAME_RATE, SAMPLES_PER_FRAME, Clip
from ...media.face.speaking import speaking_face
from ...media.face.tracking import FaceTracker
from ...media.speech import LOG_MEL_BINS, log_mel
from ...media.windows import read_clip

SIDE = 160  # pixels of one picture
COLUMNS = 6  # clips on a sheet
MARGIN = 0.15  # of the face's size, around it


def contact_sheets(manifest: str | os.PathLike[str], out: str | os.PathLike[str], columns: int = COLUMNS) -> Iterator[Path]:
    """Write ``METHOD.png`` for every method of a forged set.

    Parameters
    ----------
    manifest : path-like
        As ``avwitness forge`` wrote it, CSV.
    columns : int
        Clips on a sheet: for each the face of the genuine twin, the forged face, and the log-mel spectrograms of both.

    Yields
    ------
    Path
        Of every sheet written.
    """
    folder, found = _pairs(manifest)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for method, pairs in found.items():
        target = out / f"{method}.png"
        _write(np.concatenate([_tile(folder, fake, genuine) for fake, genuine in pairs[:columns]], axis=1), target)
        yield target


def draw_overview(manifest: str | os.PathLike[str], out: str | os.PathLike[str], per_row: int = 9) -> Path:
    """One captioned clip of every method of a forged set on one picture; its format follows from the name."""
    folder, found = _pairs(manifest)
    tiles = []
    for method, pairs in found.items():
        caption = np.full((16, SIDE, 3), 255, np.uint8)
        cv2.putText(caption, method, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1, cv2.LINE_AA)
        tiles.append(np.concatenate([caption, _tile(folder, *pairs[0])]))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % per_row)
    rows = [np.concatenate(tiles[i : i + per_row], axis=1) for i in range(0, len(tiles), per_row)]
    _write(np.concatenate(rows), Path(out))
    return Path(out)


def _pairs(manifest: str | os.PathLike[str]) -> tuple[Path, dict[str, list[tuple[Any, Any]]]]:
    """The set's folder, and by method the rows of every fake and its genuine twin; clips with two methods are left out."""
    manifest = Path(manifest)
    manifest = manifest / "manifest.csv" if manifest.is_dir() else manifest
    manifest = manifest.with_suffix(".csv")
    table = pd.read_csv(manifest, keep_default_na=False)
    twins = {(row.source_clip, row.slot): row for row in table.itertuples() if row.method == GENUINE}
    found: dict[str, list[tuple[Any, Any]]] = {}
    for row in table.sort_values("method", kind="stable").itertuples():
        twin = twins.get((row.source_clip, row.slot))
        if row.method != GENUINE and METHOD_SEPARATOR not in str(row.method) and twin is not None:
            found.setdefault(str(row.method), []).append((row, twin))
    if not found:
        raise ValueError(f"{manifest}: no fake in it has a genuine clip of the same slot beside it; forge with --genuine-per-clip")
    return manifest.parent, found


def _write(picture: np.ndarray, target: Path) -> None:
    options = [cv2.IMWRITE_JPEG_QUALITY, 75] if target.suffix.lower() in (".jpg", ".jpeg") else []
    cv2.imwrite(str(target), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)


def _tile(folder: Path, fake: Any, genuine: Any) -> np.ndarray:
    """Four pictures above each other: genuine face, forged face, genuine sound, forged sound."""
    clips = [read_clip(folder / row.path) for row in (genuine, fake)]
    intervals = json.loads(fake.video_intervals) or json.loads(fake.audio_intervals)
    frames = [clip.frames for clip in clips if clip.frames is not None]
    faces: list[np.ndarray] = [np.zeros((SIDE, SIDE, 3), np.uint8)] * 2
    if len(frames) == 2:
        middle = round(FRAME_RATE * float(np.mean(intervals[0]))) if intervals else len(frames[0]) // 2
        box = _box(clips[0])
        faces = [_cut(picture[min(middle, len(picture) - 1)], box) for picture in frames]
    return np.concatenate([*faces, *(_spectrogram(clip.waveform) for clip in clips)])


def _box(clip: Clip) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a square around the face, or of the whole picture."""
    assert clip.frames is not None
    height, width = clip.frames.shape[1:3]
    with FaceTracker() as tracker:
        track = speaking_face(tracker.track(clip.frames), clip.waveform)
    if track is None:
        return 0, 0, width, height
    left, top, right, bottom = track.box
    reach = (1.0 + 2.0 * MARGIN) * max(right - left, bottom - top) / 2.0
    x, y = (left + right) / 2.0, (top + bottom) / 2.0
    return max(0, round(x - reach)), max(0, round(y - reach)), min(width, round(x + reach)), min(height, round(y + reach))


def _cut(picture: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    left, top, right, bottom = box
    return cv2.resize(picture[top:bottom, left:right], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def _spectrogram(waveform: np.ndarray | None) -> np.ndarray:
    if waveform is None or len(waveform) < SAMPLES_PER_FRAME:
        return np.zeros((SIDE // 2, SIDE, 3), np.uint8)
    levels = log_mel(waveform).reshape(-1, LOG_MEL_BINS).T[::-1]
    grey = np.clip((levels + 1.5) / 3.0 * 255.0, 0, 255).astype(np.uint8)
    return cv2.resize(cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_MAGMA), cv2.COLOR_BGR2RGB), (SIDE, SIDE // 2))
