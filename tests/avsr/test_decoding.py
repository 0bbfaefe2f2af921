from __future__ import annotations

import itertools
import math
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avwitness.avsr.decoding import BeamConfig, align, beam_search, greedy
from avwitness.avsr.language_model import END, CharacterLanguageModel
from avwitness.avsr.text import ALPHABET, BLANK, VOCABULARY_SIZE, decode, encode

TEXTS = ["bin blue at f two now", "bin red at g two please", "lay green by z four again"]


def spoken(text: str, gap: int = 3, hold: int = 2) -> torch.Tensor:
    """Log-probabilities of a model that is certain of every character, each held for some rows."""
    rows = []
    for index in encode(text):
        for kind, count in ((BLANK, gap), (index, hold)):
            row = torch.full((VOCABULARY_SIZE,), -8.0)
            row[kind] = 0.0
            rows += [row] * count
    return torch.log_softmax(torch.stack([*rows, rows[0]]), dim=-1)


@pytest.mark.parametrize("text", [*TEXTS, "three green", "قال ٱلمتحدث بسم", "a"])
def test_certain_outputs_are_decoded_as_they_are(text: str) -> None:
    assert greedy(spoken(text)) == text
    assert beam_search(spoken(text)) == text
    assert beam_search(spoken(text), CharacterLanguageModel.fit(TEXTS)) == text


def test_blanks_alone_decode_to_no_text() -> None:
    silence = torch.log_softmax(torch.nn.functional.one_hot(torch.zeros(20, dtype=torch.long), VOCABULARY_SIZE) * 12.0, dim=-1)
    assert greedy(silence) == beam_search(silence) == ""
    assert align(silence, "", 50.0) == []


def test_the_beam_sums_over_paths_as_ctc_does() -> None:
    """Against every path there is, for three characters and four rows."""
    generator = torch.Generator().manual_seed(0)
    characters = encode("abc")
    for _ in range(20):
        scores = torch.full((4, VOCABULARY_SIZE), -1e4)
        scores[:, [BLANK, *characters]] = torch.log_softmax(2.0 * torch.randn(4, 4, generator=generator), dim=-1)
        totals: dict[str, float] = defaultdict(float)
        for path in itertools.product([BLANK, *characters], repeat=4):
            probability = math.exp(sum(scores[row, index].item() for row, index in enumerate(path)))
            totals[decode(index for index, _ in itertools.groupby(path))] += probability
        found = beam_search(scores, config=BeamConfig(beams=200))
        assert totals[found] == pytest.approx(max(totals.values()), rel=1e-6)


def test_the_language_model_resolves_ambiguous_characters() -> None:
    scores = spoken("bin blue at f two now").exp()
    row = 5 * encode("bin blue at f two now").index(encode("u")[0])
    for held in (row + 3, row + 4):  # "u" and "o" are about equally probable, "o" a little more
        scores[held, encode("u")[0]], scores[held, encode("o")[0]] = 0.45, 0.5
    scores = scores.log()
    assert greedy(scores) == "bin bloe at f two now"
    assert beam_search(scores, CharacterLanguageModel.fit(TEXTS)) == "bin blue at f two now"


@settings(max_examples=30)
@given(st.lists(st.text(alphabet=ALPHABET.strip(), min_size=1, max_size=6), min_size=1, max_size=4))
def test_words_are_timed_in_order_and_where_they_are(words: list[str]) -> None:
    text = " ".join(words)
    timed = align(spoken(text), text, rate=50.0, start=2.0)
    assert [word.word for word in timed] == words
    position = 0
    for word in timed:
        first, last = position * 5 + 3, (position + len(word.word)) * 5
        assert word.start == pytest.approx(2.0 + first / 50.0, abs=1e-3)
        assert word.end == pytest.approx(2.0 + last / 50.0, abs=1e-3)
        position += len(word.word) + 1


def test_words_of_more_characters_than_rows_have_no_times() -> None:
    (word,) = align(spoken("ab")[:3], "abcdefgh", 50.0)
    assert word.start is word.end is None


def test_the_language_model_is_a_distribution_and_can_be_saved(tmp_path: Path) -> None:
    model = CharacterLanguageModel.fit(TEXTS)
    known = {character for text in TEXTS for character in text} | {END}
    for before in ("", "bin blue", "qqq", "lay green by z four again"):
        total = sum(math.exp(model.score(before, character)) for character in known)
        assert 0.9 < total <= 1.0 + 1e-9  # the rest is for unknown characters
    assert model.score("bin blu", "e") > -0.5 > model.score("bin blu", "x")
    model.save(tmp_path / "language.json")
    again = CharacterLanguageModel.load(tmp_path / "language.json")
    assert again.score("bin blu", "e") == model.score("bin blu", "e")
