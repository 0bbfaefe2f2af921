"""The section on recognition of the results file: word and character error rates of the AVSR model, by stream and in babble."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ...avsr.text import normalise
from ...avsr.training.augment import babble, mix
from ...avsr.training.corpus import Utterance, load_utterances, plain_sample
from ...avsr.training.export import read_curves
from ...avsr.transcriber import Transcriber
from ...checkpoints import find_weights, read_card
from ...datasets.manifest import read_manifest
from ...media.views import fill_views
from ..document import markdown_table, write_section
from ..metrics.bootstrap import Interval, bootstrap
from .training_curves import draw_curves

SECTION = "recognition"
PLOT = "recognition_curves.png"  # in the folder of the results file
NOISE_SEEDS = (0, 1, 2)
N_BABBLE_VOICES = 4
MAX_VOICES = 200  # training clips from which the voices of the babble are sampled


@dataclass(frozen=True)
class Errors:
    """Edit distances and reference lengths of many clips, in words and in characters.

    Parameters
    ----------
    words, characters : int [N, 2]
        Edit distance and reference length of every clip.
    """

    words: np.ndarray
    characters: np.ndarray

    @staticmethod
    def count(pairs: Sequence[tuple[str, str]]) -> Errors:
        """Count the errors of (reference, hypothesis) pairs with ``jiwer``."""
        import jiwer

        words, characters = [], []
        for reference, hypothesis in pairs:
            by_word = jiwer.process_words(reference, hypothesis)
            by_character = jiwer.process_characters(reference, hypothesis)
            words.append((by_word.substitutions + by_word.deletions + by_word.insertions, len(reference.split())))
            characters.append((by_character.substitutions + by_character.deletions + by_character.insertions, len(reference)))
        return Errors(np.array(words), np.array(characters))


def error_rate(counts: np.ndarray, seed: int) -> Interval:
    """Error rate of counts int [N, 2] in percent, with its 95 % bootstrap interval over clips."""
    return bootstrap(lambda rows: 100.0 * counts[rows, 0].sum() / counts[rows, 1].sum(), np.arange(len(counts)), seed)


def format_rate(rate: Interval) -> str:
    """An error rate in percent as text."""
    return f"{rate.value:.1f} %" if np.isnan(rate.low) else f"{rate.value:.1f} % [{rate.low:.1f}, {rate.high:.1f}]"


def add_babble(utterance: Utterance, voices: Sequence[Utterance], snr: float, seed: int) -> Utterance:
    """Mix the voices of other speakers into a clip."""
    waveform = utterance.views.waveform
    assert waveform is not None
    rng = np.random.default_rng((seed, len(waveform), *utterance.path.encode()[-8:]))
    chosen = [voices[i].views.waveform for i in rng.integers(0, len(voices), N_BABBLE_VOICES)]
    noisy = mix(waveform, babble([v for v in chosen if v is not None], len(waveform), rng), snr)
    return replace(utterance, views=replace(utterance.views, waveform=noisy))


def transcribe(transcriber: Transcriber, clips: Sequence[Utterance], modality: str) -> Iterator[tuple[str, str, str]]:
    """Reference, greedily decoded text and beam search text of every clip."""
    from ...avsr.decoding import greedy

    for clip in clips:
        sample = plain_sample(clip, transcriber.model.backbone.extract_audio_features)
        audio = sample.audio if modality != "video" else None
        video = sample.video if modality != "audio" else None
        scores = transcriber.scores(audio, video, sample.usable if video is not None else None)
        yield clip.text, greedy(scores), transcriber.decode(scores)


def write_recognition(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    model: str = "small",
    workers: int = 2,
    seed: int = 0,
    cache: str | os.PathLike[str] | None = None,
) -> None:
    """Transcribe every dev clip that has a transcript, clean and in babble, and write the section.

    Parameters
    ----------
    data : path-like
        Folder with the manifest.
    cache : path-like, optional
        Folder of prepared clips; a temporary one is made otherwise.
    """
    from rich.progress import track

    transcriber, table = Transcriber.load(model, device="cpu"), read_manifest(data)
    spoken = table[table.transcript.notna()]
    dev, train = spoken[spoken.split == "dev"], spoken[spoken.split == "train"]
    # Voices of the babble are from every n-th training clip, so no dev clip is among them.
    voices = train.iloc[:: max(1, len(train) // MAX_VOICES)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(cache or temporary)
        needed = pd.concat([dev, voices])
        fill_views(needed.file, needed.path, folder, workers)
        clips, voices_of_babble = load_utterances(dev, folder), load_utterances(voices, folder)
    lines = _head(transcriber, model, seed)
    known = set(" ".join(normalise(text) for text in train.transcript).split())
    conditions: list[tuple[str, str, Callable[[Utterance, int], Utterance] | None]] = [
        ("audio", "clean", None),
        ("video", "clean", None),
        ("av", "clean", None),
        ("audio", "babble 0 dB", lambda clip, noise: add_babble(clip, voices_of_babble, 0.0, noise)),
        ("av", "babble 0 dB", lambda clip, noise: add_babble(clip, voices_of_babble, 0.0, noise)),
    ]
    for corpus in sorted({clip.corpus for clip in clips}):
        own = [clip for clip in clips if clip.corpus == corpus]
        speakers = {clip.speaker for clip in own}
        split = "in" if speakers & set(train.speaker) else "not in"
        lines += [f"## {corpus}: {len(own)} clips of {len(speakers)} speaker(s) {split} the training data", ""]
        unknown = sorted({word for clip in own for word in clip.text.split() if word not in known})
        in_vocabulary = np.array([known.issuperset(clip.text.split()) for clip in own])
        rows, noisy = [], {}
        for modality, noise, change in track(conditions, f"transcribing {corpus}"):
            texts: list[tuple[str, str, str]] = []
            for noise_seed in NOISE_SEEDS if change else (0,):
                texts += transcribe(transcriber, [change(c, noise_seed) for c in own] if change else own, modality)
            beam = Errors.count([(reference, text) for reference, _, text in texts])
            greedy = Errors.count([(reference, text) for reference, text, _ in texts])
            cells = [format_rate(error_rate(c, seed)) for c in (beam.words, beam.characters, greedy.words, greedy.characters)]
            known_rows = np.tile(in_vocabulary, len(texts) // len(own))
            last = format_rate(error_rate(beam.words[known_rows], seed)) if known_rows.any() else "-"
            rows.append((modality, noise, *cells, last))
            if change:
                noisy[modality] = (error_rate(beam.words, seed).value, error_rate(beam.characters, seed).value)
        header = ("streams", "noise", "WER, beam search", "CER, beam search", "WER, greedy", "CER, greedy", "WER, known words")
        lines += markdown_table(header, rows)
        lines += [
            f"All words of {int(in_vocabulary.sum())} of the {len(own)} clips occur in the training data. {_unknown_words(unknown)}",
            "",
        ]
        gains = [100.0 * (1.0 - both / alone) if alone else 0.0 for alone, both in zip(noisy["audio"], noisy["av"], strict=True)]
        lines += [
            f"In babble, the video stream reduces WER by {gains[0]:.0f} % and CER by {gains[1]:.0f} % (relative).",
            "",
        ]
    plot = Path(out).with_name(PLOT)
    draw_curves(read_curves(find_weights("avsr", model)), plot)
    lines += [f"![Losses and character error rates of the training run]({plot.name})", ""]
    write_section(out, SECTION, lines)


def _unknown_words(words: list[str]) -> str:
    shown = ", ".join(words[:8]) + (", ..." if len(words) > 8 else "")
    return f"The others have words that do not ({len(words)}: {shown})." if words else ""


def _head(transcriber: Transcriber, model: str, seed: int) -> list[str]:
    card = read_card(find_weights("avsr", model))
    beam = transcriber.beam
    assert beam is not None
    return [
        "# Recognition",
        "",
        f"Written by `avwitness report --of recognition --model {model} --seed {seed}`; do not edit by hand.",
        f"Model `{card['name']}` {card['version']}: {card['parameters'] / 1e6:.2f} M parameters, of which the backbone has "
        f"{card['backbone_parameters'] / 1e6:.2f} M; seed {card['seed']}; "
        f"trained for {', '.join(f'{minutes:.0f} min ({stage})' for stage, minutes in card['minutes'].items())} on two CPU cores.",
        "Square brackets are 95 % bootstrap intervals over clips. Babble: "
        f"{N_BABBLE_VOICES} training voices at 0 dB over the whole clip, with {len(NOISE_SEEDS)} seeds. "
        f"Beam search: {beam.beams} beams, character language model of the training transcripts (weight {beam.language_weight}, "
        f"bonus {beam.length_bonus} a character).",
        "",
    ]
