from __future__ import annotations

import json
from pathlib import Path

import jiwer
import numpy as np
import pandas as pd
import pytest
import torch
from makers import Talk, noise_frames
from typer.testing import CliRunner

from avwitness.avsr.decoding import BeamConfig
from avwitness.avsr.model import AVSRConfig, AVSRModel
from avwitness.avsr.text import BLANK, VOCABULARY_SIZE, encode, normalise
from avwitness.avsr.transcriber import Transcriber, _Rows
from avwitness.cli import app
from avwitness.media.encode import write_media

OPTIONS = {"width": 32, "heads": 2, "feed_forward": 48, "visual_widths": (8, 8, 16, 16)}


@pytest.fixture(scope="module")
def small() -> Transcriber:
    return Transcriber.load("small", device="cpu")


@pytest.fixture(scope="module")
def untrained() -> Transcriber:
    torch.manual_seed(0)
    return Transcriber(AVSRModel(AVSRConfig(backbone_options=OPTIONS)))


def test_the_bundled_model_is_small_and_its_card_states_its_limits(small: Transcriber) -> None:
    from avwitness.checkpoints import find_weights

    assert isinstance(small.model, AVSRModel)
    assert sum(p.numel() for p in small.model.backbone.parameters()) <= 12_000_000
    folder = find_weights("avsr", "small")
    card = json.loads((folder / "card.json").read_text())
    assert "GRID" in card["limits"]
    assert "Arabic" in card["limits"]
    assert sum(f.stat().st_size for f in folder.iterdir()) < 20_000_000
    with pytest.raises(FileNotFoundError, match="bundled: small"):
        Transcriber.load("enormous")


@pytest.mark.slow
@pytest.mark.footage
@pytest.mark.parametrize(("modality", "limit"), [("av", 0.35), ("audio", 0.35), ("video", 0.7)])
def test_grid_sentences_are_transcribed(small: Transcriber, footage: Path, modality: str, limit: float) -> None:
    table = pd.read_csv(footage / "manifest.csv")
    rows = table[(table.corpus == "grid") & (table.split == "dev")].iloc[::12]
    expected, found = [], []
    for path, text in zip(rows.path, rows.transcript, strict=True):
        transcript = small.transcribe(footage / path, modality)
        assert transcript.error is None
        assert transcript.modality == modality
        starts = [word.start for word in transcript.words if word.start is not None]
        assert starts == sorted(starts)
        assert all(0.0 <= start <= 3.0 for start in starts)
        expected.append(normalise(text))
        found.append(transcript.text)
    assert jiwer.wer(expected, found) < limit


@pytest.mark.slow
@pytest.mark.footage
def test_words_are_timed_as_the_corpus_times_them(small: Transcriber, footage: Path) -> None:
    """Against the word times that GRID publishes, in units of 1/25000 s."""
    table = pd.read_csv(footage / "manifest.csv")
    differences = []
    for path in table[(table.corpus == "grid") & (table.split == "dev")].path.iloc[::12]:
        align = footage / "grid" / "s1_align" / f"{Path(path).stem}.align"
        lines = [line.split() for line in align.read_text().splitlines()]
        published = [(float(begin) / 25000.0, word) for begin, _, word in lines if word not in ("sil", "sp")]
        words = small.transcribe(footage / path, "audio").words
        if len(words) == len(published):
            pairs = zip(words, published, strict=True)
            differences += [abs(w.start - begin) for w, (begin, word) in pairs if w.word == word and w.start is not None]
    assert len(differences) >= 10
    assert np.median(differences) < 0.3  # CTC puts a letter where it is sure of it, which is late


@pytest.mark.slow
def test_every_kind_of_file_gets_a_transcript_or_an_error(
    untrained: Transcriber, talk: Talk, talk_file: Path, broken_files: dict[str, Path], tmp_path: Path
) -> None:
    both = untrained.transcribe(talk_file)
    assert (both.error, both.modality) == (None, "av")
    silent = write_media(tmp_path / "silent.mp4", talk.frames)
    assert untrained.transcribe(silent).modality == "video"
    sound = write_media(tmp_path / "sound.m4a", waveform=talk.waveform)
    assert untrained.transcribe(sound).modality == "audio"
    assert untrained.transcribe(talk_file, "video").modality == "video"
    assert "no audio stream" in str(untrained.transcribe(silent, "audio").error)
    faceless = write_media(tmp_path / "faceless.mp4", noise_frames(20), talk.waveform)
    assert untrained.transcribe(faceless).modality == "audio"
    assert "no face" in str(untrained.transcribe(faceless, "video").error)
    for kind, file in broken_files.items():
        error = untrained.transcribe(file).error
        assert error is not None, kind
        assert file.name in error
    with pytest.raises(ValueError, match="av, audio, video"):
        untrained.transcribe(talk_file, "smell")


def test_windows_are_joined_in_the_middle_of_their_overlap() -> None:
    """Letters spread over 20 s come out once and in order when they are read in windows of 8 s every 4 s."""
    text, rate = "bin blue at f two now please", 50
    whole = torch.full((20 * rate, VOCABULARY_SIZE), -9.0)
    whole[:, BLANK] = 0.0
    for position, index in enumerate(encode(text)):
        row = 30 + position * 33
        whole[row, BLANK], whole[row, index] = -9.0, 0.0
    rows = _Rows()
    for start in range(0, 20 * rate, 4 * rate):
        window = whole[start : start + 8 * rate].clone()
        window[: rate // 2] = window[-rate // 2 :] = -3.0  # a window knows little at its edges
        if start == 0:
            window[: rate // 2] = whole[: rate // 2]
        rows.add(window, start, 2 * rate)
        if start + 8 * rate >= len(whole):
            break
    ((first, joined), *rest) = rows.parts()
    assert not rest
    transcriber = Transcriber(AVSRModel(AVSRConfig(backbone_options=OPTIONS)))
    assert transcriber.decode(joined) == text
    assert first < 30


def test_a_long_pause_begins_a_new_part() -> None:
    scores = torch.full((400, VOCABULARY_SIZE), -9.0)
    scores[:, BLANK] = 0.0
    for row in (20, 30, 300):
        scores[row, BLANK], scores[row, 2] = -9.0, 0.0
    rows = _Rows()
    rows.add(scores, 100, 0)
    assert [(first, len(part)) for first, part in rows.parts()] == [(100, 81), (350, 101)]


@pytest.mark.slow
def test_a_converted_network_transcribes_files(talk_file: Path, tmp_path: Path) -> None:
    from avwitness.avsr.seq2seq import Seq2SeqConfig, Seq2SeqModel

    torch.manual_seed(2)
    symbols = ["<s>", "<pad>", "</s>", "<unk>", *(f"▁word{i}" for i in range(12))]
    options = {"size": "tiny"}
    model = Seq2SeqModel(Seq2SeqConfig(backbone_options=options, vocabulary=symbols, decoder_layers=1, decoder_feed_forward=64))
    torch.nn.init.zeros_(model.decoder.embed_tokens.weight[2])  # the end is never predicted
    transcriber = Transcriber(model, beam=BeamConfig(beams=2))
    transcript = transcriber.transcribe(talk_file)
    assert transcript.error is None
    assert transcript.text == " ".join(word.word for word in transcript.words)


@pytest.mark.slow
def test_the_command_writes_one_json_object_per_file(talk_file: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["transcribe", str(talk_file), str(tmp_path / "absent.mp4"), "--json", "--beams", "4"])
    assert result.exit_code == 1
    good, bad = (json.loads(line) for line in result.stdout.splitlines())
    assert set(good) == {"path", "modality", "text", "words", "error"}
    assert good["error"] is None
    assert all(set(word) == {"word", "start", "end"} for word in good["words"])
    assert bad["text"] is None
    assert "absent.mp4" in bad["error"]
    result = CliRunner().invoke(app, ["transcribe", str(talk_file), "--model", "enormous"])
    assert result.exit_code == 2
    assert "enormous" in result.output
    assert "GRID" in CliRunner().invoke(app, ["transcribe", "--help"]).output
