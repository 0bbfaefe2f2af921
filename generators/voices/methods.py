"""The forge's voice methods: a registered voice applied to a whole clip, spectrum and level matched to the source."""

from __future__ import annotations

import numpy as np

from ...media.clip import SAMPLE_RATE, SAMPLES_PER_FRAME
from ..methods.base import CannotForge, Forgery, Method, Window, whole_window
from ..methods.matching import match_spectrum
from ..methods.source import Facts, Source, is_audible
from .base import Voice
from .fitting import CROSSFADE, GUARD, speech_interval

SPLICE_CROSSFADE = 160  # samples, 10 ms, of the crossfade at either end of a spliced segment
MIN_SHARE = 0.25  # of the window that forged speech must fill; less is not worth a label


class VoiceMethod(Method):
    """A clip whose speech is forged by one of the registered voices."""

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
            raise CannotForge(f"{source.path}: its audio is silent")
        try:
            forged = self.voice(source.waveform, rng, source.transcript)
            begin, end = speech_interval(source.waveform) if self.voice.needs_text else (0, len(forged))
        except ValueError as error:
            raise CannotForge(f"{source.path}: {error}") from error
        matched = match_spectrum(forged[begin:end], source.waveform[begin:end])
        forged = splice(forged, matched, begin)
        if self.voice.needs_text:  # the background noise around the speech was replaced as well
            begin, end = max(0, begin - GUARD - CROSSFADE), min(len(forged), end + GUARD + CROSSFADE)
        first = window.begin * SAMPLES_PER_FRAME
        interval = (max(0, begin - first) / SAMPLE_RATE, min(window.frames * SAMPLES_PER_FRAME, end - first) / SAMPLE_RATE)
        if interval[1] - interval[0] < MIN_SHARE * window.frames * SAMPLES_PER_FRAME / SAMPLE_RATE:
            raise CannotForge(f"{source.path}: hardly any speech in frames {window.begin} to {window.begin + window.frames}")
        waveform = forged[first : first + window.frames * SAMPLES_PER_FRAME]
        # The words of synthetic speech are not where the lips move, by an amount that was not measured: the sync label is unknown.
        return Forgery(
            span.frames,
            waveform,
            (),
            (interval,) if self.voice.needs_text else whole_window(window),
            None if self.voice.needs_text else False,
        )


def splice(waveform: np.ndarray, piece: np.ndarray, begin: int) -> np.ndarray:
    """Replace the samples from ``begin`` on by ``piece``, with crossfades of 10 ms at both ends; float32."""
    end = begin + len(piece)
    seam = min(SPLICE_CROSSFADE, len(piece) // 4)
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
