"""Reader of FaceForensics++, with the DeepFakeDetection clips that are distributed with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pandas as pd

from ..benchmark import Reader, read_json, relative, tabulate, unlisted

SPLITS = ("train", "val", "test")
COMPRESSIONS = ("raw", "c0", "c23", "c40")
PAIRED = ("Deepfakes", "Face2Face", "FaceSwap", "FaceShifter", "NeuralTextures")  # the methods applied to pairs of sequences
YOUTUBE, ACTORS = "original_sequences/youtube", "original_sequences/actors"
ACTED = "DeepFakeDetection"
_ACTORS_CLIP = re.compile(r"(?P<actor>\d+)__(?P<scene>.+)")
_ACTED_CLIP = re.compile(r"(?P<target>\d+)_(?P<source>\d+)__(?P<scene>.+)__(?P<experiment>[^_]+)")


class _Folder(NamedTuple):
    method: str  # empty for genuine clips
    acted: bool  # of DeepFakeDetection
    compression: str
    videos: Path


class FaceForensics(Reader):
    """FaceForensics++: one thousand sequences from YouTube, swapped and reenacted in pairs, without audio.

    Rows are made for every folder ``videos`` that is there: each pair of the three lists gives two genuine clips in each folder
    of ``youtube`` and two fakes in each folder of a method. ``category`` is the compression, by the name of its folder.
    ``identity`` is the number of the target sequence (of the target actor, as ``actor NN``, in DeepFakeDetection): the
    person whose head, body and scene are shown. Of face swaps the inner face is that of the other sequence in the name.

    Notes
    -----
    Source: Rössler et al., *FaceForensics++: learning to detect manipulated facial images*, ICCV 2019; FaceShifter by Li
    et al., 2020; DeepFakeDetection by Dufour and Gully, 2019.

    Checked against what its makers publish (``dataset/README.md`` and ``dataset/splits`` of ``ondyari/FaceForensics``): the
    folders, the three lists of pairs, the names ``TARGET_SOURCE.mp4`` and, in DeepFakeDetection,
    ``ACTOR__SCENE.mp4`` and ``TARGET_SOURCE__SCENE__EXPERIMENT.mp4``, and that the sequences were fetched from YouTube
    without audio. Checked against copies of the script that downloads them: that videos lie in
    ``FOLDER/COMPRESSION/videos`` with the compressions ``raw``, ``c23`` and ``c40`` (``c0`` is another name for
    ``raw``), that each pair is manipulated both ways, and FaceShifter's place. Known from memory only: that the clips of
    DeepFakeDetection are silent too. The data itself was not available.

    DeepFakeDetection has neither splits nor a list among the published files: its clips are those in its folders that are
    named as published, with an empty split. The lists are read from the folder itself, from ``splits`` or from
    ``dataset/splits`` in it, and are needed only where there are folders that they speak of. A part of the benchmark may
    be read; pairs that were not downloaded are then missing. Masks are not looked at. The thousand sequences come from
    977 videos, so that a few people have several numbers.
    """

    name: ClassVar[str] = "faceforensics"
    title: ClassVar[str] = "FaceForensics++ (with FaceShifter and DeepFakeDetection)"
    layout: ClassVar[str] = "{original,manipulated}_sequences/NAME/{raw,c0,c23,c40}/videos/*.mp4, and splits/{train,val,test}.json"

    def read(self, root: Path) -> pd.DataFrame:
        folders = _folders(root)
        if not folders:
            raise FileNotFoundError(
                f"{root}: no {YOUTUBE}/c23/videos or manipulated_sequences/Deepfakes/c23/videos there, nor any other such folder; "
                "name the folder that FaceForensics++ was downloaded into"
            )
        rows: list[dict[str, Any]] = []
        if any(not folder.acted for folder in folders):
            rows += _paired_rows(root, [folder for folder in folders if not folder.acted])
        rows += _acted_rows(root, [folder for folder in folders if folder.acted])
        strays = unlisted([folder.videos for folder in folders], (row["path"] for row in rows), root)
        return tabulate([*rows, *(stray | {"has_audio": False} for stray in strays)], root, self.name)

    def recognises(self, root: Path) -> bool:
        return bool(_folders(root))


def _folders(root: Path) -> list[_Folder]:
    names = [("", False, YOUTUBE), *((method, False, f"manipulated_sequences/{method}") for method in PAIRED)]
    names += [("", True, ACTORS), (ACTED, True, f"manipulated_sequences/{ACTED}")]
    found = [
        _Folder(method, acted, compression, root / name / compression / "videos")
        for method, acted, name in names
        for compression in COMPRESSIONS
    ]
    return [folder for folder in found if folder.videos.is_dir()]


def _list(root: Path, split: str) -> Path:
    places = [root / place / f"{split}.json" for place in ("splits", ".", "dataset/splits")]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(f"{places[0]}: no such list of pairs; put the three files of dataset/splits of ondyari/FaceForensics there")


def _pairs(root: Path) -> Iterator[tuple[str, str, str]]:
    """Split and the two sequences of every pair."""
    for split in SPLITS:
        file = _list(root, split)
        pairs = read_json(file)
        if not isinstance(pairs, list) or any(not isinstance(pair, list) or len(pair) != 2 for pair in pairs):
            raise ValueError(f"{file}: is no list of pairs of sequences; take it from dataset/splits of ondyari/FaceForensics")
        yield from ((split, str(first), str(second)) for first, second in pairs)


def _paired_rows(root: Path, folders: list[_Folder]) -> list[dict[str, Any]]:
    pairs = list(_pairs(root))
    splits: dict[str, set[str]] = {}
    for split, *both in pairs:
        for sequence in both:
            splits.setdefault(sequence, set()).add(split)
    return [
        _row(root, folder, clip, target)
        | {
            "split": split,
            "source_clip": f"{YOUTUBE}/{folder.compression}/videos/{target}.mp4",
            "problem": _torn(splits, (target, source) if folder.method else (target,)),
        }
        for folder in folders
        for split, first, second in pairs
        for target, source in ((first, second), (second, first))
        for clip in (f"{target}_{source}" if folder.method else target,)
    ]


def _torn(splits: dict[str, set[str]], sequences: tuple[str, ...]) -> str:
    """The problem of sequences that are in several splits."""
    return "; ".join(
        f"the lists put sequence {sequence} into {' and '.join(sorted(splits[sequence]))}"
        for sequence in sequences
        if len(splits[sequence]) > 1
    )


def _acted_rows(root: Path, folders: list[_Folder]) -> list[dict[str, Any]]:
    rows = []
    for folder in folders:
        pattern = _ACTED_CLIP if folder.method else _ACTORS_CLIP
        for file in sorted(folder.videos.glob("*.mp4")):
            named = pattern.fullmatch(file.stem)
            if named:
                actor = named["target"] if folder.method else named["actor"]
                source = f"{ACTORS}/{folder.compression}/videos/{actor}__{named['scene']}.mp4"
                rows.append(_row(root, folder, file.stem, f"actor {actor}") | {"source_clip": source})
    return rows


def _row(root: Path, folder: _Folder, clip: str, identity: str) -> dict[str, Any]:
    return {
        "path": f"{relative(folder.videos, root)}/{clip}.mp4",
        "has_audio": False,
        "video_label": int(bool(folder.method)),
        "method": folder.method,
        "category": folder.compression,
        "identity": identity,
    }
