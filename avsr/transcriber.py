"""Transcription of files: text with word times, from the audio, the video or both."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ..checkpoints import find_weights, resolve_device, user_weights
from ..media.clip import FRAME_RATE, MediaError
from ..media.face.mouth import centre
from ..media.window_views import WindowViews, window_views
from ..media.windows import MediaReader
from .decoding import BeamConfig, Word, align, beam_search, greedy
from .language_model import CharacterLanguageModel
from .model import AVSRModel
from .seq2seq import Seq2SeqModel
from .text import BLANK
from .transcript import FileTranscriber, Transcript

LANGUAGE = "language.json"  # beside the weights: the character language model
CURVES = "curves.csv"  # beside the weights: training curves
WINDOW, HOP = 8.0, 4.0  # seconds
PAUSE = 100  # rows of blanks (2 s at 50 rows a second) at which the scores are split for beam search
WHISPER = "whisper"  # name under which a converted Whisper is found, and its type in config.json
BEAMS = 24  # width of the beam search, unless asked otherwise
Model = TypeVar("Model", AVSRModel, Seq2SeqModel)


class Transcriber(FileTranscriber):
    """Transcribes files with an AVSR model (CTC), or with a converted AV-HuBERT that has a decoder.

    Parameters
    ----------
    model : AVSRModel or Seq2SeqModel
    language : CharacterLanguageModel, optional
        For the beam search of a CTC model.
    beam : BeamConfig or None
        ``None`` decodes greedily.
    """

    def __init__(
        self,
        model: AVSRModel | Seq2SeqModel,
        language: CharacterLanguageModel | None = None,
        beam: BeamConfig | None = None,
        device: str = "cpu",
    ) -> None:
        self.model = model.to(device).float().eval()  # type: ignore[arg-type]
        self.language, self.beam, self.device = language, beam, device

    @classmethod
    def load(cls, name: str | os.PathLike[str] = "small", beams: int = BEAMS, device: str = "auto") -> Transcriber:
        """Load a model by its bundled name or from a folder.

        Raises
        ------
        FileNotFoundError
            If there is no such model.
        ValueError
            If the folder holds an encoder without a decoder or a Whisper, or the file lacks weights.
        """
        folder = find_weights("avsr", name)
        kind = _kind(folder)
        device = resolve_device(device)
        beam = BeamConfig(beams=beams) if beams > 1 else None
        if kind == AVSRModel.config_class.model_type:
            language = CharacterLanguageModel.load(folder / LANGUAGE) if (folder / LANGUAGE).is_file() else None
            return cls(_load(AVSRModel, folder), language, beam, device)
        if kind == Seq2SeqModel.config_class.model_type:
            return cls(_load(Seq2SeqModel, folder), None, beam, device)
        if kind == WHISPER:
            raise ValueError(f"{folder}: holds a Whisper, which load_transcriber loads")
        raise ValueError(f"{folder}: holds an encoder ({kind}) without a decoder; a fine-tuned checkpoint is needed")

    def _transcribe(self, path: str, modality: str) -> Transcript:
        media = MediaReader(path, video=modality != "audio", audio=modality != "video")
        if modality != "av" and getattr(media.info, modality) is None:
            raise MediaError(path, f"has no {modality} stream, and modality {modality!r} asks for it")
        hop = HOP if isinstance(self.model, AVSRModel) else WINDOW
        rows = _Rows()
        texts: list[str] = []
        streams: set[str] = set()
        with contextlib.closing(window_views(media, WINDOW, hop, faces=False)) as windows:
            for views in windows:
                audio, video, usable = self._inputs(views)
                if audio is None and video is None:
                    continue
                streams |= {name for name, stream in (("audio", audio), ("video", video)) if stream is not None}
                if isinstance(self.model, AVSRModel):
                    rate = self.model.config.rate
                    rows.add(self.scores(audio, video, usable), views.first * rate, round((WINDOW - HOP) / 2 * FRAME_RATE) * rate)
                else:
                    beams = self.beam.beams if self.beam else 1
                    texts.append(self.model.generate_text(_tensor(audio, self.device), _tensor(video, self.device), beams))
        media.check()
        if not streams:
            missing = {"av": "neither sound nor a face", "video": "no face", "audio": "no sound"}[modality]
            raise MediaError(path, f"has {missing} that could be transcribed")
        used = "av" if len(streams) == 2 else streams.pop()
        if texts:
            text = " ".join(t for t in texts if t)
            return Transcript(path, used, text, tuple(Word(word, None, None) for word in text.split()))
        return self._decode_rows(path, used, rows)

    def _inputs(self, views: WindowViews) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
        """Audio features, centred mouth crops and usable frames of one window, cut to the same length."""
        audio = None
        if views.waveform is not None and views.audio_frames:
            audio = self.model.backbone.extract_audio_features(views.waveform)
        video, usable = None if views.mouth is None else centre(views.mouth), views.usable
        if audio is not None and video is not None and usable is not None:
            frames = min(len(audio), len(video))
            audio, video, usable = audio[:frames], video[:frames], usable[:frames]
        return audio, video, usable

    @torch.inference_mode()
    def scores(self, audio: np.ndarray | None, video: np.ndarray | None, usable: np.ndarray | None = None) -> Tensor:
        """CTC log-probabilities of one window.

        Parameters
        ----------
        audio : float32 [T, F] or None
        video : uint8 [T, 88, 88] or None
        usable : bool [T], optional
            Frames that show the mouth.

        Returns
        -------
        float [T * rate, V]

        Raises
        ------
        ValueError
            If the model outputs NaN.
        """
        assert isinstance(self.model, AVSRModel)
        output = self.model(_tensor(audio, self.device), _tensor(video, self.device), None, _tensor(usable, self.device))
        scores: Tensor = output.characters["joint"][0].float().cpu()
        if scores.isnan().any():
            raise ValueError("the model output NaN; its weights are damaged: install avwitness again with constraints.txt")
        return scores

    def decode(self, scores: Tensor) -> str:
        """The text of log-probabilities [T, V], by beam search or greedily."""
        return greedy(scores) if self.beam is None else beam_search(scores, self.language, self.beam)

    def _decode_rows(self, path: str, modality: str, rows: _Rows) -> Transcript:
        assert isinstance(self.model, AVSRModel)
        rate = float(self.model.config.rate * FRAME_RATE)
        words: list[Word] = []
        for first, part in rows.parts():
            text = self.decode(part)
            words += align(part, text, rate, first / rate)
        return Transcript(path, modality, " ".join(word.word for word in words), tuple(words))


def load_transcriber(name: str | os.PathLike[str] = "small", beams: int | None = None, device: str = "auto") -> FileTranscriber:
    """Load what transcribes files: a :class:`Transcriber`, or a :class:`avwitness.avsr.whisper.transcriber.WhisperTranscriber`.

    Parameters
    ----------
    name : str or path-like
        A bundled name, ``whisper`` after its conversion, or a folder.
    beams : int, optional
        Width of the beam search; without it the default of the model.
    device : str

    Raises
    ------
    FileNotFoundError
        If there is no such model.
    ValueError
        If the folder holds an encoder without a decoder, or the file lacks weights.
    """
    try:
        folder = find_weights("avsr", name)
    except FileNotFoundError as error:
        if name != WHISPER:
            raise
        place = user_weights("avsr", WHISPER)
        raise FileNotFoundError(f"{error}; `avwitness convert CHECKPOINT` writes a Whisper to {place}, where this name is found") from None
    if _kind(folder) != WHISPER:
        return Transcriber.load(folder, BEAMS if beams is None else beams, device)
    from .whisper.transcriber import WhisperTranscriber

    return WhisperTranscriber.load(folder, **({} if beams is None else {"beams": beams}), device=device)


def _kind(folder: Path) -> str | None:
    """The type of the model in a folder."""
    from transformers import PretrainedConfig

    return PretrainedConfig.get_config_dict(folder)[0].get("model_type")


class _Rows:
    """Scores of overlapping windows, joined in the middle of each overlap."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, Tensor]] = []
        self.end = 0

    def add(self, scores: Tensor, first: int, margin: int) -> None:
        """Append a window that starts at row ``first``; the overlap is cut ``margin`` rows after that."""
        if self.pieces and first < self.end:
            cut = min(first + margin, self.end)
            before, piece = self.pieces[-1]
            self.pieces[-1] = (before, piece[: cut - before])
            first, scores = cut, scores[cut - first :]
        if len(scores):
            self.pieces.append((first, scores))
            self.end = max(self.end, first + len(scores))

    def parts(self) -> Iterator[tuple[int, Tensor]]:
        """Runs of rows without a long pause, each with the number of its first row."""
        if not self.pieces:
            return
        runs: list[tuple[int, Tensor]] = []
        for first, piece in self.pieces:
            if runs and runs[-1][0] + len(runs[-1][1]) == first:
                runs[-1] = (runs[-1][0], torch.cat([runs[-1][1], piece]))
            else:
                runs.append((first, piece))
        for first, run in runs:
            spoken = np.flatnonzero((run.argmax(dim=-1) != BLANK).numpy())
            if not len(spoken):
                continue
            for group in np.split(spoken, np.flatnonzero(np.diff(spoken) > PAUSE) + 1):
                begin, end = max(int(group[0]) - PAUSE // 2, 0), int(group[-1]) + PAUSE // 2 + 1
                yield first + begin, run[begin:end]


def _load(kind: type[Model], folder: Path) -> Model:
    """A model with all of its weights."""
    model, found = kind.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    if found["missing_keys"]:  # they would stay random
        raise ValueError(f"{folder}: lacks weights: {', '.join(sorted(found['missing_keys'])[:5])}")
    return model


def _tensor(array: np.ndarray | None, device: str) -> Tensor | None:
    return None if array is None else torch.from_numpy(np.ascontiguousarray(array))[None].to(device)
