"""Character n-gram language model with Witten-Bell smoothing."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable

ORDER = 6  # characters of an n-gram
START = "^"  # before the first character
END = "$"  # after the last character


class CharacterLanguageModel:
    """Probability of the next character, given up to five characters before it.

    Parameters
    ----------
    counts : dict of str to dict of str to int
        Number of occurrences of each character after each context of up to ``ORDER - 1`` characters.

    Notes
    -----
    Source: Witten and Bell, *The zero-frequency problem*, IEEE Transactions on Information Theory, 1991.
    """

    def __init__(self, counts: dict[str, dict[str, int]]) -> None:
        self.counts = counts
        self.vocabulary_size = len(counts.get("", {})) + 1  # one for characters that never occurred
        self._totals = {context: sum(following.values()) for context, following in counts.items()}
        self._log_probabilities: dict[tuple[str, str], float] = {}

    @classmethod
    def fit(cls, texts: Iterable[str]) -> CharacterLanguageModel:
        """Count the n-grams of normalised texts."""
        found: dict[str, Counter[str]] = {}
        for text in texts:
            padded = START + text + END
            for end in range(1, len(padded)):
                for start in range(max(0, end - ORDER + 1), end + 1):
                    found.setdefault(padded[start:end], Counter())[padded[end]] += 1
        return cls({context: dict(following) for context, following in found.items()})

    def score(self, before: str, character: str) -> float:
        """Natural logarithm of the probability of ``character`` (or ``END``) after the text ``before``."""
        context = (START + before)[-(ORDER - 1) :]
        key = (context, character)
        if key not in self._log_probabilities:
            self._log_probabilities[key] = math.log(self._probability(context, character))
        return self._log_probabilities[key]

    def _probability(self, context: str, character: str) -> float:
        backed_off = self._probability(context[1:], character) if context else 1.0 / self.vocabulary_size
        following = self.counts.get(context)
        if not following:
            return backed_off
        total, kinds = self._totals[context], len(following)
        return (following.get(character, 0) + kinds * backed_off) / (total + kinds)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the counts as JSON."""
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self.counts, file, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CharacterLanguageModel:
        """Read what :meth:`save` wrote."""
        with open(path, encoding="utf-8") as file:
            return cls(json.load(file))
