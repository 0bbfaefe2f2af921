"""From letter probabilities to text: greedy, beam search with a letter model, and the time of every word."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from .language_model import END, LetterModel
from .text import ALPHABET, BLANK, SPACE, decode, encode

PRUNED = -7.0  # natural log-probability below which a letter is not considered in a frame


def greedy(scores: Tensor) -> str:
    """The text of the best path through log-probabilities [T, V]."""
    best = scores.argmax(dim=-1).unique_consecutive().tolist()
    return " ".join(decode(i for i in best if i != BLANK).split())


@dataclass
class BeamConfig:
    """How :func:`beam_search` looks for a text."""

    beams: int = 24
    language: float = 0.7  # weight of the letter model
    length: float = 1.6  # reward of every letter, against the letter model's taste for short texts


@dataclass
class _Beam:
    """A text, and the log-probabilities of the paths to it that end in a blank and in its last letter."""

    blank: float = -math.inf
    letter: float = -math.inf
    prior: float = 0.0  # weighted letter model and length reward
    total: float = field(default=-math.inf)

    def settle(self) -> None:
        self.total = _add(self.blank, self.letter) + self.prior


def _add(a: float, b: float) -> float:
    if a < b:
        a, b = b, a
    return a if b == -math.inf else a + math.log1p(math.exp(b - a))


def beam_search(scores: Tensor, language: LetterModel | None = None, config: BeamConfig | None = None) -> str:
    """The most probable text under CTC and a letter model.

    Parameters
    ----------
    scores : float [T, V]
        Log-probabilities of blank and letters.
    language : LetterModel, optional
        Without one, only the paths count.
    config : BeamConfig, optional

    Notes
    -----
    Source: Hannun et al., *First-pass large vocabulary continuous speech recognition using bi-directional recurrent
    DNNs*, 2014 (prefix beam search).
    """
    config = config or BeamConfig()
    beams: dict[str, _Beam] = {"": _Beam(blank=0.0, total=0.0)}
    for row in np.asarray(scores.detach().cpu(), dtype=np.float64):
        candidates = [int(i) for i in np.flatnonzero(row > PRUNED) if i != BLANK]
        grown: dict[str, _Beam] = {}
        for text, beam in beams.items():
            both = _add(beam.blank, beam.letter)
            same = grown.setdefault(text, _Beam(prior=beam.prior))
            same.blank = _add(same.blank, both + row[BLANK])
            for index in candidates:
                letter = ALPHABET[index - 1]
                if text and text[-1] == letter:
                    same.letter = _add(same.letter, beam.letter + row[index])
                    reach = beam.blank  # a letter repeats only across a blank
                else:
                    reach = both
                if reach == -math.inf or (letter == SPACE and (not text or text[-1] == SPACE)):
                    continue
                longer = text + letter
                if longer not in grown:
                    grown[longer] = _Beam(prior=beam.prior + _prior(text, letter, language, config))
                grown[longer].letter = _add(grown[longer].letter, reach + row[index])
        for beam in grown.values():
            beam.settle()
        best = sorted(grown, key=lambda text: grown[text].total, reverse=True)[: config.beams]
        beams = {text: grown[text] for text in best}
    ends = {text: beam.total + (config.language * language.score(text.rstrip(), END) if language else 0.0) for text, beam in beams.items()}
    return max(ends, key=lambda text: ends[text]).strip()


def _prior(text: str, letter: str, language: LetterModel | None, config: BeamConfig) -> float:
    return config.language * language.score(text, letter) + config.length if language else 0.0


@dataclass(frozen=True)
class Word:
    """A word and when it is said, in seconds; ``None`` where it could not be aligned."""

    word: str
    start: float | None
    end: float | None


def align(scores: Tensor, text: str, rate: float, start: float = 0.0) -> list[Word]:
    """The time of every word, by forced alignment of its letters.

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
    except RuntimeError:  # more letters than rows
        return [Word(word, None, None) for word in words]
    spans = merge_tokens(path[0], confidence[0], blank=BLANK)
    timed, position = [], 0
    for word in words:
        first, last = spans[position], spans[position + len(word) - 1]
        timed.append(Word(word, round(start + first.start / rate, 3), round(start + last.end / rate, 3)))
        position += len(word) + 1
    return timed
