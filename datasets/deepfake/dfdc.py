"""Reader of the Deepfake Detection Challenge dataset (DFDC)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ..benchmark import Reader, read_json, read_table, relative, tabulate, unlisted

PARTS = "dfdc_train_part_*"
SAMPLE = "train_sample_videos"  # the few hundred clips that came with the challenge's page
LABELLED = ("validation", "test")  # the folders with a labels.csv
_LABELS = {"REAL": 0, "0": 0, "FAKE": 1, "1": 1}


class DFDC(Reader):
    """DFDC: recordings of paid actors, face swaps by several methods, and some changed voices.

    Rows come from the ``metadata.json`` of each part of the training clips and from ``labels.csv`` of ``validation`` and
    ``test``. ``file_label`` is the publisher's label of the file.

    Notes
    -----
    Source: Dolhansky et al., *The DeepFake Detection Challenge (DFDC) dataset*, 2020.

    The publisher labels files, not streams: fakes have a changed face, a changed voice or both, and no table says which. A
    genuine file is genuine in both streams. Of a fake one the labels of both streams are left unknown, as either may be
    genuine, even though most fakes are swapped faces; the label of the file is in ``file_label``.
    Methods and people are not published.

    Checked against several third-party readers: ``dfdc_train_part_N/metadata.json``, which maps file names beside it
    to ``label`` (``REAL`` or ``FAKE``), ``split`` (always ``train``) and, for fakes, ``original``, a file of the same
    part; ``train/``, ``validation/labels.csv`` and ``test/labels.csv`` as the folders of the whole download; the columns
    ``filename`` and ``label``, with 1 for fake, and clips in ``test/videos``. That clips of ``validation`` and ``test`` may lie
    beside their table instead is from memory; both places are looked at. The data itself was not available. A
    ``metadata.json`` with the same file twice cannot be told from one without.
    """

    name: ClassVar[str] = "dfdc"
    title: ClassVar[str] = "Deepfake Detection Challenge (DFDC)"
    layout: ClassVar[str] = "[train/]dfdc_train_part_N/{metadata.json,*.mp4} and {validation,test}/{labels.csv,*.mp4}, or some of them"

    def read(self, root: Path) -> pd.DataFrame:
        parts, tables = _parts(root), _tables(root)
        if not parts and not tables:
            raise FileNotFoundError(
                f"{root}: no dfdc_train_part_0/metadata.json, train/dfdc_train_part_0/metadata.json or test/labels.csv there, nor "
                "another such table; name the folder that DFDC was unpacked into"
            )
        rows = [row for part in parts for row in _train_rows(root, part)]
        rows += [row for table in tables for row in _labelled_rows(root, table)]
        folders = [table.parent for table in (*parts, *tables)]
        strays = unlisted(folders, (row["path"] for row in rows), root)
        return tabulate([*rows, *strays], root, self.name)

    def recognises(self, root: Path) -> bool:
        return bool(_parts(root)) or (any("dfdc" in part.lower() for part in root.absolute().parts[-2:]) and bool(_tables(root)))


def _parts(root: Path) -> list[Path]:
    places = (PARTS, f"train/{PARTS}", SAMPLE)
    return sorted(file for place in places for file in root.glob(f"{place}/metadata.json"))


def _tables(root: Path) -> list[Path]:
    return [file for folder in LABELLED if (file := root / folder / "labels.csv").is_file()]


def _train_rows(root: Path, metadata: Path) -> Iterable[dict[str, Any]]:
    listed = read_json(metadata)
    if not isinstance(listed, dict) or not all(isinstance(entry, dict) and "label" in entry for entry in listed.values()):
        raise ValueError(f"{metadata}: does not map files to their labels; unpack the part again")
    folder = relative(metadata.parent, root)
    for name, entry in listed.items():
        original = entry.get("original") or ""
        yield {
            "path": f"{folder}/{name}",
            "split": entry.get("split") or "train",
            "source_clip": f"{folder}/{original or name}",
            **_labels(str(entry["label"])),
        } | _doubts(entry, listed, original)


def _doubts(entry: Mapping[str, Any], listed: Mapping[str, Mapping[str, Any]], original: str) -> dict[str, str]:
    """The problem of a clip's original; empty if there is none."""
    if original and entry["label"] == "REAL":
        return {"problem": f"it is called genuine, yet made from {original}"}
    if original in listed and listed[original]["label"] != "REAL":
        return {"problem": f"its original {original} is not called genuine"}
    return {}


def _labelled_rows(root: Path, labels: Path) -> Iterable[dict[str, Any]]:
    table = read_table(labels, ("filename", "label"))
    folder = labels.parent
    videos = folder / "videos" if (folder / "videos").is_dir() else folder
    for entry in table.to_dict("records"):
        path = f"{relative(videos, root)}/{entry['filename']}"
        fake = _LABELS.get(entry["label"].strip().upper()) == 1
        yield {"path": path, "split": folder.name, "source_clip": "" if fake else path, **_labels(entry["label"])}


def _labels(text: str) -> dict[str, Any]:
    label = _LABELS.get(text.strip().upper())
    if label is None:
        return {"problem": f"the label {text!r} is neither REAL nor FAKE"}
    known = None if label else 0
    return {"video_label": known, "audio_label": known, "file_label": label}
