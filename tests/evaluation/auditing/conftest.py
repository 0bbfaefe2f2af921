from __future__ import annotations

from pathlib import Path

import pytest
from audited import collection, voice

from avwitness.media.encode import write_media


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of a set without a leak."""

    def upside_down(stem: Path, clip: int, label: int) -> Path:
        # A fake that has the same trivial statistics: the same waveform with its sign inverted.
        sound = voice(clip, 0.03) * (-1.0 if label else 1.0)
        return write_media(stem.with_suffix(".wav"), waveform=sound, audio_codec="pcm_s16le")

    return collection(tmp_path_factory.mktemp("clean"), upside_down, video=False, audio=True)
