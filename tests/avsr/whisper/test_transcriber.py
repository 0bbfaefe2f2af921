"""Files through a Whisper of random weights: windows, times, silence, errors; and the command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from makers import Talk
from tiny_whisper import TEXT, TOKENS, tiny_whisper, write_ctranslate2
from typer.testing import CliRunner

from avwitness.avsr.decoding import Word
from avwitness.avsr.transcriber import Transcriber, load_transcriber
from avwitness.avsr.whisper.conversion import convert_whisper
from avwitness.avsr.whisper.transcriber import WhisperTranscriber, shorten_pauses
from avwitness.cli import app
from avwitness.media.encode import write_media

SECOND = 16_000  # samples
BEGIN = TOKENS.index("<|0.00|>")


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread: None) -> None:
    """The network is tiny."""


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whisper")
    convert_whisper(write_ctranslate2(tiny_whisper(), folder / "source"), folder / "weights" / "avsr" / "whisper")
    return folder / "weights" / "avsr" / "whisper"


@pytest.fixture(scope="module")
def whisper(converted: Path) -> WhisperTranscriber:
    return WhisperTranscriber.load(converted, device="cpu")


@pytest.fixture(scope="module")
def sound(talk: Talk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_media(tmp_path_factory.mktemp("sound") / "sound.m4a", waveform=talk.waveform[: 2 * SECOND + 4000])


def test_words_of_several_windows_are_timed_in_order(whisper: WhisperTranscriber, sound: Path) -> None:
    transcript = whisper.transcribe(sound)
    assert transcript.error is None
    assert transcript.modality == "audio"
    assert transcript.words
    times = [time for word in transcript.words for time in (word.start, word.end)]
    assert all(0.0 <= time <= 2.4 for time in times if time is not None)
    assert None not in times
    assert all(word.start <= word.end for word in transcript.words if word.start is not None and word.end is not None)
    starts = [word.start for word in transcript.words if word.start is not None]
    assert starts == sorted(starts)
    assert max(starts) > 1.0  # of a later window
    assert whisper.transcribe(sound, "audio") == transcript  # although poor outputs are sampled again


def test_without_alignment_heads_only_segments_are_timed(converted: Path, sound: Path) -> None:
    untimed = WhisperTranscriber.load(converted, device="cpu")
    del untimed.settings.alignment_heads
    words = untimed.transcribe(sound).words
    assert words[0].start is not None
    assert words[-1].end is not None
    assert any(word.start is None for word in words)


def test_beams_are_searched(converted: Path, sound: Path) -> None:
    transcript = load_transcriber(converted, beams=2, device="cpu").transcribe(sound)
    assert transcript.error is None
    assert transcript.words


def test_windows_without_speech_have_no_text(converted: Path, sound: Path) -> None:
    whisper = WhisperTranscriber.load(converted, device="cpu")
    whisper.max_no_speech = -1.0
    transcript = whisper.transcribe(sound)
    assert (transcript.error, transcript.text, transcript.words) == (None, "", ())


def segment(start: float, end: float, *ids: int) -> dict[str, Any]:
    return {"start": start, "end": end, "tokens": torch.tensor(ids), "token_timestamps": torch.linspace(start, end, len(ids))}


def test_a_window_begins_where_the_last_whole_segment_ended(converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that ends a segment at 0.6 s in every window, and has begun another one where the window is long enough."""
    whisper = WhisperTranscriber.load(converted, device="cpu")
    lengths: list[int] = []

    def encode(waveform: np.ndarray) -> tuple[None, None, None]:
        lengths.append(len(waveform))
        return None, None, None

    def generate(*_: Any) -> list[dict[str, Any]]:
        if lengths[-1] < 0.6 * SECOND:
            return [segment(0.0, 0.1, BEGIN, 0, BEGIN + 5)]
        return [segment(0.0, 0.6, BEGIN, 0, 1, BEGIN + 30, BEGIN + 30)]

    monkeypatch.setattr(whisper, "_encode", encode)
    monkeypatch.setattr(whisper, "_first_token", lambda _: (0.0, "<|en|>"))
    monkeypatch.setattr(whisper, "_generate", generate)

    def pieces() -> Iterator[np.ndarray]:
        for size in (SECOND, 1, SECOND // 2, 0):
            yield np.zeros(size, np.float32)

    found = list(whisper.segments(pieces()))
    assert lengths == [SECOND, 14401, 4801]
    assert [text for text, _ in found] == [" bin blue", " bin blue", " bin"]
    ((one, two), (three, _), (last,)) = (words for _, words in found)
    assert (one.word, two.word, two.end) == ("bin", "blue", 0.3)
    assert three.start == pytest.approx(0.6, abs=0.01)
    assert last.end == pytest.approx(1.25)


def test_pauses_before_sentences_are_not_counted_to_words() -> None:
    words = [Word("One", 0.0, 3.0), Word("two.", 3.0, 3.2), Word("Three", 3.2, 5.0), Word("four", 5.0, 5.3), Word("five", 5.3, 9.0)]
    ((one, two, three, four, five),) = shorten_pauses([words])
    assert one.start == pytest.approx(1.6)  # twice the limit of a median before the end
    assert three.start == pytest.approx(3.6)
    assert (two, four, five) == (words[1], words[3], words[4])
    untimed = [[Word("one", None, None)], []]
    assert shorten_pauses(untimed) == untimed


def test_files_without_sound_and_broken_files_give_errors(
    whisper: WhisperTranscriber, talk: Talk, sound: Path, broken_files: dict[str, Path], tmp_path: Path
) -> None:
    mute = write_media(tmp_path / "mute.mp4", talk.frames[:10])
    files = [mute, broken_files["missing"], broken_files["directory"], sound]
    transcripts = list(whisper.transcribe_many(files))
    assert ["no audio stream" in str(transcripts[0].error), transcripts[3].error] == [True, None]
    assert all(transcript.error and transcript.text is None for transcript in transcripts[:3])
    with pytest.raises(ValueError, match="reads lips"):
        whisper.transcribe(sound, "video")
    with pytest.raises(ValueError, match="one of av, audio"):
        whisper.transcribe(sound, "smell")


def test_the_command_finds_a_converted_whisper_by_its_name(converted: Path, sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVWITNESS_WEIGHTS", str(converted.parents[1]))
    result = CliRunner().invoke(app, ["transcribe", str(sound), "absent.wav", "--model", "whisper", "--json", "--device", "cpu"])
    assert result.exit_code == 1
    good, bad = (json.loads(line) for line in result.stdout.splitlines())
    assert set(good) == {"path", "modality", "text", "words", "error"}
    assert good["words"]
    assert "absent.wav" in bad["error"]
    result = CliRunner().invoke(app, ["transcribe", str(sound), "--model", "whisper", "--modality", "video"])
    assert result.exit_code == 2
    assert "lips" in result.output


def test_a_whisper_that_is_not_converted_is_an_error_that_names_the_cure(
    converted: Path, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVWITNESS_WEIGHTS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="`avwitness convert CHECKPOINT` writes a Whisper to"):
        load_transcriber("whisper")
    assert CliRunner().invoke(app, ["transcribe", str(sound), "--model", "whisper"]).exit_code == 2
    with pytest.raises(ValueError, match="load_transcriber"):
        Transcriber.load(converted)
    assert isinstance(load_transcriber("small", 1, "cpu"), Transcriber)


def test_what_is_transcribed_is_in_the_vocabulary(whisper: WhisperTranscriber, sound: Path) -> None:
    text = whisper.transcribe(sound).text
    assert text
    letters = {letter for token in TEXT[:8] for letter in token.replace("Ġ", " ")} | set("あ本\N{REPLACEMENT CHARACTER} ")
    assert "!" not in text  # a suppressed token
    assert set(text) <= letters
