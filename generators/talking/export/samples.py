"""The four sample videos, one of every model: a public-domain portrait and a synthetic voice that states that it is synthetic."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ....media.encode import write_media
from ...demo import synthetic_voice
from ...voices.resynthesis import VOICES
from ..models.base import Attitude
from .generate import SAMPLE, GenerationRequest, generate
from .marking import MarkedFile

TEXT = "This face and this voice are synthetic. Nobody ever said these words."
VOICE = "piper"
FALLBACK_SECONDS = 4.0  # seconds of nonsense syllables that are used if no text-to-speech engine is installed


def sample_voice(seed: int = 0) -> np.ndarray:
    """Synthetic speech of :data:`TEXT`, float32 [S] at 16 kHz; nonsense syllables without ``avwitness[tts]``."""
    engine = VOICES[VOICE]
    if engine.missing_reason() is not None:
        return synthetic_voice(FALLBACK_SECONDS, seed)[0]
    speech = engine.synthesise(TEXT, 1.0, np.random.default_rng(seed))  # type: ignore[attr-defined]
    return np.pad(speech, (3200, 4800)).astype(np.float32)


def write_samples(folder: str | os.PathLike[str], seed: int = 0) -> Iterator[MarkedFile]:
    """Write ``font.mp4``, ``osm-net.mp4``, ``opt.mp4`` (with the pose of the former) and ``mfr-net.mp4`` (it listens to the first)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        voice = write_media(Path(temporary) / "voice.wav", None, sample_voice(seed), audio_codec="pcm_s16le")
        for name, given in (
            ("font", {}),
            ("osm-net", {}),
            ("opt", {"pose": str(folder / "osm-net.mp4")}),
            ("mfr-net", {"speaker": str(folder / "font.mp4"), "attitude": Attitude.positive}),
        ):
            yield from generate(GenerationRequest(name, SAMPLE, str(voice), str(folder / f"{name}.mp4"), (seed,), **given))  # type: ignore[arg-type]
