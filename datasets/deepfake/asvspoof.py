"""Readers of ASVspoof: the logical access sets of 2019 and 2021, which are audio only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pandas as pd

from ..benchmark import Reader, relative, tabulate, unlisted

KEYS = {"bonafide": 0, "spoof": 1}
KINDS = {
    "TTS": ("A01", "A02", "A03", "A04", "A07", "A08", "A09", "A10", "A11", "A12", "A16"),
    "VC": ("A05", "A06", "A17", "A18", "A19"),
    "TTS_VC": ("A13", "A14", "A15"),
}
KIND_OF = {attack: kind for kind, attacks in KINDS.items() for attack in attacks}
NO_ATTACK = frozenset({"-", "bonafide"})  # values of the column attack for genuine speech
PROTOCOLS = {"train": "train.trn", "dev": "dev.trl", "eval": "eval.trl"}  # of 2019: split to the middle of the file's name
ENROLMENT = "ASVspoof2019_LA_asv_protocols"
GENDERS = ("female", "male")
METADATA = (  # of 2021: where the archive of the keys may have been unpacked
    "LA/CM/trial_metadata.txt",
    "keys/LA/CM/trial_metadata.txt",
    "LA-keys-full/keys/LA/CM/trial_metadata.txt",
    "ASVspoof2021_LA_eval/keys/LA/CM/trial_metadata.txt",
    "ASVspoof2021_LA_eval/LA/CM/trial_metadata.txt",
)
AUDIO = ("ASVspoof2021_LA_eval/flac", "flac")


class Columns(NamedTuple):
    """Columns of a line of a protocol; the speaker is always first, the file second."""

    attack: int
    key: int
    width: int


OLD, NEW = Columns(attack=3, key=4, width=5), Columns(attack=4, key=5, width=8)


class Asvspoof2019La(Reader):
    """ASVspoof 2019, logical access: genuine speech against synthesis and conversion.

    Notes
    -----
    Source: Wang et al., *ASVspoof 2019: a large-scale public database of synthesized, converted and replayed speech*,
    Computer Speech & Language 64, 2020.

    Checked against the README.LA.txt that comes with the data, and against third-party loaders: the folders
    ``ASVspoof2019_LA_{train,dev,eval}/flac`` and ``ASVspoof2019_LA_cm_protocols``, the names of the three protocols, and their
    five columns, parted by single blanks: speaker, file without suffix, a column that is ``-`` for logical access, attack
    (``-`` for genuine speech) and key (``bonafide`` or ``spoof``); which attacks synthesise (``TTS``), convert (``VC``) or do
    both (``TTS_VC``), here the ``category``; and the lists of enrolment ``ASVspoof2019.LA.asv.{dev,eval}.{female,male}.trn.txt``,
    lines of a speaker and the files that enrol that speaker, parted by commas. The data itself was not available.

    The lists of enrolment may be absent. They give the gender of the speakers they hold, and no protocol of countermeasures
    names their files: these are read as genuine, of the category ``enrolment``. That enrolment is genuine speech follows
    from its purpose and is not stated; that no protocol names it is known from memory only.

    There is no video. ``identity`` is the speaker, or the imitated one of a spoof. The source of a spoof is not
    published, hence ``source_clip`` is the file itself. The whole of a spoof is fake, and no intervals are given.
    """

    name: ClassVar[str] = "asvspoof2019_la"
    title: ClassVar[str] = "ASVspoof 2019, logical access"
    layout: ClassVar[str] = "LA/ASVspoof2019_LA_cm_protocols/ and LA/ASVspoof2019_LA_{train,dev,eval}/flac/, or the folder LA itself"

    def read(self, root: Path) -> pd.DataFrame:
        """See :meth:`Reader.read`."""
        base = _base(root)
        protocols = {split: _protocol(base, split) for split in PROTOCOLS}
        found = {split: file for split, file in protocols.items() if file.is_file()}
        if not found:
            raise FileNotFoundError(f"{protocols['train']}: no such protocol; name the folder that LA.zip was unpacked into")
        enrolled, gender = _enrolment(base)
        rows = []
        for split, file in found.items():
            folder = relative(base / f"ASVspoof2019_LA_{split}" / "flac", root)
            rows += [_row(fields, folder, split, OLD, gender) for fields in _lines(file)]
            rows += _enrolment_rows(enrolled.get(split, []), folder, split, gender)
        folders = [base / f"ASVspoof2019_LA_{split}" for split in PROTOCOLS]
        return tabulate([*rows, *_unlisted(folders, rows, root)], root, self.name)

    def recognises(self, root: Path) -> bool:
        """See :meth:`Reader.recognises`."""
        return any(_protocol(_base(root), split).is_file() for split in PROTOCOLS)


class Asvspoof2021La(Reader):
    """ASVspoof 2021, logical access: the attacks of 2019 after transmission by telephone.

    Notes
    -----
    Source: Liu et al., *ASVspoof 2021: towards spoofed and deepfake speech detection in the wild*, IEEE/ACM Transactions
    on Audio, Speech, and Language Processing 31, 2023.

    Checked against the README.LA.txt and the README of the keys, as others published them, and against loaders:
    ``ASVspoof2021_LA_eval/flac`` (archive of the audio), ``keys/LA/CM/trial_metadata.txt`` (archive of the keys, apart) and
    its eight columns: speaker, file without suffix, codec, transmission, attack (``-`` or ``bonafide`` for genuine speech),
    key, trimming of silences, and phase (``progress`` or ``eval``; ``hidden``, and ``trim`` beside ``notrim``, are known from
    memory only). The protocol
    ``ASVspoof2021.LA.cm.eval.trl.txt`` beside the audio has no labels, and is not read. The data itself was not available.

    There is no video. ``split`` is the phase; ``category`` the codec and the transmission, as in ``alaw ita_tx``, and
    ``trim`` after them where silences were cut; ``identity`` the speaker, or the imitated one of a spoof.
    """

    name: ClassVar[str] = "asvspoof2021_la"
    title: ClassVar[str] = "ASVspoof 2021, logical access"
    layout: ClassVar[str] = "ASVspoof2021_LA_eval/flac/ and the unpacked keys, LA/CM/trial_metadata.txt or keys/LA/CM/trial_metadata.txt"

    def read(self, root: Path) -> pd.DataFrame:
        """See :meth:`Reader.read`."""
        file = _first(root, METADATA)
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such table; unpack the keys of ASVspoof 2021 (LA-keys-full) into {root}")
        folder = _first(root, AUDIO)
        prefix = relative(folder, root)
        rows = [_row_2021(fields, prefix) for fields in _lines(file)]
        return tabulate([*rows, *_unlisted([folder], rows, root)], root, self.name)

    def recognises(self, root: Path) -> bool:
        """See :meth:`Reader.recognises`."""
        return _first(root, METADATA).is_file() and _first(root, AUDIO).is_dir()


def _base(root: Path) -> Path:
    return root / "LA" if (root / "LA").is_dir() else root


def _protocol(base: Path, split: str) -> Path:
    return base / "ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{PROTOCOLS[split]}.txt"


def _first(root: Path, places: Sequence[str]) -> Path:
    """The first place that exists, else the first one."""
    return next((root / place for place in places if (root / place).exists()), root / places[0])


def _lines(file: Path) -> Iterator[list[str]]:
    """The fields of every line that is not empty."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: is no text; unpack it again") from error
    lines = [fields for line in text.splitlines() if (fields := line.split())]
    if not lines:
        raise ValueError(f"{file}: holds no lines; unpack it again")
    yield from lines


def _row(fields: Sequence[str], folder: str, split: str, columns: Columns, gender: Mapping[str, str]) -> dict[str, Any]:
    """The row of a line; only a path and a problem where the line is invalid."""
    path = f"{folder}/{fields[min(1, len(fields) - 1)]}.flac"
    row = {"path": path, "source_clip": path, "split": split, "has_video": False}
    if len(fields) != columns.width:
        return row | {"problem": f"the line has {len(fields)} fields instead of {columns.width}"}
    speaker, attack, key = fields[0], fields[columns.attack], fields[columns.key]
    return row | {
        "identity": speaker,
        "gender": gender.get(speaker, ""),
        "method": "" if attack in NO_ATTACK else attack,
        "category": KIND_OF.get(attack, ""),
        "audio_label": KEYS.get(key),
        "problem": _contradiction(attack, key),
    }


def _row_2021(fields: Sequence[str], folder: str) -> dict[str, Any]:
    row = _row(fields, folder, fields[-1] if len(fields) == NEW.width else "", NEW, {})
    if len(fields) != NEW.width:
        return row
    return row | {"category": " ".join([*fields[2:4], *(["trim"] if fields[6] == "trim" else [])])}


def _contradiction(attack: str, key: str) -> str:
    if key not in KEYS:
        return f"the key {key} is neither bonafide nor spoof"
    if key == "bonafide" and attack not in NO_ATTACK:
        return f"the line names the attack {attack}, yet calls the speech bonafide"
    if key == "spoof" and attack in NO_ATTACK:
        return "the line calls the speech spoof, yet names no attack"
    return ""


def _enrolment(base: Path) -> tuple[dict[str, list[tuple[str, str]]], dict[str, str]]:
    """Speaker and file of the lists of enrolment there are, by split; and the gender of every speaker in them."""
    files: dict[str, list[tuple[str, str]]] = {}
    genders: dict[str, str] = {}
    for split in ("dev", "eval"):
        for gender in GENDERS:
            table = base / ENROLMENT / f"ASVspoof2019.LA.asv.{split}.{gender}.trn.txt"
            for speaker, *names in _lines(table) if table.is_file() else ():
                genders[speaker] = gender
                files.setdefault(split, []).extend((speaker, name) for part in names for name in part.split(",") if name)
    return files, genders


def _enrolment_rows(files: Iterable[tuple[str, str]], folder: str, split: str, gender: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for speaker, name in files:
        path = f"{folder}/{name}.flac"
        yield {
            "path": path,
            "source_clip": path,
            "split": split,
            "category": "enrolment",
            "identity": speaker,
            "gender": gender[speaker],
            "has_video": False,
            "audio_label": 0,
        }


def _unlisted(folders: Iterable[Path], rows: Iterable[Mapping[str, Any]], root: Path) -> list[dict[str, Any]]:
    found = unlisted(folders, (row["path"] for row in rows), root)
    return [row | {"has_video": False, "source_clip": row["path"]} for row in found]
