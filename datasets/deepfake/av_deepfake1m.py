"""Readers of AV-Deepfake1M and AV-Deepfake1M++: speech with a few words replaced, in video, audio or both."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ..benchmark import Intervals, Reader, intervals, read_records, tabulate, unlisted

LABELLED = ("train", "val")  # subsets with a table NAME_metadata.json
NEEDED = ("file", "split", "modify_type")
MODIFICATIONS = {"real": (0, 0), "audio_modified": (0, 1), "visual_modified": (1, 0), "both_modified": (1, 1)}  # labels of video and audio
CATEGORIES = {(0, 0): "RVRA", (0, 1): "RVFA", (1, 0): "FVRA", (1, 1): "FVFA"}
FILES = {"real": (0, 0), "real_video_fake_audio": (0, 1), "fake_video_real_audio": (1, 0), "fake_video_fake_audio": (1, 1)}
SOURCES = ("vox_celeb_2", "lrs3", "silent_videos")  # folders of AV-Deepfake1M++, which AV-Deepfake1M lacks
SEGMENTS = ("fake_segments", "visual_fake_segments", "audio_fake_segments")
_PART = re.compile(r"_p\d+$")  # a clip that was cut from a longer one
_SUBJECT = re.compile(r"subject_\d+")


class AVDeepfake1M(Reader):
    """AV-Deepfake1M: more than a million clips made from VoxCeleb2, with the seconds at which they are forged.

    Notes
    -----
    Source: Cai et al., *AV-Deepfake1M: a large-scale LLM-driven audio-visual deepfake dataset*, ACM MM 2024.

    Checked against the publisher's repository (``ControlNet/AV-Deepfake1M``, description and loader): the tree, the names
    and meaning of the fields, that ``file`` is relative to the subset's folder, and that clips of the test set are listed
    without labels in ``test_files.txt``. ``modify_type`` is published as ``both_modified``, while the publisher's loader
    looks for ``both-modified``; both spellings are read. Checked against third-party loaders: names such as
    ``id00012/21Uxsk56VDQ/00001/fake_video_real_audio.mp4``, and that thousands of rows hold segments of the stream that
    ``modify_type`` calls genuine. Those rows are kept as they are, with a problem. From memory of the paper only: that
    TalkLip made all fake video; the table names the model of the audio only. The data itself was not available.

    Labels are those of ``modify_type``; the segments may be absent, as for those who take part in detection only. A
    modified stream whose list of segments is there and empty is a problem. Rows of the test set have no labels and
    no problem. ``identity`` is the speaker's folder. ``original`` is the source clip of a fake; of a genuine clip it
    names a file of VoxCeleb2, so there the clip itself is the source, unless it was cut from another that is listed.
    """

    name = "av_deepfake1m"
    title = "AV-Deepfake1M"
    layout = "train_metadata.json or val_metadata.json, and train/, val/ and test/ with folders of speakers"
    visual: ClassVar[str] = "talklip"  # where the table names no model of the video

    def read(self, root: Path) -> pd.DataFrame:
        root = Path(root)
        tables = [subset for subset in LABELLED if (root / f"{subset}_metadata.json").is_file()]
        if not tables:
            raise FileNotFoundError(f"{root / 'train_metadata.json'}: no such file, nor val_metadata.json; name the folder that holds them")
        rows: list[dict[str, Any]] = []
        for subset in tables:
            records = read_records(root / f"{subset}_metadata.json", NEEDED)
            folder = _folder(root, subset)
            files = {str(record["file"]) for record in records}
            rows += [_row(record, subset, folder, files, self.visual) for record in records]
        lists = sorted(root.glob("test*_files.txt"))
        rows += [row for file in lists for row in _unlabelled(root, file)]
        subsets = [*LABELLED, "test", *(file.name.removesuffix("_files.txt") for file in lists)]
        rows += unlisted([root / subset for subset in subsets], (row["path"] for row in rows), root)
        return tabulate(rows, root, self.name)

    def recognises(self, root: Path) -> bool:
        return _holds(Path(root)) and not _sources(Path(root))


class AVDeepfake1MPlusPlus(AVDeepfake1M):
    """AV-Deepfake1M++: two million clips made from VoxCeleb2, LRS3 and silent videos.

    Notes
    -----
    Source: Cai et al., *AV-Deepfake1M++: a large-scale audio-visual deepfake benchmark with real-world perturbations*,
    2025.

    All is as in :class:`AVDeepfake1M`, but for these. Checked against the publisher's page of the 2025 challenge: the
    field ``video_model``. Checked against its loader: the JSON file of a clip lies beside it. Checked against loaders of
    others: the folders ``vox_celeb_2``, ``lrs3`` and ``silent_videos`` within a subset; that an archive may unpack to
    ``val/val``; that silent fakes have zero ``audio_frames``; and that a genuine clip may be a part (``real_p1.mp4``) of
    another, its ``original``. From memory only: that lists of test clips may be called ``testA_files.txt``.

    ``identity`` is the speaker of VoxCeleb2, the talk of LRS3, or the subject of the silent videos. A clip without audio
    has no label of audio. Perturbations of a clip are not published in the table.
    """

    name = "av_deepfake1m_pp"
    title = "AV-Deepfake1M++"
    layout = "train_metadata.json or val_metadata.json, and train/, val/ and test/ with vox_celeb_2/, lrs3/ or silent_videos/"
    visual = ""

    def recognises(self, root: Path) -> bool:
        return _holds(Path(root)) and _sources(Path(root))


def _holds(root: Path) -> bool:
    return any((root / f"{subset}_metadata.json").is_file() and (root / subset).is_dir() for subset in LABELLED)


def _sources(root: Path) -> bool:
    return any((root / _folder(root, subset) / source).is_dir() for subset in LABELLED for source in SOURCES)


def _folder(root: Path, subset: str) -> str:
    """Where the files of a subset lie: its archive may have been unpacked into a folder of its name."""
    return f"{subset}/{subset}" if (root / subset / subset).is_dir() else subset


def _unlabelled(root: Path, file: Path) -> Iterator[dict[str, Any]]:
    """Rows of a list of bare file names."""
    subset = file.name.removesuffix("_files.txt")
    folder = _folder(root, subset)
    for line in file.read_text(encoding="utf-8").splitlines():
        if name := line.strip():
            path = f"{folder}/{name}"
            yield {"path": path, "split": subset, "identity": _identity(name), "source_clip": path}


def _row(record: Mapping[str, Any], subset: str, folder: str, files: set[str], visual: str) -> dict[str, Any]:
    file = str(record["file"])
    labels = MODIFICATIONS.get(str(record["modify_type"]).replace("-", "_"))
    video, audio = labels or (None, None)
    has_audio = record.get("audio_frames") != 0
    found = {name: intervals(record.get(name)) for name in SEGMENTS}
    return {
        "path": f"{folder}/{file}",
        "split": record["split"],
        "identity": _identity(file),
        "source_clip": f"{folder}/{_original(record, files, labels)}",
        "method": _method(record, labels, visual),
        "category": CATEGORIES.get(labels, "") if labels else "",
        "has_audio": has_audio,
        "video_label": video,
        "audio_label": audio if has_audio or audio else None,
        "video_intervals": found["visual_fake_segments"],
        "audio_intervals": found["audio_fake_segments"],
        "problem": "; ".join(_problems(record, subset, labels, found)),
    }


def _identity(file: str) -> str:
    """The person on screen, from the folders of a clip; empty for a clip without folders."""
    parts = file.split("/")[:-1]
    if parts[:1] == ["silent_videos"]:
        subject = _SUBJECT.match("".join(parts[1:2]))
        return subject.group() if subject else "".join(parts[1:2])
    return "".join(parts[1:2] if parts[:1] and parts[0] in SOURCES else parts[:1])


def _original(record: Mapping[str, Any], files: set[str], labels: tuple[int, int] | None) -> str:
    original, file = str(record.get("original") or ""), str(record["file"])
    if original in files or (original and labels and 1 in labels):
        return original
    return file


def _method(record: Mapping[str, Any], labels: tuple[int, int] | None, visual: str) -> str:
    if labels is None:
        return ""
    video, audio = labels
    models = [str(record.get("audio_model") or "") if audio else "", str(record.get("video_model") or visual) if video else ""]
    return "-".join(filter(None, models)) if video or audio else "real"


def _problems(
    record: Mapping[str, Any], subset: str, labels: tuple[int, int] | None, found: Mapping[str, Intervals | None]
) -> Iterator[str]:
    if record["split"] != subset:
        yield f"the split {record['split']!r} is not that of its table, {subset}"
    if labels is None:
        yield f"modify_type {record['modify_type']!r} is none of {', '.join(MODIFICATIONS)}"
        return
    stem = _PART.sub("", str(record["file"]).rpartition("/")[2].rpartition(".")[0])
    if FILES.get(stem, labels) != labels:
        yield f"modify_type {record['modify_type']} is not what the file's name says"
    yield from (f"{name} are no pairs of seconds" for name, given in found.items() if given is None)
    for stream, label, name in zip(("video", "audio"), labels, SEGMENTS[1:], strict=True):
        if label and record.get(name) == []:
            yield f"{stream} is modified, yet no segment of it is given"
    if not any(labels) and found["fake_segments"]:
        yield "the file is called genuine, yet there are fake segments"
