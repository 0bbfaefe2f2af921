"""Token ids to text, and to words with their punctuation marks."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_whisper import TOKENS

from avwitness.avsr.whisper.vocabulary import NO_TIMESTAMPS, Vocabulary


def ids(*tokens: str) -> list[int]:
    return [TOKENS.index(token) for token in tokens]


def test_special_tokens() -> None:
    vocabulary = Vocabulary(TOKENS)
    assert vocabulary.tokens[vocabulary.timestamps] == "<|0.00|>"
    assert vocabulary.tokens[vocabulary.no_speech] == "<|nospeech|>"
    assert list(vocabulary.languages) == ["<|en|>", "<|ja|>"]
    assert vocabulary.decode(ids("<|0.00|>", "Ġbin", "Ġblue", "<|0.50|>", "<|endoftext|>")) == " bin blue"
    with pytest.raises(ValueError, match=r"it has no <\|notimestamps\|>"):
        Vocabulary([token for token in TOKENS if token != NO_TIMESTAMPS])


def test_words_of_a_language_with_spaces() -> None:
    sequence = ids("<|0.00|>", "Ġbin", "s", ",", "Ġblue", "Ġnow", ".", "<|0.50|>")
    assert Vocabulary(TOKENS).words(sequence, "<|en|>") == [("bins,", [1, 2]), ("blue", [4]), ("now.", [5])]


def test_words_of_a_language_without_spaces() -> None:
    """Characters of three tokens and of two, then a mark."""
    sequence = ids("ã", "ģ", "Ĥ", "æ", "ľ", "¬", ".")
    assert Vocabulary(TOKENS).words(sequence, "<|ja|>") == [("あ", [0, 1, 2]), ("本.", [3, 4, 5])]
    assert Vocabulary(TOKENS).words(sequence[:2], "<|ja|>") == [("\N{REPLACEMENT CHARACTER}", [0, 1])]


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (['Ġ"', "Ġbin", '"', "Ġat"], ['"bin"', "at"]),
        (["ĠÂ¿", "bin", "?"], ["¿bin?"]),
        (["Ġ-", "Ġbin"], ["-bin"]),
        (["Ġbin", "Ġ!"], ["bin !"]),
        (["Ġbin", "Ġ-"], ["bin", "-"]),
        (['Ġ"', '"'], ['""']),
        (["Ġ"], []),
        ([], []),
    ],
)
def test_marks_belong_to_a_word(tokens: list[str], words: list[str]) -> None:
    vocabulary = Vocabulary([*dict.fromkeys(["Ġbin", "Ġat", *tokens]), "<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>"])
    found = vocabulary.words([vocabulary.ids[token] for token in tokens], "<|en|>")
    assert [word for word, _ in found] == words
    assert all(places for _, places in found)


def test_every_layout_gives_the_same_tokens(tmp_path: Path) -> None:
    import json

    vocabulary = Vocabulary(TOKENS)
    for name in ("list", "text", "fast", "slow"):
        (tmp_path / name).mkdir()
    vocabulary.write(tmp_path / "list")
    (tmp_path / "text" / "vocabulary.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    base = {token: index for index, token in enumerate(TOKENS) if index < vocabulary.end}
    added = {token: index for index, token in enumerate(TOKENS) if index >= vocabulary.end}
    content = {"model": {"vocab": base}, "added_tokens": [{"id": index, "content": token} for token, index in added.items()]}
    (tmp_path / "fast" / "tokenizer.json").write_text(json.dumps(content))
    (tmp_path / "slow" / "vocab.json").write_text(json.dumps(base))
    (tmp_path / "slow" / "added_tokens.json").write_text(json.dumps(added))
    for name in ("list", "text", "fast", "slow"):
        assert Vocabulary.read(tmp_path / name).tokens == TOKENS, name
    with pytest.raises(FileNotFoundError, match="holds no vocabulary"):
        Vocabulary.read(tmp_path)
