"""Reader of LAV-DF: speech with a few words replaced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ..benchmark import Intervals, Reader, intervals, read_records, tabulate, unlisted

TABLES = ("metadata.json", "metadata.min.json")  # the first that exists is read; the second lacks only the words
NEEDED = ("file", "split", "original", "modify_video", "modify_audio", "n_fakes", "fake_periods")
SPLITS = ("train", "dev", "test")
METHODS = {(0, 0): "real", (0, 1): "sv2tts", (1, 0): "wav2lip", (1, 1): "sv2tts-wav2lip"}
CATEGORIES = {(0, 0): "RVRA", (0, 1): "RVFA", (1, 0): "FVRA", (1, 1): "FVFA"}


class LavDF(Reader):
    """LAV-DF: 136,304 clips made from VoxCeleb2, with the seconds at which they are forged.

    Notes
    -----
    Source: Cai et al., *Do you really mean that? Content driven audio-visual deepfake dataset and multimodal method for
    temporal forgery localization*, DICTA 2022.

    Checked against the publisher's loader (``ControlNet/LAV-DF``): the fields of ``metadata.min.json``, that ``file`` is
    relative to the root and begins with the split, that ``fake_periods`` are seconds, and the names of the splits.
    Checked against third-party loaders: that ``metadata.json`` holds the same rows, that ``original`` is null for genuine
    clips, and that a few periods end after their clip does. From memory of the paper only: the methods, Wav2Lip for all
    video and SV2TTS for all audio; the metadata name none. Whether ``original`` is given with its split (as third-party
    loaders have it) or as a bare name is not certain, so both are understood. The data itself was not available.

    There is one list of periods for both streams: it is that of every stream that is modified. ``source_clip`` is
    ``original``. People are not published: ``identity`` is empty. The folder of demonstration clips that may come
    along is not looked into.
    """

    name = "lavdf"
    title = "LAV-DF"
    layout = f"{TABLES[0]} (or {TABLES[1]}), and train/, dev/ and test/"

    def read(self, root: Path) -> pd.DataFrame:
        root = Path(root)
        table = next((root / name for name in TABLES if (root / name).is_file()), root / TABLES[0])
        records = read_records(table, NEEDED)
        files = {str(record["file"]) for record in records}
        rows = [_row(record, files) for record in records]
        rows += unlisted([root / split for split in SPLITS], files, root)
        return tabulate(rows, root, self.name)

    def recognises(self, root: Path) -> bool:
        root = Path(root)
        return any((root / name).is_file() for name in TABLES) and any((root / split).is_dir() for split in SPLITS)


def _row(record: Mapping[str, Any], files: set[str]) -> dict[str, Any]:
    path = str(record["file"])
    periods = intervals(record["fake_periods"])
    video, audio = _flag(record["modify_video"]), _flag(record["modify_audio"])
    has_audio = record.get("audio_channels") != 0
    kind = (video if video is not None else -1, audio if audio is not None else -1)
    return {
        "path": path,
        "split": record["split"],
        "source_clip": _original(record, files) or path,
        "method": METHODS.get(kind, ""),
        "category": CATEGORIES.get(kind, ""),
        "has_audio": has_audio,
        "video_label": video,
        "audio_label": audio if has_audio or audio else None,
        "video_intervals": periods if video else [],
        "audio_intervals": periods if audio else [],
        "problem": "; ".join(_problems(record, periods, (video, audio))),
    }


def _flag(value: Any) -> int | None:
    """A stream's label; ``None`` for anything but true or false."""
    return int(value) if value in (True, False) else None


def _original(record: Mapping[str, Any], files: set[str]) -> str:
    """The genuine clip as a path, whether or not it was given with the split's folder."""
    given = str(record["original"] or "")
    folder = str(record["file"]).rpartition("/")[0]
    beside = f"{folder}/{given.rpartition('/')[2]}"
    return beside if given not in files and beside in files else given


def _problems(record: Mapping[str, Any], periods: Intervals | None, labels: tuple[int | None, int | None]) -> Iterator[str]:
    split, folder = str(record["split"]), str(record["file"]).split("/")[0]
    if split not in SPLITS:
        yield f"the split {split!r} is none of {', '.join(SPLITS)}"
    elif folder != split:
        yield f"the file is not in the folder of its split {split}"
    if None in labels:
        yield "modify_video or modify_audio is neither true nor false"
    if periods is None:
        yield "fake_periods are no pairs of seconds"
        return
    if record["n_fakes"] != len(periods):
        yield f"n_fakes is {record['n_fakes']}, yet {len(periods)} periods are given"
    if labels == (0, 0) and periods:
        yield "neither stream is modified, yet there are fake periods"
    if 1 in labels and not periods:
        yield "the file is modified, yet no fake period is given"
    if 1 in labels and not record["original"]:
        yield "the file is modified, yet its original is not given"
    duration = record.get("duration")
    if duration is not None and any(begin >= float(duration) for begin, _ in periods):
        yield f"a fake period begins after the clip's end at {duration} s"
