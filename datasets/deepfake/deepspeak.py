"""Reader of DeepSpeak: webcam recordings, and face swaps, lip-sync, avatars and cloned voices of the same people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ..benchmark import SUFFIXES, Reader, read_table, relative, tabulate, unlisted

GENUINE, FAKES, SPLITS = "annotations-real.csv", "annotations-fake.csv", "annotations-split-def.csv"
KINDS = ("face-swap", "lip-sync", "avatar")
FLAGGED, VOICED = "recording-target-ai-generated", "audio-config"  # columns on cloned voices of version 1 and of version 2
_FAKE_COLUMNS = ("video-file", "kind", "engine", "identity-source", "identity-target", "recording-source")
_REAL_VOICE = ("", "real")


class DeepSpeak(Reader):
    """DeepSpeak, versions 1, 1.1 and 2: genuine recordings of consenting people and fakes of them, in video and voice.

    Rows come from the tables of genuine and of fake clips; they hold file names, which are looked for anywhere below the folder.
    ``category`` is the kind of fake (face-swap, lip-sync, avatar) and ``method`` its engine, with the voice generator after a
    ``+`` where the voice is cloned. ``identity`` is the target's, ``source_clip`` the source's recording.

    Notes
    -----
    Source: Barrington, Bohacek and Farid, *The DeepSpeak dataset*, arXiv 2408.05366.

    Checked against what its makers publish: the columns of both versions' fakes and their values (two tables in
    ``experiments/video_experiments/LipFD`` of ``hfaridlab/deepspeak``); that each clip is genuine or fake from end to end, that
    everybody speaks English, and that voices are cloned only in some lip-sync and avatar clips (the paper). Checked
    against several readers that others wrote for it: the three tables' names, the columns ``video-file`` and ``identity``
    of genuine clips and ``identity`` and ``split`` of the third table, that an empty ``audio-config`` means a real voice, and
    genuine clips called ``IDENTITY-RECORDING.mp4``. The folders of the clips in the archives are not known, hence the
    search. The data itself was not available: access must be granted by the makers.

    The video of every fake is fake. Its audio is fake where ``recording-target-ai-generated`` (version 1) is true or ``audio-config``
    (version 2) names a generator; the names of some HelloMeme clips end in such a maker though their table says
    ``real``, and the paper agrees with the table. *Target* is read as the paper uses it, as what the fake is made to be: the
    face to show, the audio or the movement to follow; *source* then is the recording that was changed. Some readers take the
    target for the footage. The person on screen is the target either way, but for face swaps ``source_clip`` is not certain.
    A fake has the split of its identity: the makers split people, and pair none across splits by their account. Gestures, scripts
    and settings of engines are published, and left out here.
    """

    name: ClassVar[str] = "deepspeak"
    title: ClassVar[str] = "DeepSpeak v1, v1.1 or v2"
    layout: ClassVar[str] = "annotations-real.csv, annotations-fake.csv, annotations-split-def.csv and the clips that they name, anywhere"

    def read(self, root: Path) -> pd.DataFrame:
        genuine = read_table(root / GENUINE, ("video-file", "identity")).to_dict("records")
        fakes = read_table(root / FAKES, _FAKE_COLUMNS)
        if FLAGGED not in fakes and VOICED not in fakes:
            raise ValueError(f"{root / FAKES}: there is neither {FLAGGED} nor {VOICED}; take the published table")
        splits = _splits(root / SPLITS)
        places = _places(root)
        rows = [_genuine_row(entry["video-file"], entry["identity"], places, splits) for entry in genuine]
        listed = {Path(row["path"]).name: row["path"] for row in rows}
        rows += [
            _fake_row({str(key): str(cell) for key, cell in entry.items()}, places, splits, listed) for entry in fakes.to_dict("records")
        ]
        return tabulate([*rows, *unlisted([root], (row["path"] for row in rows), root)], root, self.name)

    def recognises(self, root: Path) -> bool:
        return all((root / table).is_file() for table in (GENUINE, FAKES, SPLITS))


def _splits(file: Path) -> dict[str, set[str]]:
    splits: dict[str, set[str]] = {}
    for entry in read_table(file, ("identity", "split")).to_dict("records"):
        splits.setdefault(entry["identity"].strip(), set()).add(entry["split"].strip().lower())
    return splits


def _places(root: Path) -> dict[str, list[str]]:
    """Paths below the root by file name."""
    places: dict[str, list[str]] = {}
    for file in sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES):
        places.setdefault(file.name, []).append(relative(file, root))
    return places


def _placed(name: str, identity: str, places: Mapping[str, list[str]], splits: Mapping[str, set[str]]) -> dict[str, Any]:
    """The columns that all rows have: path, identity, split, and their problems."""
    found = places.get(Path(name).name, [])
    of_identity = sorted(splits.get(identity, ()))
    problems = [f"there are several files of this name: {', '.join(found)}"] if len(found) > 1 else []
    if len(of_identity) != 1:
        problems.append(f"identity {identity} stands in " + (f"the splits {' and '.join(of_identity)}" if of_identity else "no split"))
    path = found[0] if found else name
    return {
        "path": path,
        "identity": identity,
        "split": of_identity[0] if len(of_identity) == 1 else "",
        "source_clip": path,
        "language": "en",
        "problem": "; ".join(problems),
    }


def _genuine_row(name: str, identity: str, places: Mapping[str, list[str]], splits: Mapping[str, set[str]]) -> dict[str, Any]:
    return _placed(name, identity, places, splits) | {"video_label": 0, "audio_label": 0}


def _fake_row(
    entry: Mapping[str, str], places: Mapping[str, list[str]], splits: Mapping[str, set[str]], listed: Mapping[str, str]
) -> dict[str, Any]:
    row = _placed(entry["video-file"], entry["identity-target"], places, splits)
    voice, doubts = _voice(entry)
    if entry["kind"] not in KINDS:
        doubts.append(f"the kind {entry['kind']} is none of {', '.join(KINDS)}")
    return row | {
        "video_label": 1,
        "audio_label": None if voice is None else int(bool(voice)),
        "category": entry["kind"],
        "method": f"{entry['engine']}+{voice}" if voice else entry["engine"],
        "source_clip": listed.get(f"{entry['identity-source']}-{entry['recording-source']}.mp4", row["path"]),
        "problem": "; ".join(_filled(row["problem"], *doubts)),
    }


def _voice(entry: Mapping[str, str]) -> tuple[str | None, list[str]]:
    """The generator of the voice, empty for a real voice and ``None`` where it is not known, and the problems of that."""
    if VOICED in entry:
        return ("" if entry[VOICED].lower() in _REAL_VOICE else entry[VOICED]), []
    voice = {"true": "elevenlabs", "false": ""}.get(entry[FLAGGED].lower())  # the only voice generator of version 1
    return voice, [] if voice is not None else [f"{FLAGGED} {entry[FLAGGED]!r} is neither True nor False"]


def _filled(*sentences: str) -> Iterable[str]:
    return filter(None, sentences)
