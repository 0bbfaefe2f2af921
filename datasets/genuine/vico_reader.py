"""Reader of ViCo as a benchmark of single clips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ..benchmark import Reader, relative, tabulate, unlisted
from .vico import AUDIOS, TABLE, VIDEOS, is_vico, read_vico


class Vico(Reader):
    """ViCo: listeners and speakers in conversation, all of them genuine.

    Notes
    -----
    Source: Zhou et al., *Responsive listening head generation: a benchmark dataset and baseline*, ECCV 2022. For the checks
    of the layout see :func:`.vico.read_vico`, which reads the table.

    A row of the published table names three files: the listener's video and the speaker's, which are silent, and the speech,
    which is the speaker's voice and has no video. The listener's clip has a row here for every row of the published
    table, in its order, with that row's problem, and the attitude for a category. The speaker's clip and the speech may
    be shared by several listeners and have one row each, after those of the listeners. They have a problem only if each of
    the rows that name them has one, and if those rows name different people. The ``source_clip`` of a speech is the speaker's
    video, that of all else the file itself.
    """

    name: ClassVar[str] = "vico"
    title: ClassVar[str] = "ViCo"
    layout: ClassVar[str] = f"{TABLE}, {VIDEOS}/NAME.mp4 and {AUDIOS}/NAME.wav"

    def read(self, root: Path) -> pd.DataFrame:
        """See :meth:`Reader.read`; ``root`` may be the table itself."""
        dyads = read_vico(root).to_dict("records")
        folder = root.parent if root.is_file() else root
        rows = [_listener(dyad, folder) for dyad in dyads]
        for stream in ("speaker", "audio"):
            rows += _shared(dyads, stream, folder)
        strays = unlisted([folder / VIDEOS, folder / AUDIOS], (row["path"] for row in rows), folder)
        return tabulate([*rows, *(_stray(row) for row in strays)], folder, self.name)

    def recognises(self, root: Path) -> bool:
        """See :meth:`Reader.recognises`; ``root`` may be the table itself."""
        return is_vico(root) or (root.name == TABLE and root.is_file())


def _silent(path: str) -> dict[str, Any]:
    return {"path": path, "source_clip": path, "has_audio": False, "video_label": 0}


def _listener(dyad: Mapping[Any, Any], folder: Path) -> dict[str, Any]:
    columns = {"identity": dyad["listener"], "split": dyad["split"], "category": dyad["attitude"], "problem": dyad["problem"]}
    return _silent(relative(dyad["listener_path"], folder)) | columns


def _shared(dyads: Iterable[Mapping[Any, Any]], stream: str, folder: Path) -> Iterator[dict[str, Any]]:
    """One row for every speaker's clip, or for every speech, from the first dyad without a problem that has it."""
    groups: dict[Path, list[Mapping[Any, Any]]] = {}
    for dyad in dyads:
        groups.setdefault(dyad[f"{stream}_path"], []).append(dyad)
    for file, group in groups.items():
        best = next((dyad for dyad in group if not dyad["problem"]), group[0])
        people = sorted({str(dyad["speaker"]) for dyad in group})
        clash = f"the table names different people in it: {', '.join(people)}" if len(people) > 1 else ""
        row = _silent(relative(file, folder))
        if stream == "audio":
            row |= {"has_video": False, "has_audio": True, "video_label": None, "audio_label": 0}
            row["source_clip"] = relative(best["speaker_path"], folder)
        columns = {"identity": best["speaker"], "split": best["split"], "problem": "; ".join(filter(None, (clash, best["problem"])))}
        yield row | columns


def _stray(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a file that no dyad names; it has one stream."""
    is_audio = str(row["path"]).startswith(f"{AUDIOS}/")
    return dict(row) | {"has_video": not is_audio, "has_audio": is_audio}
