"""Zero-shot scoring: similarity of audio and video encodings at the best offset, without training on fakes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import PretrainedConfig

from ...avsr.model import AVSRConfig, EncoderConfig, SpeechEncoder, load_encoder
from ...avsr.seq2seq import Seq2SeqConfig
from ...checkpoints import card_version, find_weights
from ...media.clip import FRAME_RATE
from ...media.face.mouth import centre
from ..calibration import Calibration
from ..verdict import ModelInfo, Sync, Verdict
from ..weights_hash import weights_sha256
from .file_scorer import FileScorer
from .scoring import score_file
from .window_model import Hook, NonFiniteOutput, WindowOutput

MAX_SHIFT = 15  # frames (0.6 s) by which audio and video are shifted either way
MIN_FRAMES = 25  # frames (1 s) that must be compared at a shift before it counts
DECIMALS = 9  # of a mean cosine; of values that are equal after rounding, the smaller shift is taken
KINDS = (EncoderConfig.model_type, AVSRConfig.model_type, Seq2SeqConfig.model_type)  # model types with a speech encoder


class Match(NamedTuple):
    """Offset of the highest similarity of two streams.

    Parameters
    ----------
    offset : int
        Frames by which the audio lags behind the video.
    similarity : float
        Mean cosine there, -1 to 1.
    curve : float64 [31]
        Mean cosine at every shift from -15 to 15 frames; NaN where fewer than 25 frames could be compared.
    """

    offset: int
    similarity: float
    curve: np.ndarray


def best_shift(audio: np.ndarray, video: np.ndarray, mask: np.ndarray) -> Match | None:
    """Shift of the highest similarity of audio and video.

    Parameters
    ----------
    audio, video : float [T, D]
        Features of each stream on its own, at 25 Hz.
    mask : bool [T]
        Frames that show the mouth.

    Returns
    -------
    Match or None
        ``None`` where too few frames could be compared at any shift.

    Notes
    -----
    Source: Liang et al., *SpeechForensics: audio-visual speech representation learning for face forgery detection*,
    NeurIPS 2024. Here frames without a counterpart at a shift are left out of the mean.
    """
    return best_match(shift_sums(audio, video, mask))


def shift_sums(audio: np.ndarray, video: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Sums and counts of cosines at every shift, float64 [2, 31]; arguments as for :func:`best_shift`.

    Sums of several windows may be added before they are passed to :func:`best_match`.
    """
    cosines = _directions(audio) @ _directions(video).T  # audio in rows, video in columns
    known = np.broadcast_to(np.asarray(mask, dtype=np.float64), cosines.shape)
    table = np.stack([np.where(known > 0.0, cosines, 0.0), known])
    return np.stack([np.diagonal(table, -shift, 1, 2).sum(axis=1) for shift in range(-MAX_SHIFT, MAX_SHIFT + 1)], axis=1)


def best_match(sums: np.ndarray) -> Match | None:
    """The shift of the highest mean of sums and counts [2, 31]; of equal ones the smallest shift."""
    totals, counts = sums
    enough = counts >= MIN_FRAMES
    if not enough.any():
        return None
    curve = np.full(len(totals), np.nan)
    curve[enough] = np.clip(totals[enough] / counts[enough], -1.0, 1.0)
    shifts = sorted(np.flatnonzero(enough) - MAX_SHIFT, key=abs)
    offset = int(max(shifts, key=lambda shift: round(float(curve[shift + MAX_SHIFT]), DECIMALS)))
    return Match(offset, float(curve[offset + MAX_SHIFT]), curve)


def _directions(x: np.ndarray) -> np.ndarray:
    """Rows [T, D] of length 1; rows of zeros stay as they are."""
    x = np.asarray(x, dtype=np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, length, out=np.zeros_like(x), where=length > 0.0)


class ZeroShotDetector(FileScorer):
    """Scores files by the similarity of audio and video alone.

    A verdict holds ``sync.similarity``, to rank files by (low is suspect), and ``sync.offset_ms``. There are no probabilities,
    because the encoder is not trained on labels, and no file is labelled genuine, because the streams of a fake may match.

    Parameters
    ----------
    encoder : SpeechEncoder
    info : ModelInfo
        Named in every verdict.
    source : str
        Folder from which worker processes load the same encoder.
    device : str
        ``auto``, ``cpu``, ``cuda``, ...
    threshold : float, optional
        Similarity below which a file is labelled fake; it depends on the encoder, and must be chosen on labelled clips.
    workers : int
        Number of worker processes; 0 scores in this process.

    Examples
    --------
    >>> from avwitness.detector.inference.zero_shot import load_zero_shot
    >>> detector = load_zero_shot("av_hubert_large")
    >>> detector.score("clip.mp4").sync.similarity
    """

    modalities = ("auto", "av")
    modalities_reason = ": zero-shot scoring compares both streams"

    def __init__(
        self,
        encoder: SpeechEncoder,
        info: ModelInfo,
        source: str,
        device: str = "auto",
        threshold: float | None = None,
        workers: int = 0,
    ) -> None:
        super().__init__(source, device, workers)
        self.encoder = encoder.eval().to(self.device)  # type: ignore[arg-type]
        self.info, self.threshold = info, threshold

    def _score(self, path: str, *, modality: str, trim_silence: bool, hook: Hook | None, **options: Any) -> Verdict:
        comparison = _Comparison(self)
        verdict = score_file(comparison, Path(path), modality, trim_silence, hook, **options)
        return conclude(verdict, best_match(comparison.sums), self.threshold)

    @classmethod
    def _load(cls, model: str, device: str, workers: int, **options: Any) -> FileScorer:
        return load_zero_shot(model, device, options["threshold"], workers)

    def _folder(self) -> Path:
        return Path(self.source)

    def _worker_settings(self) -> dict[str, Any]:
        return {**super()._worker_settings(), "zero_shot": True, "threshold": self.threshold}

    def extract_audio_features(self, waveform: np.ndarray) -> np.ndarray:
        """Audio features [T, F] at 25 Hz of a waveform [S] at 16 kHz, for this encoder's backbone."""
        return self.encoder.backbone.extract_audio_features(waveform)

    @torch.inference_mode()
    def encode(self, features: np.ndarray, crops: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Encodings of the audio alone and of the video alone, float32 [T, D] each.

        Parameters
        ----------
        features : float32 [T, F]
            See :meth:`extract_audio_features`.
        crops : uint8 [T, 96, 96]
            Mouth crops.
        usable : bool [T]
            Frames that show the mouth.
        """
        audio, video, mask = (torch.from_numpy(np.ascontiguousarray(x))[None].to(self.device) for x in (features, centre(crops), usable))
        # Two calls: given both streams at once, a backbone would compute the joint encoding too.
        of_audio, of_video = self.encoder.backbone.encode(audio, None).audio, self.encoder.backbone.encode(None, video, None, mask).video
        assert of_audio is not None
        assert of_video is not None
        return of_audio[0].float().cpu().numpy(), of_video[0].float().cpu().numpy()


class _Comparison:
    """One file's comparison: a model that outputs no logit of either stream and sums the similarity of both."""

    uses_portraits = False

    def __init__(self, detector: ZeroShotDetector) -> None:
        self.detector, self.info, self.calibration = detector, detector.info, Calibration()
        self.extract_audio_features = detector.extract_audio_features
        self.sums = np.zeros((2, 2 * MAX_SHIFT + 1))

    def predict_window(
        self, features: np.ndarray | None, crops: np.ndarray | None, usable: np.ndarray | None, *_: object, **__: object
    ) -> WindowOutput:
        """Compare the streams of one window that has both; further inputs are ignored."""
        if features is not None and crops is not None and usable is not None:
            frames = min(len(features), len(crops))
            features, crops, usable = features[:frames], crops[:frames], usable[:frames]
            if usable.any():
                audio, video = self.detector.encode(features, crops, usable)
                if not (np.isfinite(audio).all() and np.isfinite(video).all()):
                    raise NonFiniteOutput(["encodings"])
                self.sums += shift_sums(audio, video, usable)
        return WindowOutput()  # no logits


def conclude(verdict: Verdict, match: Match | None, threshold: float | None = None) -> Verdict:
    """Add the similarity of the streams to a verdict without scores.

    Parameters
    ----------
    verdict : Verdict
        Inconclusive in both streams.
    match : Match or None
        ``None`` if the streams could not be compared.
    threshold : float, optional
        Similarity below which the file is labelled fake. Above it the verdict stays inconclusive.
    """
    flags = [*verdict.quality, "zero_shot"]
    if match is None:
        if "too_short" not in flags and (verdict.duration or 0.0) < MIN_FRAMES / FRAME_RATE:
            flags.append("too_short")
        return replace(verdict, quality=tuple(flags))
    sync = Sync(round(match.offset * 1000.0 / FRAME_RATE, 1), None, round(match.similarity, 4))
    if threshold is None:
        return replace(verdict, sync=sync, quality=tuple(flags))
    fake = match.similarity < threshold
    flags += ["streams_mismatch"] if fake else []
    return replace(verdict, status="ok", verdict="fake" if fake else "inconclusive", sync=sync, quality=tuple(flags))


def load_zero_shot(
    folder: str | os.PathLike[str], device: str = "auto", threshold: float | None = None, workers: int = 0
) -> ZeroShotDetector:
    """Load a speech encoder to compare streams with.

    Parameters
    ----------
    folder : path-like
        Holds a speech encoder or an AVSR model, such as `avwitness convert` writes; heads and decoders are left out.
    device : str
        ``auto`` takes a GPU if there is one.
    threshold : float, optional
        Similarity below which a file is called fake.
    workers : int
        As for :func:`avwitness.load`.

    Raises
    ------
    FileNotFoundError
        If the folder does not hold a model.
    ValueError
        If it holds another kind of model, or one that lacks a part.
    """
    if not Path(folder).is_dir():  # not a bundled name: "small" is what the command takes where no model is named
        raise FileNotFoundError(f"{folder}: no such folder; zero-shot scoring needs one that `avwitness convert` wrote")
    folder = find_weights("avsr", Path(folder).absolute())
    values = PretrainedConfig.get_config_dict(folder)[0]
    if values.get("model_type") not in KINDS:
        raise ValueError(f"{folder}: holds no speech encoder but {values.get('model_type')!r}; zero-shot scoring needs one of {KINDS}")
    encoder = load_encoder(folder)
    info = ModelInfo(folder.name, card_version(folder), weights_sha256(folder))
    return ZeroShotDetector(encoder, info, os.fspath(folder), device, threshold, workers)
