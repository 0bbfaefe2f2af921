"""``avwitness generate``: write one marked fake for every seed; requires a consent statement for the source."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....media.clip import SAMPLES_PER_FRAME, Clip, MediaError
from ....media.face.tracking import FaceTracker
from ....media.files import file_sha256
from ....media.probe import probe
from ....media.speech import log_mel
from ....media.windows import read_clip
from ..models.base import Attitude, DrivingSignals, Portrait
from ..synthesis import (
    MAX_SECONDS,
    SourceFace,
    bundled_head,
    bundled_renderer,
    head_missing_reason,
    load_motion,
    load_source_face,
    synthesise,
)
from .marking import MarkedFile, write_marked

SAMPLE = "sample"  # as source: a portrait in the public domain


@dataclass(frozen=True)
class GenerationRequest:
    """What to generate.

    Parameters
    ----------
    name : str
        Of the generator.
    source : str
        An image or a clip that shows a face, or ``sample``: a portrait in the public domain.
    audio : str or None
        The speech; for a listener, that of its speaker. By default, the audio of the speaker's clip.
    out : str
        MP4 to write.
    seeds : tuple of int
        One file for each; with several, the seed is added to the file name.
    pose : str or None
        Clip whose head pose is used.
    speaker : str or None
        Clip of the speaker to whom a listener reacts.
    attitude : Attitude
        Of a listener.
    consent : str or None
        Who agreed to the use of the source, and how that is known; stored in sidecar and manifest.
    """

    name: str
    source: str
    audio: str | None
    out: str
    seeds: tuple[int, ...] = (0,)
    pose: str | None = None
    speaker: str | None = None
    attitude: Attitude = Attitude.neutral
    consent: str | None = None


def check_request(request: GenerationRequest) -> None:
    """Check that a request can be fulfilled.

    Raises
    ------
    ValueError
        With what is missing.
    """
    reason = head_missing_reason(request.name)
    if reason:
        raise ValueError(f"{request.name}: cannot be used here: {reason}")
    if request.source != SAMPLE and not (request.consent or "").strip():
        raise ValueError(
            f"{request.source}: --consent is missing: state who agreed to the use of the source, and how you know; "
            f"or take --source {SAMPLE}, a portrait in the public domain"
        )
    needs = bundled_head(request.name).needs
    if "speaker" in needs and request.speaker is None:
        raise ValueError(f"{request.name} generates a listener: it needs --speaker, a clip of the speaker")
    if "pose" in needs and request.pose is None:
        raise ValueError(f"{request.name} takes the head pose from another clip: it needs --pose, that clip")
    if request.audio is None and request.speaker is None:
        raise ValueError(f"{request.name} needs --audio: the speech that drives the head")
    for option, given, wanted in (("--speaker", request.speaker, "speaker"), ("--pose", request.pose, "pose")):
        if given is not None and wanted not in needs:
            raise ValueError(f"{request.name} takes no {option}; leave it out")
    if request.attitude is not Attitude.neutral and "speaker" not in needs:
        raise ValueError(f"{request.name} takes no --attitude; leave it out")


def generate(request: GenerationRequest) -> Iterator[MarkedFile]:
    """Fulfil a request, seed by seed.

    Yields
    ------
    Marked
        Every file as it is finished.

    Raises
    ------
    ValueError
        As :func:`check_request`.
    MediaError
        If a file cannot be read, shows no face, or has no audio where it is needed.
    """
    check_request(request)
    head, renderer = bundled_head(request.name), bundled_renderer()
    source = sample_face() if request.source == SAMPLE else load_source_face(request.source)
    portrait = Portrait.from_frame(source.frame, source.landmarks, renderer.space)
    speaker, speaker_clip = load_motion(request.speaker, renderer.space) if request.speaker else (None, None)
    waveform = _load_audio(request, speaker_clip)
    pose = load_motion(request.pose, renderer.space)[0].pose if request.pose else None
    driving = DrivingSignals(log_mel(waveform), pose, speaker, request.attitude)
    out = Path(request.out)
    for seed in request.seeds:
        target = out if len(request.seeds) == 1 else out.with_stem(f"{out.stem}-{seed}")
        motion = head.generate_motion(portrait, driving, np.random.default_rng(seed))
        frames = synthesise(head, source, portrait, motion)
        yield write_marked(target, frames, waveform[: len(frames) * SAMPLES_PER_FRAME], describe(request, seed, len(frames)))


def _load_audio(request: GenerationRequest, speaker: Clip | None) -> np.ndarray:
    path = request.audio or request.speaker
    assert path is not None
    missing = MediaError(path, "has no sound to drive the head; give another file with --audio")
    if probe(path).audio is None:
        raise missing
    clip = speaker if request.audio is None and speaker is not None else read_clip(path, video=False, max_seconds=MAX_SECONDS)
    if clip.waveform is None or len(clip.waveform) < SAMPLES_PER_FRAME:
        raise missing
    return clip.waveform[: len(clip.waveform) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME]


def sample_face() -> SourceFace:
    """The sample source: Eileen Collins, photographed by NASA, in the public domain.

    Raises
    ------
    ValueError
        If scikit-image, which ships the image, is not installed.
    """
    try:
        from ...demo import portrait

        image = portrait()
    except ImportError:
        raise ValueError("--source sample: the image is shipped with scikit-image: pip install avwitness[generate]") from None
    with FaceTracker() as tracker:
        return SourceFace(image, tracker.track(image[None])[0].landmarks[0])


def describe(request: GenerationRequest, seed: int, frames: int) -> dict[str, Any]:
    """Content of manifest and sidecar: the request, and the hashes of its input files."""
    files = {key: value for key in ("source", "audio", "pose", "speaker") if (value := getattr(request, key)) and value != SAMPLE}
    return {
        "generator": request.name,
        "seed": seed,
        "frames": frames,
        "consent": request.consent or "none needed: a portrait in the public domain",
        "attitude": str(request.attitude) if "speaker" in bundled_head(request.name).needs else None,
        # File names, not paths, for privacy.
        "inputs": {key: {"name": os.path.basename(str(path)), "sha256": file_sha256(path)} for key, path in files.items()}
        or {"source": SAMPLE},
        "python": sys.version.split()[0],
    }
