"""How well the speech reader reads: word and letter error rates on dev clips, by stream and in babble."""

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
from .training_curves import draw_curves

SECTION = "recognition"  # of the results file
ROUNDS = 500  # of the bootstrap
PICTURE = "recognition_curves.png"  # beside the results file
NOISE_SEEDS = (0, 1, 2)
TALKERS = 4  # voices in the babble
VOICES = 200  # training clips that the babble is drawn from


@dataclass(frozen=True)
class Errors:
    """Edit operations and reference lengths of many clips, in words and in letters.

    Parameters
    ----------
    words, letters : int [N, 2]
        Errors and length of every clip.
    """

    words: np.ndarray
    letters: np.ndarray

    @staticmethod
    def of(pairs: Sequence[tuple[str, str]]) -> Errors:
        """Count the errors of (reference, hypothesis) pairs with ``jiwer``."""
        import jiwer

        words, letters = [], []
        for reference, hypothesis in pairs:
            by_word = jiwer.process_words(reference, hypothesis)
            by_letter = jiwer.process_characters(reference, hypothesis)
            words.append((by_word.substitutions + by_word.deletions + by_word.insertions, len(reference.split())))
            letters.append((by_letter.substitutions + by_letter.deletions + by_letter.insertions, len(reference)))
        return Errors(np.array(words), np.array(letters))


def rate(counts: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Errors per unit in percent, and its 95 % bootstrap interval over clips."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(counts), (ROUNDS, len(counts)))
    resampled = counts[draws].sum(axis=1)
    low, high = np.percentile(100.0 * resampled[:, 0] / resampled[:, 1], (2.5, 97.5))
    return 100.0 * counts[:, 0].sum() / counts[:, 1].sum(), float(low), float(high)


def in_babble(utterance: Utterance, voices: Sequence[Utterance], snr: float, seed: int) -> Utterance:
    """The same clip with other speakers talking over it."""
    waveform = utterance.views.waveform
    assert waveform is not None
    rng = np.random.default_rng((seed, len(waveform), *utterance.path.encode()[-8:]))
    chosen = [voices[i].views.waveform for i in rng.integers(0, len(voices), TALKERS)]
    noisy = mix(waveform, babble([v for v in chosen if v is not None], len(waveform), rng), snr)
    return replace(utterance, views=replace(utterance.views, waveform=noisy))


def read_all(transcriber: Transcriber, clips: Sequence[Utterance], modality: str) -> Iterator[tuple[str, str, str]]:
    """Reference, greedy text and searched text of every clip."""
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
    """Read every transcribed dev clip clean and in babble, and replace the section on recognition in a markdown file.

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
    # Babble that no dev clip is part of; every n-th training clip.
    voices = train.iloc[:: max(1, len(train) // VOICES)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(cache or temporary)
        needed = pd.concat([dev, voices])
        fill_views(needed.file, needed.path, folder, workers)
        clips, talkers = load_utterances(dev, folder), load_utterances(voices, folder)
    lines = _head(transcriber, model, seed)
    known = set(" ".join(normalise(text) for text in train.transcript).split())
    conditions: list[tuple[str, str, Callable[[Utterance, int], Utterance] | None]] = [
        ("audio", "clean", None),
        ("video", "clean", None),
        ("av", "clean", None),
        ("audio", "babble 0 dB", lambda clip, noise: in_babble(clip, talkers, 0.0, noise)),
        ("av", "babble 0 dB", lambda clip, noise: in_babble(clip, talkers, 0.0, noise)),
    ]
    for corpus in sorted({clip.corpus for clip in clips}):
        own = [clip for clip in clips if clip.corpus == corpus]
        speakers = {clip.speaker for clip in own}
        seen = "seen" if speakers & set(train.speaker) else "not seen"
        lines += [f"## {corpus}: {len(own)} clips of {len(speakers)} speaker(s) {seen} in training", ""]
        strange = sorted({word for clip in own for word in clip.text.split() if word not in known})
        familiar = np.array([known.issuperset(clip.text.split()) for clip in own])
        rows, noisy = [], {}
        for modality, noise, change in track(conditions, f"reading {corpus}"):
            texts: list[tuple[str, str, str]] = []
            for noise_seed in NOISE_SEEDS if change else (0,):
                texts += read_all(transcriber, [change(c, noise_seed) for c in own] if change else own, modality)
            searched = Errors.of([(said, found) for said, _, found in texts])
            plain = Errors.of([(said, found) for said, found, _ in texts])
            cells = [_cell(c, seed) for c in (searched.words, searched.letters, plain.words, plain.letters)]
            easy = np.tile(familiar, len(texts) // len(own))
            rows.append((modality, noise, *cells, _cell(searched.words[easy], seed) if easy.any() else "-"))
            if change:
                noisy[modality] = (rate(searched.words, seed)[0], rate(searched.letters, seed)[0])
        header = ("streams", "sound", "WER, beam search", "CER, beam search", "WER, greedy", "CER, greedy", "WER, familiar clips")
        lines += markdown_table(header, rows)
        lines += [f"{int(familiar.sum())} of the {len(own)} clips are familiar: all their words occur in training. {_strange(strange)}", ""]
        gains = [100.0 * (1.0 - both / alone) if alone else 0.0 for alone, both in zip(noisy["audio"], noisy["av"], strict=True)]
        lines += [
            f"In babble, seeing the mouth removes {gains[0]:.0f} % of the word and {gains[1]:.0f} % of the letter errors.",
            "",
        ]
    picture = Path(out).with_name(PICTURE)
    draw_curves(read_curves(find_weights("avsr", model)), picture)
    lines += [f"![Losses and letter error rates of the run]({picture.name})", ""]
    write_section(out, SECTION, lines)


def _strange(words: list[str]) -> str:
    shown = ", ".join(words[:8]) + (", ..." if len(words) > 8 else "")
    return f"The others hold words that never do ({len(words)}: {shown})." if words else ""


def _cell(counts: np.ndarray, seed: int) -> str:
    value, low, high = rate(counts, seed)
    return f"{value:.1f} % [{low:.1f}, {high:.1f}]"


def _head(transcriber: Transcriber, model: str, seed: int) -> list[str]:
    card = read_card(find_weights("avsr", model))
    beam = transcriber.beam
    assert beam is not None
    return [
        "# Recognition",
        "",
        f"Written by `avwitness report --of recognition --model {model} --seed {seed}`; do not edit by hand.",
        f"Reader `{card['name']}` {card['version']}: {card['parameters'] / 1e6:.2f} M parameters, of which the backbone has "
        f"{card['backbone_parameters'] / 1e6:.2f} M; seed {card['seed']}; "
        f"trained for {', '.join(f'{minutes:.0f} min ({stage})' for stage, minutes in card['minutes'].items())} on two CPU cores.",
        "Square brackets are 95 % bootstrap intervals over clips. Babble: "
        f"{TALKERS} training voices at 0 dB over the whole clip, {len(NOISE_SEEDS)} draws of it. "
        f"Beam search: {beam.beams} beams, character language model of the training transcripts (weight {beam.language_weight}, "
        f"bonus {beam.length_bonus} a character).",
        "",
    ]
