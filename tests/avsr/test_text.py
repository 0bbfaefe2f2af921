from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avwitness.avsr.text import ALPHABET, BLANK, VOCABULARY_SIZE, decode, encode, normalise


@given(st.text())
def test_normalised_text_can_be_encoded(text: str) -> None:
    plain = normalise(text)
    assert decode(encode(plain)) == plain
    assert normalise(plain) == plain
    assert plain == plain.strip()
    assert "  " not in plain


def test_both_scripts_are_kept_and_signs_removed() -> None:
    assert normalise("Bin BLUE, at F-2!") == "bin blue at f"
    assert normalise("قَالَ  ٱلمتحدثـ") == "قال ٱلمتحدث"
    assert len(set(ALPHABET)) == len(ALPHABET) == VOCABULARY_SIZE - 1
    assert BLANK not in encode(ALPHABET.strip())
    with pytest.raises(KeyError):
        encode("ß")
