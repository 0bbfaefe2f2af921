"""Files on disk: content hashes, atomic writes, and files for data that is in memory."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

PARTIAL = ".partial-"  # how names of incomplete files begin
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # Unicode categories of what is not shown, or changes how the rest is shown
MAX_SUFFIX = 8  # characters of a suffix that a temporary file takes over

#: What can be scored: the path of a file, its bytes, or a binary file object.
MediaSource: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def partial_path(target: str | os.PathLike[str]) -> Path:
    """A new hidden name in the target's folder, with the target's suffix."""
    target = Path(target)
    return target.with_name(f"{PARTIAL}{secrets.token_hex(8)}{target.suffix}")


@contextmanager
def atomic_write(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file or a folder that appears under its name only when it is complete.

    The path that is yielded is of its own for every call: several processes may write the same target, and the last one
    replaces what the others wrote. If the block raises, or writes nothing, the target stays as it is.

    Parameters
    ----------
    target : path-like
        File or folder to write. Its parent folder exists.

    Yields
    ------
    Path
        What to write to: a path in the same folder, hidden, with the same suffix, where nothing exists yet.

    Raises
    ------
    FileNotFoundError
        If the block wrote nothing.
    OSError
        If the target cannot be replaced.
    """
    target = Path(target)
    partial = partial_path(target)
    try:
        yield partial
        if partial.is_dir() and target.is_dir():  # a folder that is not empty cannot be replaced in one step
            previous = partial_path(target)
            os.replace(target, previous)
            os.replace(partial, target)
            shutil.rmtree(previous)
        else:
            os.replace(partial, target)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def printable(text: str) -> str:
    """Text for a terminal: control characters, direction marks and bytes that are no text (surrogates) as escape sequences of Python."""
    return "".join(c if unicodedata.category(c) not in HIDDEN else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def source_name(source: MediaSource) -> str:
    """The path of a file, ``<bytes>``, or the name of a file object (``<file>`` where it has none).

    Raises
    ------
    TypeError
        If the source is neither a path, bytes nor a file object.
    """
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "<bytes>"
    if not hasattr(source, "read"):
        raise TypeError(f"a path, bytes or a binary file object can be scored, not {type(source).__name__}")
    name = getattr(source, "name", None)
    return name if isinstance(name, str) and name else "<file>"


@contextmanager
def as_file(source: MediaSource) -> Iterator[str]:
    """A path to the data of a source; bytes and file objects are copied to a private temporary file, which is removed afterwards.

    Raises
    ------
    OSError
        If the file cannot be written.
    TypeError
        If a file object was opened in text mode.
    """
    if isinstance(source, (str, os.PathLike)):
        yield os.fspath(source)
        return
    suffix = Path(source_name(source)).suffix
    suffix = suffix if suffix[1:].isalnum() and suffix.isascii() and len(suffix) <= MAX_SUFFIX else ""
    with tempfile.TemporaryDirectory(prefix="avwitness-") as folder:  # readable by this user alone
        path = Path(folder) / f"media{suffix}"
        with path.open("wb") as file:
            if isinstance(source, (bytes, bytearray, memoryview)):
                file.write(source)
            else:
                shutil.copyfileobj(source, file, 1 << 20)
        yield os.fspath(path)
