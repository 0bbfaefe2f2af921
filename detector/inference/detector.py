"""The detector: weights loaded by name, files scored one by one or many at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...checkpoints import card_version, find_weights
from ...media.face.crops import FACE_STRIDE
from ...media.face.mouth import centre
from ...media.speech import log_spectrum
from ..calibration import Calibration
from ..model import DualLabelDetector, fit_length
from ..verdict import ModelInfo, Verdict
from ..weights_hash import weights_sha256
from .file_scorer import FileScorer
from .scoring import score_file
from .synchronisation.measure import SyncMeasurement, measure_sync
from .window_model import Hook, WindowOutput


class Detector(FileScorer):
    """Scores files; built by :func:`avwitness.load`.

    Parameters
    ----------
    model : DualLabelDetector
    info : ModelInfo
        Named in every verdict.
    source : str
        Name or folder from which worker processes load the same model.
    device : str
        ``auto``, ``cpu``, ``cuda``, ...
    workers : int
        Worker processes; 0 scores in this process.

    Examples
    --------
    >>> import avwitness
    >>> detector = avwitness.load()
    >>> detector.score("clip.mp4").verdict
    >>> with avwitness.load(workers=4) as detector:
    ...     verdicts = list(detector.score_many(["a.mp4", "b.mp4"], timeout=600))
    """

    def __init__(self, model: DualLabelDetector, info: ModelInfo, source: str, device: str = "auto", workers: int = 0) -> None:
        super().__init__(source, device, workers)
        self.model = model.eval().to(self.device)
        self.info = info
        self.calibration = Calibration.from_dict(model.config.calibration)

    def _score(self, path: str, *, modality: str, trim_silence: bool, hook: Hook | None, **options: Any) -> Verdict:
        return score_file(self, Path(path), modality, trim_silence, hook, **options)

    @classmethod
    def _load(cls, model: str, device: str, workers: int, **options: Any) -> FileScorer:
        return load(model, device=device, workers=workers)

    def _folder(self) -> Path:
        return find_weights("detector", self.source)

    @property
    def uses_portraits(self) -> bool:
        """Whether the video is classified on portraits."""
        return self.model.video_classifier is not None

    def measure_sync(self, path: str | os.PathLike[str], hook: Hook | None = None) -> SyncMeasurement:
        """Measure the offset between audio and lips of a file.

        Parameters
        ----------
        path : path-like
            A video with sound.
        hook : callable, optional
            Called with the seconds done and the seconds in all after every window.

        Raises
        ------
        MediaError
            If the file cannot be read, lacks a stream, or shows a speaking face for less than a second.
        ValueError
            If the detector has no sync network.
        """
        return measure_sync(self.model, self.calibration.sync, path, hook)

    def extract_audio_features(self, waveform: np.ndarray) -> np.ndarray:
        """Audio features [T, F] at 25 Hz of a waveform [S] at 16 kHz, for this detector's backbone."""
        return self.model.backbone.extract_audio_features(waveform)

    @torch.inference_mode()
    def predict_window(
        self,
        features: np.ndarray | None,
        crops: np.ndarray | None,
        usable: np.ndarray | None,
        faces: np.ndarray | None = None,
        waveform: np.ndarray | None = None,
        portraits: tuple[np.ndarray, np.ndarray] | None = None,
        lips: np.ndarray | None = None,
    ) -> WindowOutput:
        """Run the model on one window.

        Parameters
        ----------
        features : float32 [T, F] or None
            See :meth:`extract_audio_features`.
        crops : uint8 [T', 96, 96] or None
            Mouth crops.
        usable : bool [T'] or None
            Frames that show the face.
        faces : uint8 [ceil(T' / 5), 128, 128, 3] or None
            See :func:`avwitness.media.face.crops.face_crops`.
        waveform : float32 [S] or None
            Audio at 16 kHz, of which ``features`` were extracted.
        portraits : (uint8 [N, 224, 224, 3], int [N]) or None
            See :func:`avwitness.media.face.portraits.portrait_crops`; used where :attr:`uses_portraits` is true.
        lips : float32 [T', 40, 2] or None
            Lip landmarks in pixels of the mouth crops, for the sync network.
        """
        length = max(len(features) if features is not None else 0, len(crops) if crops is not None else 0)
        arguments: dict[str, Any] = {}
        if features is not None:
            short = length - len(features)
            arguments["audio"] = np.pad(features, ((0, short), (0, 0)))[None]
            arguments["audio_mask"] = (np.arange(length) < len(features))[None]
            if waveform is not None and self.model.audio_classifier is not None:
                arguments["waveform"] = waveform[None]
            elif waveform is not None and self.model.sound_branch is not None:
                arguments["spectrum"] = np.pad(log_spectrum(waveform), ((0, short), (0, 0)))[None]
        if crops is not None and usable is not None:
            short = length - len(crops)
            arguments["video"] = np.pad(centre(crops), ((0, short), (0, 0), (0, 0)))[None]
            arguments["video_mask"] = np.pad(usable, (0, short))[None]
            if lips is not None and self.model.sync_network is not None:
                arguments["lips"] = np.pad(lips, ((0, short), (0, 0), (0, 0)), mode="edge")[None]
            if self.uses_portraits and portraits is not None:
                arguments["portraits"], arguments["portrait_numbers"] = (array[None] for array in portraits)
            elif faces is not None:
                count = -(-length // FACE_STRIDE)
                arguments["faces"] = np.pad(faces, ((0, count - len(faces)), (0, 0), (0, 0), (0, 0)))[None]
        classifier = self.model.audio_classifier
        if classifier is not None and "waveform" in arguments and crops is None:  # the backbone adds nothing to the audio alone
            clip, frames = classifier(torch.from_numpy(arguments["waveform"]).to(self.device))
            return WindowOutput(audio=float(clip[0]), audio_frames=fit_length(frames, length)[0].float().cpu().numpy())
        output = self.model(**{name: torch.from_numpy(value).to(self.device) for name, value in arguments.items()})

        def array(tensor: torch.Tensor | None, size: int | None = None) -> np.ndarray | None:
            return None if tensor is None else tensor[0].float().cpu().numpy()[:size]

        audio, video = output.audio, output.video
        return WindowOutput(
            audio=None if audio is None else float(audio.clip[0]),
            video=None if video is None else float(video.clip[0]),
            audio_frames=None if audio is None or features is None else array(audio.frames, len(features)),
            video_frames=None if video is None or crops is None else array(video.frames, len(crops)),
            sync=array(output.sync),
        )


def load(name_or_path: str | os.PathLike[str] = "small", *, device: str = "auto", workers: int = 0) -> Detector:
    """Load a detector: bundled weights by name, or a folder that ``save_pretrained`` wrote.

    Parameters
    ----------
    name_or_path : str or path-like
        ``small``, or a folder with ``config.json`` and ``model.safetensors``.
    device : str
        ``auto`` takes a GPU if there is one.
    workers : int
        Processes in which files are scored, kept from one call to the next until the detector is closed or its ``with`` block ends;
        0 scores in this process.

    Raises
    ------
    FileNotFoundError
        If there are no such weights, naming the bundled ones.
    ValueError
        If the file lacks some of them.
    """
    folder = find_weights("detector", name_or_path)
    model, found = DualLabelDetector.from_pretrained(folder, dtype=torch.float32, local_files_only=True, output_loading_info=True)
    if found["missing_keys"]:  # they would stay random
        raise ValueError(f"{folder}: lacks weights of the detector: {', '.join(sorted(found['missing_keys'])[:5])}")
    info = ModelInfo(folder.name, card_version(folder), weights_sha256(folder))
    name = os.fspath(name_or_path)
    source = str(folder) if Path(name).resolve() == folder else name  # a relative path would not survive a change of directory
    return Detector(model, info, source, device, workers)
