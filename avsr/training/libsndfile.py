"""fairseq2 will not import without libsndfile; a machine that lacks the system library has it in a wheel."""

from __future__ import annotations

import ctypes
import ctypes.util
from importlib.util import find_spec
from pathlib import Path


def load_sndfile() -> None:
    """Load the libsndfile of the ``soundfile`` wheel, where the system has none; fairseq2 then finds it by its name.

    Raises
    ------
    ImportError
        If there is neither.
    """
    if ctypes.util.find_library("sndfile"):
        return
    spec = find_spec("_soundfile_data")
    folders = list(spec.submodule_search_locations or []) if spec else []
    libraries = [file for folder in folders for file in sorted(Path(folder).glob("libsndfile*"))]
    if not libraries:
        raise ImportError("training needs libsndfile: install avwitness[train], or the system package libsndfile1")
    ctypes.CDLL(str(libraries[0]), mode=ctypes.RTLD_GLOBAL)
