"""Contact sheets of a forged set for visual inspection: one image per method, with genuine above forged faces and spectrograms."""

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

TILE_SIZE = 160  # pixels, side of one face
N_COLUMNS = 6  # clips on a sheet
MARGIN = 0.15  # around the face, of its size
CAPTION_HEIGHT = 16  # pixels


def contact_sheets(manifest: str | os.PathLike[str], out: str | os.PathLike[str], columns: int = N_COLUMNS) -> Iterator[Path]:
    """Write ``METHOD.png`` for every method of a forged set.

    Parameters
    ----------
    manifest : path-like
        CSV of ``avwitness forge``.
    columns : int
        Clips on a sheet: for each the face of the paired real clip, the forged face, and the log-mel spectrograms of both.

    Yields
    ------
    Path
        Of every sheet.
    """
    folder, found = _pairs(manifest)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for method, pairs in found.items():
        target = out / f"{method}.png"
        _write(np.concatenate([_tile(folder, fake, genuine) for fake, genuine in pairs[:columns]], axis=1), target)
        yield target


def draw_overview(manifest: str | os.PathLike[str], out: str | os.PathLike[str], per_row: int = 9) -> Path:
    """Write one image with a captioned clip of every method of a forged set; the format follows from the suffix."""
    folder, found = _pairs(manifest)
    tiles = []
    for method, pairs in found.items():
        caption = np.full((CAPTION_HEIGHT, TILE_SIZE, 3), 255, np.uint8)
        cv2.putText(caption, method, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1, cv2.LINE_AA)
        tiles.append(np.concatenate([caption, _tile(folder, *pairs[0])]))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % per_row)
    rows = [np.concatenate(tiles[i : i + per_row], axis=1) for i in range(0, len(tiles), per_row)]
    _write(np.concatenate(rows), Path(out))
    return Path(out)


def _pairs(manifest: str | os.PathLike[str]) -> tuple[Path, dict[str, list[tuple[Any, Any]]]]:
    """The folder of the set, and by method the rows of every fake and its paired real clip; clips with two methods are left out."""
    manifest = Path(manifest)
    manifest = manifest / "manifest.csv" if manifest.is_dir() else manifest
    manifest = manifest.with_suffix(".csv")
    table = pd.read_csv(manifest, keep_default_na=False)
    genuine = {(row.source_clip, row.slot): row for row in table.itertuples() if row.method == GENUINE}
    found: dict[str, list[tuple[Any, Any]]] = {}
    for row in table.sort_values("method", kind="stable").itertuples():
        paired = genuine.get((row.source_clip, row.slot))
        if row.method != GENUINE and METHOD_SEPARATOR not in str(row.method) and paired is not None:
            found.setdefault(str(row.method), []).append((row, paired))
    if not found:
        raise ValueError(f"{manifest}: no fake in it has a paired real clip of the same slot; forge with --genuine-per-clip")
    return manifest.parent, found


def _write(image: np.ndarray, target: Path) -> None:
    options = [cv2.IMWRITE_JPEG_QUALITY, 75] if target.suffix.lower() in (".jpg", ".jpeg") else []
    cv2.imwrite(str(target), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)


def _tile(folder: Path, fake: Any, genuine: Any) -> np.ndarray:
    """Genuine face, forged face, spectrogram of the genuine and of the forged audio, stacked vertically."""
    clips = [read_clip(folder / row.path) for row in (genuine, fake)]
    intervals = json.loads(fake.video_intervals) or json.loads(fake.audio_intervals)
    frames = [clip.frames for clip in clips if clip.frames is not None]
    faces: list[np.ndarray] = [np.zeros((TILE_SIZE, TILE_SIZE, 3), np.uint8)] * 2
    if len(frames) == 2:
        middle = round(FRAME_RATE * float(np.mean(intervals[0]))) if intervals else len(frames[0]) // 2
        box = _box(clips[0])
        faces = [_crop(images[min(middle, len(images) - 1)], box) for images in frames]
    return np.concatenate([*faces, *(_spectrogram(clip.waveform) for clip in clips)])


def _box(clip: Clip) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a square around the face, or of the whole frame."""
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


def _crop(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    left, top, right, bottom = box
    return cv2.resize(image[top:bottom, left:right], (TILE_SIZE, TILE_SIZE), interpolation=cv2.INTER_CUBIC)


def _spectrogram(waveform: np.ndarray | None) -> np.ndarray:
    if waveform is None or len(waveform) < SAMPLES_PER_FRAME:
        return np.zeros((TILE_SIZE // 2, TILE_SIZE, 3), np.uint8)
    levels = log_mel(waveform).reshape(-1, LOG_MEL_BINS).T[::-1]
    grey = np.clip((levels + 1.5) / 3.0 * 255.0, 0, 255).astype(np.uint8)
    return cv2.resize(cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_MAGMA), cv2.COLOR_BGR2RGB), (TILE_SIZE, TILE_SIZE // 2))
