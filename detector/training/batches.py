"""Samples to batches: every fake beside its paired real clip, balanced by method and corpus, augmented without regard to the label."""

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
from ...media.face.crops import EYE_LINE, EYES, FACE_STRIDE, SIDE
from ...media.face.geometry import mean_face
from ...media.face.landmarks import LIPS_OUTER, LOWER_FACE, OVAL
from ...media.face.mouth import INPUT
from ...media.pcm import to_float32
from ...media.speech import SPECTRUM_BINS, STACK, log_spectrum
from .augment import AugmentConfig, augment_audio, augment_faces, augment_mouth
from .samples import Sample, paired_real_clips, parts

RARE_METHOD_WEIGHT = 1.0 / 3.0  # chance of a method that is rare_methods drawn, others having 1
LEAST_FAKE = 2  # frames of a stretch that must be forged for it to be called fake
KINDS = {"both": ("audio", "video", "mismatch"), "audio": ("audio",), "video": ("video",)}  # what may be fake in the clips of a pass
PASSES = tuple(KINDS)
BLENDED = (LIPS_OUTER, LOWER_FACE, OVAL)  # outlines that faces are blended along


@dataclass
class Batch:
    """Examples of one pass; what the pass leaves out is ``None``.

    Parameters
    ----------
    audio : float [B, T, F]
    spectrum : float [B, T, 1024]
    video : uint8 [B, T, 88, 88], or float [B, T, D] where the front end is frozen
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
    """What one step of training sees.

    Parameters
    ----------
    passes : dict of str to Batch
    faces : uint8 [B, 1, 128, 128, 3] or None
        Single faces, every other one forged.
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


class PairSampler:
    """Draws pairs of a fake and its paired real clip from samples.

    Parameters
    ----------
    samples : sequence of Sample
    exclude_methods : collection of str
        Methods that are left out.
    rare_methods : collection of str
        Methods that are drawn a third as often as the others.
    """

    def __init__(self, samples: Sequence[Sample], exclude_methods: Sequence[str] = (), rare_methods: Sequence[str] = ()) -> None:
        self.samples, self.rare_methods = samples, frozenset(rare_methods)
        self.paired = paired_real_clips(samples)
        count: dict[str, int] = {}
        for sample in samples:
            count[sample.corpus] = count.get(sample.corpus, 0) + 1
        weight = np.array([1.0 / np.sqrt(count[s.corpus]) for s in samples])  # a corpus weighs as the root of its size
        excluded = set(exclude_methods)
        found: dict[tuple[str, str], dict[str, list[int]]] = {(name, kind): {} for name in PASSES for kind in KINDS[name]}
        for index, sample in enumerate(samples):
            names = {stream: parts(sample.methods[stream]) for stream in ("audio", "video")}
            if excluded & {name for group in names.values() for name in group} or self.paired[index] is None:
                continue
            faked = {stream: names[stream] for stream in ("audio", "video") if sample.fake(stream)}
            if sample.mismatch and not faked:
                faked["mismatch"] = ("mismatch",)
            for step_pass, kind in found:
                if step_pass != "both" or (sample.mouth is not None and sample.waveform is not None):
                    for name in faked.get(kind, ()):
                        found[step_pass, kind].setdefault(name, []).append(index)
        self.pools = {
            key: {name: (np.array(members), weight[members] / weight[members].sum()) for name, members in sorted(methods.items())}
            for key, methods in found.items()
        }
        self.faces = [i for i, s in enumerate(samples) if s.genuine and s.face is not None and s.face.any()]
        self.voices = [i for i, s in enumerate(samples) if s.genuine and s.waveform is not None]

    def pair(self, step_pass: str, kind: str, rng: np.random.Generator) -> tuple[Sample, Sample]:
        """A clip that is fake in a stream (or out of step, for ``mismatch``), every method with its chance, and its paired."""
        methods = self.pools[step_pass, kind]
        chances = np.array([RARE_METHOD_WEIGHT if name in self.rare_methods else 1.0 for name in methods])
        members, weight = methods[str(rng.choice(list(methods), p=chances / chances.sum()))]
        index = int(rng.choice(members, p=weight))
        paired = self.paired[index]
        assert paired is not None
        return self.samples[index], self.samples[paired]

    def kinds(self, step_pass: str) -> list[str]:
        """What may be fake in the clips of a pass."""
        return [kind for kind in KINDS[step_pass] if self.pools[step_pass, kind]]


def make_train_batch(
    draw: PairSampler,
    backbone: type[Backbone],
    pairs: dict[str, int],
    frames: int,
    augment: AugmentConfig,
    rng: np.random.Generator,
    forged_faces: float = 0.0,
) -> TrainBatch:
    """PairSampler one step of training.

    Parameters
    ----------
    pairs : dict of str to int
        Pairs for each pass (``both``, ``audio``, ``video``), and for ``faces``, single faces.
    frames : int
        Length of every example.
    forged_faces : float
        Share of the single faces that come from forged clips; the others are blended on the fly.
    """
    passes = {}
    for name in PASSES:
        kinds = draw.kinds(name)
        if not pairs.get(name) or not kinds:
            continue
        examples = []
        for number in range(pairs[name]):
            fake, genuine = draw.pair(name, kinds[number % len(kinds)], rng)
            longest = min(fake.frames, genuine.frames)
            begin = int(rng.integers(0, max(longest - frames, 0) + 1)) // FACE_STRIDE * FACE_STRIDE
            for sample in (fake, genuine):
                babble = draw.samples[int(rng.choice(draw.voices))].waveform if draw.voices else None
                examples.append(_example(sample, name, begin, frames, backbone, augment, babble, rng))
        passes[name] = collate(examples)
    step = TrainBatch(passes)
    if pairs.get("faces") and draw.faces:
        step.faces, step.face_labels = single_faces(draw, pairs["faces"], forged_faces, augment, rng)
    return step


Example = dict[str, np.ndarray]


def _example(
    sample: Sample,
    step_pass: str,
    begin: int,
    frames: int,
    backbone: type[Backbone],
    augment: AugmentConfig,
    babble: np.ndarray | None,
    rng: np.random.Generator,
) -> Example:
    example: Example = {}
    if step_pass != "video":
        example |= audio_example(sample, begin, frames, backbone, augment, babble, rng)
    if step_pass != "audio":
        example |= video_example(sample, begin, frames, augment, rng)
    return example


def audio_example(
    sample: Sample,
    begin: int,
    frames: int,
    backbone: type[Backbone],
    augment: AugmentConfig | None,
    babble: np.ndarray | None,
    rng: np.random.Generator,
) -> Example:
    """The sound of a stretch, padded; what the clip lacks is masked."""
    labels = sample.labels.get("audio", np.zeros(0, dtype=np.float32))[begin : begin + frames]
    sound = np.zeros(0, dtype=np.int16) if sample.waveform is None else sample.waveform
    there = min(len(labels), max(len(sound) // SAMPLES_PER_FRAME - begin, 0))
    window = to_float32(sound[begin * SAMPLES_PER_FRAME : (begin + there) * SAMPLES_PER_FRAME])
    if augment is not None:
        window = augment_audio(window, augment, rng, None if babble is None else to_float32(babble))
    short = frames - there
    features = backbone.extract_audio_features(window) if there else np.zeros((0, 0), dtype=np.float32)
    spectrum = log_spectrum(window)
    return {
        "audio": np.pad(features, ((0, short), (0, 0))) if there else np.zeros((frames, 0), dtype=np.float32),
        "spectrum": np.pad(spectrum, ((0, short), (0, 0))) if there else np.zeros((frames, SPECTRUM_BINS * STACK), dtype=np.float32),
        "audio_mask": np.arange(frames) < there,
        "audio_labels": np.pad(labels[:there], (0, short)),
    }


def video_example(sample: Sample, begin: int, frames: int, augment: AugmentConfig, rng: np.random.Generator) -> Example:
    """The picture of a stretch, padded; frames without a face are masked."""
    labels = sample.labels.get("video", np.zeros(0, dtype=np.float32))[begin : begin + frames]
    there = len(labels)
    first = begin // FACE_STRIDE
    looks = -(-frames // FACE_STRIDE)
    known = sample.looks
    video = np.zeros((frames, INPUT, INPUT), dtype=np.uint8) if known is None else np.zeros((frames, known.shape[2]), dtype=np.float32)
    mask = np.zeros(frames, dtype=bool)
    faces = np.zeros((looks, SIDE, SIDE, 3), dtype=np.uint8)
    if sample.mouth is not None and sample.usable is not None and sample.face is not None and there:
        if known is None:
            video[:there] = augment_mouth(sample.mouth[begin : begin + there], augment, rng)
        else:
            video[:there] = known[int(rng.integers(1, len(known))) if len(known) > 1 else 0, begin : begin + there]
        mask[:there] = sample.usable[begin : begin + there]
        seen = augment_faces(sample.face[first : first + looks], augment, rng)
        faces[: len(seen)] = seen
    return {"video": video, "faces": faces, "video_mask": mask, "video_labels": np.pad(labels, (0, frames - there))}


def collate(examples: Sequence[Example]) -> Batch:
    """Stack examples of one pass; a clip without sound among others with sound is silence."""
    batch = Batch()
    for field in fields(Batch):
        arrays = [example[field.name] for example in examples if field.name in example]
        if not arrays:
            continue
        width = max(array.shape[-1] for array in arrays)
        if field.name == "audio":
            arrays = [array if array.shape[1] == width else np.zeros((len(array), width), dtype=np.float32) for array in arrays]
        setattr(batch, field.name, torch.from_numpy(np.stack(arrays)))
    return batch


def mean_outline(points: Sequence[int]) -> np.ndarray:
    """Where points of the mean face lie in an aligned face, float32 [N, 2] in pixels."""
    placed = mean_face()[list(points), :2] * EYES * SIDE + (SIDE / 2, EYE_LINE * SIDE)
    return placed.astype(np.float32)


def single_faces(draw: PairSampler, pairs: int, share: float, augment: AugmentConfig, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Single forged faces, each beside the genuine one.

    Parameters
    ----------
    share : float
        Of the pairs that come from forged clips; in the others a genuine face is blended on the fly, or sent through the
        bottleneck of a generator.
    """
    faces = []
    for _ in range(pairs):
        found = forged_face(draw, rng) if rng.random() < share and draw.kinds("video") else None
        if found is None:
            face = draw.samples[int(rng.choice(draw.faces))].face
            assert face is not None
            shown = face[int(rng.choice(np.flatnonzero(face.any(axis=(1, 2, 3)))))]
            found = (bottleneck if rng.random() < 0.5 else seam)(shown, rng), shown
        faces += [augment_faces(picture[None], augment, rng) for picture in found]
    return torch.from_numpy(np.stack(faces)), torch.tensor([1.0, 0.0]).repeat(pairs)


def forged_face(draw: PairSampler, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """A face [S, S, 3] of a forged clip and that of its paired real clip at the same moment; ``None`` where they have none in common."""
    fake, genuine = draw.pair("video", "video", rng)
    if fake.face is None or genuine.face is None or (fake.source, fake.slot) != (genuine.source, genuine.slot):
        return None
    there = min(len(fake.face), len(genuine.face))
    forged = fake.labels["video"][::FACE_STRIDE][:there] == 1
    shown = [face[:there].any(axis=(1, 2, 3)) for face in (fake.face, genuine.face)]
    moments = np.flatnonzero(forged & shown[0] & shown[1])
    if not len(moments):
        return None
    moment = int(rng.choice(moments))
    return fake.face[moment], genuine.face[moment]


def seam(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An aligned face uint8 [S, S, 3] blended with a changed copy of itself."""
    outline = mean_outline(BLENDED[int(rng.integers(len(BLENDED)))])[None]
    region = Region.draw(rng, 1.0, (0.8, 0.8), (1.2, 1.2))
    return self_blend((face[None], outline), (face[None], outline), rng, region, strength=float(rng.uniform(0.3, 0.8)))[0][0]


def bottleneck(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A part of an aligned face uint8 [S, S, 3] as a generator of lower resolution gives it back, softly pasted.

    Published generators paint faces of 96 to 256 pixels and enlarge them. What gives them away is not that a picture is
    soft, but that a part of it is softer than the rest.
    """
    side = len(face)
    native = max(16, int(side * rng.uniform(0.3, 0.75)))
    down = cv2.resize(face, (native, native), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        down = cv2.GaussianBlur(down, (0, 0), rng.uniform(0.3, 0.7))
    back = cv2.resize(down, (side, side), interpolation=[cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4][int(rng.integers(3))])
    if rng.random() < 0.4:  # the crop of the face, chin and mouth, as a rectangle
        mask = np.zeros((side, side), dtype=np.float32)
        top = int(side * rng.choice([rng.uniform(0.05, 0.3), rng.uniform(0.45, 0.6)]))
        left, right = (int(side * rng.uniform(*span)) for span in ((0.05, 0.25), (0.75, 0.95)))
        mask[top : int(side * rng.uniform(0.85, 1.0)), left:right] = 1.0
        mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.5, 4.0))
    else:
        outline = mean_outline(BLENDED[1 + int(rng.integers(2))])
        mask = Region.draw(rng, 1.0, (0.85, 0.85), (1.2, 1.2)).mask(outline, (side, side))
    weight = mask[..., None]
    return np.asarray(np.clip(weight * back + (1.0 - weight) * face, 0, 255).astype(np.uint8))
