"""Reader of KoDF: recordings of Korean speakers, face swaps and reenactments."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pandas as pd

from ..benchmark import SUFFIXES, Reader, read_table, relative, tabulate, unlisted

CLIP, PERSON, SEX = "영상ID", "UUID", "인물성별"  # the clip's file name, its person, the person's sex
ORIGINAL, TARGET, MODEL = "타겟영상", "타겟UUID", "변조모델"  # the clip that was changed, who is in it, the method
GENUINE, FAKES, METADATA = "원본영상", "변조영상", "메타데이터"  # parts of the tables' names: genuine clips, changed clips, metadata
SPLITS = {"training": "train", "validation": "val", "test": "test"}
_SEXES = {"남": "male", "남성": "male", "남자": "male", "여": "female", "여성": "female", "여자": "female"}


class _Table(NamedTuple):
    file: Path
    fake: bool
    split: str


class KoDF(Reader):
    """KoDF, the Korean DeepFake Detection Dataset, in the edition of AI-Hub, with its tables.

    Rows come from all tables of genuine and of changed clips below the folder; they hold file names, which are looked for anywhere
    below it. ``identity`` is the person of the footage (of a face swap not the one whose inner face is shown), ``method``
    the name of the model as the table has it.

    Notes
    -----
    Source: Kwon et al., *KoDF: a large-scale Korean DeepFake detection dataset*, ICCV 2021.

    Checked against several readers that others wrote for AI-Hub's edition, one of them by someone who unpacked its validation part:
    the tables ``원본영상_SPLIT_메타데이터.csv`` and ``변조영상_SPLIT_메타데이터.csv`` with ``training`` or ``validation`` in the
    place of SPLIT, in UTF-8, the names of their columns, the models ``dfl``, ``dffs``, ``fsgan``, ``fo`` and
    ``audio-driven``, that ``영상ID`` is the name of a file, and that clips are in folders that differ by method, hence the search.
    By analogy only: a table for ``test``. Not known: whether fakes have the audio of their originals, and in audio-driven
    ones whose audio; hence the audio label is unknown for all fakes. The data itself was not available: access
    must be granted.

    The edition for the rest of the world (``original_videos``, ``synthesized_videos``) has metadata with other names and columns, which
    are not known here, and is refused.
    """

    name: ClassVar[str] = "kodf"
    title: ClassVar[str] = "KoDF (AI-Hub)"
    layout: ClassVar[str] = "원본영상_SPLIT_메타데이터.csv, 변조영상_SPLIT_메타데이터.csv and the clips that they name, anywhere"

    def read(self, root: Path) -> pd.DataFrame:
        tables = _tables(root)
        if not tables:
            raise FileNotFoundError(
                f"{root}: no table {GENUINE}_training_{METADATA}.csv or another such below it; name the folder that AI-Hub's edition of "
                "KoDF was unpacked into, its labels among the rest"
            )
        places = _places(root)
        rows = [row for table in tables for row in _rows(table, places)]
        strays = unlisted([root], (row["path"] for row in rows), root)
        return tabulate([*rows, *strays], root, self.name)

    def recognises(self, root: Path) -> bool:
        return bool(_tables(root))


def _plain(name: str) -> str:
    """The composed form of Hangul, which some file systems store decomposed."""
    return unicodedata.normalize("NFC", name)


def _tables(root: Path) -> list[_Table]:
    found = []
    for file in sorted(root.rglob("*.csv")):
        name = _plain(file.stem)
        kind = next((kind for kind in (GENUINE, FAKES) if name.startswith(kind)), None)
        if kind and METADATA in name:
            split = name.removeprefix(kind).replace(METADATA, "").strip("_").lower()
            found.append(_Table(file, kind == FAKES, SPLITS.get(split, split)))
    return sorted(found, key=lambda table: table.fake)


def _places(root: Path) -> dict[str, list[str]]:
    """Paths below the root by file name, with and without suffix."""
    places: dict[str, list[str]] = {}
    for file in sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES):
        for name in (file.name, file.stem):
            places.setdefault(_plain(name), []).append(relative(file, root))
    return places


def _rows(table: _Table, places: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    needed = (CLIP, ORIGINAL, TARGET, MODEL) if table.fake else (CLIP, PERSON)
    listed = read_table(table.file, needed, encoding="utf-8-sig").to_dict("records")
    return [_row({str(key): str(cell).strip() for key, cell in entry.items()}, table, places) for entry in listed]


def _row(entry: Mapping[str, str], table: _Table, places: Mapping[str, list[str]]) -> dict[str, Any]:
    found = places.get(entry[CLIP], [])
    path = found[0] if found else entry[CLIP]
    original = places.get(entry[ORIGINAL], [entry[ORIGINAL]])[0] if table.fake else ""
    return {
        "path": path,
        "split": table.split,
        "video_label": int(table.fake),
        "audio_label": None if table.fake else 0,
        "identity": entry[TARGET if table.fake else PERSON],
        "source_clip": original or path,
        "method": entry[MODEL] if table.fake else "",
        "language": "ko",
        "ethnicity": "Korean",
        "gender": _SEXES.get(entry.get(SEX, ""), entry.get(SEX, "")),
        "problem": f"there are several files of this name: {', '.join(found)}" if len(found) > 1 else "",
    }
