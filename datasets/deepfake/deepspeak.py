"""DeepSpeak on disk: people before their webcams, their faces swapped, their lips moved, their pictures animated, their voices cloned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ..benchmark import SUFFIXES, Reader, read_table, relative, tabulate, unlisted

GENUINE, FAKES, SPLITS = "annotations-real.csv", "annotations-fake.csv", "annotations-split-def.csv"
KINDS = ("face-swap", "lip-sync", "avatar")
FLAGGED, VOICED = "recording-target-ai-generated", "audio-config"  # how version 1 and version 2 tell of cloned voices
_FAKE_COLUMNS = ("video-file", "kind", "engine", "identity-source", "identity-target", "recording-source")
_REAL_VOICE = ("", "real")


class DeepSpeak(Reader):
    """DeepSpeak, versions 1, 1.1 and 2: genuine recordings of consenting people and fakes of them, in picture and voice.

    Rows come from the tables of genuine and of fake clips; each names files alone, which are looked for anywhere below the folder.
    ``category`` is the kind of fake (face-swap, lip-sync, avatar) and ``method`` its engine, with the maker of the voice after a
    ``+`` where that is cloned. ``identity`` is the target's, ``source_clip`` the source's recording.

    Notes
    -----
    Source: Barrington, Bohacek and Farid, *The DeepSpeak dataset*, arXiv 2408.05366.

    Checked against what its makers publish: the columns of both versions' fakes and their values (two tables in
    ``experiments/video_experiments/LipFD`` of ``hfaridlab/deepspeak``); that each clip is genuine or fake from end to end, that
    everybody speaks English, and that voices are cloned in some lip-sync and avatar clips alone (the paper). Checked
    against several readers that others wrote for it: the three tables' names, the columns ``video-file`` and ``identity``
    of genuine clips and ``identity`` and ``split`` of the third table, that an empty ``audio-config`` means a real voice, and
    genuine clips called ``IDENTITY-RECORDING.mp4``. Where the archives put their clips was not found out, hence the
    search. The data themselves were not at hand: access must be granted by the makers.

    Every fake is fake in its picture. Its sound is fake where version 1 says so in ``recording-target-ai-generated`` or version 2
    names a maker in ``audio-config``; the names of some HelloMeme clips end in such a maker though their table says
    ``real``, and the paper agrees with the table. *Target* is read as the paper uses it, as what the fake is made to be: the
    face to show, the audio or the movement to follow; *source* then is the recording that was changed. Some readers take the
    target for the footage. Who is seen is the target either way, but for face swaps ``source_clip`` is not certain.
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
        rows = [_genuine_row(said["video-file"], said["identity"], places, splits) for said in genuine]
        listed = {Path(row["path"]).name: row["path"] for row in rows}
        rows += [
            _fake_row({str(key): str(cell) for key, cell in said.items()}, places, splits, listed) for said in fakes.to_dict("records")
        ]
        return tabulate([*rows, *unlisted([root], (row["path"] for row in rows), root)], root, self.name)

    def recognises(self, root: Path) -> bool:
        return all((root / table).is_file() for table in (GENUINE, FAKES, SPLITS))


def _splits(file: Path) -> dict[str, set[str]]:
    splits: dict[str, set[str]] = {}
    for said in read_table(file, ("identity", "split")).to_dict("records"):
        splits.setdefault(said["identity"].strip(), set()).add(said["split"].strip().lower())
    return splits


def _places(root: Path) -> dict[str, list[str]]:
    """Where below the root the files of each name are."""
    places: dict[str, list[str]] = {}
    for file in sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES):
        places.setdefault(file.name, []).append(relative(file, root))
    return places


def _placed(name: str, identity: str, places: Mapping[str, list[str]], splits: Mapping[str, set[str]]) -> dict[str, Any]:
    """What a clip of any kind has: its path, its split, and what is wrong with these."""
    found = places.get(Path(name).name, [])
    told = sorted(splits.get(identity, ()))
    problems = [f"there are several files of this name: {', '.join(found)}"] if len(found) > 1 else []
    if len(told) != 1:
        problems.append(f"identity {identity} stands in " + (f"the splits {' and '.join(told)}" if told else "no split"))
    path = found[0] if found else name
    return {
        "path": path,
        "identity": identity,
        "split": told[0] if len(told) == 1 else "",
        "source_clip": path,
        "language": "en",
        "problem": "; ".join(problems),
    }


def _genuine_row(name: str, identity: str, places: Mapping[str, list[str]], splits: Mapping[str, set[str]]) -> dict[str, Any]:
    return _placed(name, identity, places, splits) | {"video_label": 0, "audio_label": 0}


def _fake_row(
    said: Mapping[str, str], places: Mapping[str, list[str]], splits: Mapping[str, set[str]], listed: Mapping[str, str]
) -> dict[str, Any]:
    row = _placed(said["video-file"], said["identity-target"], places, splits)
    voice, doubts = _voice(said)
    if said["kind"] not in KINDS:
        doubts.append(f"the kind {said['kind']} is none of {', '.join(KINDS)}")
    return row | {
        "video_label": 1,
        "audio_label": None if voice is None else int(bool(voice)),
        "category": said["kind"],
        "method": f"{said['engine']}+{voice}" if voice else said["engine"],
        "source_clip": listed.get(f"{said['identity-source']}-{said['recording-source']}.mp4", row["path"]),
        "problem": "; ".join(_filled(row["problem"], *doubts)),
    }


def _voice(said: Mapping[str, str]) -> tuple[str | None, list[str]]:
    """Who made the voice, empty for a real one and None where that is not known, and what is wrong with that."""
    if VOICED in said:
        return ("" if said[VOICED].lower() in _REAL_VOICE else said[VOICED]), []
    told = {"true": "elevenlabs", "false": ""}.get(said[FLAGGED].lower())  # version 1 has one maker of voices
    return told, [] if told is not None else [f"{FLAGGED} {said[FLAGGED]!r} is neither True nor False"]


def _filled(*sentences: str) -> Iterable[str]:
    return filter(None, sentences)
