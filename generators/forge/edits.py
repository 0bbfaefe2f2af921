"""Methods that cut: sound moved against the picture, foreign sound, and single words deleted, replaced or inserted.

The word edits follow LAV-DF (Cai et al., *Do you really mean that?*, DICTA 2022) and AV-Deepfake1M (Cai et al., ACM
Multimedia 2024): a few words change the meaning, everything around them is genuine, and the edited intervals are labels.
What is put in comes from elsewhere in the speaker's material; its sound goes through a voice, its lips are blended in.
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

SHIFT = (0.12, 1.0)  # seconds by which sound and picture come apart; less than the first, few people notice
WORD = (3, 20)  # frames: the shortest and the longest edit
FILLED = 0.6  # of a pause that an inserted word takes
PAUSE = 5  # frames of silence that a word can be put into
ALL = frozenset({"audio", "video"})


class Desynchronised(Method):
    """Genuine sound moved against its genuine picture by 120 to 1000 ms; neither is fake, they do not belong together."""

    name = "desync"
    streams = frozenset()

    def supports(self, facts: Facts, transcript: str, window: Window) -> bool:
        return facts.audio and facts.video and bool(self._ranges(facts.length, window))

    def _ranges(self, length: int, window: Window) -> list[tuple[int, float]]:
        """Which way the sound can be moved, 1 to take it from later and -1 from earlier, and by how many seconds at most."""
        before, after = window.begin / FRAME_RATE, (length - window.begin - window.frames) / FRAME_RATE
        return [(sign, min(SHIFT[1], room)) for sign, room in ((-1, before), (1, after)) if room >= SHIFT[0]]

    def forge(self, source: Source, donor: Source | None, window: Window, rng: np.random.Generator) -> Forgery:
        ranges = self._ranges(source.length, window)
        if source.waveform is None or source.frames is None or not is_audible(source.waveform) or not ranges:
            raise CannotForge(f"{source.path}: silent, or too short to move its sound by {SHIFT[0]} s")
        sign, most = ranges[int(rng.integers(len(ranges)))]
        shift = sign * rng.uniform(SHIFT[0], most)
        begin = window.begin * SAMPLES_PER_FRAME + round(shift * SAMPLE_RATE)
        waveform = source.waveform[begin : begin + window.frames * SAMPLES_PER_FRAME]
        frames = source.frames[window.begin : window.begin + window.frames]
        return Forgery(frames, waveform, mismatch=True, offset=-float(shift))


class ForeignAudio(Method):
    """The genuine sound of another clip; neither stream is fake, they do not belong together."""

    name = "foreign_audio"
    streams = frozenset()
    donor = Donor.any
    donor_streams = frozenset({"audio"})

    def supports(self, facts: Facts, transcript: str, window: Window) -> bool:
        return facts.audio and facts.video

    def forge(self, source: Source, donor: Source | None, window: Window, rng: np.random.Generator) -> Forgery:
        if donor is None or source.frames is None:
            raise CannotForge(f"{source.path}: foreign sound needs a picture and a donor")
        frames = source.frames[window.begin : window.begin + window.frames]
        return Forgery(frames, donor_audio(donor, window, rng), mismatch=True)


class Operation(Enum):
    """What happens to a word."""

    delete = "delete"
    replace = "replace"
    insert = "insert"


class WordEdit(Method):
    """One word deleted, replaced or inserted, in the sound, in the picture or in both.

    In one stream alone time goes on: a deleted word becomes background or a closed mouth, an inserted one fills a pause.
    In both, a deleted word takes its time with it and an inserted one brings its own.
    """

    donor = Donor.same

    def __init__(self, operation: Operation, streams: frozenset[str]) -> None:
        self.operation, self.streams = operation, streams  # type: ignore[misc]
        self.name = f"word_{operation.value}_{'both' if streams == ALL else min(streams)}"  # type: ignore[misc]

    def supports(self, facts: Facts, transcript: str, window: Window) -> bool:
        if not facts.words or not facts.audio or (not facts.face if "video" in self.streams else False):
            return False
        return bool(self._places(facts.words, facts.length, window))

    def _places(self, words: Intervals, length: int, window: Window) -> list[tuple[int, int]]:
        """Frames of the source, from and to, that can be edited so that the window stays full."""
        first, last = window.begin, window.begin + window.frames
        spans = [(round(a * FRAME_RATE), round(b * FRAME_RATE)) for a, b in words]
        if self.operation is Operation.insert and self.streams != ALL:
            edges = [first, *(min(max(x, first), last) for span in spans for x in span), last]
            return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= PAUSE]
        places = [(a, min(b, a + WORD[1])) for a, b in spans if a > first and b < last and b - a >= WORD[0]]
        if self.operation is Operation.delete and self.streams == ALL:
            return [(a, b) for a, b in places if b - a <= length - window.frames]  # what is lost is made up for at the ends
        if self.operation is Operation.insert:
            return [(a, a) for a, _ in places if a + WORD[0] < last]
        return places

    def forge(self, source: Source, donor: Source | None, window: Window, rng: np.random.Generator) -> Forgery:
        donor = source if donor is None else donor
        if not is_audible(source.waveform) or ("video" in self.streams and source.frames is None):
            raise CannotForge(f"{source.path}: lacks a stream that {self.name} edits")
        places = self._places(source.words, source.length, window) if source.words else []
        if not places or source.waveform is None:
            raise CannotForge(f"{source.path}: no word in frames {window.begin} to {window.begin + window.frames} to edit")
        begin, end = places[int(rng.integers(len(places)))]
        if self.operation is Operation.delete and self.streams == ALL:
            return self._cut_out(source, window, begin, end)
        if self.operation is Operation.insert and self.streams == ALL:
            end = begin + min(int(rng.integers(6, WORD[1] + 1)), window.begin + window.frames - begin)
            source = _with_room(source, begin, end - begin, rng)
        elif self.operation is Operation.insert:
            # Not all of the pause, and anywhere in it: a clip whose silence at the start is gone would be told by that.
            length = min(WORD[1], max(WORD[0], round(FILLED * (end - begin))))
            begin += int(rng.integers(0, end - begin - length + 1))
            end = begin + length
        start = 0 if self.operation is Operation.delete else self._piece(source, donor, begin, end, rng)
        waveform, frames = source.waveform, source.frames
        if "audio" in self.streams:
            waveform = self._sound(source, donor, begin, end, start, rng)
        if "video" in self.streams:
            frames = self._picture(source, donor, begin, end, start, rng)
        span = slice(window.begin, window.begin + window.frames)
        samples = slice(window.begin * SAMPLES_PER_FRAME, (window.begin + window.frames) * SAMPLES_PER_FRAME)
        label: Intervals = (((begin - window.begin) / FRAME_RATE, (min(end, span.stop) - window.begin) / FRAME_RATE),)
        assert waveform is not None
        return Forgery(
            None if frames is None else frames[span],
            waveform[samples],
            label if "video" in self.streams else (),
            label if "audio" in self.streams else (),
            False if self.streams == ALL else None,
            landmarks=None if source.landmarks is None else source.landmarks[span],
        )

    def _cut_out(self, source: Source, window: Window, begin: int, end: int) -> Forgery:
        """Both streams without the frames ``begin`` to ``end``; what is fake is the join, a frame on either side of it."""
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

    def _piece(self, source: Source, donor: Source, begin: int, end: int, rng: np.random.Generator) -> int:
        """Where in the donor the stretch begins that is put in: with a word, and as long as the edit."""
        frames = end - begin
        starts = [round(a * FRAME_RATE) for a, _ in donor.words]
        starts = [a for a in starts if a + frames <= donor.length and (donor.path != source.path or abs(a - begin) >= frames)]
        if not starts and donor.length >= frames and donor.path != source.path:
            starts = [int(rng.integers(0, donor.length - frames + 1))]
        if not starts:
            raise CannotForge(f"{donor.path}: holds no {frames} frames to put into {source.path}")
        return starts[int(rng.integers(len(starts)))]

    def _sound(self, source: Source, donor: Source, begin: int, end: int, start: int, rng: np.random.Generator) -> np.ndarray:
        assert source.waveform is not None
        span = slice(begin * SAMPLES_PER_FRAME, end * SAMPLES_PER_FRAME)
        if self.operation is Operation.delete:
            noise = background_noise(source.waveform, rng).astype(np.float32)
            return splice(source.waveform, noise[span], span.start)
        if donor.waveform is None:
            raise CannotForge(f"{donor.path}: has no sound")
        usable = [voice for voice in VOICES.values() if not voice.needs_text and voice.missing_reason() is None]
        voice = usable[int(rng.integers(len(usable)))]
        # A little more than is needed, because voices are unsure at the edges of what they hear.
        margin = 2 * SAMPLES_PER_FRAME
        first = max(0, start * SAMPLES_PER_FRAME - margin)
        heard = donor.waveform[first : (start + end - begin) * SAMPLES_PER_FRAME + margin]
        made = voice(heard, rng)[start * SAMPLES_PER_FRAME - first :][: span.stop - span.start]
        return splice(source.waveform, match_spectrum(made, _spoken(source)), span.start)

    def _picture(self, source: Source, donor: Source, begin: int, end: int, start: int, rng: np.random.Generator) -> np.ndarray:
        assert source.frames is not None
        patch = face_patch(source)
        lips = list(LIPS_OUTER)
        if self.operation is Operation.delete:
            # A mouth at rest: the frame in which the lips are nearest to each other, held.
            still = most_closed_frame(patch.landmarks)
            images, points = patch.images[still : still + 1], patch.landmarks[still : still + 1, lips]
        else:
            donor_patch = face_patch(donor)
            images, points = donor_patch.images, donor_patch.landmarks[:, lips]
        unit = relative_width(patch.landmarks[:, lips])
        region = Region.draw(rng, unit, *LIPS_REGION)
        clip = (patch.images[begin:end], patch.landmarks[begin:end, lips])
        forged, alpha = replace_mouth(clip, (images, points), rng, region, start)
        # In and out over one frame, where the edit is long enough to afford it.
        if end - begin > 4:
            for edge in (0, -1):
                forged[edge] = ((forged[edge].astype(np.float32) + clip[0][edge]) / 2).astype(np.uint8)
        forged = match_detail(forged, clip[0], alpha, rng)
        changed = patch.images.copy()
        changed[begin:end] = forged
        return patch.paste(changed, source.frames)


def _spoken(source: Source) -> np.ndarray:
    """The sound from the first word to the last."""
    assert source.waveform is not None and source.words
    first, last = source.words[0][0], source.words[-1][1]
    return source.waveform[round(first * SAMPLE_RATE) : round(last * SAMPLE_RATE)]


def _with_room(source: Source, begin: int, frames: int, rng: np.random.Generator) -> Source:
    """A clip that stands still in front of frame ``begin``: its last frames go back and forth, its sound is background."""
    assert source.waveform is not None
    # Back and forth, so that the head sways on and nothing freezes.
    step = np.arange(frames)
    reach = max(1, min(begin - 1, 5))
    back = np.abs((step + reach) % (2 * reach) - reach)
    numbers = np.concatenate([np.arange(begin), np.maximum(begin - 1 - back, 0), np.arange(begin, source.length)])
    samples = begin * SAMPLES_PER_FRAME
    pause = np.resize(background_noise(source.waveform, rng), frames * SAMPLES_PER_FRAME).astype(np.float32)
    late = frames / FRAME_RATE
    return replace(
        source,
        frames=None if source.frames is None else source.frames[numbers],
        waveform=np.concatenate([source.waveform[:samples], pause, source.waveform[samples:]]),
        landmarks=None if source.landmarks is None else source.landmarks[numbers],
        usable=None if source.usable is None else source.usable[numbers],
        words=tuple((a, b) if a < begin / FRAME_RATE else (a + late, b + late) for a, b in source.words),
    )
