"""Methods that forge the face: every one paints a patch around it, which is matched to the source's sharpness (or left
coarse, as generators leave it) and pasted back.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch

from ...media.clip import SAMPLES_PER_FRAME
from ...media.face.crops import crop_faces, face_transforms, to_crop, uncrop
from ...media.face.landmarks import LIPS_OUTER, LOWER_FACE, OVAL
from ...media.speech import log_mel
from ..methods.base import CannotForge, Donor, Forgery, Method, Window, whole_window
from ..methods.matching import match_detail
from ..methods.source import Facts, Source, is_audible
from ..weights import load_network, weights_missing_reason
from .blending import Region, match_tones, relative_width, replace_mouth, self_blend
from .coarse import reduce_resolution
from .networks import MASK_TOP, FaceAutoencoder, LowerFace, audio_windows
from .swap import swap_face

MARGIN = 0.3  # of the face's width, around the patch that is worked on
LIPS_REGION = ((1.1, 1.3), (1.7, 2.2))  # least and most enlargement of an outline, in x and y
LOWER_REGION = ((0.8, 0.85), (1.0, 1.0))
FACE_REGION = ((0.75, 0.75), (0.98, 0.98))
OUTLINES = ((LIPS_OUTER, LIPS_REGION), (LOWER_FACE, LOWER_REGION), (OVAL, FACE_REGION))
BLEND = 0.4  # strength of self-blending: on whole faces in colour, what fools nobody on a grey mouth is plain to see
BATCH = 16  # faces that a network paints at once


@dataclass(frozen=True)
class FacePatch:
    """The part of a clip's frames around its face.

    Parameters
    ----------
    pictures : uint8 [T, H, W, 3]
    landmarks : float32 [T, 478, 2]
        Pixels of the patch.
    left, top : int
        Where it lies in the frames.
    """

    images: np.ndarray
    landmarks: np.ndarray
    left: int
    top: int

    def pasted(self, images: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Frames with other pictures in the patch's place."""
        out = frames.copy()
        out[:, self.top : self.top + images.shape[1], self.left : self.left + images.shape[2]] = images
        return out


def face_patch(source: Source) -> FacePatch:
    """Cut the surroundings of the face out of every frame, at one place for the whole clip.

    Raises
    ------
    CannotForge
        If there is no face, or it lies outside the picture.
    """
    if source.frames is None or source.landmarks is None or not source.has_face:
        raise CannotForge(f"{source.path}: no face was followed in it")
    oval = source.landmarks[:, list(OVAL)]
    height, width = source.frames.shape[1:3]
    room = MARGIN * float(np.median(np.ptp(oval[..., 0], axis=1)))
    left, top = (int(max(0.0, float(v) - room)) for v in oval.min(axis=(0, 1)))
    right, bottom = (int(min(float(v) + room, limit)) for v, limit in zip(oval.max(axis=(0, 1)), (width, height), strict=True))
    if right - left < 32 or bottom - top < 32:
        raise CannotForge(f"{source.path}: its face lies outside the picture or is smaller than 32 pixels")
    images = np.ascontiguousarray(source.frames[:, top:bottom, left:right])
    return FacePatch(images, source.landmarks - np.array((left, top), dtype=np.float32), left, top)


class FaceMethod(Method):
    """A forgery of the face over the whole window.

    Attributes
    ----------
    mismatch : bool or None
        See :class:`Forgery`.
    own_sound : bool
        Whether the clip keeps its own sound, so that its voice may be forged too.
    """

    streams = frozenset({"video"})
    mismatch: ClassVar[bool | None] = False
    keeps_audio: ClassVar[bool] = True

    def __init__(self, coarse: bool = False) -> None:
        if coarse:
            self.coarse, self.name = True, f"coarse_{self.name}"

    def supports(self, facts: Facts, transcript: str, window: Window) -> bool:
        return facts.face

    @abstractmethod
    def paint(self, area: FacePatch, source: Source, donor: Source | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Forge the patch: pictures like it, and how much of every pixel is new, float32 [T, H, W]."""

    def forge(self, source: Source, donor: Source | None, window: Window, rng: np.random.Generator) -> Forgery:
        source = source.cut(window.begin, window.frames)
        area = face_patch(source)
        images, share = self.paint(area, source, donor, rng)
        images = reduce_resolution(images, share, rng) if self.coarse else match_detail(images, area.images, share, rng)
        assert source.frames is not None
        return Forgery(area.pasted(images, source.frames), source.waveform, whole_window(window), (), self.mismatch)


class SelfBlend(FaceMethod):
    """Lips, lower face or face blended with a slightly changed copy of themselves."""

    name = "self_blend"

    def paint(self, area: FacePatch, source: Source, donor: Source | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        outline, region = _region(area, rng)
        clip = (area.images, outline)
        return self_blend(clip, clip, rng, region, either_side=False, strength=BLEND)


class MouthReplacement(FaceMethod):
    """The mouth or the lower face of another moment or of another person."""

    name = "mouth_replacement"
    donor = Donor.any
    mismatch = True

    def paint(self, area: FacePatch, source: Source, donor: Source | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        number = int(rng.integers(2))
        outline, region = _region(area, rng, number)
        given = face_patch(_donor(self, donor))
        return replace_mouth((area.images, outline), (given.images, given.landmarks[:, list(OUTLINES[number][0])]), rng, region)


class FaceSwap(FaceMethod):
    """Another person's face, warped to these landmarks."""

    name = "face_swap"
    donor = Donor.other

    def paint(self, area: FacePatch, source: Source, donor: Source | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        given = face_patch(_donor(self, donor))
        return swap_face(area.images, area.landmarks, given.images, given.landmarks, rng)


@lru_cache(maxsize=1)
def _lower_face() -> LowerFace:
    return load_network(LowerFace, "lower_face")


@lru_cache(maxsize=1)
def _autoencoder() -> FaceAutoencoder:
    return load_network(FaceAutoencoder, "face_autoencoder")


class LowerFaceResynthesis(FaceMethod):
    """The lower face painted by a network that hears the clip's own sound."""

    name = "lower_face"

    def missing_reason(self) -> str | None:
        return weights_missing_reason("lower_face")

    def supports(self, facts: Facts, transcript: str, window: Window) -> bool:
        return facts.face and facts.audio

    def paint(self, area: FacePatch, source: Source, donor: Source | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return generate_lower_face(area, source.waveform, rng)


class DubbedLowerFace(LowerFaceResynthesis):
    """The lower face painted to the genuine voice of another clip, which is heard instead of the own one."""

    name = "lower_face_dubbed"
    donor = Donor.any
    donor_streams = frozenset({"audio"})
    keeps_audio = False

    def forge(self, source: Source, donor: Source | None, window: Window, rng: np.random.Generator) -> Forgery:
        if source.waveform is None:
            raise CannotForge(f"{source.path}: has no sound that could be dubbed")
        voice = donor_audio(_donor(self, donor), window, rng)
        return super().forge(_with_audio(source, voice, window), None, window, rng)


class FaceAutoencoding(FaceMethod):
    """The whole face through a small autoencoder."""

    name = "face_autoencoder"

    def missing_reason(self) -> str | None:
        return weights_missing_reason("face_autoencoder")

    def paint(self, area: FacePatch, source: Source, donor: Source | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        transforms = face_transforms(area.landmarks)
        faces = crop_faces(area.images, transforms)
        painted = run_autoencoder(faces)
        region = Region(rng.uniform(*FACE_REGION), np.zeros(2), rng.uniform(1.5, 4.0))
        return _paste(area, painted, transforms, to_crop(area.landmarks[:, list(OVAL)], transforms), region)


def generate_lower_face(area: FacePatch, waveform: np.ndarray | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Paint the lower face of a patch to a voice float32 [640 T]; see :meth:`FaceMethod.paint`."""
    transforms = face_transforms(area.landmarks)
    faces = crop_faces(area.images, transforms)
    if waveform is None or len(waveform) < SAMPLES_PER_FRAME:
        raise CannotForge("a lower face is painted to a voice, and there is none")
    painted = run_lower_face(faces, waveform, int(rng.integers(6, 13)))
    region = Region(rng.uniform((0.9, 0.9), (1.02, 1.02)), np.zeros(2), rng.uniform(1.5, 3.5))
    outline = to_crop(area.landmarks[:, list(LOWER_FACE)], transforms)
    # The mask may reach no higher than what was painted.
    outline[..., 1] = np.maximum(outline[..., 1], MASK_TOP * faces.shape[1] + 2.0 * region.feather)
    return _paste(area, painted, transforms, outline, region)


def run_lower_face(faces: np.ndarray, waveform: np.ndarray, apart: int) -> np.ndarray:
    """Aligned faces uint8 [T, S, S, 3] with the lower half painted to a voice float32 [S]: float32 [T, S, S, 3] in levels.

    The reference shows the same head ``apart`` frames later or earlier, with another mouth.
    """
    windows = audio_windows(torch.from_numpy(log_mel(waveform)))
    audio_batch = windows[np.minimum(np.arange(len(faces)), len(windows) - 1)]
    other = np.arange(len(faces)) + apart
    other = np.where(other < len(faces), other, np.maximum(np.arange(len(faces)) - apart, 0))
    return _run(lambda part: _lower_face()(_tensor(faces[part]), _tensor(faces[other[part]]), audio_batch[part]), len(faces))


def run_autoencoder(faces: np.ndarray) -> np.ndarray:
    """Aligned faces uint8 [T, S, S, 3] as the autoencoder paints them: float32 [T, S, S, 3] in levels."""
    return _run(lambda part: _autoencoder()(_tensor(faces[part])), len(faces))


def donor_audio(donor: Source, window: Window, rng: np.random.Generator) -> np.ndarray:
    """A stretch of the donor's sound, as long as the window.

    Raises
    ------
    CannotForge
        If the donor does not sound for that long.
    """
    samples = window.frames * SAMPLES_PER_FRAME
    if donor.waveform is None or len(donor.waveform) < samples or not is_audible(donor.waveform):
        raise CannotForge(f"{donor.path}: its sound is silent, or too short to be put under another clip")
    begin = int(rng.integers(0, len(donor.waveform) - samples + 1))
    return donor.waveform[begin : begin + samples]


def _with_audio(source: Source, voice: np.ndarray, window: Window) -> Source:
    waveform = np.zeros((source.length + 1) * SAMPLES_PER_FRAME, dtype=np.float32)
    begin = window.begin * SAMPLES_PER_FRAME
    waveform[begin : begin + len(voice)] = voice
    return replace(source, waveform=waveform)


def _donor(method: Method, donor: Source | None) -> Source:
    if donor is None:
        raise CannotForge(f"{method.name} needs a donor")
    return donor


def _region(area: FacePatch, rng: np.random.Generator, number: int | None = None) -> tuple[np.ndarray, Region]:
    """An outline [T, N, 2] of the face and a region around it: lips, lower face or whole face."""
    points, (low, high) = OUTLINES[int(rng.integers(len(OUTLINES))) if number is None else number]
    outline = area.landmarks[:, list(points)]
    unit = relative_width(area.landmarks[:, list(LIPS_OUTER)])
    return outline, Region.draw(rng, unit, low, high)


def _tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255.0


@torch.inference_mode()
def _run(paint: Callable[[slice], torch.Tensor], count: int) -> np.ndarray:
    """Paint ``count`` faces a few at a time; float32 [T, S, S, 3] in levels."""
    return (torch.cat([paint(slice(i, i + BATCH)) for i in range(0, count, BATCH)]) * 255.0).permute(0, 2, 3, 1).numpy()


def _paste(
    area: FacePatch, painted: np.ndarray, transforms: np.ndarray, outline: np.ndarray, region: Region
) -> tuple[np.ndarray, np.ndarray]:
    """Bring painted faces float32 [T, S, S, 3] back into a patch, tones fitted, under a soft mask around the outline."""
    out, share = area.images.copy(), np.zeros(area.images.shape[:3], dtype=np.float32)
    size = (area.images.shape[2], area.images.shape[1])
    for index, (face, transform) in enumerate(zip(painted, transforms, strict=True)):
        mask = uncrop(region.mask(outline[index], face.shape[:2]), transform, size).clip(0.0, 1.0)
        back = match_tones(uncrop(face, transform, size), area.images[index], mask)
        mixed = mask[..., None] * back + (1.0 - mask[..., None]) * area.images[index]
        out[index], share[index] = np.clip(mixed, 0, 255).round().astype(np.uint8), mask
    return out, share


def most_closed_frame(landmarks: np.ndarray) -> int:
    """The frame of landmarks [T, 478, 2] in which the inner lips are nearest to each other."""
    return int(np.argmin(np.linalg.norm(landmarks[:, 13] - landmarks[:, 14], axis=-1)))
