"""The field set on disk: output of generators made by others, from public demonstration pages, beside genuine clips of the same pages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ..benchmark import Reader, read_table, tabulate, unlisted

TABLE = "manifest.csv"
NEEDED = ("path", "page", "split", "video_label", "audio_label", "kind", "method", "source_clip", "language")
FOLDERS = ("clips", "audio")
AUDIO_ONLY = "audio/"  # files below it have no video stream


class Field(Reader):
    """Field set: about 1,650 clips of 2 to 4 s by some 290 generators, and genuine clips, from about 150 pages.

    Notes
    -----
    Checked against the set itself (November 2026). ``identity`` is the *page*, that is who published the clip: clips of one
    page share cameras, codecs and speakers, so they are divided and resampled together. ``category`` is the kind of a fake
    (``tts``, ``vc``, ``vocoder``, ``codec``, ``edit``; ``lipsync``, ``head``, ``swap``, ``reenact``, ``dub``, ...) or
    ``genuine``. ``source_clip`` is the same for a fake and the genuine clip of the same source. A label is missing where the
    page does not say, or where there is no such stream. There are no intervals. ``split`` is ``train`` or ``val``, by page.
    """

    name = "field"
    title = "field set of 2026"
    layout = f"{TABLE} with a column `page`, and {FOLDERS[0]}/ and {FOLDERS[1]}/ beside it"

    def read(self, root: Path) -> pd.DataFrame:
        root = Path(root)
        if not (root / TABLE).is_file():
            raise FileNotFoundError(f"{root / TABLE}: no such table; name the folder that holds it")
        records = read_table(root / TABLE, NEEDED).to_dict("records")
        rows = [_row({str(name): str(value).strip() for name, value in record.items()}) for record in records]
        rows += unlisted([root / folder for folder in FOLDERS if (root / folder).is_dir()], [row["path"] for row in rows], root)
        return tabulate(rows, root, self.name)

    def recognises(self, root: Path) -> bool:
        table = Path(root) / TABLE
        if not table.is_file() or not any((Path(root) / folder).is_dir() for folder in FOLDERS):
            return False
        with table.open(encoding="utf-8", errors="replace") as file:
            return set(NEEDED) <= set(file.readline().strip().lstrip("\ufeff").split(","))


def _row(cell: Mapping[str, str]) -> dict[str, Any]:
    return {
        "path": cell["path"],
        "split": cell["split"],
        "identity": cell["page"],
        "source_clip": cell["source_clip"],
        "method": cell["method"],
        "category": cell["kind"],
        "language": cell["language"],
        "has_video": not cell["path"].startswith(AUDIO_ONLY),
        "video_label": _label(cell["video_label"]),
        "audio_label": _label(cell["audio_label"]),
    }


def _label(text: str) -> Any:
    return {"": None, "0": 0, "1": 1}.get(text, text)  # another text becomes a problem of the row
