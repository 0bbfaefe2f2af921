"""The phonemes that Kokoro is given, and its model files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avwitness.checkpoints import USER_VARIABLE
from avwitness.generators.voices.kokoro import GRAPH, MAX_TOKENS, SPEAKERS, VOCABULARY, Kokoro, phonemes


def test_the_files_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(USER_VARIABLE, str(tmp_path))
    folder = tmp_path / "generators" / "kokoro"
    reason = Kokoro().missing_reason()
    assert reason is not None and str(folder) in reason and all(name in reason for name in (GRAPH, VOCABULARY, SPEAKERS))
    (folder / SPEAKERS).mkdir(parents=True)
    (folder / GRAPH).touch()
    assert f"missing: {VOCABULARY}" in str(Kokoro().missing_reason())
    with pytest.raises(ValueError, match="cannot be used: its files are not in"):
        Kokoro()(np.zeros(16_000, np.float32), np.random.default_rng(0), "bin blue")


@pytest.mark.parametrize(
    ("text", "american", "british"),
    [
        ("I say go now, boy.", "I sˈA ɡˌO nˈW, bˈY.", "I sˈA ɡˌQ nˈW, bˈY."),
        ("bird chair judge", "bˈɜɹd ʧˈɛɹ ʤˈʌʤ", "bˈɜːd ʧˈɛː ʤˈʌʤ"),
    ],
)
def test_phonemes_are_in_the_notation_of_misaki(text: str, american: str, british: str) -> None:
    pytest.importorskip("piper")
    assert phonemes(text, "en-us").strip() == american
    assert phonemes(text, "en-gb-x-rp").strip() == british


@pytest.mark.slow
def test_speakers_differ_and_long_texts_are_refused() -> None:
    voice = Kokoro()
    if why := voice.missing_reason():
        pytest.skip(why)
    one, same, other = (voice.synthesise("bin blue", 1.0, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert one.dtype == np.float32 and np.array_equal(one, same) and not np.array_equal(one, other)
    with pytest.raises(ValueError, match=f"1 to {MAX_TOKENS - 2} phonemes"):
        voice.synthesise(200 * "word ", 1.0, np.random.default_rng(0))
