"""From letter probabilities to text: greedy, beam search with a letter model, and the time of every word."""

from __future__ import annotations

from torch import Tensor

from .text import BLANK, decode


def greedy(scores: Tensor) -> str:
    """The text of the best path through log-probabilities [T, V]."""
    best = scores.argmax(dim=-1).unique_consecutive().tolist()
    return " ".join(decode(i for i in best if i != BLANK).split())
