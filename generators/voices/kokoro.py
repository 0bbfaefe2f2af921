"""The text-to-speech voice of Kokoro-82M with its 28 English speakers; the model files are the user's own, see docs/FORGING.md."""

from __future__ import annotations

import json
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...checkpoints import user_weights
from .base import packages_missing_reason
from .fitting import to_sample_rate
from .tts import TextToSpeech

NETWORK = "kokoro"  # folder of the model files among the user's own weights
GRAPH, VOCABULARY, SPEAKERS = "kokoro-v1.0.int8.onnx", "vocab.json", "voices"
SAMPLE_RATE = 24_000  # Hz, of the network's output
MAX_TOKENS = 510  # of one synthesis; a style is given for each number of tokens
STYLE_WIDTH = 256
LANGUAGES = {"a": "en-us", "b": "en-gb-x-rp"}  # of espeak-ng, by the first letter of a speaker's name; other letters are other languages

# Phonemes of espeak-ng in the notation of misaki, the phonemiser that Kokoro was trained with: a diphthong or an affricate is one
# letter. Replaced in this order.
BOTH = {
    "aɪ": "I",
    "aʊ": "W",
    "eɪ": "A",
    "ɔɪ": "Y",
    "dʒ": "ʤ",
    "tʃ": "ʧ",
    "əl": "ᵊl",
    "n\u0329": "ᵊn",
    "l\u0329": "ᵊl",
    "ɚ": "əɹ",
    "ɐ": "ə",
    "ʔ": "t",
    "r": "ɹ",
    "x": "k",
    "ɬ": "l",
}
NOTATION = {
    "en-us": {**BOTH, "oʊ": "O", "oː": "ɔ", "ɜːɹ": "ɜɹ", "ɜː": "ɜɹ", "ɪə": "iə", "ː": ""},
    "en-gb-x-rp": {**BOTH, "əʊ": "Q", "eə": "ɛː", "iə": "ɪə"},
}


class Kokoro(TextToSpeech):
    """Kokoro-82M (StyleTTS 2 with the decoder of iSTFTNet), English; a random speaker for every clip.

    Source: Li et al., *StyleTTS 2: towards human-level text-to-speech through style diffusion and adversarial training
    with large speech language models*, NeurIPS 2023; weights and speakers by hexgrad, Apache-2.0.
    """

    name = "kokoro"

    def missing_reason(self) -> str | None:
        folder = user_weights("generators", NETWORK)
        absent = [name for name in (GRAPH, VOCABULARY, SPEAKERS) if not (folder / name).exists()]
        if absent:
            return f"its files are not in {folder} (missing: {', '.join(absent)}); docs/FORGING.md says how to assemble them"
        return packages_missing_reason("tts", "piper", "onnxruntime")

    def synthesise(self, text: str, speed: float, rng: np.random.Generator) -> np.ndarray:
        folder = user_weights("generators", NETWORK)
        speakers = sorted(file for file in (folder / SPEAKERS).glob("*_*.bin") if file.name[0] in LANGUAGES)
        speaker = speakers[int(rng.integers(len(speakers)))]
        known = _vocabulary(folder)
        tokens = [known[letter] for letter in phonemes(text, LANGUAGES[speaker.name[0]]) if letter in known]
        if not 0 < len(tokens) <= MAX_TOKENS - 2:
            raise ValueError(f"Kokoro synthesises 1 to {MAX_TOKENS - 2} phonemes at a time, not the {len(tokens)} of {text[:40]!r}")
        styles = np.fromfile(speaker, dtype="<f4").reshape(MAX_TOKENS, 1, STYLE_WIDTH)
        # A token 0 at either end. The style depends on the number of the others.
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], dtype=np.int64),
            "style": styles[len(tokens) - 1],
            "speed": np.array([speed], dtype=np.float32),
        }
        return to_sample_rate(_session(folder).run(None, inputs)[0].ravel(), SAMPLE_RATE)


def phonemes(text: str, language: str) -> str:
    """The phonemes of an English text in the notation of misaki, by espeak-ng."""
    from piper.phonemize_espeak import EspeakPhonemizer

    sentences = EspeakPhonemizer().phonemize(language, text)
    found = unicodedata.normalize("NFC", " ".join("".join(sentence) for sentence in sentences))
    for before, after in NOTATION[language].items():
        found = found.replace(before, after)
    return found


@lru_cache(maxsize=1)
def _vocabulary(folder: Path) -> dict[str, int]:
    return dict(json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))["vocab"])


@lru_cache(maxsize=1)
def _session(folder: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(folder / GRAPH), options, providers=["CPUExecutionProvider"])
