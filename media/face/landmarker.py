"""mediapipe's face landmark model: its file, bundled or another one that is named, and the messages of its native code."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

ASSET_VARIABLE = "AVWITNESS_FACE_LANDMARKER"
ASSET_NAME = "face_landmarker.task"
BUNDLED_ASSET = Path(__file__).parent / "weights" / ASSET_NAME
ASSET_SOURCE = "https://ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker"

#: Lines that mediapipe and its libraries write to descriptor 2 while a landmarker is created; no setting turns them off.
NATIVE_MESSAGE = re.compile(rb"[IWE]\d{4} |WARNING: (All log messages before|Logging before)|INFO: Created TensorFlow Lite|W\d{8} ")

_descriptor_2 = threading.Lock()


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


@contextlib.contextmanager
def without_native_messages() -> Iterator[None]:
    """Keep the messages of mediapipe's native code from standard error; what else is written to it meanwhile is written at the end."""
    with _descriptor_2, contextlib.ExitStack() as stack:
        try:
            kept = os.dup(2)
        except OSError:  # closed
            yield
            return
        stack.callback(os.close, kept)
        messages = stack.enter_context(tempfile.TemporaryFile())
        os.dup2(messages.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            messages.seek(0)
            others = b"".join(line for line in messages if not NATIVE_MESSAGE.match(line))
            with contextlib.suppress(OSError):
                os.write(2, others)
