"""Reader of VoxCeleb2: interviews with celebrities, all genuine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pandas as pd

from ..benchmark import Reader, read_table, relative, tabulate, unlisted

META = "vox2_meta.csv"
COLUMNS = ("VoxCeleb2 ID", "Gender", "Set")
SPLITS = ("dev", "test")
KINDS = {"mp4": ".mp4", "aac": ".m4a"}  # folder to the suffix of its files
TRACKS = "txt"  # the folder of the tracks of faces, one text a clip
GENDERS = {"m": "male", "f": "female"}


class Person(NamedTuple):
    """The entry of an identity in the table; with a problem where entries differ."""

    gender: str
    split: str
    problem: str = ""


class VoxCeleb2(Reader):
    """VoxCeleb2: speech of six thousand people from YouTube.

    Notes
    -----
    Source: Chung et al., *VoxCeleb2: deep speaker recognition*, Interspeech 2018.

    Checked against ``avhubert/preparation`` of ``facebookresearch/av_hubert`` and third-party loaders:
    ``{dev,test}/mp4/idNNNNN/VIDEO/NNNNN.mp4``, which have audio; ``dev/aac/idNNNNN/VIDEO/NNNNN.m4a``, audio only, which comes
    in separate archives; and ``vox2_meta.csv`` with the columns ``VoxCeleb2 ID``, ``VGGFace2 ID``, ``Gender`` (m or f) and
    ``Set`` (dev or test), whose cells and names end in blanks. Known from memory only: that the tracks of faces may be unpacked
    as ``{dev,test}/txt/idNNNNN/VIDEO/NNNNN.txt``, one for each clip. The data itself was not available.

    There is no list of clips but the tracks of faces. Where they are there, a track without its clip is a file that is
    missing (of those of ``mp4`` and ``aac`` that are there at all). Where they are not, every clip of an identity that the
    table names is listed, and an identity of which there is no clip stands in the table with its folder for a path. No clip can
    be listed twice; the clips of an identity of which the table says different things are a problem.

    The ``source_clip`` of an audio file is the video that it was taken from, if that is there. Languages, ethnicities and
    ages are not published.
    """

    name: ClassVar[str] = "voxceleb2"
    title: ClassVar[str] = "VoxCeleb2"
    layout: ClassVar[str] = "vox2_meta.csv and {dev,test}/mp4/idNNNNN/VIDEO/NNNNN.mp4 or {dev,test}/aac/idNNNNN/VIDEO/NNNNN.m4a"

    def read(self, root: Path) -> pd.DataFrame:
        """See :meth:`Reader.read`."""
        people = _people(root / META)
        splits = [split for split in SPLITS if any((root / split / kind).is_dir() for kind in KINDS)]
        if not splits:
            raise FileNotFoundError(f"{root / 'dev' / 'mp4'}: no such folder; name the one that holds dev or test of VoxCeleb2")
        rows = [row for split in splits for row in _rows(root, split, people)]
        strays = unlisted([root / split for split in splits], (row["path"] for row in rows), root)
        return tabulate([*rows, *strays], root, self.name)

    def recognises(self, root: Path) -> bool:
        """See :meth:`Reader.recognises`."""
        return (root / META).is_file() and any((root / split / kind).is_dir() for split in SPLITS for kind in KINDS)


def _people(file: Path) -> dict[str, Person]:
    """The identities of the table, in its order."""
    table = read_table(file, (), encoding="utf-8-sig", index_col=False)
    table = table.rename(columns=str.strip)
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise ValueError(f"{file}: the columns {', '.join(missing)} are missing; take the published {META}")
    people: dict[str, Person] = {}
    for cells in zip(*(table[name].str.strip() for name in COLUMNS), strict=True):
        name, person = str(cells[0]), Person(GENDERS.get(cells[1], cells[1]), str(cells[2]))
        if people.setdefault(name, person)[:2] != person[:2]:
            people[name] = person._replace(problem=f"{META} has different entries for {name}")
    return people


def _rows(root: Path, split: str, people: Mapping[str, Person]) -> Iterator[dict[str, Any]]:
    tracks = {name.removesuffix(".txt") for name in _clips(root / split / TRACKS, ".txt")}
    known: set[str] = set()
    videos: set[str] = set()
    for kind, suffix in KINDS.items():
        folder = root / split / kind
        if not folder.is_dir():
            continue
        clips = {name.removesuffix(suffix) for name in _clips(folder, suffix)}
        known |= {clip.split("/", 1)[0] for clip in clips | tracks}
        videos |= clips if kind == "mp4" else set()
        prefix = relative(folder, root)
        for clip in sorted(clips | tracks):
            source = f"{split}/mp4/{clip}.mp4" if clip in videos else f"{prefix}/{clip}{suffix}"
            yield _row(f"{prefix}/{clip}{suffix}", source, split, clip.split("/", 1)[0], people) | {"has_video": kind == "mp4"}
    yield from (
        _missing_person(root, split, name, person) for name, person in people.items() if person.split == split and name not in known
    )


def _row(path: str, source: str, split: str, name: str, people: Mapping[str, Person]) -> dict[str, Any]:
    person = people.get(name)
    row = {"path": path, "source_clip": source, "split": split, "identity": name, "audio_label": 0}
    row["video_label"] = 0 if path.endswith(KINDS["mp4"]) else None
    if person is None:
        return row | {"problem": f"{META} does not name {name}"}
    problem = person.problem or ("" if person.split == split else f"{META} has {name} in {person.split}, yet the file is in {split}")
    return row | {"gender": person.gender, "problem": problem}


def _missing_person(root: Path, split: str, name: str, person: Person) -> dict[str, Any]:
    kind = next(kind for kind in KINDS if (root / split / kind).is_dir())
    path = f"{split}/{kind}/{name}"
    row = {"path": path, "source_clip": path, "split": split, "identity": name, "gender": person.gender}
    return row | {"problem": f"{META} names {name}, but there is no clip"}


def _clips(folder: Path, suffix: str) -> Iterator[str]:
    """The files idNNNNN/VIDEO/NNNNN below a folder, relative to it."""
    for person in _folders(folder) if folder.is_dir() else ():
        for video in _folders(person):
            yield from (f"{person.name}/{video.name}/{name}" for name in os.listdir(video) if name.endswith(suffix))


def _folders(folder: Path | os.DirEntry[str]) -> Iterable[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if entry.is_dir()]
