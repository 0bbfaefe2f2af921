"""Constants and helpers for tests of the forge's methods."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest

from avwitness.generators.faces.methods import FaceMethod
from avwitness.generators.forge.edits import WordEdit
from avwitness.generators.forge.registry import METHODS
from avwitness.generators.methods.base import Donor, Forgery, Method, Window
from avwitness.generators.methods.source import Source
from avwitness.generators.voices.methods import VoiceMethod

NAMES = sorted(METHODS)
FACES = sorted(name for name, method in METHODS.items() if isinstance(method, FaceMethod))
MATCHED = [name for name in FACES if not METHODS[name].coarse]
VOICED = sorted(name for name, method in METHODS.items() if isinstance(method, VoiceMethod))
EDITS = sorted(name for name, method in METHODS.items() if isinstance(method, WordEdit))
FOREIGN = (
    "foreign_audio",
    "lower_face_dubbed",
    "mfr_net",
    "coarse_lower_face_dubbed",
    "coarse_mfr_net",
)  # methods with the audio of another clip
WINDOW = Window(4, 48)
SECONDS = 48 / 25
SOURCE, SAME, OTHER = "hopper-1", "hopper-2", "collins-1"
MakeForgery = Callable[..., Forgery]


def usable(name: str) -> Method:
    method = METHODS[name]
    if why := method.missing_reason():
        pytest.skip(f"{name}: {why}")
    return method


def donor_for(method: Method, followed: dict[str, Source]) -> Source | None:
    names = {Donor.same: SAME, Donor.other: OTHER, Donor.any: OTHER}
    return followed[names[method.donor]] if method.donor in names else None


def shown(source: Source, window: Window = WINDOW) -> tuple[np.ndarray, np.ndarray]:
    """The genuine frames and samples of a window."""
    assert source.frames is not None and source.waveform is not None
    end = window.begin + window.frames
    return source.frames[window.begin : end], source.waveform[640 * window.begin : 640 * end]


def digest(*sources: Source | None) -> str:
    total = hashlib.sha1()
    for source in sources:
        for array in () if source is None else (source.frames, source.waveform, source.landmarks, source.usable):
            total.update(b"" if array is None else array.tobytes())
    return total.hexdigest()
