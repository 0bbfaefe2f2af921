"""The forge's editing methods: audio shifted against video, audio of another clip, and words deleted, replaced or inserted.

The word edits follow LAV-DF (Cai et al., *Do you really mean that? Content driven audio-visual deepfake dataset and
multimodal method for temporal forgery localization*, DICTA 2022) and AV-Deepfake1M (Cai et al., ACM Multimedia 2024): a
single word is changed, everything around it is genuine, and the edited intervals are the labels. The inserted segment comes
from another clip of the speaker; its audio is resynthesised by a copy-synthesis voice, its lips are blended in.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

import numpy as np

from ...media.clip import FRAME_RATE, SAMPLE_RATE, SAMPLES_PER_FRAME
from ...media.face.landmarks import LIPS_OUTER
from ..faces.blending import Region, relative_width, replace_mouth
from ..faces.methods import LIPS_REGION, donor_audio, face_patch, most_closed_frame
from ..methods.base import CannotForge, Donor, Forgery, Intervals, Method, Window
from ..methods.matching import match_detail, match_spectrum
from ..methods.source import Facts, Source, is_audible
from ..voices.fitting import background_noise
from ..voices.methods import splice
from ..voices.resynthesis import VOICES

SHIFT_RANGE = (0.12, 1.0)  # seconds, range of the lag between audio and video; smaller lags are hardly noticeable
EDIT_FRAMES = (3, 20)  # frames, length of the shortest and of the longest edit
PAUSE_FILL = 0.6  # share of a pause that an inserted word fills
MIN_PAUSE = 5  # frames of the shortest pause into which a word is inserted
BOTH_STREAMS = frozenset({"audio", "video"})


class Desynchronised(Method):
    """Genuine audio shifted against its genuine video by 120 to 1000 ms; neither stream is fake, the sync label is."""

    name = "desync"
    streams = frozenset()

    def supports(self, facts: Facts, transcript: str, window: Window) -> bool:
        return facts.audio and facts.video and bool(self._ranges(facts.length, window))

    def _ranges(self, length: int, window: Window) -> list[tuple[int, float]]:
        """Possible directions (1: audio from later, -1: from earlier) with the largest shift in seconds."""
        before, after = window.begin / FRAME_RATE, (length - window.begin - window.frames) / FRAME_RATE
        return [(sign, min(SHIFT_RANGE[1], room)) for sign, room in ((-1, before), (1, after)) if room >= SHIFT_RANGE[0]]

    def forge(self, source: Source, donor: Source | None, window: Window, rng: np.random.Generator) -> Forgery:
        ranges = self._ranges(source.length, window)
        if source.waveform is None or source.frames is None or not is_audible(source.waveform) or not ranges:
            raise CannotForge(f"{source.path}: silent, or too short to shift its audio by {SHIFT_RANGE[0]} s")
        sign, limit = ranges[int(rng.integers(len(ranges)))]
        shift = sign * rng.uniform(SHIFT_RANGE[0], limit)
        begin = window.begin * SAMPLES_PER_FRAME + round(shift * SAMPLE_RATE)
        waveform = source.waveform[begin : begin + window.frames * SAMPLES_PER_FRAME]
        frames = source.frames[window.begin : window.begin + window.frames]
        return Forgery(frames, waveform, mismatch=True, offset=-float(shift))


class ForeignAudio(Method):
    """The genuine audio of another clip; neither stream is fake, the sync label is."""

    name = "foreign_audio"
    streams = frozenset()
    donor = Donor.any
    donor_streams = frozenset({"audio"})

    def supports(self, facts: Facts, transcript: str, window: Window) -> bool:
        return facts.audio and facts.video

    def forge(self, source: Source, donor: Source | None, window: Window, rng: np.random.Generator) -> Forgery:
        if donor is None or source.frames is None:
            raise CannotForge(f"{source.path}: foreign audio needs video and a donor")
        frames = source.frames[window.begin : window.begin + window.frames]
        return Forgery(frames, donor_audio(donor, window, rng), mismatch=True)


class Operation(Enum):
    """Operation of a word edit."""

    delete = "delete"
    replace = "replace"
    insert = "insert"


class WordEdit(Method):
    """One word deleted, replaced or inserted, in the audio, in the video or in both.

    Edits of a single stream keep the duration: a deleted word becomes background noise or a closed mouth, an inserted one
    fills a pause. Edits of both streams change it: the frames of a deleted word are removed, those of an inserted one added.
    """

    donor = Donor.same

    def __init__(self, operation: Operation, streams: frozenset[str]) -> None:
        self.operation, self.streams = operation, streams  # type: ignore[misc]
        self.name = f"word_{operation.value}_{'both' if streams == BOTH_STREAMS else min(streams)}"  # type: ignore[misc]

    def supports(self, facts: Facts, transcript: str, window: Window) -> bool:
        if not facts.words or not facts.audio or (not facts.face if "video" in self.streams else False):
            return False
        return bool(self._places(facts.words, facts.length, window))

    def _places(self, words: Intervals, length: int, window: Window) -> list[tuple[int, int]]:
        """First and last frame of the parts of the source that can be edited so that the window keeps its length."""
        first, last = window.begin, window.begin + window.frames
        spans = [(round(a * FRAME_RATE), round(b * FRAME_RATE)) for a, b in words]
        if self.operation is Operation.insert and self.streams != BOTH_STREAMS:
            edges = [first, *(min(max(x, first), last) for span in spans for x in span), last]
            return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= MIN_PAUSE]
        places = [(a, min(b, a + EDIT_FRAMES[1])) for a, b in spans if a > first and b < last and b - a >= EDIT_FRAMES[0]]
        if self.operation is Operation.delete and self.streams == BOTH_STREAMS:
            return [
                (a, b) for a, b in places if b - a <= length - window.frames
            ]  # removed frames are compensated by more frames at the ends
        if self.operation is Operation.insert:
            return [(a, a) for a, _ in places if a + EDIT_FRAMES[0] < last]
        return places

    def forge(self, source: Source, donor: Source | None, window: Window, rng: np.random.Generator) -> Forgery:
        donor = source if donor is None else donor
        if not is_audible(source.waveform) or ("video" in self.streams and source.frames is None):
            raise CannotForge(f"{source.path}: has no usable stream for {self.name}")
        places = self._places(source.words, source.length, window) if source.words else []
        if not places or source.waveform is None:
            raise CannotForge(f"{source.path}: no word in frames {window.begin} to {window.begin + window.frames} to edit")
        begin, end = places[int(rng.integers(len(places)))]
        if self.operation is Operation.delete and self.streams == BOTH_STREAMS:
            return self._cut_out(source, window, begin, end)
        if self.operation is Operation.insert and self.streams == BOTH_STREAMS:
            end = begin + min(int(rng.integers(6, EDIT_FRAMES[1] + 1)), window.begin + window.frames - begin)
            source = _with_pause(source, begin, end - begin, rng)
        elif self.operation is Operation.insert:
            # A part of the pause, at a random place: a clip without any initial silence would reveal the edit.
            length = min(EDIT_FRAMES[1], max(EDIT_FRAMES[0], round(PAUSE_FILL * (end - begin))))
            begin += int(rng.integers(0, end - begin - length + 1))
            end = begin + length
        start = 0 if self.operation is Operation.delete else self._donor_start(source, donor, begin, end, rng)
        waveform, frames = source.waveform, source.frames
        if "audio" in self.streams:
            waveform = self._edit_audio(source, donor, begin, end, start, rng)
        if "video" in self.streams:
            frames = self._edit_video(source, donor, begin, end, start, rng)
        span = slice(window.begin, window.begin + window.frames)
        samples = slice(window.begin * SAMPLES_PER_FRAME, (window.begin + window.frames) * SAMPLES_PER_FRAME)
        label: Intervals = (((begin - window.begin) / FRAME_RATE, (min(end, span.stop) - window.begin) / FRAME_RATE),)
        assert waveform is not None
        return Forgery(
            None if frames is None else frames[span],
            waveform[samples],
            label if "video" in self.streams else (),
            label if "audio" in self.streams else (),
            False if self.streams == BOTH_STREAMS else None,
            landmarks=None if source.landmarks is None else source.landmarks[span],
        )

    def _cut_out(self, source: Source, window: Window, begin: int, end: int) -> Forgery:
        """Remove the frames ``begin`` to ``end`` from both streams; the label covers one frame on either side of the cut."""
        after = min(end - begin, source.length - window.begin - window.frames)
        first = window.begin - (end - begin - after)
        last = window.begin + window.frames + after
        assert source.waveform is not None
        frames = None if source.frames is None else np.concatenate([source.frames[first:begin], source.frames[end:last]])
        seam = SAMPLES_PER_FRAME // 4
        head = source.waveform[first * SAMPLES_PER_FRAME : begin * SAMPLES_PER_FRAME + seam].copy()
        tail = source.waveform[end * SAMPLES_PER_FRAME : last * SAMPLES_PER_FRAME].copy()
        ramp = np.linspace(0.0, 1.0, seam, dtype=np.float32)
        tail[:seam] = ramp * tail[:seam] + (1.0 - ramp) * head[-seam:]
        label = ((max(0, begin - first - 1) / FRAME_RATE, min(window.frames, begin - first + 1) / FRAME_RATE),)
        points = None if source.landmarks is None else np.concatenate([source.landmarks[first:begin], source.landmarks[end:last]])
        return Forgery(frames, np.concatenate([head[:-seam], tail]), label, label, landmarks=points)

    def _donor_start(self, source: Source, donor: Source, begin: int, end: int, rng: np.random.Generator) -> int:
        """First frame of the inserted segment in the donor: at the begin of a word, with room for the length of the edit."""
        frames = end - begin
        starts = [round(a * FRAME_RATE) for a, _ in donor.words]
        starts = [a for a in starts if a + frames <= donor.length and (donor.path != source.path or abs(a - begin) >= frames)]
        if not starts and donor.length >= frames and donor.path != source.path:
            starts = [int(rng.integers(0, donor.length - frames + 1))]
        if not starts:
            raise CannotForge(f"{donor.path}: holds no {frames} frames to insert into {source.path}")
        return starts[int(rng.integers(len(starts)))]

    def _edit_audio(self, source: Source, donor: Source, begin: int, end: int, start: int, rng: np.random.Generator) -> np.ndarray:
        assert source.waveform is not None
        span = slice(begin * SAMPLES_PER_FRAME, end * SAMPLES_PER_FRAME)
        if self.operation is Operation.delete:
            noise = background_noise(source.waveform, rng).astype(np.float32)
            return splice(source.waveform, noise[span], span.start)
        if donor.waveform is None:
            raise CannotForge(f"{donor.path}: has no audio")
        usable = [voice for voice in VOICES.values() if not voice.needs_text and voice.missing_reason() is None]
        voice = usable[int(rng.integers(len(usable)))]
        # With a margin, since copy-synthesis has artefacts at the ends of its input.
        margin = 2 * SAMPLES_PER_FRAME
        first = max(0, start * SAMPLES_PER_FRAME - margin)
        segment = donor.waveform[first : (start + end - begin) * SAMPLES_PER_FRAME + margin]
        made = voice(segment, rng)[start * SAMPLES_PER_FRAME - first :][: span.stop - span.start]
        return splice(source.waveform, match_spectrum(made, _speech(source)), span.start)

    def _edit_video(self, source: Source, donor: Source, begin: int, end: int, start: int, rng: np.random.Generator) -> np.ndarray:
        assert source.frames is not None
        patch = face_patch(source)
        lips = list(LIPS_OUTER)
        if self.operation is Operation.delete:
            # A closed mouth: the frame in which the lips are nearest to each other, repeated.
            still = most_closed_frame(patch.landmarks)
            images, points = patch.images[still : still + 1], patch.landmarks[still : still + 1, lips]
        else:
            donor_patch = face_patch(donor)
            images, points = donor_patch.images, donor_patch.landmarks[:, lips]
        unit = relative_width(patch.landmarks[:, lips])
        region = Region.draw(rng, unit, *LIPS_REGION)
        clip = (patch.images[begin:end], patch.landmarks[begin:end, lips])
        forged, alpha = replace_mouth(clip, (images, points), rng, region, start)
        # Fade in and out over one frame, if the edit is long enough.
        if end - begin > 4:
            for edge in (0, -1):
                forged[edge] = ((forged[edge].astype(np.float32) + clip[0][edge]) / 2).astype(np.uint8)
        forged = match_detail(forged, clip[0], alpha, rng)
        changed = patch.images.copy()
        changed[begin:end] = forged
        return patch.paste(changed, source.frames)


def _speech(source: Source) -> np.ndarray:
    """The audio from the first word to the last."""
    assert source.waveform is not None and source.words
    first, last = source.words[0][0], source.words[-1][1]
    return source.waveform[round(first * SAMPLE_RATE) : round(last * SAMPLE_RATE)]


def _with_pause(source: Source, begin: int, frames: int, rng: np.random.Generator) -> Source:
    """Insert a pause of ``frames`` frames before frame ``begin``: the last frames played back and forth, background noise as audio."""
    assert source.waveform is not None
    # Back and forth, so that the head keeps moving.
    step = np.arange(frames)
    reach = max(1, min(begin - 1, 5))
    back = np.abs((step + reach) % (2 * reach) - reach)
    numbers = np.concatenate([np.arange(begin), np.maximum(begin - 1 - back, 0), np.arange(begin, source.length)])
    samples = begin * SAMPLES_PER_FRAME
    pause = np.resize(background_noise(source.waveform, rng), frames * SAMPLES_PER_FRAME).astype(np.float32)
    delay = frames / FRAME_RATE
    return replace(
        source,
        frames=None if source.frames is None else source.frames[numbers],
        waveform=np.concatenate([source.waveform[:samples], pause, source.waveform[samples:]]),
        landmarks=None if source.landmarks is None else source.landmarks[numbers],
        usable=None if source.usable is None else source.usable[numbers],
        words=tuple((a, b) if a < begin / FRAME_RATE else (a + delay, b + delay) for a, b in source.words),
    )
