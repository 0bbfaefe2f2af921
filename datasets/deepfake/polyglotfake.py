"""Reader of PolyGlotFake: clips in seven languages, dubbed into the others with cloned voices and lip-sync."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pandas as pd

from ..benchmark import Reader, read_json, relative, tabulate, unlisted

GENUINE, FAKES = "real_json_file/all_real_video.json", "fake_Json_file/all_fake_video.json"
_FAKE_KEYS = ("filename", "raw_video_name", "raw_lang", "target_lang")
_METHODS = ("tts_technique", "sync_tech")  # of the voice and of the lips


class _Folders(NamedTuple):
    genuine: str
    fakes: str


class PolyGlotFake(Reader):
    """PolyGlotFake: genuine clips in Arabic, English, French, Spanish, Russian, Chinese and Japanese, and dubbed fakes of them.

    Rows come from the two lists of all clips. ``method`` is the voice generator and the lip-sync method with a ``+`` between,
    ``language`` the spoken one, ``category`` the pair of languages of a fake; ``gender`` and ``age`` are those of the
    people in the genuine clip, with commas between where there are several.

    Notes
    -----
    Source: Hou et al., *PolyGlotFake: a novel multilingual and multimodal DeepFake dataset*, arXiv 2405.08838.

    Checked against what its makers publish (``tobuta/PolyGlotFake``): both lists with their keys and names, which come with the
    repository, not with the clips; that each fake has both a synthetic voice and moved lips, so that both streams are fake; and
    ``raw_dataset/real/LANGUAGE`` as the place of genuine clips. Checked against readers that others wrote for it:
    ``real/LANGUAGE`` and ``fake/to_LANGUAGE`` in the folder of the clips. Known by analogy only: ``raw_dataset/fake``. The clips
    themselves were not available.

    Names are not published, and a source is a broadcast or a film that may show several people: ``identity`` is empty. There is
    no split in the paper or the lists; a log in the repository tells how its makers once moved clips into splits, and is not
    read.
    """

    name: ClassVar[str] = "polyglotfake"
    title: ClassVar[str] = "PolyGlotFake"
    layout: ClassVar[str] = "real/LANGUAGE/*.mp4, fake/to_LANGUAGE/*.mp4 and json_file/ of its repository"

    def read(self, root: Path) -> pd.DataFrame:
        lists = root / "json_file" if (root / "json_file").is_dir() else root
        listed = _listed(lists / GENUINE, "videos", ("filename", "lang"))
        genuine = {str(entry["filename"]): entry for entry in listed}
        base = root / "raw_dataset" if (root / "raw_dataset").is_dir() else root
        folders = _Folders(relative(base / "real", root), relative(base / "fake", root))
        rows = [_genuine_row(folders, entry) for entry in listed]
        rows += [_fake_row(folders, entry, genuine) for entry in _listed(lists / FAKES, "video", _FAKE_KEYS)]
        strays = unlisted([base / "real", base / "fake"], (row["path"] for row in rows), root)
        return tabulate([*rows, *strays], root, self.name)

    def recognises(self, root: Path) -> bool:
        return any((root / place / FAKES).is_file() for place in ("json_file", "."))


def _listed(file: Path, key: str, needed: Iterable[str]) -> list[Mapping[str, Any]]:
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such list; put the folder json_file of tobuta/PolyGlotFake beside the clips")
    document = read_json(file)
    listed = document.get(key) if isinstance(document, dict) else None
    if not isinstance(listed, list) or not all(isinstance(entry, dict) and set(needed) <= set(entry) for entry in listed):
        raise ValueError(f"{file}: has no list {key!r} of clips with {', '.join(needed)}; take it from tobuta/PolyGlotFake again")
    return listed


def _people(entry: Mapping[str, Any]) -> dict[str, str]:
    characters = [one for one in entry.get("characters") or [] if isinstance(one, dict)]
    return {
        "gender": ",".join(str(one.get("sex") or "") for one in characters),
        "age": ",".join(str(one.get("age") or "") for one in characters),
    }


def _genuine_row(folders: _Folders, entry: Mapping[str, Any]) -> dict[str, Any]:
    path = f"{folders.genuine}/{entry['lang']}/{entry['filename']}"
    return {"path": path, "source_clip": path, "video_label": 0, "audio_label": 0, "language": entry["lang"], **_people(entry)}


def _fake_row(folders: _Folders, entry: Mapping[str, Any], genuine: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    source = str(entry["raw_video_name"])
    problems = [f"the list names no {key}" for key in _METHODS if not entry.get(key)]
    if source not in genuine:
        problems.append(f"its original {source} is in no list")
    elif genuine[source]["lang"] != entry["raw_lang"]:
        problems.append(f"its original {source} is in {genuine[source]['lang']}, not in {entry['raw_lang']}")
    if not str(entry["filename"]).startswith(f"{source.removesuffix('.mp4')}_to_{entry['target_lang']}_"):
        problems.append(f"its name does not say that it is {source} in {entry['target_lang']}")
    return {
        "path": f"{folders.fakes}/to_{entry['target_lang']}/{entry['filename']}",
        "source_clip": f"{folders.genuine}/{entry['raw_lang']}/{source}",
        "video_label": 1,
        "audio_label": 1,
        "method": "+".join(str(entry[key]) for key in _METHODS if entry.get(key)),
        "category": f"{entry['raw_lang']} to {entry['target_lang']}",
        "language": entry["target_lang"],
        "problem": "; ".join(problems),
        **_people(genuine.get(source, {})),
    }
