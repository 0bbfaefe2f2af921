"""Files on disk: content hashes and atomic writes."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial-"  # how names of incomplete files begin


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
