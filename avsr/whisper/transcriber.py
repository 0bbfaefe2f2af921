"""Transcription of files with the whole Whisper model: windows of 30 s, language identification, word times."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import logging

from ...checkpoints import find_weights, resolve_device
from ...media.clip import SAMPLE_RATE, MediaError
from ...media.windows import MediaReader
from ..decoding import Word
from ..transcript import FileTranscriber, Transcript
from .encoder import FRAME_RATE
from .vocabulary import Vocabulary

BEAMS = 1  # greedy decoding, unless asked otherwise
TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # of the softmax, each tried where the output of the one before is poor
MIN_LOG_PROBABILITY = -1.0  # natural logarithm, mean over tokens; a less probable output is poor
MAX_COMPRESSION = 1.35  # ratio of zlib on token ids; an output that compresses better repeats itself
MAX_NO_SPEECH = 0.7  # probability of the token for no speech; a window above it has no text. Silence has 0.93, speech mostly below 0.6
MIN_SECONDS = 0.2  # of a window; a shorter rest is left out
MEDIAN_LIMIT = 0.7  # seconds, of the median length of a word
LONGEST = 2.0  # medians, length of the first word of a sentence; what is longer is a pause before it
SENTENCE_ENDS = ".。!！?？"
SEED = 0  # of the samples that are drawn at temperatures above 0


class WhisperTranscriber(FileTranscriber):
    """Transcribes the audio of files with a converted Whisper.

    Parameters
    ----------
    model : WhisperForConditionalGeneration
    vocabulary : Vocabulary
    beams : int
        1 decodes greedily.
    device : str
    max_no_speech : float
        Probability of the token for no speech above which a window has no text.

    Notes
    -----
    Windows of 30 s; each begins where the last whole segment of the one before ended. The language is that of the first window
    with speech. Words are timed by dynamic time warping on the cross-attention of the alignment heads. Without alignment heads
    only the begin of the first word and the end of the last word of each segment are known.

    Source: Radford et al., *Robust speech recognition via large-scale weak supervision*, ICML 2023; decoding is that of
    ``transformers``, with the published thresholds.
    """

    modalities: ClassVar[tuple[str, ...]] = ("av", "audio")

    def __init__(
        self,
        model: WhisperForConditionalGeneration,
        vocabulary: Vocabulary,
        beams: int = BEAMS,
        device: str = "cpu",
        max_no_speech: float = MAX_NO_SPEECH,
    ) -> None:
        self.model = model.to(device).float().eval()
        self.vocabulary, self.device, self.max_no_speech = vocabulary, device, max_no_speech
        # `generate` would add the processors of the model's own settings to those that it makes of the settings it is given.
        self.settings, self.model.generation_config = model.generation_config, GenerationConfig()
        self.settings.num_beams = beams
        self.window = self.model.config.max_source_positions / FRAME_RATE  # seconds
        self.extractor = WhisperFeatureExtractor(
            feature_size=self.model.config.num_mel_bins, sampling_rate=SAMPLE_RATE, chunk_length=int(self.window)
        )

    @classmethod
    def load(cls, name: str | os.PathLike[str] = "whisper", beams: int = BEAMS, device: str = "auto") -> WhisperTranscriber:
        """Load what ``avwitness convert`` wrote, by name or from a folder.

        Raises
        ------
        FileNotFoundError
            If there is no such model, or it has no vocabulary.
        ValueError
            If the file lacks weights.
        """
        folder = find_weights("avsr", name)
        model, found = WhisperForConditionalGeneration.from_pretrained(folder, local_files_only=True, output_loading_info=True)
        if found["missing_keys"]:
            raise ValueError(f"{folder}: lacks weights: {', '.join(sorted(found['missing_keys'])[:5])}")
        return cls(model, Vocabulary.read(folder), beams, resolve_device(device))

    def check(self, modality: str) -> None:
        """Raise ``ValueError`` for video, naming what reads lips."""
        if modality == "video":
            raise ValueError("Whisper transcribes the audio alone; for modality 'video' use a model that reads lips, such as small")
        super().check(modality)

    def _transcribe(self, path: str, modality: str) -> Transcript:
        media = MediaReader(path, video=False)
        if not media.has_audio:
            raise MediaError(path, "has no audio stream, and Whisper transcribes the audio")
        pieces = (clip.waveform for clip in media.windows(self.window, self.window) if clip.waveform is not None)
        texts, words = [], []
        for text, timed in self.segments(pieces):
            texts.append(text)
            words += timed
        media.check()
        return Transcript(path, "audio", "".join(texts).strip(), tuple(words))

    def segments(self, pieces: Iterable[np.ndarray]) -> Iterator[tuple[str, list[Word]]]:
        """Text and words of every segment of a waveform.

        Parameters
        ----------
        pieces : iterable of float32 [S]
            The waveform at 16 kHz in parts of any length; no more than a window and a part are held.

        Yields
        ------
        (str, list of Word)
            The text as the model outputs it, usually with a space in front.
        """
        size, held, first = round(self.window * SAMPLE_RATE), np.zeros(0, np.float32), 0
        language: str | None = None
        waiting = iter(pieces)
        while True:
            while len(held) < size and (piece := next(waiting, None)) is not None:
                held = np.concatenate([held, piece])
            if len(held) < MIN_SECONDS * SAMPLE_RATE:
                return
            window = held[:size]
            features, mask, encoded = self._encode(window)
            no_speech, likely = self._first_token(encoded)
            used = len(window)
            if no_speech <= self.max_no_speech:
                language = likely if language is None else language
                found = self._generate(features, mask, encoded, language)
                yield from self._timed(found, language, first / SAMPLE_RATE)
                used = self._used(found, len(window))
            held, first = held[used:], first + used

    @torch.inference_mode()
    def _encode(self, waveform: np.ndarray) -> tuple[Tensor, Tensor, BaseModelOutput]:
        """Log-mel spectrogram [1, M, T] padded to a window, which of its frames are not padding [1, T], and the encoder's output."""
        inputs = self.extractor(waveform, sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True).to(self.device)
        self.model.set_attn_implementation("sdpa")  # `generate` changes it
        encoded = self.model.model.encoder(inputs.input_features).last_hidden_state
        return inputs.input_features, inputs.attention_mask, BaseModelOutput(last_hidden_state=encoded)

    @torch.inference_mode()
    def _first_token(self, encoded: BaseModelOutput) -> tuple[float, str]:
        """Probability of no speech, and the token of the most probable language (empty in an English-only model)."""
        start = torch.tensor([[self.settings.decoder_start_token_id]], device=self.device)
        probabilities = self.model(encoder_outputs=encoded, decoder_input_ids=start).logits[0, -1].softmax(dim=-1)
        languages = self.vocabulary.languages
        likely = max(languages, key=lambda token: float(probabilities[languages[token]])) if languages else ""
        return float(probabilities[self.vocabulary.no_speech]), likely

    @torch.inference_mode()
    def _generate(self, features: Tensor, mask: Tensor, encoded: BaseModelOutput, language: str) -> list[dict[str, Any]]:
        """Segments of one window, as ``generate`` returns them."""
        prompt = {"language": language, "task": "transcribe"} if language else {}
        aligned = hasattr(self.settings, "alignment_heads")
        with torch.random.fork_rng(), _quiet():
            torch.manual_seed(SEED)
            output = self.model.generate(
                features,
                generation_config=self.settings,
                encoder_outputs=encoded,
                attention_mask=mask,
                return_timestamps=True,
                return_token_timestamps=aligned or None,
                return_segments=True,
                force_unique_generate_call=True,
                temperature=TEMPERATURES,
                logprob_threshold=MIN_LOG_PROBABILITY,
                compression_ratio_threshold=MAX_COMPRESSION,
                **prompt,
            )
        return list(output["segments"][0])

    def _used(self, segments: list[dict[str, Any]], samples: int) -> int:
        """Samples of a window after which the next one begins: all, or those up to the end of the last whole segment."""
        if not segments:
            return samples
        last = segments[-1]["tokens"].tolist()[-2:]
        unfinished = len(last) == 2 and min(last) >= self.vocabulary.timestamps
        end = round(float(segments[-1]["end"]) * SAMPLE_RATE)
        return end if unfinished and MIN_SECONDS * SAMPLE_RATE <= end < samples else samples

    def _timed(self, segments: list[dict[str, Any]], language: str, start: float) -> Iterator[tuple[str, list[Word]]]:
        """Text and words of segments of a window that begins at ``start`` s."""
        groups: list[list[Word]] = []
        for segment in segments:
            ids = segment["tokens"].tolist()
            pieces = self.vocabulary.words(ids, language)
            if "token_timestamps" in segment:
                ends = segment["token_timestamps"].tolist()  # of each token, which is the begin of the next one
                group = [Word(word, ends[max(places[0] - 1, 0)], ends[places[-1]]) for word, places in pieces]
            else:
                group = [Word(word, None, None) for word, _ in pieces]
                if group:
                    group[0] = replace(group[0], start=float(segment["start"]))
                    group[-1] = replace(group[-1], end=float(segment["end"]))
            groups.append(group)
        for segment, group in zip(segments, shorten_pauses(groups), strict=True):
            yield self.vocabulary.decode(segment["tokens"].tolist()), [_shift(word, start) for word in group]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of ``transformers``, which come of how its own methods call each other."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def shorten_pauses(segments: list[list[Word]]) -> list[list[Word]]:
    """Words whose begin is later where a pause before a sentence was counted to its first word.

    Notes
    -----
    Source: the reference implementation, openai/whisper, ``timing.add_word_timestamps``.
    """
    lengths = [w.end - w.start for group in segments for w in group if w.start is not None and w.end is not None and w.end > w.start]
    if not lengths:
        return segments
    limit = LONGEST * min(float(np.median(lengths)), MEDIAN_LIMIT)
    shortened = []
    for group in segments:
        begins = [True, *(word.word[-1] in SENTENCE_ENDS for word in group)]
        words = []
        for word, first in zip(group, begins[: len(group)], strict=True):
            if first and word.start is not None and word.end is not None and word.end - word.start > limit:
                word = replace(word, start=word.end - limit)
            words.append(word)
        shortened.append(words)
    return shortened


def _shift(word: Word, seconds: float) -> Word:
    start, end = (None if time is None else round(time + seconds, 3) for time in (word.start, word.end))
    return Word(word.word, start, end)
