"""Arguments that several commands share: files to score, and a benchmark on disk."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..media.files import printable

if TYPE_CHECKING:
    import pandas as pd

VIDEO_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp", ".ogv"}
AUDIO_SUFFIXES = {".wav", ".mp3", ".flac", ".ogg", ".opus", ".oga", ".m4a", ".aac", ".wma"}
TELEPHONE_SUFFIXES = {".g722", ".gsm"}

HEADER = 1024  # bytes of a file by which its kind is recognised
MAX_NAMED = 3  # paths that a sentence names
IMAGE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"crx ", b"jp2 ", b"jpx ")  # of ISO files that hold images
#: First bytes of audio and video files: offset, and what is there.
SIGNATURES: tuple[tuple[int, bytes], ...] = (
    *((4, kind) for kind in (b"ftyp", b"moov", b"mdat", b"wide", b"pnot")),  # MP4, QuickTime, 3GPP
    *((8, kind) for kind in (b"AVI ", b"WAVE", b"AIFF", b"AIFC", b"8SVX", b"CDXA")),  # RIFF, RF64 and IFF
    *((0, kind) for kind in (b"\x1a\x45\xdf\xa3", b"OggS", b"fLaC", b"FLV\x01", b"ID3", b"caff", b".snd", b"#!AMR", b"#!SILK")),
    *((0, kind) for kind in (b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b".RMF", b"DKIF")),
    *((0, kind) for kind in (b"\x06\x0e\x2b\x34\x02\x05\x01\x01", b"riff\x2e\x91\xcf\x11", b"wvpk", b"MAC ", b"TTA1", b"nut/multimedia")),
    *(
        (0, kind)
        for kind in (b"\x0b\x77", b"\x7f\xfe\x80\x01", b"YUV4MPEG2 ", b"\x00\x00\x00\x01\x67", b"\x00\x00\x00\x01\x40\x01", b"GXF")
    ),
)
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

Root = Annotated[Path, typer.Option(help="Folder of the benchmark as it was published; of csv, the manifest or its folder.")]
Dataset = Annotated[str, typer.Option(help="Name of the benchmark, or auto; `avwitness datasets` lists them.")]
Split = Annotated[str | None, typer.Option(help="Take the rows of this split only.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, ...")]
Bootstrap = Annotated[int, typer.Option("--bootstrap", min=1, help="Number of bootstrap samples.")]
Rounds = Annotated[int | None, typer.Option("--rounds", min=1, hidden=True)]  # --bootstrap in version 0.1
Workers = Annotated[int, typer.Option(min=1, help="Number of processes.")]
CPU_COUNT = os.cpu_count() or 1


@dataclass
class Inputs:
    """Files to work on, and sentences on what was found and left out.

    Attributes
    ----------
    paths : list of str
        In the order of the command line; each once.
    left_out : list of str
    skipped : int
        Number of files that were left out.
    """

    paths: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    skipped: int = 0


@dataclass
class _Found:
    """What is in a folder, or matches a pattern."""

    files: list[str] = field(default_factory=list)
    excluded: int = 0
    other: Counter[str] = field(default_factory=Counter)  # suffixes of files that hold no media
    special: list[str] = field(default_factory=list)
    dangling: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def sentences(self) -> Iterator[str]:
        if self.other:
            kinds = ", ".join(f"{printable(suffix) or 'no suffix'} {count}" for suffix, count in self.other.most_common(2 * MAX_NAMED))
            yield f"{self.other.total()} files that hold neither audio nor video ({kinds})"
        if self.excluded:
            yield f"{self.excluded} files or folders that --exclude names"
        for kind, paths in (
            ("links to what does not exist", self.dangling),
            ("linked folders, whose files are scored where they are named", self.folders),
            ("pipes, devices or sockets", self.special),
            ("folders that may not be read", self.unreadable),
        ):
            if paths:
                more = f" and {len(paths) - MAX_NAMED} more" if len(paths) > MAX_NAMED else ""
                yield f"{len(paths)} {kind} ({', '.join(map(printable, paths[:MAX_NAMED]))}{more})"

    @property
    def skipped(self) -> int:
        return self.other.total() + self.excluded + sum(map(len, (self.dangling, self.folders, self.special, self.unreadable)))


def expand(inputs: Sequence[str]) -> list[str]:
    """The paths of :func:`find_inputs`."""
    return find_inputs(inputs).paths


def find_inputs(inputs: Sequence[str], exclude: Sequence[str] = ()) -> Inputs:
    """Files for files, the media of directories (sorted, whole tree), matches of patterns; a file that does not exist is kept.

    Parameters
    ----------
    inputs : sequence of str
    exclude : sequence of str
        Patterns such as ``*.mkv`` or ``drafts``; they are compared with the name, with every folder below a named directory, and with
        the path from there.

    Raises
    ------
    typer.BadParameter
        If a directory or a pattern holds nothing to score, or an input is ``-`` or an address.
    """
    result = Inputs()
    for item in inputs:
        _refuse_streams(item)
        found = _Found()
        if os.path.isdir(item):
            _walk(item, exclude, found)
        elif not os.path.lexists(item) and glob.has_magic(item):
            for path in sorted(glob.glob(item, recursive=True)):
                _sort_in(path, os.path.basename(path), exclude, found, named=True)
        elif _is_excluded(os.path.basename(item), exclude):
            found.excluded += 1
        else:
            found.files.append(item)
        sentences = list(found.sentences())
        if not found.files and not (found.excluded and len(inputs) > 1):
            there = f"; left out: {'; '.join(sentences)}" if sentences else ""
            raise typer.BadParameter(f"{printable(item)}: nothing there that could be scored{there}")
        result.paths += found.files
        result.left_out += sentences
        result.skipped += found.skipped
    result.paths = list(dict.fromkeys(result.paths))
    return result


def is_media(path: str) -> bool:
    """Whether the name or the first bytes of a file are those of audio or video; a file that cannot be read is."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix in TELEPHONE_SUFFIXES or (suffix in VIDEO_SUFFIXES | AUDIO_SUFFIXES and suffix != ".ts"):
        return True
    try:
        with open(path, "rb") as file:
            start = file.read(HEADER)
    except OSError:
        return suffix == ".ts"
    if suffix == ".ts" and (not start or b"\x00" in start):  # else TypeScript, or another text
        return True
    if start[4:8] == b"ftyp" and start[8:12] in IMAGE_BRANDS:
        return False
    return any(start.startswith(kind, offset) for offset, kind in SIGNATURES) or _is_transport_stream(start) or _is_mpeg_audio(start)


def _is_transport_stream(start: bytes) -> bool:
    return any(len(start) > 4 * size and all(start[offset + n * size] == 0x47 for n in range(4)) for offset, size in ((0, 188), (4, 192)))


def _is_mpeg_audio(start: bytes) -> bool:
    """Whether a frame of MPEG audio or of AAC with ADTS headers begins here, and the next one where the first ends."""
    if len(start) < 6 or start[0] != 0xFF or start[1] & 0xE0 != 0xE0:
        return False
    if start[1] & 0xF6 == 0xF0:  # ADTS
        length = (start[3] & 3) << 11 | start[4] << 3 | start[5] >> 5
        return length > 7 and (length + 2 > len(start) or (start[length] == 0xFF and start[length + 1] & 0xF6 == 0xF0))
    version, layer, rate, frequency = start[1] >> 3 & 3, start[1] >> 1 & 3, start[2] >> 4, start[2] >> 2 & 3
    return version != 1 and layer != 0 and 0 < rate < 15 and frequency != 3


def _refuse_streams(item: str) -> None:
    if item == "-":
        raise typer.BadParameter(
            "standard input is not read: write it to a file and name that, or call avwitness.load().score(sys.stdin.buffer) from Python"
        )
    if URL.match(item) and not os.path.lexists(item):
        raise typer.BadParameter(
            f"{printable(item)}: addresses are not opened; download the file, such as by curl -o clip.mp4 URL, and name it"
        )


def _walk(folder: str, exclude: Sequence[str], found: _Found) -> None:
    for root, folders, files in os.walk(folder, onerror=lambda error: found.unreadable.append(os.fspath(error.filename))):
        inside = os.path.relpath(root, folder)
        for name in sorted(folders):
            path, relative = os.path.join(root, name), os.path.normpath(os.path.join(inside, name))
            if _is_excluded(relative, exclude):
                found.excluded += 1
                folders.remove(name)
            elif os.path.islink(path):
                found.folders.append(path)
        for name in files:
            _sort_in(os.path.join(root, name), os.path.normpath(os.path.join(inside, name)), exclude, found)
    found.files.sort()


def _sort_in(path: str, relative: str, exclude: Sequence[str], found: _Found, named: bool = False) -> None:
    """Put a path where it belongs; a pattern names files whatever they hold."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        mode = 0
    if _is_excluded(relative, exclude):
        found.excluded += 1
    elif not mode:
        found.dangling.append(path)
    elif stat.S_ISDIR(mode):
        return  # of a pattern such as **
    elif not stat.S_ISREG(mode):
        found.special.append(path)
    elif named or is_media(path):
        found.files.append(path)
    else:
        found.other[os.path.splitext(path)[1].lower()] += 1


def _is_excluded(relative: str, exclude: Sequence[str]) -> bool:
    parts = relative.split(os.sep)
    return any(fnmatch.fnmatchcase(text, pattern.rstrip("/")) for pattern in exclude for text in (relative, *parts))


def read_root(root: Path, dataset: str, split: str | None) -> tuple[str, pd.DataFrame]:
    """The name that tables give a benchmark, and its rows.

    Raises
    ------
    typer.BadParameter
        If there is none, or it cannot be read.
    """
    from ..datasets.registry import display_name, read_benchmark, recognise

    try:
        name = recognise(root) if dataset == "auto" else dataset
        return display_name(name, root), read_benchmark(name, root, split)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
