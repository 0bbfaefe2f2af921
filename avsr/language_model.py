"""Which letter comes next: an n-gram model of the texts that a reader was trained on."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable

ORDER = 6  # letters that a guess looks at, the guessed one included
START = "^"  # stands before the first letter
END = "$"  # stands after the last


class LetterModel:
    """Witten-Bell smoothed letter n-grams.

    Parameters
    ----------
    followers : dict of str to dict of str to int
        How often each letter followed each context of up to ``ORDER - 1`` letters.

    Notes
    -----
    Source: Witten and Bell, *The zero-frequency problem*, IEEE Transactions on Information Theory, 1991.
    """

    def __init__(self, followers: dict[str, dict[str, int]]) -> None:
        self.followers = followers
        self.letters = len(followers.get("", {})) + 1
        self._totals = {context: sum(counts.values()) for context, counts in followers.items()}
        self._known: dict[tuple[str, str], float] = {}

    @classmethod
    def fit(cls, texts: Iterable[str]) -> LetterModel:
        """Count the n-grams of normalised texts."""
        followers: dict[str, Counter[str]] = {}
        for text in texts:
            padded = START + text + END
            for end in range(1, len(padded)):
                for start in range(max(0, end - ORDER + 1), end + 1):
                    followers.setdefault(padded[start:end], Counter())[padded[end]] += 1
        return cls({context: dict(counts) for context, counts in followers.items()})

    def score(self, before: str, letter: str) -> float:
        """Natural logarithm of the probability of ``letter`` (or ``END``) after the text ``before``."""
        context = (START + before)[-(ORDER - 1) :]
        key = (context, letter)
        if key not in self._known:
            self._known[key] = math.log(self._probability(context, letter))
        return self._known[key]

    def _probability(self, context: str, letter: str) -> float:
        backed_off = self._probability(context[1:], letter) if context else 1.0 / self.letters
        counts = self.followers.get(context)
        if not counts:
            return backed_off
        total, kinds = self._totals[context], len(counts)
        return (counts.get(letter, 0) + kinds * backed_off) / (total + kinds)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the counts as JSON."""
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self.followers, file, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LetterModel:
        """Read what :meth:`save` wrote."""
        with open(path, encoding="utf-8") as file:
            return cls(json.load(file))
