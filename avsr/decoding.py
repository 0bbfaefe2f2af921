"""CTC decoding: greedy, beam search with a character language model, and forced alignment of words."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from .language_model import END, CharacterLanguageModel
from .text import ALPHABET, BLANK, SPACE, decode, encode

MIN_LOG_PROBABILITY = -7.0  # natural logarithm; less probable characters of a row are left out of the beam search


def greedy(scores: Tensor) -> str:
    """Greedy decoding: the text of the most probable path through log-probabilities [T, V]."""
    best = scores.argmax(dim=-1).unique_consecutive().tolist()
    return " ".join(decode(i for i in best if i != BLANK).split())


@dataclass
class BeamConfig:
    """Parameters of :func:`beam_search`."""

    beams: int = 24
    language_weight: float = 0.7
    length_bonus: float = 1.6  # for each character; the language model alone favours short texts


@dataclass
class _Beam:
    """A prefix, and the log-probabilities of the paths to it that end in a blank and in its last character."""

    blank: float = -math.inf
    character: float = -math.inf
    prior: float = 0.0  # weighted language model score and length bonus
    total: float = field(default=-math.inf)

    def update_total(self) -> None:
        self.total = _add(self.blank, self.character) + self.prior


def _add(a: float, b: float) -> float:
    """Logarithm of the sum of two probabilities given as logarithms."""
    if a < b:
        a, b = b, a
    return a if b == -math.inf else a + math.log1p(math.exp(b - a))


def beam_search(scores: Tensor, language: CharacterLanguageModel | None = None, config: BeamConfig | None = None) -> str:
    """The most probable text under CTC and a language model.

    Parameters
    ----------
    scores : float [T, V]
        Log-probabilities of blank and characters.
    language : CharacterLanguageModel, optional
        Without one, the CTC probability alone is used.
    config : BeamConfig, optional

    Notes
    -----
    Source: Hannun et al., *First-pass large vocabulary continuous speech recognition using bi-directional recurrent
    DNNs*, 2014 (prefix beam search).
    """
    config = config or BeamConfig()
    beams: dict[str, _Beam] = {"": _Beam(blank=0.0, total=0.0)}
    for row in np.asarray(scores.detach().cpu(), dtype=np.float64):
        candidates = [int(i) for i in np.flatnonzero(row > MIN_LOG_PROBABILITY) if i != BLANK]
        extended: dict[str, _Beam] = {}
        for text, beam in beams.items():
            both = _add(beam.blank, beam.character)
            same = extended.setdefault(text, _Beam(prior=beam.prior))
            same.blank = _add(same.blank, both + row[BLANK])
            for index in candidates:
                character = ALPHABET[index - 1]
                if text and text[-1] == character:
                    same.character = _add(same.character, beam.character + row[index])
                    reach = beam.blank  # a character repeats only after a blank
                else:
                    reach = both
                if reach == -math.inf or (character == SPACE and (not text or text[-1] == SPACE)):
                    continue
                longer = text + character
                if longer not in extended:
                    extended[longer] = _Beam(prior=beam.prior + _prior(text, character, language, config))
                extended[longer].character = _add(extended[longer].character, reach + row[index])
        for beam in extended.values():
            beam.update_total()
        best = sorted(extended, key=lambda text: extended[text].total, reverse=True)[: config.beams]
        beams = {text: extended[text] for text in best}
    totals = {text: beam.total for text, beam in beams.items()}
    if language is not None:
        totals = {text: total + config.language_weight * language.score(text.rstrip(), END) for text, total in totals.items()}
    return max(totals, key=lambda text: totals[text]).strip()


def _prior(text: str, character: str, language: CharacterLanguageModel | None, config: BeamConfig) -> float:
    return config.language_weight * language.score(text, character) + config.length_bonus if language else 0.0


@dataclass(frozen=True)
class Word:
    """A word with its start and end in seconds; ``None`` where it could not be aligned."""

    word: str
    start: float | None
    end: float | None


def align(scores: Tensor, text: str, rate: float, start: float = 0.0) -> list[Word]:
    """Start and end of every word, by forced alignment of its characters.

    Parameters
    ----------
    scores : float [T, V]
        Log-probabilities.
    text : str
        Normalised.
    rate : float
        Rows of ``scores`` in one second.
    start : float
        Seconds at the first row.

    Notes
    -----
    Source: Kürzinger et al., *CTC-segmentation*, 2020; the alignment itself is torchaudio's.
    """
    from torchaudio.functional import forced_align, merge_tokens

    words = text.split()
    if not words:
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # announced for removal once, kept since: torchaudio issue 3902
            path, confidence = forced_align(scores[None].float().cpu(), torch.tensor([encode(text)], dtype=torch.int32), blank=BLANK)
    except RuntimeError:  # more characters than rows
        return [Word(word, None, None) for word in words]
    spans = merge_tokens(path[0], confidence[0], blank=BLANK)
    timed, position = [], 0
    for word in words:
        first, last = spans[position], spans[position + len(word) - 1]
        timed.append(Word(word, round(start + first.start / rate, 3), round(start + last.end / rate, 3)))
        position += len(word) + 1
    return timed
