"""Pairs of samples to batches: windows cut, augmented and stacked, one batch for each forward pass of a training step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
import torch
from torch import Tensor

from ...avsr.backbones.base import Backbone
from ...generators.faces.blending import Region, self_blend
from ...media.clip import SAMPLES_PER_FRAME
from ...media.face.crops import EYE_HEIGHT, EYE_SPACING, FACE_SIZE, FACE_STRIDE
from ...media.face.geometry import mean_face
from ...media.face.landmarks import LIPS_OUTER, LOWER_FACE, OVAL
from ...media.face.mouth import INPUT_SIZE
from ...media.pcm import to_float32
from ...media.speech import SPECTRUM_BINS, STACK, log_spectrum
from .augment import AugmentConfig, augment_audio, augment_faces, augment_mouth
from .pair_sampler import PASSES, PairSampler
from .samples import Sample

MIN_FAKE_FRAMES = 2  # forged frames from which on a window is labelled fake
BLENDED_REGIONS = (LIPS_OUTER, LOWER_FACE, OVAL)  # outlines that faces are blended along

Inputs = dict[str, np.ndarray]  # inputs and labels of one window, by the names of Batch's fields, without the batch axis


@dataclass
class Batch:
    """Windows of one forward pass; what the pass leaves out is ``None``.

    Parameters
    ----------
    audio : float [B, T, F]
        Audio features of the backbone.
    spectrum : float [B, T, 1024]
    video : uint8 [B, T, 88, 88], or float [B, T, D]
        Mouth crops, or the features of a frozen visual front end.
    faces : uint8 [B, ceil(T / 5), 128, 128, 3]
    audio_mask, video_mask : bool [B, T]
    audio_labels, video_labels : float [B, T]
        1 where a frame is fake.
    """

    audio: Tensor | None = None
    spectrum: Tensor | None = None
    video: Tensor | None = None
    faces: Tensor | None = None
    audio_mask: Tensor | None = None
    video_mask: Tensor | None = None
    audio_labels: Tensor | None = None
    video_labels: Tensor | None = None

    def to(self, device: torch.device, *, non_blocking: bool = False) -> None:
        """Move to a device, in place."""
        for name, value in vars(self).items():
            if value is not None:
                setattr(self, name, value.to(device, non_blocking=non_blocking))


@dataclass
class TrainBatch:
    """Inputs and labels of one training step.

    Parameters
    ----------
    passes : dict of str to Batch
        By the name of the pass, see :data:`avwitness.detector.training.pair_sampler.PASSES`.
    faces : uint8 [B, 1, 128, 128, 3] or None
        Single faces for the face branch alone, every other one forged.
    face_labels : float [B] or None
    """

    passes: dict[str, Batch]
    faces: Tensor | None = None
    face_labels: Tensor | None = None

    def to(self, device: torch.device, *, non_blocking: bool = False) -> None:
        """Move to a device, in place."""
        for batch in self.passes.values():
            batch.to(device, non_blocking=non_blocking)
        if self.faces is not None and self.face_labels is not None:
            self.faces, self.face_labels = self.faces.to(device), self.face_labels.to(device)


def make_train_batch(
    sampler: PairSampler,
    backbone: type[Backbone],
    pairs: dict[str, int],
    frames: int,
    augment: AugmentConfig,
    rng: np.random.Generator,
    forged_face_share: float = 0.0,
) -> TrainBatch:
    """Sample, augment and stack the inputs of one training step.

    Parameters
    ----------
    pairs : dict of str to int
        Pairs for each pass (``both``, ``audio``, ``video``), and for ``faces``, single faces.
    frames : int
        Length of every window, at 25 Hz.
    forged_face_share : float
        Share of the single faces that come from forged clips; the others are blended on the fly.
    """
    passes = {}
    for name in PASSES:
        kinds = sampler.kinds(name)
        if not pairs.get(name) or not kinds:
            continue
        windows = []
        for number in range(pairs[name]):
            fake, genuine = sampler.pair(name, kinds[number % len(kinds)], rng)
            longest = min(fake.frames, genuine.frames)
            begin = int(rng.integers(0, max(longest - frames, 0) + 1)) // FACE_STRIDE * FACE_STRIDE
            for sample in (fake, genuine):
                babble = sampler.samples[int(rng.choice(sampler.speakers))].waveform if sampler.speakers else None
                window: Inputs = {}
                if name != "video":
                    window |= audio_inputs(sample, begin, frames, backbone, augment, babble, rng)
                if name != "audio":
                    window |= video_inputs(sample, begin, frames, augment, rng)
                windows.append(window)
        passes[name] = collate(windows)
    batch = TrainBatch(passes)
    if pairs.get("faces") and sampler.faces:
        batch.faces, batch.face_labels = make_face_pairs(sampler, pairs["faces"], forged_face_share, augment, rng)
    return batch


def audio_inputs(
    sample: Sample,
    begin: int,
    frames: int,
    backbone: type[Backbone],
    augment: AugmentConfig | None,
    babble: np.ndarray | None,
    rng: np.random.Generator,
) -> Inputs:
    """Audio features, spectrum, mask and labels of a window; frames beyond the end of the clip are padded and masked.

    Parameters
    ----------
    begin, frames : int
        First frame and length of the window, at 25 Hz.
    babble : int16 [S], optional
        Another speaker's waveform.
    """
    labels = sample.labels.get("audio", np.zeros(0, dtype=np.float32))[begin : begin + frames]
    waveform = np.zeros(0, dtype=np.int16) if sample.waveform is None else sample.waveform
    length = min(len(labels), max(len(waveform) // SAMPLES_PER_FRAME - begin, 0))
    window = to_float32(waveform[begin * SAMPLES_PER_FRAME : (begin + length) * SAMPLES_PER_FRAME])
    if augment is not None:
        window = augment_audio(window, augment, rng, None if babble is None else to_float32(babble))
    padding = frames - length
    features = backbone.extract_audio_features(window) if length else np.zeros((0, 0), dtype=np.float32)
    spectrum = log_spectrum(window)
    return {
        "audio": np.pad(features, ((0, padding), (0, 0))) if length else np.zeros((frames, 0), dtype=np.float32),
        "spectrum": np.pad(spectrum, ((0, padding), (0, 0))) if length else np.zeros((frames, SPECTRUM_BINS * STACK), dtype=np.float32),
        "audio_mask": np.arange(frames) < length,
        "audio_labels": np.pad(labels[:length], (0, padding)),
    }


def video_inputs(sample: Sample, begin: int, frames: int, augment: AugmentConfig, rng: np.random.Generator) -> Inputs:
    """Mouth crops or their visual features, face crops, mask and labels of a window; frames without a usable face are masked."""
    labels = sample.labels.get("video", np.zeros(0, dtype=np.float32))[begin : begin + frames]
    length = len(labels)
    first_face, face_count = begin // FACE_STRIDE, -(-frames // FACE_STRIDE)
    features = sample.visual_features
    if features is None:
        video = np.zeros((frames, INPUT_SIZE, INPUT_SIZE), dtype=np.uint8)
    else:
        video = np.zeros((frames, features.shape[2]), dtype=np.float32)
    mask = np.zeros(frames, dtype=bool)
    faces = np.zeros((face_count, FACE_SIZE, FACE_SIZE, 3), dtype=np.uint8)
    if sample.mouth is not None and sample.usable is not None and sample.face is not None and length:
        if features is None:
            video[:length] = augment_mouth(sample.mouth[begin : begin + length], augment, rng)
        else:
            video[:length] = features[int(rng.integers(1, len(features))) if len(features) > 1 else 0, begin : begin + length]
        mask[:length] = sample.usable[begin : begin + length]
        crops = augment_faces(sample.face[first_face : first_face + face_count], augment, rng)
        faces[: len(crops)] = crops
    return {"video": video, "faces": faces, "video_mask": mask, "video_labels": np.pad(labels, (0, frames - length))}


def collate(windows: Sequence[Inputs]) -> Batch:
    """Stack windows of one pass; audio features of a clip without audio are zeros, where other clips have audio."""
    batch = Batch()
    for field in fields(Batch):
        arrays = [window[field.name] for window in windows if field.name in window]
        if not arrays:
            continue
        width = max(array.shape[-1] for array in arrays)
        if field.name == "audio":
            arrays = [array if array.shape[1] == width else np.zeros((len(array), width), dtype=np.float32) for array in arrays]
        setattr(batch, field.name, torch.from_numpy(np.stack(arrays)))
    return batch


def mean_outline(points: Sequence[int]) -> np.ndarray:
    """Positions of landmarks of the mean face in an aligned face crop, float32 [N, 2] in pixels."""
    placed = mean_face()[list(points), :2] * EYE_SPACING * FACE_SIZE + (FACE_SIZE / 2, EYE_HEIGHT * FACE_SIZE)
    return placed.astype(np.float32)


def make_face_pairs(
    sampler: PairSampler, pairs: int, forged_share: float, augment: AugmentConfig, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Single faces uint8 [2 * pairs, 1, S, S, 3] and labels [2 * pairs]: each forged face, then its genuine one.

    Parameters
    ----------
    forged_share : float
        Share of the pairs that come from forged clips. In the others a genuine face is blended with itself or resampled, see
        :func:`blend_face` and :func:`resample_face`.
    """
    faces = []
    for _ in range(pairs):
        pair = forged_face(sampler, rng) if rng.random() < forged_share and sampler.kinds("video") else None
        if pair is None:
            face = sampler.samples[int(rng.choice(sampler.faces))].face
            assert face is not None
            genuine = face[int(rng.choice(np.flatnonzero(face.any(axis=(1, 2, 3)))))]
            pair = (resample_face if rng.random() < 0.5 else blend_face)(genuine, rng), genuine
        faces += [augment_faces(image[None], augment, rng) for image in pair]
    return torch.from_numpy(np.stack(faces)), torch.tensor([1.0, 0.0]).repeat(pairs)


def forged_face(sampler: PairSampler, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """A face [S, S, 3] of a forged clip and that of its paired real clip at the same moment; ``None`` if they have none in common."""
    fake, genuine = sampler.pair("video", "video", rng)
    if fake.face is None or genuine.face is None or (fake.source, fake.slot) != (genuine.source, genuine.slot):
        return None
    count = min(len(fake.face), len(genuine.face))
    forged = fake.labels["video"][::FACE_STRIDE][:count] == 1
    known = [face[:count].any(axis=(1, 2, 3)) for face in (fake.face, genuine.face)]
    moments = np.flatnonzero(forged & known[0] & known[1])
    if not len(moments):
        return None
    moment = int(rng.choice(moments))
    return fake.face[moment], genuine.face[moment]


def blend_face(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Self-blending: an aligned face uint8 [S, S, 3], blended with a changed copy of itself."""
    outline = mean_outline(BLENDED_REGIONS[int(rng.integers(len(BLENDED_REGIONS)))])[None]
    region = Region.draw(rng, 1.0, (0.8, 0.8), (1.2, 1.2))
    return self_blend((face[None], outline), (face[None], outline), rng, region, strength=float(rng.uniform(0.3, 0.8)))[0][0]


def resample_face(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An aligned face uint8 [S, S, 3] with one region sent through a lower resolution, as generators of low resolution do.

    Published generators output faces of 96 to 256 pixels, which are then enlarged. The trace they leave is not low
    resolution as such but a difference of resolution within the face.
    """
    side = len(face)
    native = max(16, int(side * rng.uniform(0.3, 0.75)))
    down = cv2.resize(face, (native, native), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        down = cv2.GaussianBlur(down, (0, 0), rng.uniform(0.3, 0.7))
    back = cv2.resize(down, (side, side), interpolation=[cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4][int(rng.integers(3))])
    if rng.random() < 0.4:  # a rectangle: the crop of the face, or of chin and mouth
        mask = np.zeros((side, side), dtype=np.float32)
        top = int(side * rng.choice([rng.uniform(0.05, 0.3), rng.uniform(0.45, 0.6)]))
        left, right = (int(side * rng.uniform(*span)) for span in ((0.05, 0.25), (0.75, 0.95)))
        mask[top : int(side * rng.uniform(0.85, 1.0)), left:right] = 1.0
        mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.5, 4.0))
    else:
        outline = mean_outline(BLENDED_REGIONS[1 + int(rng.integers(2))])
        mask = Region.draw(rng, 1.0, (0.85, 0.85), (1.2, 1.2)).mask(outline, (side, side))
    weight = mask[..., None]
    return np.asarray(np.clip(weight * back + (1.0 - weight) * face, 0, 255).astype(np.uint8))
