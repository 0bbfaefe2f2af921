"""Reader of benchmarks without a table: folders whose names are the labels of their files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from .benchmark import SUFFIXES, Reader, relative, tabulate

CATEGORIES = {"RVRA": (0, 0), "RVFA": (0, 1), "FVRA": (1, 0), "FVFA": (1, 1)}  # video label, audio label
FILE_LABELS = {"real": 0, "fake": 1}  # folders that may contain those of the categories
AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".mp3", ".m4a"})  # media without video
TABLES = frozenset({".csv", ".json"})
_NAME = re.compile(r"(r|f|real|fake)(v|video|a|audio)[-_ ]?(r|f|real|fake)(v|video|a|audio)", re.IGNORECASE)


class AVFolder(Reader):
    """A folder of real and forged clips, sorted into subfolders by which stream is forged.

    Notes
    -----
    The convention, all names in capital or small letters::

        [real/ or fake/] CATEGORY/ [METHOD/] [anything/] FILE

    A category is ``RVRA``, ``RVFA``, ``FVRA`` or ``FVFA`` (real or fake video, real or fake audio), or is spelt out as
    ``RealVideo-FakeAudio``, with ``-``, ``_``, a blank or nothing between; audio may come first (``RealAudio-FakeVideo``,
    ``RAFV``). ``real/`` needs no category below it: both streams are genuine, and METHOD is not read. The
    folder directly below a category is the method; deeper ones are ignored. A file elsewhere is a row without labels and
    with a problem, and so is a file in ``fake/`` without a category, since the forged stream is not known.

    This is for benchmarks such as DefakeAVMiT (Yang et al., *AVoiD-DF: audio-visual joint learning for detecting
    deepfake*, IEEE TIFS 2023), which is described as 540 genuine and 6,480 forged clips in the four categories. The
    layout of DefakeAVMiT on disk is not published: the convention is that of this reader, and its folders have to be
    arranged accordingly. Checked: the two numbers, in a survey. From memory of the paper only: that it
    has the four categories. Files with an audio suffix have no video. Identities, splits and genuine clips of
    fakes are not known: every file is its own ``source_clip``.
    """

    name = "av_folder"
    title = "Folders by forged stream (DefakeAVMiT and the like)"
    layout = "RVRA/, RVFA/, FVRA/ or FVFA/ (or RealVideo-RealAudio/ ...), each with files or with a folder per method"

    def read(self, root: Path) -> pd.DataFrame:
        root = Path(root)
        if not root.is_dir():
            raise FileNotFoundError(f"{root}: no such folder; name the one that holds {', '.join(CATEGORIES)}")
        files = sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not files:
            raise ValueError(f"{root}: holds no media; name the folder that holds {', '.join(CATEGORIES)}")
        return tabulate([_row(file, root) for file in files], root, self.name)

    def recognises(self, root: Path) -> bool:
        # A folder with a table of its own is for a reader of its own.
        return not any(entry.suffix.lower() in TABLES for entry in _entries(Path(root))) and _sorted_by_stream(Path(root))


def category(name: str) -> str:
    """The category in the name of a folder, empty if there is none."""
    found = _NAME.fullmatch(name)
    if not found:
        return ""
    letters = {found[2][0].upper(): found[1][0].upper(), found[4][0].upper(): found[3][0].upper()}
    return f"{letters['V']}V{letters['A']}A" if len(letters) == 2 else ""


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _sorted_by_stream(root: Path) -> bool:
    labelled = [entry for entry in _entries(root) if entry.name.lower() in FILE_LABELS]
    return any(category(entry.name) and entry.is_dir() for folder in (root, *labelled) for entry in _entries(folder))


def _row(file: Path, root: Path) -> dict[str, Any]:
    folders = list(file.relative_to(root).parts[:-1])
    folder_label = folders.pop(0).lower() if folders and folders[0].lower() in FILE_LABELS else ""
    kind = category(folders[0]) if folders else ""
    if not kind and folder_label == "real":
        kind, folders = "RVRA", ["", *folders]
    has_video = file.suffix.lower() not in AUDIO_SUFFIXES
    video, audio = CATEGORIES.get(kind, (None, None))
    return {
        "path": relative(file, root),
        "source_clip": relative(file, root),
        "method": "real" if kind == "RVRA" else "".join(folders[1:2]) if kind else "",
        "category": kind,
        "has_video": has_video,
        "video_label": video if has_video else None,
        "audio_label": audio,
        "problem": "; ".join(_problems(folder_label, kind, folders)),
    }


def _problems(folder_label: str, kind: str, folders: list[str]) -> Iterator[str]:
    if kind and folder_label and FILE_LABELS[folder_label] != max(CATEGORIES[kind]):
        yield f"the folder {folder_label} contradicts the category {kind}"
    if not kind and folders:
        yield f"the folder {folders[0]} is named after none of {', '.join(CATEGORIES)}"
    elif not kind:
        yield "the folder fake does not say which stream is forged" if folder_label else f"the file is in none of {', '.join(CATEGORIES)}"
