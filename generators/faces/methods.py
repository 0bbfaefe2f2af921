"""The forge's face methods: each generates the image patch around the face, which is matched to the sharpness of the source
(or, in the coarse variant, reduced in resolution) and pasted back into the frames.
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

MARGIN = 0.3  # of the face's width, between the face and the edge of the patch
LIPS_REGION = ((1.1, 1.3), (1.7, 2.2))  # ranges of the enlargement of an outline, in x and y
LOWER_REGION = ((0.8, 0.85), (1.0, 1.0))
FACE_REGION = ((0.75, 0.75), (0.98, 0.98))
OUTLINES = ((LIPS_OUTER, LIPS_REGION), (LOWER_FACE, LOWER_REGION), (OVAL, FACE_REGION))
SELF_BLEND_STRENGTH = 0.4  # lower than on grey mouth crops: on whole faces in colour the full strength is plainly visible
BATCH_SIZE = 16  # faces in one forward pass


@dataclass(frozen=True)
class FacePatch:
    """The image region around the face, at the same place in all frames of a clip.

    Parameters
    ----------
    images : uint8 [T, H, W, 3]
    landmarks : float32 [T, 478, 2]
        In pixels of the patch.
    left, top : int
        Position in the frames, in pixels.
    """

    images: np.ndarray
    landmarks: np.ndarray
    left: int
    top: int

    def paste(self, images: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """A copy of the frames with other images at the position of the patch."""
        out = frames.copy()
        out[:, self.top : self.top + images.shape[1], self.left : self.left + images.shape[2]] = images
        return out


def face_patch(source: Source) -> FacePatch:
    """Crop the region around the face, at the same place in all frames.

    Raises
    ------
    CannotForge
        If no face was tracked, or it lies outside the frames or is smaller than 32 pixels.
    """
    if source.frames is None or source.landmarks is None or not source.has_face:
        raise CannotForge(f"{source.path}: no face was tracked in it")
    oval = source.landmarks[:, list(OVAL)]
    height, width = source.frames.shape[1:3]
    room = MARGIN * float(np.median(np.ptp(oval[..., 0], axis=1)))
    left, top = (int(max(0.0, float(v) - room)) for v in oval.min(axis=(0, 1)))
    right, bottom = (int(min(float(v) + room, limit)) for v, limit in zip(oval.max(axis=(0, 1)), (width, height), strict=True))
    if right - left < 32 or bottom - top < 32:
        raise CannotForge(f"{source.path}: its face lies outside the frames or is smaller than 32 pixels")
    images = np.ascontiguousarray(source.frames[:, top:bottom, left:right])
    return FacePatch(images, source.landmarks - np.array((left, top), dtype=np.float32), left, top)


class FaceMethod(Method):
    """A forgery of the face over the whole window.

    Attributes
    ----------
    mismatch : bool or None
        See :class:`Forgery`.
    own_sound : bool
        Whether the clip keeps its own audio, so that its voice may be forged too.
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
    def generate(self, patch: FacePatch, source: Source, donor: Source | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Generate the forged images of the patch and alpha, the weight of the new pixels, float32 [T, H, W] in [0, 1]."""

    def forge(self, source: Source, donor: Source | None, window: Window, rng: np.random.Generator) -> Forgery:
        source = source.cut(window.begin, window.frames)
        patch = face_patch(source)
        images, alpha = self.generate(patch, source, donor, rng)
        images = reduce_resolution(images, alpha, rng) if self.coarse else match_detail(images, patch.images, alpha, rng)
        assert source.frames is not None
        return Forgery(patch.paste(images, source.frames), source.waveform, whole_window(window), (), self.mismatch)


class SelfBlend(FaceMethod):
    """Self-blending of the lips, the lower face or the face."""

    name = "self_blend"

    def generate(self, patch: FacePatch, source: Source, donor: Source | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        outline, region = _region(patch, rng)
        clip = (patch.images, outline)
        return self_blend(clip, clip, rng, region, either_side=False, strength=SELF_BLEND_STRENGTH)


class MouthReplacement(FaceMethod):
    """The mouth or the lower face replaced by that of another clip."""

    name = "mouth_replacement"
    donor = Donor.any
    mismatch = True

    def generate(self, patch: FacePatch, source: Source, donor: Source | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        number = int(rng.integers(2))
        outline, region = _region(patch, rng, number)
        donor_patch = face_patch(_required_donor(self, donor))
        return replace_mouth(
            (patch.images, outline), (donor_patch.images, donor_patch.landmarks[:, list(OUTLINES[number][0])]), rng, region
        )


class FaceSwap(FaceMethod):
    """The face replaced by another person's, warped to the landmarks."""

    name = "face_swap"
    donor = Donor.other

    def generate(self, patch: FacePatch, source: Source, donor: Source | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        donor_patch = face_patch(_required_donor(self, donor))
        return swap_face(patch.images, patch.landmarks, donor_patch.images, donor_patch.landmarks, rng)


@lru_cache(maxsize=1)
def _lower_face() -> LowerFace:
    return load_network(LowerFace, "lower_face")


@lru_cache(maxsize=1)
def _autoencoder() -> FaceAutoencoder:
    return load_network(FaceAutoencoder, "face_autoencoder")


class LowerFaceResynthesis(FaceMethod):
    """The lower face generated by a network from the clip's own audio."""

    name = "lower_face"

    def missing_reason(self) -> str | None:
        return weights_missing_reason("lower_face")

    def supports(self, facts: Facts, transcript: str, window: Window) -> bool:
        return facts.face and facts.audio

    def generate(self, patch: FacePatch, source: Source, donor: Source | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return generate_lower_face(patch, source.waveform, rng)


class DubbedLowerFace(LowerFaceResynthesis):
    """The lower face generated from the genuine audio of another clip, which replaces the clip's own."""

    name = "lower_face_dubbed"
    donor = Donor.any
    donor_streams = frozenset({"audio"})
    keeps_audio = False

    def forge(self, source: Source, donor: Source | None, window: Window, rng: np.random.Generator) -> Forgery:
        if source.waveform is None:
            raise CannotForge(f"{source.path}: has no audio to replace")
        voice = donor_audio(_required_donor(self, donor), window, rng)
        return super().forge(_with_audio(source, voice, window), None, window, rng)


class FaceAutoencoding(FaceMethod):
    """The whole face encoded and decoded by a small autoencoder."""

    name = "face_autoencoder"

    def missing_reason(self) -> str | None:
        return weights_missing_reason("face_autoencoder")

    def generate(self, patch: FacePatch, source: Source, donor: Source | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        transforms = face_transforms(patch.landmarks)
        faces = crop_faces(patch.images, transforms)
        generated = run_autoencoder(faces)
        region = Region(rng.uniform(*FACE_REGION), np.zeros(2), rng.uniform(1.5, 4.0))
        return _paste(patch, generated, transforms, to_crop(patch.landmarks[:, list(OVAL)], transforms), region)


def generate_lower_face(patch: FacePatch, waveform: np.ndarray | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Generate the lower face of a patch from speech float32 [640 T]; returns as :meth:`FaceMethod.generate`."""
    transforms = face_transforms(patch.landmarks)
    faces = crop_faces(patch.images, transforms)
    if waveform is None or len(waveform) < SAMPLES_PER_FRAME:
        raise CannotForge("the lower face is generated from audio, and the clip has none")
    generated = run_lower_face(faces, waveform, int(rng.integers(6, 13)))
    region = Region(rng.uniform((0.9, 0.9), (1.02, 1.02)), np.zeros(2), rng.uniform(1.5, 3.5))
    outline = to_crop(patch.landmarks[:, list(LOWER_FACE)], transforms)
    # The mask must not reach above the generated rows.
    outline[..., 1] = np.maximum(outline[..., 1], MASK_TOP * faces.shape[1] + 2.0 * region.feather)
    return _paste(patch, generated, transforms, outline, region)


def run_lower_face(faces: np.ndarray, waveform: np.ndarray, offset: int) -> np.ndarray:
    """Aligned faces uint8 [T, S, S, 3] with the lower half generated from speech float32 [S]: float32 [T, S, S, 3] in 0 to 255.

    The reference image is the frame ``offset`` frames later, or earlier at the end of the clip.
    """
    windows = audio_windows(torch.from_numpy(log_mel(waveform)))
    audio_batch = windows[np.minimum(np.arange(len(faces)), len(windows) - 1)]
    other = np.arange(len(faces)) + offset
    other = np.where(other < len(faces), other, np.maximum(np.arange(len(faces)) - offset, 0))
    return _run_batches(lambda part: _lower_face()(_tensor(faces[part]), _tensor(faces[other[part]]), audio_batch[part]), len(faces))


def run_autoencoder(faces: np.ndarray) -> np.ndarray:
    """Aligned faces uint8 [T, S, S, 3] reconstructed by the autoencoder: float32 [T, S, S, 3] in 0 to 255."""
    return _run_batches(lambda part: _autoencoder()(_tensor(faces[part])), len(faces))


def donor_audio(donor: Source, window: Window, rng: np.random.Generator) -> np.ndarray:
    """A random segment of the donor's audio, as long as the window.

    Raises
    ------
    CannotForge
        If the donor's audio is silent or shorter.
    """
    samples = window.frames * SAMPLES_PER_FRAME
    if donor.waveform is None or len(donor.waveform) < samples or not is_audible(donor.waveform):
        raise CannotForge(f"{donor.path}: its audio is silent, or too short for the other clip")
    begin = int(rng.integers(0, len(donor.waveform) - samples + 1))
    return donor.waveform[begin : begin + samples]


def _with_audio(source: Source, voice: np.ndarray, window: Window) -> Source:
    waveform = np.zeros((source.length + 1) * SAMPLES_PER_FRAME, dtype=np.float32)
    begin = window.begin * SAMPLES_PER_FRAME
    waveform[begin : begin + len(voice)] = voice
    return replace(source, waveform=waveform)


def _required_donor(method: Method, donor: Source | None) -> Source:
    if donor is None:
        raise CannotForge(f"{method.name} needs a donor")
    return donor


def _region(patch: FacePatch, rng: np.random.Generator, number: int | None = None) -> tuple[np.ndarray, Region]:
    """An outline [T, N, 2] and a region around it: of lips, lower face or whole face, random unless ``number`` is given."""
    points, (low, high) = OUTLINES[int(rng.integers(len(OUTLINES))) if number is None else number]
    outline = patch.landmarks[:, list(points)]
    unit = relative_width(patch.landmarks[:, list(LIPS_OUTER)])
    return outline, Region.draw(rng, unit, low, high)


def _tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255.0


@torch.inference_mode()
def _run_batches(generate: Callable[[slice], torch.Tensor], count: int) -> np.ndarray:
    """Run a network on ``count`` faces in batches; float32 [T, S, S, 3] in 0 to 255."""
    return (torch.cat([generate(slice(i, i + BATCH_SIZE)) for i in range(0, count, BATCH_SIZE)]) * 255.0).permute(0, 2, 3, 1).numpy()


def _paste(
    patch: FacePatch, generated: np.ndarray, transforms: np.ndarray, outline: np.ndarray, region: Region
) -> tuple[np.ndarray, np.ndarray]:
    """Paste generated faces float32 [T, S, S, 3] back into a patch, tones matched, under a soft mask around the outline."""
    out, alpha = patch.images.copy(), np.zeros(patch.images.shape[:3], dtype=np.float32)
    size = (patch.images.shape[2], patch.images.shape[1])
    for index, (face, transform) in enumerate(zip(generated, transforms, strict=True)):
        mask = uncrop(region.mask(outline[index], face.shape[:2]), transform, size).clip(0.0, 1.0)
        back = match_tones(uncrop(face, transform, size), patch.images[index], mask)
        mixed = mask[..., None] * back + (1.0 - mask[..., None]) * patch.images[index]
        out[index], alpha[index] = np.clip(mixed, 0, 255).round().astype(np.uint8), mask
    return out, alpha


def most_closed_frame(landmarks: np.ndarray) -> int:
    """Index of the frame of landmarks [T, 478, 2] in which the inner lips are nearest to each other."""
    return int(np.argmin(np.linalg.norm(landmarks[:, 13] - landmarks[:, 14], axis=-1)))
