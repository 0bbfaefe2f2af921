"""Where weights are (bundled and installed ones by name, others by folder), and the device they are loaded to.

A distribution that brings further weights names its folder in an entry point of the group ``avwitness.weights``, whose
value is a package (its folder is taken) or a path. The folder is laid out as ``detector/NAME/``, ``avsr/NAME/`` and
``generators/NAME/``, each with the files that the bundled weights of that kind have. So is the user's own folder of converted
weights, which the environment variable ``AVWITNESS_WEIGHTS`` names; without it, it is ``avwitness/weights`` in the user's data folder.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

CONFIG, MODEL, CARD = "config.json", "model.safetensors", "card.json"
INDEX = "model.safetensors.index.json"  # names the files of weights that are in several
BUNDLED: dict[str, Path] = {kind: Path(__file__).parent / kind / "weights" for kind in ("detector", "avsr", "generators")}
FILES: Mapping[str, tuple[str, ...]] = {  # what a folder of each kind holds at least
    "detector": (CONFIG, MODEL),
    "avsr": (CONFIG, MODEL),
    "generators": (CARD, MODEL),
}
ENTRY_POINTS = "avwitness.weights"
USER_VARIABLE = "AVWITNESS_WEIGHTS"  # names the folder of the user's own weights

log = logging.getLogger(__name__)


def find_weights(kind: str, name_or_path: str | os.PathLike[str]) -> Path:
    """The folder of weights.

    Parameters
    ----------
    kind : {"detector", "avsr", "generators"}
        What the weights are for.
    name_or_path : str or path-like
        Name of bundled weights, of weights that an installed distribution brings, of weights in the user's own folder, or a
        folder; names are looked for in this order and come before a folder of that name.

    Returns
    -------
    Path
        Absolute.

    Raises
    ------
    FileNotFoundError
        If there are no such weights, naming those that are there.
    """
    name = os.fspath(name_or_path)
    bundled = BUNDLED[kind] / name
    if os.path.basename(name) == name and _complete(kind, bundled):
        return bundled.resolve()
    known = list_weights(kind)
    if name in known:
        return known[name].resolve()
    own = user_weights(kind, name)
    if os.path.basename(name) == name and _complete(kind, own):
        return own.resolve()
    if _complete(kind, Path(name)):
        return Path(name).resolve()
    files = " and ".join(FILES[kind])
    raise FileNotFoundError(f"{name}: no such model; bundled: {', '.join(known) or 'none'}; or name a folder with {files}")


def user_weights(kind: str, name: str) -> Path:
    """Where weights of this name lie among the user's own."""
    root = os.environ.get(USER_VARIABLE)
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return (Path(root) if root else data / "avwitness" / "weights") / kind / name


def list_weights(kind: str) -> dict[str, Path]:
    """Folders of the weights of one kind that are bundled or installed, by name; a bundled name comes before an installed one."""
    roots = [BUNDLED[kind], *(folder / kind for folder in _installed())]
    found = {folder.name: folder for root in reversed(roots) if root.is_dir() for folder in root.iterdir() if _complete(kind, folder)}
    return dict(sorted(found.items()))


def read_card(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The card beside weights; empty where there is none."""
    card = Path(folder) / CARD
    return dict(json.loads(card.read_text(encoding="utf-8"))) if card.is_file() else {}


def card_version(folder: str | os.PathLike[str]) -> str:
    """The version with which weights were made, ``unknown`` where there is no card."""
    return str(read_card(folder).get("version", "unknown"))


def resolve_device(device: str) -> str:
    """The device that ``auto`` stands for, a GPU if there is one; other names as they are."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def _complete(kind: str, folder: Path) -> bool:
    return all((folder / file).is_file() or (file == MODEL and (folder / INDEX).is_file()) for file in FILES[kind])


def weight_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The files that hold the weights of a folder: one, or those that its index names.

    Raises
    ------
    FileNotFoundError
        If there are none.
    """
    model, index = Path(folder) / MODEL, Path(folder) / INDEX
    if model.is_file():
        return [model]
    if not index.is_file():
        raise FileNotFoundError(f"{model}: no such file")
    names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    return [Path(folder) / name for name in sorted(set(names))]


def _installed() -> list[Path]:
    """Folders that installed distributions name."""
    folders = []
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
        try:
            value = entry.load()
            folders.append(Path(value if isinstance(value, (str, os.PathLike)) else next(iter(value.__path__))))
        except Exception as error:  # a damaged distribution must not hide the others
            log.warning("weights of the distribution behind %s = %s cannot be found: %s", entry.name, entry.value, error)
    return folders
