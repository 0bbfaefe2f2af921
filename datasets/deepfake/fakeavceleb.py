"""Reader of FakeAVCeleb: celebrities with a forged face, voice or both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from ..benchmark import Reader, read_table, relative, tabulate, unlisted

TABLE = "meta_data.csv"
NEEDED = ("source", "target1", "target2", "method", "category", "type", "race", "gender", "path")
DIRECTORY = "Unnamed: 9"  # the last column has no name in the published header, and holds the directory
PREFIX = "FakeAVCeleb"  # with which every directory of the table begins
PLACES = ("", "FakeAVCeleb_v1.2", PREFIX)  # below the root, where the table may lie
TYPES = {  # letter in the table, video label, audio label
    "RealVideo-RealAudio": ("A", 0, 0),
    "RealVideo-FakeAudio": ("B", 0, 1),
    "FakeVideo-RealAudio": ("C", 1, 0),
    "FakeVideo-FakeAudio": ("D", 1, 1),
}
CATEGORIES = {  # names in papers on detection
    ("RealVideo-RealAudio", "real"): "RVRA",
    ("RealVideo-FakeAudio", "rtvc"): "RVFA",
    ("FakeVideo-RealAudio", "wav2lip"): "FVRA-WL",
    ("FakeVideo-RealAudio", "faceswap"): "FVRA-FS",
    ("FakeVideo-RealAudio", "fsgan"): "FVRA-GAN",
    ("FakeVideo-FakeAudio", "wav2lip"): "FVFA-WL",
    ("FakeVideo-FakeAudio", "faceswap-wav2lip"): "FVFA-FS",
    ("FakeVideo-FakeAudio", "fsgan-wav2lip"): "FVFA-GAN",
}


class FakeAVCeleb(Reader):
    """FakeAVCeleb v1.2: about 21,500 clips of 500 celebrities, 500 of them genuine.

    Notes
    -----
    Source: Khalid et al., *FakeAVCeleb: a novel audio-video multimodal deepfake dataset*, NeurIPS 2021 (datasets and
    benchmarks).

    The publisher's repository does not show the table. Checked against what several independent loaders and a printed
    summary of the published table say of it: the columns and the trailing one without a name, that ``path`` is the bare
    file name and the trailing column the directory, that every directory begins with ``FakeAVCeleb/`` and otherwise is
    type, race, gender and source; the four types and their letters, the seven methods; that some files are listed
    twice, some of them with two methods; that ``source`` is the person on screen; and that a fake's file name begins
    with that of the genuine clip it was made from, up to the first ``_``. Checked as well: the short names of the
    categories. RVFA, FVRA-WL, FVFA-WL, FVFA-FS and FVFA-GAN are those that papers report; FVRA-FS and FVRA-GAN are
    used by one loader at least. From memory only: that every pair of type and method but the eight of
    :data:`CATEGORIES` is an error. The data itself was not available.

    ``category`` is the short name; the letter of the table is only compared with the type. ``identity`` is ``source``
    for every method: after a swap of faces the face is in part that of ``target1``, who has no column here.
    ``source_clip`` is the genuine clip where the table lists it, else the file itself. ``target1`` and ``target2`` are
    not kept: what they hold differs from method to method. Methods are forged throughout, so there are no intervals.
    There are no official splits: ``split`` is empty. A file with two methods has a problem in each of its rows.
    """

    name = "fakeavceleb"
    title = "FakeAVCeleb v1.2"
    layout = f"{TABLE}, and RealVideo-RealAudio/ and the three folders of fakes beside it or in {PREFIX}/"

    def read(self, root: Path) -> pd.DataFrame:
        root = Path(root)
        base = _base(root)
        if base is None:
            raise FileNotFoundError(f"{root / TABLE}: no such table; name the folder FakeAVCeleb_v1.2 that holds it")
        # Where a copy's header has lost its trailing comma, the first column must not be taken for an index.
        records = read_table(base / TABLE, NEEDED, index_col=False).to_dict("records")
        videos = base / PREFIX if (base / PREFIX).is_dir() else base
        cells = [{str(name): str(value).strip() for name, value in record.items()} for record in records]
        places = [relative(videos / _directory(cell) / cell["path"], root) for cell in cells]
        genuine = {place for place, cell in zip(places, cells, strict=True) if cell["type"] == "RealVideo-RealAudio"}
        methods = _methods(places, cells)
        rows = [
            _row(cell, place, genuine, methods[place], relative(videos / _genuine(cell), root))
            for place, cell in zip(places, cells, strict=True)
        ]
        rows += unlisted([videos / kind for kind in TYPES], places, root)
        return tabulate(rows, root, self.name)

    def recognises(self, root: Path) -> bool:
        base = _base(Path(root))
        return base is not None and any((folder / kind).is_dir() for folder in (base, base / PREFIX) for kind in TYPES)


def _base(root: Path) -> Path | None:
    return next((root / place for place in PLACES if (root / place / TABLE).is_file()), None)


def _directory(cell: Mapping[str, str]) -> str:
    """Where the table says a file lies, below the folder of videos."""
    given = cell.get(DIRECTORY, "")
    if given:
        return given.removeprefix(f"{PREFIX}/").strip("/")
    return "/".join(cell[name] for name in ("type", "race", "gender", "source"))


def _genuine(cell: Mapping[str, str]) -> str:
    """Where the genuine clip lies that a row's file was made from."""
    name = cell["path"]
    clip = PurePosixPath(name).stem.split("_")[0] + PurePosixPath(name).suffix
    return "/".join(("RealVideo-RealAudio", cell["race"], cell["gender"], cell["source"], clip))


def _methods(places: Sequence[str], cells: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for place, cell in zip(places, cells, strict=True):
        known = found.setdefault(place, [])
        if cell["method"] not in known:
            known.append(cell["method"])
    return found


def _row(cell: Mapping[str, str], path: str, genuine: set[str], methods: Sequence[str], clip: str) -> dict[str, Any]:
    kind = cell["type"]
    _, video, audio = TYPES.get(kind, ("", None, None))
    return {
        "path": path,
        "identity": cell["source"],
        "source_clip": clip if clip in genuine else path,
        "method": cell["method"],
        "category": CATEGORIES.get((kind, cell["method"]), ""),
        "gender": cell["gender"],
        "ethnicity": cell["race"],
        "video_label": video,
        "audio_label": audio,
        "problem": "; ".join(_problems(cell, methods)),
    }


def _problems(cell: Mapping[str, str], methods: Sequence[str]) -> Iterator[str]:
    kind = cell["type"]
    if kind not in TYPES:
        yield f"the type {kind!r} is none of {', '.join(TYPES)}"
        return
    if (kind, cell["method"]) not in CATEGORIES:
        yield f"the method {cell['method']!r} does not make a {kind}"
    if cell["category"] != TYPES[kind][0]:
        yield f"the category {cell['category']!r} is not that of {kind}"
    parts = _directory(cell).split("/")
    if (parts[0], parts[-1]) != (kind, cell["source"]):
        yield f"the directory {'/'.join(parts)} is not that of {cell['source']} in {kind}"
    if len(methods) > 1:
        yield f"the file is listed with the methods {' and '.join(methods)}"
