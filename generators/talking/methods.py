"""The four heads as methods of the forge: the whole head of a clip made by a network, unmarked, for training sets alone."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ...media.face.landmarks import OVAL
from ...media.speech import log_mel
from ..faces.coarse import reduce_resolution
from ..faces.methods import FaceMethod, FacePatch, donor_audio
from ..methods.base import CannotForge, Donor, Forgery, Window, whole_window
from ..methods.matching import match_detail, match_motion
from ..methods.source import Facts, Source
from .models.base import Attitude, DrivingSignals, Portrait
from .rendering.head_crops import Box, head_box, paste_heads
from .rendering.motion import Motion
from .synthesis import bundled_head, bundled_renderer, head_missing_reason, render

MIN_HEAD_SIZE = 48  # pixels of a head's square; smaller ones show nothing of what the network did
DETAIL_SPAN = 0.08  # of the square's side: sharpness is matched part by part, and an eye or a mouth is such a part


class TalkingHeadMethod(FaceMethod):
    """The head of a clip, moved by a network to the clip's own voice."""

    head: ClassVar[str]

    def missing_reason(self) -> str | None:
        return head_missing_reason(self.head)

    def supports(self, facts: Facts, transcript: str, window: Window) -> bool:
        return facts.face and facts.audio

    def driving_signals(
        self, audio: np.ndarray, motion: Motion, donor: Source | None, window: Window, rng: np.random.Generator
    ) -> DrivingSignals:
        """What drives the head; ``motion`` is that of the clip itself."""
        return DrivingSignals(audio)

    def forge(self, source: Source, donor: Source | None, window: Window, rng: np.random.Generator) -> Forgery:
        source = source.cut(window.begin, window.frames)
        waveform = self.forged_audio(source, donor, window, rng)
        if source.frames is None or source.landmarks is None or source.depth is None or not source.has_face:
            raise CannotForge(f"{source.path}: no face was followed in it")
        mesh = np.concatenate([source.landmarks, source.depth[..., None]], axis=2)
        box = head_box(source.landmarks[source.usable])
        if box.side < MIN_HEAD_SIZE:
            raise CannotForge(f"{source.path}: its head is smaller than {MIN_HEAD_SIZE} pixels")
        head, renderer = bundled_head(self.head), bundled_renderer()
        motion = renderer.space.motion(box.to_unit(mesh))
        still = self.portrait_frame(source, rng)
        portrait = Portrait.from_frame(source.frames[still], mesh[still], renderer.space, box)
        made = head.generate_motion(portrait, self.driving_signals(log_mel(waveform)[: window.frames], motion, donor, window, rng), rng)
        if len(made) < window.frames:
            raise CannotForge(f"{source.path}: its sound ends before its picture does")
        heads = render(head, renderer, portrait, made)
        patch, inside = head_patch(source, box)
        images, alpha = paste_heads(heads, patch.images, inside)
        span = DETAIL_SPAN * inside.side
        # First, for what is blurred hides its motion.
        sharp = images if self.coarse else match_detail(images, patch.images, alpha, rng, span)
        path = patch.landmarks[:, list(OVAL)].mean(axis=1)
        moved = match_motion(sharp, patch.images, alpha, path)
        # Again, for moving by parts of pixels blurs.
        images = reduce_resolution(moved, alpha, rng) if self.coarse else match_detail(moved, patch.images, alpha, rng, span)
        return Forgery(patch.paste(images, source.frames), waveform, whole_window(window), (), self.mismatch)

    def portrait_frame(self, source: Source, rng: np.random.Generator) -> int:
        """Which frame becomes the portrait."""
        assert source.usable is not None
        return int(rng.choice(np.flatnonzero(source.usable)))

    def forged_audio(self, source: Source, donor: Source | None, window: Window, rng: np.random.Generator) -> np.ndarray:
        """What is heard in the forged clip."""
        if source.waveform is None:
            raise CannotForge(f"{source.path}: has no sound to move a head to")
        return source.waveform

    def generate(self, patch: FacePatch, source: Source, donor: Source | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        raise TypeError("heads are forged whole, see forge")


def head_patch(source: Source, box: Box) -> tuple[FacePatch, Box]:
    """The part of a clip's frames in which a head's square lies, and the square in it."""
    assert source.frames is not None and source.landmarks is not None
    height, width = source.frames.shape[1:3]
    left, top = (max(0, int(np.floor(x))) for x in (box.left, box.top))
    right, bottom = min(width, int(np.ceil(box.left + box.side))), min(height, int(np.ceil(box.top + box.side)))
    if right - left < MIN_HEAD_SIZE or bottom - top < MIN_HEAD_SIZE:
        raise CannotForge(f"{source.path}: its head lies outside the picture")
    images = np.ascontiguousarray(source.frames[:, top:bottom, left:right])
    shift = np.array((left, top), dtype=np.float32)
    return FacePatch(images, source.landmarks - shift, left, top), Box(box.left - left, box.top - top, box.side)


class FontMethod(TalkingHeadMethod):
    """FONT: poses drawn at random."""

    name = "font"
    head = "font"


class OsmNetMethod(TalkingHeadMethod):
    """OSM-Net: motions drawn from a space of motions."""

    name = "osm_net"
    head = "osm-net"


class OptMethod(TalkingHeadMethod):
    """OPT: the head motion of the clip itself, so that the head stays where the shoulders expect it."""

    name = "opt"
    head = "opt"

    def portrait_frame(self, source: Source, rng: np.random.Generator) -> int:
        """The first frame that shows the face: the reference begins there."""
        assert source.usable is not None
        return int(np.flatnonzero(source.usable)[0])

    def driving_signals(
        self, audio: np.ndarray, motion: Motion, donor: Source | None, window: Window, rng: np.random.Generator
    ) -> DrivingSignals:
        return DrivingSignals(audio, motion.pose)


class MfrNetMethod(TalkingHeadMethod):
    """MFR-Net: the clip's head listens to another clip, which is heard instead of its own voice."""

    name = "mfr_net"
    head = "mfr-net"
    donor = Donor.any
    donor_streams = frozenset({"audio", "video"})
    mismatch = True
    keeps_audio = False

    def forged_audio(self, source: Source, donor: Source | None, window: Window, rng: np.random.Generator) -> np.ndarray:
        if source.waveform is None:
            raise CannotForge(f"{source.path}: has no sound that another's could take the place of")
        if donor is None:
            raise CannotForge(f"{self.name} needs a donor")
        return donor_audio(donor.cut(0, window.frames), window, rng)

    def driving_signals(
        self, audio: np.ndarray, motion: Motion, donor: Source | None, window: Window, rng: np.random.Generator
    ) -> DrivingSignals:
        assert donor is not None
        donor = donor.cut(0, window.frames)
        if donor.landmarks is None or donor.depth is None or not donor.has_face:
            raise CannotForge(f"{donor.path}: no face was followed in it")
        mesh = np.concatenate([donor.landmarks, donor.depth[..., None]], axis=2)
        spoken = bundled_renderer().space.motion(head_box(donor.landmarks[donor.usable]).to_unit(mesh))
        return DrivingSignals(audio, None, spoken, list(Attitude)[int(rng.integers(len(Attitude)))])


TALKING_METHODS: tuple[type[TalkingHeadMethod], ...] = (FontMethod, OptMethod, OsmNetMethod, MfrNetMethod)
