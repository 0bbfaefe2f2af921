"""Readers of LRS2 and LRS3: sentences from television and talks, all genuine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ..benchmark import Reader, relative, tabulate, unlisted

LISTS = {"pretrain": "pretrain", "train": "main", "val": "main", "test": "main"}  # of LRS2: list to the folder of its clips
INNER = "mvlrs_v1"  # the folder in which LRS2 comes; its lists come apart
SPLITS = ("pretrain", "trainval", "test")  # of LRS3: the split is the folder
ALL_GENUINE = {"video_label": 0, "audio_label": 0, "language": "en"}


class Lrs2(Reader):
    """LRS2-BBC: sentences from British television.

    Notes
    -----
    Source: Afouras et al., *Deep audio-visual speech recognition*, IEEE TPAMI 44 (12), 2022.

    Checked against third-party loaders: the folders ``mvlrs_v1/main`` and ``mvlrs_v1/pretrain``, with
    ``NUMBER/NNNNN.mp4`` and a transcript ``NNNNN.txt`` beside each; the lists ``pretrain.txt`` (of ``pretrain``) and
    ``train.txt``, ``val.txt`` and ``test.txt`` (of ``main``), lines of ``NUMBER/NNNNN``, to which ``test.txt`` adds a code,
    ``NF`` or ``MV`` (here the ``category``). The meaning of the codes is not published. That the lists are downloaded apart is known
    from memory only, hence they are looked for in ``mvlrs_v1`` and beside it. The data itself was not available. Lists may
    be absent, as long as there is one; the clips of an absent list are then in no table.

    NUMBER is a recording of the BBC, not a person: speakers are not published, and ``identity`` is empty. Clips of
    ``pretrain`` and of ``main`` may be cut from the same recording. A clip in several lists has a problem in each.
    """

    name: ClassVar[str] = "lrs2"
    title: ClassVar[str] = "LRS2-BBC"
    layout: ClassVar[str] = (
        "mvlrs_v1/main/ and mvlrs_v1/pretrain/, with train.txt, val.txt, test.txt and pretrain.txt in or beside mvlrs_v1"
    )

    def read(self, root: Path) -> pd.DataFrame:
        """See :meth:`Reader.read`."""
        base = _base(root)
        lists = {split: file for split in LISTS if (file := _list(base, split)) is not None}
        if not lists:
            raise FileNotFoundError(f"{base / 'train.txt'}: no such list; put the lists of LRS2 ({_names()}) beside its folder main")
        rows = [row for split, file in lists.items() for row in _listed(file, split, base, root)]
        strays = unlisted([base / folder for folder in sorted(set(LISTS.values()))], (row["path"] for row in rows), root)
        return tabulate([*rows, *strays], root, self.name)

    def recognises(self, root: Path) -> bool:
        """See :meth:`Reader.recognises`."""
        base = _base(root)
        return (base / "main").is_dir() and any(_list(base, split) is not None for split in LISTS)


class Lrs3(Reader):
    """LRS3-TED: sentences from talks.

    Notes
    -----
    Source: Afouras et al., *LRS3-TED: a large-scale dataset for visual speech recognition*, arXiv:1809.00496, 2018.

    Checked against ``avhubert/preparation/lrs3_prepare.py`` of ``facebookresearch/av_hubert``: the folders ``pretrain``,
    ``trainval`` and ``test``, with ``VIDEO/NNNNN.mp4`` and a transcript ``NNNNN.txt`` beside each. The data themselves were not
    at hand. There is no list of files: the transcripts are used as one, so a transcript without its video is a file that
    is missing, and a video without a transcript one that is in no table.

    VIDEO is a talk on YouTube. Speakers are not published, and ``identity`` is empty. Nothing can be listed twice.
    """

    name: ClassVar[str] = "lrs3"
    title: ClassVar[str] = "LRS3-TED"
    layout: ClassVar[str] = "pretrain/, trainval/ and test/, each with VIDEO/NNNNN.mp4 and VIDEO/NNNNN.txt"

    def read(self, root: Path) -> pd.DataFrame:
        """See :meth:`Reader.read`."""
        folders = [root / split for split in SPLITS if (root / split).is_dir()]
        if not folders:
            raise FileNotFoundError(f"{root / SPLITS[1]}: no such folder; name the one that holds {', '.join(SPLITS)} of LRS3")
        rows = [_genuine(relative(file, root), folder.name) for folder in folders for file in _transcribed(folder)]
        if not rows:
            raise FileNotFoundError(f"{folders[0]}: holds no transcripts VIDEO/NNNNN.txt; unpack those of LRS3 beside its videos")
        return tabulate([*rows, *unlisted(folders, (row["path"] for row in rows), root)], root, self.name)

    def recognises(self, root: Path) -> bool:
        """See :meth:`Reader.recognises`."""
        return (root / "trainval").is_dir() and any((root / split).is_dir() for split in ("pretrain", "test"))


def _base(root: Path) -> Path:
    return root / INNER if (root / INNER).is_dir() else root


def _list(base: Path, split: str) -> Path | None:
    """Where a list lies: in the folder of the clips, or beside it."""
    places = [base, base.parent] if base.name == INNER else [base]
    return next((file for place in places if (file := place / f"{split}.txt").is_file()), None)


def _names() -> str:
    return ", ".join(f"{split}.txt" for split in LISTS)


def _genuine(path: str, split: str) -> dict[str, Any]:
    return {"path": path, "source_clip": path, "split": split} | ALL_GENUINE


def _listed(file: Path, split: str, base: Path, root: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: is no text; fetch the list again") from error
    folder = relative(base / LISTS[split], root)
    for fields in filter(None, map(str.split, lines)):
        path = f"{folder}/{fields[0].removesuffix('.mp4')}.mp4"
        yield _genuine(path, split) | {"category": " ".join(fields[1:])}


def _transcribed(folder: Path) -> Iterator[Path]:
    """The videos to which the transcripts of a folder belong, in order, whether or not they are there."""
    for video in sorted(entry.path for entry in os.scandir(folder) if entry.is_dir()):
        for name in sorted(os.listdir(video)):
            if name.endswith(".txt"):
                yield Path(video, f"{name.removesuffix('.txt')}.mp4")
