"""Fixtures of the tests of talking heads: tracked head clips, a small renderer with a motion space fitted to them, driving signals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from makers import Talk

from avwitness.generators.methods.source import Origin, Source, cache_name
from avwitness.generators.talking.models.base import Attitude, DrivingSignals, Portrait
from avwitness.generators.talking.models.dyads import SimulatedDyads
from avwitness.generators.talking.rendering.head_clips import HeadClip, load_head_clips
from avwitness.generators.talking.rendering.motion import EXPRESSION_SIZE, POSE_SIZE, Motion
from avwitness.generators.talking.rendering.renderer import Renderer, RendererConfig
from avwitness.media.face.tracking import FaceTrack, FaceTracker
from avwitness.media.speech import STACKED_BINS

TINY = RendererConfig(keypoint_detector=8, flow=(8, 16, 16), decoder=(8, 16, 16), blocks=1)
MakeDriving = Callable[..., DrivingSignals]


@pytest.fixture(scope="session")
def tiny() -> RendererConfig:
    """Sizes of a renderer that takes a few hundredths of a second per image."""
    return TINY


@pytest.fixture(scope="session")
def sources(people: Path, followed: dict[str, Source]) -> tuple[list[Origin], list[Path]]:
    """Every readable clip of the small corpus, with and without a face, and its track file."""
    clips = [Origin(s.path, str(people / s.path), s.identity, "people", "train", s.transcript) for s in followed.values()]
    return clips, [people / "tracks" / cache_name(clip.file, clip.transcript) for clip in clips]


@pytest.fixture(scope="session")
def head_clips(sources: tuple[list[Origin], list[Path]], tmp_path_factory: pytest.TempPathFactory) -> list[HeadClip]:
    """The five clips of that corpus with a face, of two people."""
    return load_head_clips(*sources, tmp_path_factory.mktemp("heads"), 1)


@pytest.fixture(scope="session")
def renderer(head_clips: list[HeadClip]) -> Renderer:
    """Untrained, with a motion space fitted to the clips; shared, so tests must not modify it."""
    torch.manual_seed(0)
    made = Renderer(TINY).eval()
    made.space.fit((clip.points[clip.usable], clip.pose[clip.usable]) for clip in head_clips)
    return made


@pytest.fixture(scope="session")
def portrait(head_clips: list[HeadClip], renderer: Renderer) -> Portrait:
    return Portrait.from_crop(head_clips[0].heads[5], head_clips[0].points[5], renderer.space)


@pytest.fixture(scope="session")
def dyads(head_clips: list[HeadClip], renderer: Renderer) -> SimulatedDyads:
    return SimulatedDyads(head_clips, renderer.space)


@pytest.fixture(scope="session")
def driving_of() -> MakeDriving:
    """Makes driving signals with all inputs that any model needs."""

    def make(length: int, seed: int = 0, attitude: Attitude = Attitude.neutral) -> DrivingSignals:
        rng = np.random.default_rng((seed, length))
        pose, expression = (
            np.cumsum(0.02 * rng.standard_normal((length, n)), axis=0).astype(np.float32) for n in (POSE_SIZE, EXPRESSION_SIZE)
        )
        audio = rng.standard_normal((length, STACKED_BINS)).astype(np.float32)
        return DrivingSignals(audio, pose, Motion(pose[::-1].copy(), expression), attitude)

    return make


@pytest.fixture(scope="session")
def talk_track(talk: Talk) -> FaceTrack:
    """Face track of the demo talk."""
    with FaceTracker() as tracker:
        return tracker.track(talk.frames)[0]
