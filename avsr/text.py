"""The letters that the recogniser writes: Latin and Arabic in one alphabet."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

BLANK = 0  # index that CTC spends on "nothing new"
SPACE = " "
LATIN = "abcdefghijklmnopqrstuvwxyz'"
ARABIC = "ءآأؤإئابةتثجحخدذرزسشصضطظعغفقكلمنهوىيٱ"
ALPHABET = SPACE + LATIN + ARABIC  # the letter of index i + 1
VOCABULARY = len(ALPHABET) + 1  # letters and the blank

_INDEX = {letter: index for index, letter in enumerate(ALPHABET, start=1)}


def normalise(text: str) -> str:
    """Lower case, composed letters, no vowel signs, no punctuation, single spaces: all that the alphabet can write."""
    composed = unicodedata.normalize("NFC", text).lower().replace("ـ", "")
    letters = (c for c in composed if not unicodedata.combining(c))
    return " ".join("".join(c if c in _INDEX else SPACE for c in letters).split())


def encode(text: str) -> list[int]:
    """Indices of the letters of a normalised text.

    Raises
    ------
    KeyError
        If a letter is not in the alphabet; :func:`normalise` first.
    """
    return [_INDEX[letter] for letter in text]


def decode(indices: Iterable[int]) -> str:
    """The text of letter indices; blanks are skipped."""
    return "".join(ALPHABET[index - 1] for index in indices if index != BLANK)
