"""Hash of the weights of a detector, which verdicts name."""

from __future__ import annotations

import hashlib
import os

from ..checkpoints import weight_files
from ..media.files import file_sha256


def weights_sha256(folder: str | os.PathLike[str]) -> str:
    """SHA-256 of the file of weights; of several, that of their hashes in the order of their names.

    Raises
    ------
    OSError
        If a file is missing.
    """
    hashes = [file_sha256(file) for file in weight_files(folder)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()
