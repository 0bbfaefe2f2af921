"""Reader of GRID: 34 people speaking short commands, all genuine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, NamedTuple

import pandas as pd

from ..benchmark import Reader, relative, tabulate, unlisted

SPEAKER = re.compile(r"s([1-9]|[12][0-9]|3[0-4])")
SENTENCE = re.compile(r"[blps][bgrw][abiw][a-vx-z][1-9z][anps]")  # command, colour, preposition, letter, digit, adverb
AUDIO_ONLY_SPEAKER = "s21"  # has no video
WOMEN = frozenset(f"s{number}" for number in (4, 7, 11, 15, 16, 18, 20, 21, 22, 23, 24, 25, 29, 31, 33, 34))
VIDEO, AUDIO, ALIGNMENT = ".mpg", ".wav", ".align"
MAX_DEPTH = 5  # of folders between the root and a clip: align/s1/align, s1/video/mpg_6000


class Found(NamedTuple):
    """A file below the folder of a speaker."""

    path: str
    speaker: str
    name: str
    suffix: str


class Grid(Reader):
    """The GRID audio-visual sentence corpus.

    Notes
    -----
    Source: Cooke et al., *An audio-visual corpus for speech perception and automatic speech recognition*, Journal of the
    Acoustical Society of America 120 (5), 2006.

    Checked against ``lhotse/recipes/grid.py`` of ``lhotse-speech/lhotse`` and third-party loaders: the speakers
    ``s1`` to ``s34``, of whom ``s21`` has no video; videos, with audio, in ``sN/NAME.mpg`` or ``sN/video/mpg_6000/NAME.mpg``,
    under a folder ``video`` or not; audio alone in ``audio_25k/sN/NAME.wav`` or ``audio/sN/NAME.wav``; alignments in
    ``alignments/sN/NAME.align``, ``align/sN/NAME.align`` or ``sN/align/NAME.align``; that 18 speakers are men and 16 women. Hence
    the speaker is taken from the last folder of a path that is named like one. Known from memory
    only: which speakers are women, and the code of six signs that NAME is (``bbaf2n``: bin blue at f two now). The data
    itself was not available.

    There is no list of files. The alignments are used as one: a sentence with an alignment, but neither video nor audio, is a
    missing file. In the release on Zenodo many folders of alignments have the name of another speaker, as ``lhotse``
    found; so this is done only for speakers with an alignment for at least half of their sentences.

    Files of the same sentence by the same speaker, in two sizes of video or as video and audio, are of the same recording
    and share a ``source_clip``, the first of them. There are no splits.
    """

    name: ClassVar[str] = "grid"
    title: ClassVar[str] = "GRID"
    layout: ClassVar[str] = "folders s1 to s34 with NAME.mpg, in them or below video/ or video/mpg_6000/; NAME.wav and NAME.align likewise"

    def read(self, root: Path) -> pd.DataFrame:
        """See :meth:`Reader.read`."""
        if not root.is_dir():
            raise FileNotFoundError(f"{root}: no such folder; name the one that GRID was unpacked into")
        found = list(_found(root))
        media = [file for file in found if file.suffix != ALIGNMENT]
        if not media:
            raise FileNotFoundError(
                f"{root / 's1'}: no videos {VIDEO} or audio files {AUDIO} there; name the folder that holds s1 to s34 of GRID"
            )
        rows = [*_rows(media), *_missing(media, [file for file in found if file.suffix == ALIGNMENT])]
        return tabulate([*rows, *unlisted([root], (row["path"] for row in rows), root)], root, self.name)

    def recognises(self, root: Path) -> bool:
        """See :meth:`Reader.recognises`."""
        places = (root / above / "s1" / below for above in ("", "video", "videos") for below in ("", "video", "video/mpg_6000"))
        return any(SENTENCE.fullmatch(file.stem) for place in places if place.is_dir() for file in place.glob(f"*{VIDEO}"))


def _found(root: Path) -> Iterator[Found]:
    """The files of all speakers, videos first, in the order of their paths."""
    files = []
    for folder, below, names in os.walk(root):
        parts = PurePosixPath(relative(Path(folder), root)).parts
        if len(parts) >= MAX_DEPTH:
            below.clear()
        speaker = next((part for part in reversed(parts) if SPEAKER.fullmatch(part)), None)
        for name in names if speaker else ():
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in (VIDEO, AUDIO, ALIGNMENT):
                files.append(Found("/".join((*parts, name)), str(speaker), stem, suffix.lower()))
    return iter(sorted(files, key=lambda file: (file.suffix != VIDEO, file.path)))


def _rows(media: Iterable[Found]) -> Iterator[dict[str, Any]]:
    first: dict[tuple[str, str], str] = {}
    for file in media:
        source = first.setdefault((file.speaker, file.name), file.path)
        yield _row(file, source) | {"problem": _problem(file)}


def _row(file: Found, source: str) -> dict[str, Any]:
    has_video = file.suffix == VIDEO
    return {
        "path": file.path,
        "source_clip": source,
        "identity": file.speaker,
        "gender": "female" if file.speaker in WOMEN else "male",
        "language": "en",
        "has_video": has_video,
        "video_label": 0 if has_video else None,
        "audio_label": 0,
    }


def _problem(file: Found) -> str:
    if not SENTENCE.fullmatch(file.name):
        return f"{file.name} is no sentence of GRID"
    return f"GRID has no video of {AUDIO_ONLY_SPEAKER}" if file.speaker == AUDIO_ONLY_SPEAKER and file.suffix == VIDEO else ""


def _missing(media: Sequence[Found], alignments: Iterable[Found]) -> Iterator[dict[str, Any]]:
    """Rows for the sentences that have an alignment and nothing else."""
    there, aligned = _sentences(media), _sentences(alignments)
    example = {file.speaker: file for file in reversed(media)}
    for speaker, names in aligned.items():
        if speaker not in there:
            yield {"path": speaker, "source_clip": speaker, "identity": speaker, "problem": f"there is nothing of {speaker} but alignments"}
        elif 2 * len(names.keys() & there[speaker].keys()) >= len(there[speaker]):
            like = example[speaker]
            for name in (name for name in names if name not in there[speaker]):
                path = str(PurePosixPath(like.path).with_name(name + like.suffix))
                yield _row(Found(path, speaker, name, like.suffix), path)


def _sentences(files: Iterable[Found]) -> Mapping[str, dict[str, None]]:
    """The names of each speaker's files, in order."""
    found: dict[str, dict[str, None]] = {}
    for file in files:
        found.setdefault(file.speaker, {})[file.name] = None
    return found
