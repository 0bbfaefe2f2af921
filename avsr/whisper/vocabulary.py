"""Whisper's vocabulary: token ids to text and to words, and the ids of its special tokens."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

VOCABULARY = "vocabulary.json"  # a list of tokens in the order of their ids
END, START, NO_TIMESTAMPS = "<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>"
PREVIOUS, TRANSCRIBE, TRANSLATE = "<|startofprev|>", "<|transcribe|>", "<|translate|>"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"  # decoded from bytes that are no whole character
UNSPACED = {"<|zh|>", "<|ja|>", "<|th|>", "<|lo|>", "<|my|>", "<|yue|>"}  # languages written without spaces
OPENING = "\"'“¿([{-「『（"  # marks that belong to the word after them; quotes only after a space
CLOSING = "\"'.。,，!！?？:：;”)]}、…」』）"  # marks that belong to the word before them
_PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
#: Bytes by the letters for which they stand in byte-level BPE: printable ones of Latin-1 for themselves, others for letters from 256 on.
BYTES = {chr(byte): byte for byte in _PRINTABLE} | {chr(256 + index): byte for index, byte in enumerate(_OTHERS)}


class Vocabulary:
    """Tokens of byte-level BPE in the order of their ids, special ones and timestamps last.

    Parameters
    ----------
    tokens : sequence of str

    Attributes
    ----------
    end : int
        Id of the end of the text; ids from it on are no text.
    timestamps : int
        Id of the timestamp 0 s; each id after it is 20 ms later.
    no_speech : int
        Id of the token for no speech, whose name differs between releases.
    languages : dict of str to int
        Ids of languages by token; empty in an English-only model.

    Raises
    ------
    ValueError
        If special tokens of Whisper are missing.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = list(tokens)
        self.ids = {token: index for index, token in enumerate(self.tokens)}
        missing = [token for token in (END, START, NO_TIMESTAMPS) if token not in self.ids]
        if missing:
            raise ValueError(f"is no vocabulary of Whisper: it has no {', '.join(missing)}")
        self.end, self.timestamps = self.ids[END], self.ids[NO_TIMESTAMPS] + 1
        self.no_speech = self.ids[NO_TIMESTAMPS] - 1
        between = self.tokens[self.ids[START] + 1 : self.ids.get(TRANSLATE, 0)]
        self.languages = {token: self.ids[token] for token in between if token.startswith("<|")}

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Vocabulary:
        """The vocabulary of a folder in CTranslate2's, Hugging Face's or this package's layout.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        folder = Path(folder)
        if (file := folder / VOCABULARY).is_file():
            return cls(json.loads(file.read_text(encoding="utf-8")))
        if (file := folder / "vocabulary.txt").is_file():
            return cls(file.read_text(encoding="utf-8").removesuffix("\n").split("\n"))
        if (file := folder / "tokenizer.json").is_file():
            content = json.loads(file.read_text(encoding="utf-8"))
            ids = content["model"]["vocab"] | {token["content"]: token["id"] for token in content["added_tokens"]}
        elif (file := folder / "vocab.json").is_file():
            added = folder / "added_tokens.json"
            ids = json.loads(file.read_text(encoding="utf-8"))
            ids |= json.loads(added.read_text(encoding="utf-8")) if added.is_file() else {}
        else:
            raise FileNotFoundError(f"{folder}: holds no vocabulary: {VOCABULARY}, vocabulary.txt, tokenizer.json or vocab.json")
        names = {index: token for token, index in ids.items()}
        return cls([names.get(index, "") for index in range(max(names) + 1)])

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write the file that :meth:`read` reads."""
        (Path(folder) / VOCABULARY).write_text(json.dumps(self.tokens, ensure_ascii=False), encoding="utf-8")

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; special tokens and timestamps are skipped."""
        letters = "".join(self.tokens[index] for index in ids if index < self.end)
        return bytes(BYTES[letter] for letter in letters).decode("utf-8", errors="replace")

    def words(self, ids: Sequence[int], language: str = "") -> list[tuple[str, list[int]]]:
        """Words with the positions of their tokens in ``ids``.

        A punctuation mark belongs to a word beside it; its own token is left out of the positions, because pauses are aligned to it.

        Parameters
        ----------
        ids : sequence of int
            Special tokens and timestamps are skipped.
        language : str
            Token of the language, such as ``<|ja|>``: where it is written without spaces, every token of whole
            characters is a word.

        Notes
        -----
        Source: the reference implementation, openai/whisper, ``tokenizer.split_to_word_tokens`` and ``timing.merge_punctuations``.
        """
        pieces: list[tuple[str, list[int]]] = []
        group: list[int] = []
        for position in (position for position, index in enumerate(ids) if index < self.end):
            group.append(position)
            text = self.decode([ids[i] for i in group])
            if REPLACEMENT in text:  # the character ends in a later token
                continue
            if pieces and not text.startswith(" ") and language not in UNSPACED:
                pieces[-1] = (pieces[-1][0] + text, pieces[-1][1] + ([] if _is_mark(text, CLOSING) else group))
            else:
                pieces.append((text, group))
            group = []
        if group:
            pieces.append((self.decode([ids[i] for i in group]), group))
        return [(text.strip(), places) for text, places in _attach(pieces) if text.strip()]


def _attach(pieces: list[tuple[str, list[int]]]) -> list[tuple[str, list[int]]]:
    """Pieces with every opening mark joined to the piece after it and every closing mark to the one before."""
    joined: list[tuple[str, list[int]]] = []
    opened = False
    for text, places in pieces:
        opens, closes = _is_mark(text, OPENING), _is_mark(text, CLOSING)
        if opens and closes:  # a quote
            opens, closes = text.startswith(" "), not text.startswith(" ")
        if joined and opened:
            joined[-1] = (joined[-1][0] + text.strip(), places)
        elif joined and closes:
            joined[-1] = (joined[-1][0] + text, joined[-1][1])
        else:
            joined.append((text, places))
        opened = opens
    return joined


def _is_mark(text: str, marks: str) -> bool:
    return bool(text.strip()) and all(character in marks for character in text.strip())
