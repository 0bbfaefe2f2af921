"""Reader of Celeb-DF v2: interviews with celebrities, and face swaps of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ..benchmark import Reader, tabulate, unlisted

TESTED = "List_of_testing_videos.txt"
CELEBRITIES, YOUTUBE, SWAPPED = "Celeb-real", "YouTube-real", "Celeb-synthesis"
FOLDERS = (CELEBRITIES, YOUTUBE, SWAPPED)
_NAMES = {
    CELEBRITIES: re.compile(r"(?P<target>id\d+)_(?P<recording>\d+)"),
    YOUTUBE: re.compile(r"(?P<recording>\d+)"),
    SWAPPED: re.compile(r"(?P<target>id\d+)_(?P<source>id\d+)_(?P<recording>\d+)"),
}
_LINE = re.compile(r"([01])\s+(\S.*)")


class CelebDF(Reader):
    """Celeb-DF v2: genuine clips of celebrities and of others from YouTube, and face swaps among the celebrities, without audio.

    Rows come from the list of test clips, in its order, and then from the names of all other clips in the three folders, whose
    split is ``train``. ``category`` is the folder. ``identity`` is the first id of a name: the person whose head, body and scene
    are shown; in ``Celeb-synthesis`` the inner face is that of the second id. The people in ``YouTube-real`` are not published.

    Notes
    -----
    Source: Li et al., *Celeb-DF: a large-scale challenging dataset for DeepFake forensics*, CVPR 2020.

    Checked against several third-party readers: the three folders of mp4 files, the list with a digit and a path a
    line where 1 is *genuine* and 0 is *fake* (the other way round than here), that the benchmark has no other split than this
    test, and that ``id0_id1_0003.mp4`` was made from ``Celeb-real/id0_0003.mp4``, so that the first id is the one in the
    footage. That the clips have no audio is reported by users, not by the makers. The data
    itself was not available.

    The label of a clip in the list is the list's. Where it contradicts the folder, the row has a problem. The makers name one method,
    an improved autoencoder of faces, which is called ``face-swap`` here.
    """

    name: ClassVar[str] = "celeb_df"
    title: ClassVar[str] = "Celeb-DF v2"
    layout: ClassVar[str] = "Celeb-real/*.mp4, YouTube-real/*.mp4, Celeb-synthesis/*.mp4 and List_of_testing_videos.txt"

    def read(self, root: Path) -> pd.DataFrame:
        tested = [_row(path, "test", label) for label, path in _tested(root / TESTED)]
        known = {row["path"] for row in tested}
        named = [path for path in _clips(root) if path not in known]
        rows = tested + [_row(path, "train", int(path.startswith(SWAPPED))) for path in named]
        strays = unlisted([root / folder for folder in FOLDERS], (row["path"] for row in rows), root)
        return tabulate([*rows, *(stray | {"has_audio": False} for stray in strays)], root, self.name)

    def recognises(self, root: Path) -> bool:
        return (root / TESTED).is_file() and (root / SWAPPED).is_dir()


def _tested(file: Path) -> list[tuple[int, str]]:
    """Labels (1 is fake) and paths of the test clips."""
    if not file.is_file():
        raise FileNotFoundError(
            f"{file}: no such list; name the folder that Celeb-DF v2 was unpacked into, with the list that came with it"
        )
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        fields = _LINE.fullmatch(line.strip())
        if fields is None:
            raise ValueError(f"{file}: line {number} is not 0 or 1 and a path; unpack the list again")
        found.append((1 - int(fields[1]), fields[2]))
    return found


def _clips(root: Path) -> list[str]:
    """The clips of the three folders that are named as published."""
    return [
        f"{folder}/{file.name}"
        for folder in FOLDERS
        for file in sorted((root / folder).glob("*.mp4"))
        if _NAMES[folder].fullmatch(file.stem)
    ]


def _row(path: str, split: str, label: int) -> dict[str, Any]:
    folder, _, clip = path.rpartition("/")
    named = _NAMES[folder].fullmatch(clip.removesuffix(".mp4")) if folder in _NAMES else None
    parts = named.groupdict() if named else {}
    row = {
        "path": path,
        "has_audio": False,
        "video_label": label,
        "split": split,
        "category": folder,
        "method": "face-swap" if folder == SWAPPED else "",
        "identity": parts.get("target", ""),
        "source_clip": f"{CELEBRITIES}/{parts['target']}_{parts['recording']}.mp4" if "source" in parts else path,
    }
    if named is None:
        return row | {"source_clip": "", "problem": "neither its folder nor its name says what the clip shows"}
    if label != (folder == SWAPPED):
        return row | {"problem": f"the list calls it {'fake' if label else 'genuine'}, its folder {'genuine' if label else 'fake'}"}
    return row
