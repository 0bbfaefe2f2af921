"""Loading of fairseq checkpoints without fairseq, and without executing code of a pickle."""

from __future__ import annotations

import argparse
import collections
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

SAFE_CLASSES: dict[str, type] = {
    "argparse.Namespace": argparse.Namespace,
    "collections.OrderedDict": collections.OrderedDict,
    "collections.defaultdict": collections.defaultdict,
    **{f"builtins.{kind.__name__}": kind for kind in (dict, list, tuple, set, str, int, float, bool)},
}
STUBBED = ("fairseq.", "omegaconf.", "typing.Any")  # classes replaced by inert ones of the same name


class UnsafeCheckpoint(ValueError):
    """A checkpoint that refers to a class or function outside the allow-list."""


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Load a fairseq checkpoint.

    Tensors and plain containers are loaded as they are; classes of fairseq, omegaconf and argparse become inert
    stand-ins that only hold attributes; anything else is refused before it is loaded.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    UnsafeCheckpoint
        If the file names any other class or function.
    ValueError
        If it is no checkpoint, or one without a ``model``.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path}: not a torch checkpoint (of version 1.6 or later); load it with the torch that wrote it and save it again"
        )
    try:
        wanted = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except Exception as error:
        raise ValueError(f"{path}: damaged, or not a torch checkpoint ({error})") from error
    refused = sorted(name for name in wanted if name not in SAFE_CLASSES and not name.startswith(STUBBED))
    if refused:
        raise UnsafeCheckpoint(f"{path}: refused, because loading it would call {', '.join(refused)}")
    allowed = [(SAFE_CLASSES.get(name) or _stand_in(name), name) for name in wanted]
    try:
        with torch.serialization.safe_globals(allowed):  # type: ignore[arg-type]
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsafeCheckpoint(f"{path}: refused: {error}") from error
    if not isinstance(state, dict) or "model" not in state:
        raise ValueError(f"{path}: a checkpoint, but without a 'model' in it")
    return state


class StandIn:
    """Attributes of an object whose class is not installed."""

    def __init__(self, *args: Any, **_: Any) -> None:
        self.args = args

    def __setstate__(self, state: Any) -> None:
        vars(self).update(state if isinstance(state, dict) else {"state": state})


def _stand_in(name: str) -> type:
    module, _, kind = name.rpartition(".")
    return type(kind, (StandIn,), {"__module__": module})


def plain(value: Any) -> Any:
    """Namespaces, and stand-ins of omegaconf containers and nodes, as plain dicts, lists and values."""
    if isinstance(value, argparse.Namespace):
        return plain(vars(value))
    if isinstance(value, StandIn):
        fields = vars(value)
        return plain(fields["_content"]) if "_content" in fields else plain(fields["_val"]) if "_val" in fields else fields
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value
