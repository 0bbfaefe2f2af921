"""The alphabet of the CTC outputs, Latin and Arabic, and text to and from its indices."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

BLANK = 0  # index of the CTC blank
SPACE = " "
LATIN = "abcdefghijklmnopqrstuvwxyz'"
ARABIC = "ءآأؤإئابةتثجحخدذرزسشصضطظعغفقكلمنهوىيٱ"
ALPHABET = SPACE + LATIN + ARABIC  # character of index i + 1
VOCABULARY_SIZE = len(ALPHABET) + 1  # characters and the blank

_INDEX = {character: index for index, character in enumerate(ALPHABET, start=1)}


def normalise(text: str) -> str:
    """Text in characters of the alphabet: lower case, composed, without vowel signs and punctuation, with single spaces."""
    composed = unicodedata.normalize("NFC", text).lower().replace("ـ", "")
    characters = (c for c in composed if not unicodedata.combining(c))
    return " ".join("".join(c if c in _INDEX else SPACE for c in characters).split())


def encode(text: str) -> list[int]:
    """Indices of the characters of a normalised text.

    Raises
    ------
    KeyError
        If a character is not in the alphabet; :func:`normalise` first.
    """
    return [_INDEX[character] for character in text]


def decode(indices: Iterable[int]) -> str:
    """The text of character indices; blanks are skipped."""
    return "".join(ALPHABET[index - 1] for index in indices if index != BLANK)
