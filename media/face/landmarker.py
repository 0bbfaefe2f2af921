"""The file of mediapipe's face landmark model: bundled, or another one that is named."""

from __future__ import annotations

import os
from pathlib import Path

ASSET_VARIABLE = "AVWITNESS_FACE_LANDMARKER"
ASSET_NAME = "face_landmarker.task"
BUNDLED_ASSET = Path(__file__).parent / "weights" / ASSET_NAME
ASSET_SOURCE = "https://ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker"


def find_asset(path: str | os.PathLike[str] | None = None) -> Path:
    """Locate mediapipe's ``face_landmarker.task``.

    Looked for in this order: ``path``, the environment variable ``AVWITNESS_FACE_LANDMARKER``, the bundled file.

    Raises
    ------
    FileNotFoundError
        If a file that was named does not exist, or the bundled one is missing from the installation.
    """
    for candidate, origin in ((path, "the argument"), (os.environ.get(ASSET_VARIABLE), ASSET_VARIABLE)):
        if candidate:
            if Path(candidate).is_file():
                return Path(candidate)
            raise FileNotFoundError(f"{candidate}: no such file, though {origin} names it as the face landmark model")
    if BUNDLED_ASSET.is_file():
        return BUNDLED_ASSET
    raise FileNotFoundError(
        f"{BUNDLED_ASSET}: the face landmark model is missing. Install avwitness again, "
        f"or download {ASSET_NAME} from {ASSET_SOURCE} and set {ASSET_VARIABLE} to its path."
    )
