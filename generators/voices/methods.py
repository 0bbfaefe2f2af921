"""Methods that forge the voice: every registered voice over a whole clip, its coarse traces matched to the source."""

from __future__ import annotations

import numpy as np

from ...media.clip import SAMPLE_RATE, SAMPLES_PER_FRAME
from ..methods.base import CannotForge, Forgery, Method, Window, whole_window
from ..methods.matching import match_spectrum
from ..methods.source import Facts, Source, is_audible
from .base import Voice
from .fitting import CROSSFADE, GUARD, speech_interval

SEAM = 160  # samples, 10 ms, over which two sounds are mixed where they meet
MIN_SHARE = 0.25  # of the window that a synthetic voice must fill; in less there is hardly a forgery


class VoiceMethod(Method):
    """A clip whose voice was made again by one of the registered voices."""

    streams = frozenset({"audio"})

    def __init__(self, voice: Voice) -> None:
        self.voice = voice
        self.name = voice.name  # type: ignore[misc]

    def missing_reason(self) -> str | None:
        return self.voice.missing_reason()

    def supports(self, facts: Facts, transcript: str, window: Window) -> bool:
        return facts.audio and self.voice.supports_text(transcript)

    def forge(self, source: Source, donor: Source | None, window: Window, rng: np.random.Generator) -> Forgery:
        span = source.cut(window.begin, window.frames)
        if source.waveform is None or not is_audible(span.waveform):
            raise CannotForge(f"{source.path}: nothing can be heard in it")
        try:
            made = self.voice(source.waveform, rng, source.transcript)
            begin, end = speech_interval(source.waveform) if self.voice.spoken else (0, len(made))
        except ValueError as error:
            raise CannotForge(f"{source.path}: {error}") from error
        matched = match_spectrum(made[begin:end], source.waveform[begin:end])
        made = splice(made, matched, begin)
        if self.voice.spoken:  # the background around the words was made as well
            begin, end = max(0, begin - GUARD - CROSSFADE), min(len(made), end + GUARD + CROSSFADE)
        first = window.begin * SAMPLES_PER_FRAME
        interval = (max(0, begin - first) / SAMPLE_RATE, min(window.frames * SAMPLES_PER_FRAME, end - first) / SAMPLE_RATE)
        if interval[1] - interval[0] < MIN_SHARE * window.frames * SAMPLES_PER_FRAME / SAMPLE_RATE:
            raise CannotForge(f"{source.path}: hardly anything is said in frames {window.begin} to {window.begin + window.frames}")
        waveform = made[first : first + window.frames * SAMPLES_PER_FRAME]
        # Where a synthetic voice puts the words is not where the lips move; nobody measured by how much.
        return Forgery(
            span.frames, waveform, (), (interval,) if self.voice.spoken else whole_window(window), None if self.voice.spoken else False
        )


def splice(waveform: np.ndarray, piece: np.ndarray, begin: int) -> np.ndarray:
    """A waveform in which the samples from ``begin`` on are replaced by ``piece``, mixed over 10 ms at both ends; float32."""
    end = begin + len(piece)
    seam = min(SEAM, len(piece) // 4)
    weight = np.ones(len(piece), dtype=np.float32)
    if seam:
        ramp = np.linspace(0.0, 1.0, seam, dtype=np.float32)
        if begin > 0:
            weight[:seam] = ramp
        if end < len(waveform):
            weight[-seam:] = ramp[::-1]
    out = waveform.astype(np.float32)
    out[begin:end] = weight * piece + (1.0 - weight) * out[begin:end]
    return out
