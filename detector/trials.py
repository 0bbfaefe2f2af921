"""Held-out clips to trials: each genuine stretch once as it is and once for every kind of forgery, whole and unaugmented."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..generators.faces import FACES, recompressed
from ..media.clip import SAMPLES_PER_FRAME
from ..media.speech import log_mel
from .prepare import Material

GENUINE = "genuine"


@dataclass(frozen=True)
class Trial:
    """One stream to be judged.

    Parameters
    ----------
    stream : {"audio", "video"}
    family : str
        ``genuine`` or the name of the forgery.
    label : int
        1 is fake.
    features : float32 [T, 320] or None
    crops : uint8 [T, 96, 96] or None
    usable : bool [T] or None
    waveform : float32 [S] or None
        What the features were made from.
    """

    stream: str
    family: str
    label: int
    features: np.ndarray | None = None
    crops: np.ndarray | None = None
    usable: np.ndarray | None = None
    waveform: np.ndarray | None = None


def audio_trials(material: Material, rng: np.random.Generator) -> Iterator[Trial]:
    """The genuine voice and every re-voiced version; whether a lossy codec came last is drawn for each on its own."""
    if material.speech is None:
        return
    for index, family in enumerate((GENUINE, *material.voices)):
        waveform = material.speech[int(rng.random() < 0.5), index].astype(np.float32) / 32768.0
        yield Trial("audio", family, int(index > 0), features=log_mel(waveform), waveform=waveform)


def video_trials(material: Material, donors: Sequence[Material], rng: np.random.Generator) -> Iterator[Trial]:
    """The genuine mouth and every forged version, all compressed once more at a quality drawn for each on its own."""
    if material.mouth is None or material.lips is None or material.usable is None:
        return
    for family in (GENUINE, *FACES):
        crops = material.mouth
        if family != GENUINE:
            donor = donors[int(rng.integers(len(donors)))]
            if donor.mouth is None or donor.lips is None:
                donor = material
            assert donor.mouth is not None and donor.lips is not None
            crops, _ = FACES[family]((material.mouth, material.lips), (donor.mouth, donor.lips), rng)
        quality = int(rng.integers(40, 96))
        crops = np.stack([recompressed(crop, quality) for crop in crops])
        yield Trial("video", family, int(family != GENUINE), crops=crops, usable=material.usable)


@dataclass(frozen=True)
class SyncTrial:
    """Sound and picture to be compared; ``offset`` is by how many frames the sound lags, None for foreign sound."""

    features: np.ndarray
    crops: np.ndarray
    usable: np.ndarray
    offset: int | None


def sync_trials(material: Material, others: Sequence[Material], rng: np.random.Generator, offset: int = 0) -> Iterator[SyncTrial]:
    """A clip's own sound, moved by ``offset`` frames, and the sound of another clip that is long enough."""
    if material.mouth is None or material.usable is None or material.speech is None:
        return
    frames = min(len(material.mouth), material.speech.shape[2] // SAMPLES_PER_FRAME)
    for sound, lag in ((material, offset), (others[int(rng.integers(len(others)))], None)):
        if sound.speech is None or (lag is None and sound.speech.shape[2] // SAMPLES_PER_FRAME < frames):
            continue
        samples = np.roll(sound.speech[0, 0], (lag or 0) * SAMPLES_PER_FRAME)[: frames * SAMPLES_PER_FRAME]
        yield SyncTrial(log_mel(samples.astype(np.float32) / 32768.0), material.mouth[:frames], material.usable[:frames], lag)
