"""A file in, a verdict out: decoding, faces, features, model and aggregation, one window at a time."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..media.clip import FRAME_RATE, SAMPLES_PER_FRAME, Clip, MediaError
from ..media.decode import MediaReader
from ..media.face import FaceTrack, FaceTracker, speaking_face
from ..media.mouth import centre, mouth_crops, native_scale
from ..media.speech import log_mel
from .calibration import Calibration, StreamCalibration, sync_statistic
from .model import MAX_OFFSET, DualLabelDetector
from .verdict import Face, ModelInfo, Segment, StreamVerdict, Sync, Verdict, error_verdict

log = logging.getLogger(__name__)

BUNDLED = Path(__file__).with_name("weights")
MODALITIES = ("auto", "av", "audio", "video")
MIN_FRAMES = 10  # frames (0.4 s) of evidence below which a stream is not judged
SILENCE = 1e-3  # peak of full scale (-60 dB) below which a stream is taken as silent
ACTIVE_FLOOR = 3e-3  # root mean square of a 40-ms frame (-50 dB of full scale) that counts as sound
SEGMENT = 12  # frames (0.48 s) of one entry of the timeline
SMALL_FACE = 2.0  # enlargement of the mouth above which the face is called small
MISSING_FACE = 0.1  # share of frames without the judged face that is worth a flag
SYNC_FRAMES = 40  # frames (1.6 s) that both streams must share before they are compared


#: Told, after every window, how many seconds are done and how many there are (None if the container does not say).
Hook = Callable[[float, float | None], None]


@dataclass(frozen=True)
class WindowEvidence:
    """What the model says of one window, as arrays; what concerns an absent stream is ``None``."""

    audio: float | None
    video: float | None
    audio_frames: np.ndarray | None
    video_frames: np.ndarray | None
    sync: np.ndarray | None


@dataclass
class _Stream:
    """Evidence on one stream, summed up over overlapping windows."""

    logits: list[tuple[float, int]] = field(default_factory=list)  # logit and frames of evidence of every window
    total: np.ndarray = field(default_factory=lambda: np.zeros(0))  # sum of frame logits
    count: np.ndarray = field(default_factory=lambda: np.zeros(0))  # windows that spoke for each frame

    def add(self, logit: float, frames: np.ndarray, mask: np.ndarray, first: int) -> None:
        self.logits.append((logit, int(mask.sum())))
        end = first + len(frames)
        if end > len(self.total):
            self.total, self.count = (np.pad(x, (0, end - len(x))) for x in (self.total, self.count))
        self.total[first:end] += np.where(mask, frames, 0.0)
        self.count[first:end] += mask

    @property
    def logit(self) -> float | None:
        """Mean over the windows, weighted by their evidence."""
        if not self.logits:
            return None
        values, weights = np.array(self.logits).T
        return float((values * weights).sum() / weights.sum())


@dataclass
class _FaceRecord:
    """What is known of one face so far."""

    first: int
    last: int
    seen: set[int] = field(default_factory=set)
    speaking: bool = False
    boxes: list[np.ndarray] = field(default_factory=list)


class Detector:
    """Scores files. Made by :func:`avwitness.load`.

    Parameters
    ----------
    model : DualLabelDetector
    info : ModelInfo
        Named in every verdict.
    source : str
        Name or folder from which worker processes load the same model.
    device : str
        ``auto``, ``cpu``, ``cuda``, ...

    Examples
    --------
    >>> import avwitness
    >>> detector = avwitness.load()
    >>> detector.score("clip.mp4").verdict
    """

    def __init__(self, model: DualLabelDetector, info: ModelInfo, source: str, device: str = "auto") -> None:
        self.device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        self.model = model.eval().to(self.device)
        self.info = info
        self.source = source
        self.calibration = Calibration.from_dict(model.config.calibration)

    def score(self, path: str | os.PathLike[str], *, modality: str = "auto", hook: Hook | None = None) -> Verdict:
        """Judge one file.

        Parameters
        ----------
        path : path-like
            A video or audio file.
        modality : {"auto", "av", "audio", "video"}
            What to judge: whatever is there, both streams or nothing, or one stream.
        hook : callable, optional
            Called with the seconds done and the seconds in all after every window.

        Returns
        -------
        Verdict
            A file that cannot be read gives a verdict of status ``error``; nothing is raised for it.

        Raises
        ------
        ValueError
            If there is no such modality.
        """
        if modality not in MODALITIES:
            raise ValueError(f"modality {modality!r} is none of {', '.join(MODALITIES)}")
        try:
            return _Scoring(self, Path(path), modality).run(hook)
        except MediaError as error:
            log.debug("%s", error, exc_info=True)
            return error_verdict(os.fspath(path), "MediaError", str(error), self.info)

    def score_many(self, paths: Iterable[str | os.PathLike[str]], workers: int = 0, *, modality: str = "auto") -> Iterator[Verdict]:
        """Judge many files.

        Parameters
        ----------
        paths : iterable of path-like
        workers : int
            Processes; 0 scores in this one. With workers even a decoder that crashes or hangs costs only its own file.
        modality : {"auto", "av", "audio", "video"}

        Yields
        ------
        Verdict
            One for every input, in the order of the inputs.
        """
        if workers > 0:
            from .pool import score_in_processes

            yield from score_in_processes(paths, workers, model=self.source, device=str(self.device), modality=modality)
            return
        for path in paths:
            yield self.score_guarded(path, modality=modality)

    def score_guarded(self, path: str | os.PathLike[str], *, modality: str = "auto", hook: Hook | None = None) -> Verdict:
        """As :meth:`score`, but every failure becomes a verdict of status ``error``: one bad input never harms another."""
        try:
            return self.score(path, modality=modality, hook=hook)
        except Exception as error:  # whatever it is, it belongs to this file alone
            log.debug("%s", error, exc_info=True)
            return error_verdict(os.fspath(path), type(error).__name__, f"{os.fspath(path)}: could not be scored: {error}", self.info)

    @torch.inference_mode()
    def weigh(self, features: np.ndarray | None, crops: np.ndarray | None, usable: np.ndarray | None) -> WindowEvidence:
        """Run the model on one window.

        Parameters
        ----------
        features : float32 [T, 320] or None
            Log-mel at 25 Hz.
        crops : uint8 [T', 96, 96] or None
            Mouth crops.
        usable : bool [T'] or None
            Frames that show the face.
        """
        length = max(len(features) if features is not None else 0, len(crops) if crops is not None else 0)
        arguments: dict[str, Any] = {}
        if features is not None:
            short = length - len(features)
            arguments["audio"] = np.pad(features, ((0, short), (0, 0)))[None]
            arguments["audio_mask"] = (np.arange(length) < len(features))[None]
        if crops is not None and usable is not None:
            short = length - len(crops)
            arguments["video"] = np.pad(centre(crops), ((0, short), (0, 0), (0, 0)))[None]
            arguments["video_mask"] = np.pad(usable, (0, short))[None]
        evidence = self.model(**{name: torch.from_numpy(value).to(self.device) for name, value in arguments.items()})

        def array(tensor: torch.Tensor | None, size: int | None = None) -> np.ndarray | None:
            return None if tensor is None else tensor[0].float().cpu().numpy()[:size]

        return WindowEvidence(
            audio=None if evidence.audio is None else float(evidence.audio[0]),
            video=None if evidence.video is None else float(evidence.video[0]),
            audio_frames=array(evidence.audio_frames, None if features is None else len(features)),
            video_frames=array(evidence.video_frames, None if crops is None else len(crops)),
            sync=array(evidence.sync),
        )


class _Scoring:
    """One file on its way to a verdict."""

    def __init__(self, detector: Detector, path: Path, modality: str) -> None:
        self.detector, self.path, self.modality = detector, path, modality
        self.reader = MediaReader(path, video=modality != "audio", audio=modality != "video")
        info = self.reader.info
        self.has_audio = info.audio is not None and modality != "video"
        self.has_video = info.video is not None and modality != "audio"
        for wanted, has, name in (({"av", "audio"}, self.has_audio, "audio"), ({"av", "video"}, self.has_video, "video")):
            if modality in wanted and not has:
                raise MediaError(path, f"has no {name} stream, and modality {modality!r} asks for it")
        self.audio, self.video = _Stream(), _Stream()
        self.curves: list[tuple[np.ndarray, int]] = []
        self.faces: dict[str, _FaceRecord] = {}
        self.judged = np.zeros(0, dtype=bool)  # frames in which the judged face is usable
        self.scales: list[float] = []
        self.heard = self.active = 0  # frames of sound, and of sound above the floor
        self.loudest = 0.0
        self.frames = 0

    def run(self, hook: Hook | None = None) -> Verdict:
        tracker = FaceTracker() if self.has_video else None
        try:
            for clip in self.reader.windows():
                self._window(clip, tracker)
                del clip  # or it would stay in memory while the next one is decoded
                if hook is not None:
                    hook(self.frames / FRAME_RATE, self.reader.info.duration)
        finally:
            if tracker is not None:
                tracker.close()
        self.reader.check()
        return self._verdict()

    def _window(self, clip: Clip, tracker: FaceTracker | None) -> None:
        first = round(clip.start * FRAME_RATE)
        features = crops = usable = None
        if clip.waveform is not None:
            features = self._listen(clip.waveform, first)
        if clip.frames is not None and tracker is not None:
            tracks = tracker.track(clip.frames, first)
            speaker = speaking_face(tracks, clip.waveform)
            self._note_faces(tracks, speaker, first, clip.frames)
            if speaker is not None and speaker.usable.sum() >= MIN_FRAMES:
                crops, _ = mouth_crops(clip.frames, speaker)
                usable = speaker.usable
                self.scales.append(native_scale(speaker))
        if features is None and crops is None:
            return
        evidence = self.detector.weigh(features, crops, usable)
        if features is not None and evidence.audio is not None and evidence.audio_frames is not None:
            self.audio.add(evidence.audio, evidence.audio_frames, np.ones(len(features), dtype=bool), first)
        if usable is not None and evidence.video is not None and evidence.video_frames is not None:
            self.video.add(evidence.video, evidence.video_frames, usable, first)
        if evidence.sync is not None and features is not None and usable is not None:
            shared = int(usable[: len(features)].sum())
            if shared >= SYNC_FRAMES:
                self.curves.append((evidence.sync, shared))

    def _listen(self, waveform: np.ndarray, first: int) -> np.ndarray | None:
        """Features of one window, or None where it holds too little sound to judge."""
        frames = len(waveform) // SAMPLES_PER_FRAME
        loudness = np.sqrt(np.mean(waveform[: frames * SAMPLES_PER_FRAME].reshape(frames, -1) ** 2, axis=1)) if frames else np.zeros(0)
        active = int((loudness > ACTIVE_FLOOR).sum())
        self.loudest = max(self.loudest, float(np.abs(waveform).max(initial=0.0)))
        self.heard, self.active = self.heard + frames, self.active + active
        self.frames = max(self.frames, first + frames)
        return log_mel(waveform) if active >= MIN_FRAMES else None

    def _note_faces(self, tracks: list[FaceTrack], speaker: FaceTrack | None, first: int, frames: np.ndarray) -> None:
        height, width = frames.shape[1:3]
        end = first + len(frames)
        self.frames = max(self.frames, end)
        if end > len(self.judged):
            self.judged = np.pad(self.judged, (0, end - len(self.judged)))
        if speaker is not None:
            self.judged[first:end] |= speaker.usable
        for track in tracks:
            seen = np.flatnonzero(track.valid) + first
            record = self.faces.setdefault(track.name, _FaceRecord(int(seen[0]), int(seen[-1])))
            record.last = max(record.last, int(seen[-1]))
            record.seen.update(seen.tolist())
            record.speaking |= track is speaker
            record.boxes.append(np.array(track.box) / (width, height, width, height))

    def _verdict(self) -> Verdict:
        calibration = self.detector.calibration
        audio = self._stream_verdict(self.has_audio, self.audio, calibration.audio)
        video = self._stream_verdict(self.has_video, self.video, calibration.video)
        scored = [stream for stream in (audio, video) if stream.p_fake is not None]
        p_fake = 1.0 - float(np.prod([1.0 - (s.p_fake or 0.0) for s in scored])) if scored else None
        labels = {s.label for s in scored}
        label = "fake" if "fake" in labels else "genuine" if labels == {"genuine"} else "inconclusive"
        unproven = [
            f"{name}_unproven"
            for name, stream, limits in (("audio", self.audio, calibration.audio), ("video", self.video, calibration.video))
            if stream.logits and not limits.proven
        ]
        if unproven and label == "genuine":
            label = "inconclusive"  # a stream that is there was not judged, so nothing clears the file
        timeline = self._timeline()
        quality = self._quality() + unproven
        mixed = _mixed(timeline, audio, video, calibration)
        if mixed:
            quality.append("mixed_evidence")
            label = "inconclusive" if label == "genuine" else label
        sync = self._sync()
        if sync.p_mismatch is not None and calibration.sync.label(sync.p_mismatch) == "fake":
            quality.append("streams_mismatch")
        return Verdict(
            path=str(self.path),
            status="ok" if scored else "inconclusive",
            verdict=label,
            sha256=file_sha256(self.path),
            duration=round(self.frames / FRAME_RATE, 3),
            p_fake=None if p_fake is None else round(p_fake, 4),
            audio=audio,
            video=video,
            sync=sync,
            timeline=timeline,
            faces=self._faces(),
            quality=tuple(quality),
            model=self.detector.info,
        )

    @staticmethod
    def _stream_verdict(present: bool, stream: _Stream, calibration: StreamCalibration) -> StreamVerdict:
        if not present:
            return StreamVerdict()
        if stream.logit is None or not calibration.proven:
            return StreamVerdict(True, None, "inconclusive")
        p = float(calibration.probability(stream.logit))
        return StreamVerdict(True, round(p, 4), calibration.label(p))

    def _timeline(self) -> tuple[Segment, ...]:
        parts = {}
        for name, stream, calibration in (
            ("audio", self.audio, self.detector.calibration.audio),
            ("video", self.video, self.detector.calibration.video),
        ):
            values = []
            for begin in range(0, self.frames, SEGMENT):
                count = stream.count[begin : begin + SEGMENT]
                total = stream.total[begin : begin + SEGMENT]
                known = count > 0
                logit = (total[known] / count[known]).mean() if known.any() and calibration.proven else None
                values.append(None if logit is None else round(float(calibration.probability(logit)), 4))
            parts[name] = values
        if all(value is None for values in parts.values() for value in values):
            return ()
        return tuple(
            Segment(round(begin / FRAME_RATE, 3), round(min(begin + SEGMENT, self.frames) / FRAME_RATE, 3), heard, seen)
            for begin, heard, seen in zip(range(0, self.frames, SEGMENT), parts["audio"], parts["video"], strict=True)
        )

    def _sync(self) -> Sync:
        if not self.curves or not self.detector.calibration.sync.proven:
            return Sync()
        weights = np.array([weight for _, weight in self.curves], dtype=np.float64)
        curve = (np.stack([c for c, _ in self.curves]) * weights[:, None]).sum(axis=0) / weights.sum()
        p = float(self.detector.calibration.sync.probability(sync_statistic(curve)))
        return Sync(round((int(curve.argmax()) - MAX_OFFSET) * 1000.0 / FRAME_RATE, 1), round(p, 4))

    def _quality(self) -> list[str]:
        flags = []
        if not self.has_audio and self.modality != "video":
            flags.append("no_audio_stream")
        if not self.has_video and self.modality != "audio":
            flags.append("no_video_stream")
        if 0 < self.frames < MIN_FRAMES:
            flags.append("too_short")
        if self.has_audio and self.loudest < SILENCE:
            flags.append("silent_audio")
        elif self.has_audio and not self.audio.logits:
            flags.append("little_sound")
        if self.has_video and not self.faces:
            flags.append("no_face")
        elif self.has_video and not self.video.logits:
            flags.append("little_face")
        elif self.has_video and 1.0 - self.judged.mean() > MISSING_FACE:
            flags.append("face_in_part")
        if len(self.faces) > 1:
            flags.append("several_faces")
        if self.scales and float(np.median(self.scales)) > SMALL_FACE:
            flags.append("small_face")
        if self.reader.video_damage.broken or self.reader.audio_damage.broken:
            flags.append("damaged_packets")
        return flags

    def _faces(self) -> tuple[Face, ...]:
        faces = []
        for name, record in self.faces.items():
            box = np.median(record.boxes, axis=0)
            faces.append(
                Face(
                    name=name,
                    speaking=record.speaking,
                    start=round(record.first / FRAME_RATE, 3),
                    end=round((record.last + 1) / FRAME_RATE, 3),
                    seen=round(len(record.seen) / (record.last - record.first + 1), 4),
                    box=tuple(round(float(x), 4) for x in box),  # type: ignore[arg-type]
                )
            )
        return tuple(faces)


def _mixed(timeline: tuple[Segment, ...], audio: StreamVerdict, video: StreamVerdict, calibration: Calibration) -> bool:
    """Whether a stream judged genuine has at least two consecutive segments (about a second) that look fake."""
    for stream, values, limits in (
        (audio, [s.audio for s in timeline], calibration.audio),
        (video, [s.video for s in timeline], calibration.video),
    ):
        if stream.label == "genuine":
            fake = [value is not None and value > limits.fake_above for value in values]
            if any(a and b for a, b in itertools.pairwise(fake)):
                return True
    return False


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(name_or_path: str | os.PathLike[str] = "small", *, device: str = "auto") -> Detector:
    """Load a detector: bundled weights by name, or a folder that ``save_pretrained`` wrote.

    Parameters
    ----------
    name_or_path : str or path-like
        ``small``, or a folder with ``config.json`` and ``model.safetensors``.
    device : str
        ``auto`` takes a GPU if there is one.

    Raises
    ------
    FileNotFoundError
        If there are no such weights, naming the bundled ones.
    """
    folder = find_weights(name_or_path)
    card = folder / "card.json"
    version = str(json.loads(card.read_text())["version"]) if card.exists() else "unknown"
    model = DualLabelDetector.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    info = ModelInfo(folder.name, version, file_sha256(folder / "model.safetensors"))
    return Detector(model, info, str(name_or_path), device)


def find_weights(name_or_path: str | os.PathLike[str]) -> Path:
    """The folder of bundled weights of that name, or the folder itself.

    Raises
    ------
    FileNotFoundError
        If neither exists.
    """
    for folder in (BUNDLED / name_or_path, Path(name_or_path)):
        if (folder / "model.safetensors").is_file():
            return folder.resolve()
    bundled = sorted(p.parent.name for p in BUNDLED.glob("*/model.safetensors"))
    raise FileNotFoundError(
        f"{name_or_path}: no such model; bundled: {', '.join(bundled) or 'none'}; or name a folder with config.json and model.safetensors"
    )
