"""One file on its way to a verdict: windows to evidence, evidence to labels, and what limits them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ...media.clip import FRAME_RATE, SAMPLES_PER_FRAME, Clip, MediaError
from ...media.face.crops import face_crops
from ...media.face.mouth import mouth_crops, native_scale
from ...media.face.speaking import speaking_face
from ...media.face.tracking import FaceTrack, FaceTracker
from ...media.files import file_sha256
from ...media.silence import sounding_frames
from ...media.speech import log_spectrum
from ...media.windows import MediaReader
from ..calibration import Calibration, StreamCalibration
from ..sync import MAX_OFFSET, sync_curve, sync_offset, sync_statistic
from ..verdict import Face, Segment, StreamVerdict, Sync, Verdict
from .quality import ABSTAIN, bits_per_pixel, limits, sharpness
from .window_model import Hook, WindowModel

MIN_FRAMES = 10  # frames (0.4 s) of evidence below which a stream is not judged
SILENCE = 1e-3  # peak of full scale (-60 dB) below which a stream is taken as silent
ACTIVE_FLOOR = 3e-3  # root mean square of a 40-ms frame (-50 dB of full scale) that counts as sound
SEGMENT = 12  # frames (0.48 s) of one entry of the timeline
MISSING_FACE = 0.1  # share of frames without the judged face that is worth a flag


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


class Scoring:
    """One file on its way to a verdict."""

    def __init__(self, detector: WindowModel, path: Path, modality: str, trim_silence: bool = False) -> None:
        self.detector, self.path, self.modality = detector, path, modality
        self.span = sounding_frames(path) if trim_silence else None
        self.reader = MediaReader(path, video=modality != "audio", audio=modality != "video", span=self.span)
        info = self.reader.info
        self.has_audio = info.audio is not None and modality != "video"
        self.has_video = info.video is not None and modality != "audio"
        for wanted, has, name in (({"av", "audio"}, self.has_audio, "audio"), ({"av", "video"}, self.has_video, "video")):
            if modality in wanted and not has:
                raise MediaError(path, f"has no {name} stream, and modality {modality!r} asks for it")
        self.audio, self.video = _Stream(), _Stream()
        self.heard = self.seen = False  # whether any window holds sound, or a face, that could be judged
        self.compared = np.zeros((2, 2 * MAX_OFFSET + 1))  # similarity of the streams, summed up over windows
        self.faces: dict[str, _FaceRecord] = {}
        self.judged = np.zeros(0, dtype=bool)  # frames in which the judged face is usable
        self.scales: list[float] = []
        self.sharpness: list[float] = []
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
        features = crops = usable = spectrum = faces = None
        if clip.waveform is not None:
            features = self._listen(clip.waveform, first)
            spectrum = None if features is None else log_spectrum(clip.waveform)
        if clip.frames is not None and tracker is not None:
            tracks = tracker.track(clip.frames, first)
            speaker = speaking_face(tracks, clip.waveform)
            self._note_faces(tracks, speaker, first, clip.frames)
            if speaker is not None and speaker.usable.sum() >= MIN_FRAMES:
                crops, _ = mouth_crops(clip.frames, speaker)
                usable, faces = speaker.usable, face_crops(clip.frames, speaker)
                self.scales.append(native_scale(speaker))
                self.sharpness.append(sharpness(crops[usable]))
        if features is None and crops is None:
            return
        self.heard |= features is not None
        self.seen |= crops is not None
        evidence = self.detector.predict_window(features, crops, usable, spectrum, faces)
        if features is not None and evidence.audio is not None and evidence.audio_frames is not None:
            self.audio.add(evidence.audio, evidence.audio_frames, np.ones(len(features), dtype=bool), first)
        if usable is not None and evidence.video is not None and evidence.video_frames is not None:
            self.video.add(evidence.video, evidence.video_frames, usable, first)
        if evidence.sync is not None:
            self.compared += evidence.sync

    def _listen(self, waveform: np.ndarray, first: int) -> np.ndarray | None:
        """Features of one window, or None where it holds too little sound to judge."""
        frames = len(waveform) // SAMPLES_PER_FRAME
        loudness = np.sqrt(np.mean(waveform[: frames * SAMPLES_PER_FRAME].reshape(frames, -1) ** 2, axis=1)) if frames else np.zeros(0)
        active = int((loudness > ACTIVE_FLOOR).sum())
        self.loudest = max(self.loudest, float(np.abs(waveform).max(initial=0.0)))
        self.frames = max(self.frames, first + frames)
        return self.detector.extract_audio_features(waveform) if active >= MIN_FRAMES else None

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
        quality = self._quality()
        audio = self._stream_verdict(self.has_audio, self.audio, calibration.audio)
        video = self._stream_verdict(self.has_video, self.video, calibration.video)
        if video.p_fake is not None and ABSTAIN & set(quality):
            video = replace(video, label="inconclusive")  # the number stands, to rank by; no verdict rests on it
        scored = [stream for stream in (audio, video) if stream.p_fake is not None]
        p_fake = calibration.overall_probability(self.audio.logit, self.video.logit)
        labels = {s.label for s in scored}
        label = "fake" if "fake" in labels else "genuine" if labels == {"genuine"} else "inconclusive"
        not_validated = [
            f"{name}_unproven"
            for name, stream, known in (("audio", self.audio, calibration.audio), ("video", self.video, calibration.video))
            if stream.logits and not known.validated
        ]
        if not_validated and label == "genuine":
            label = "inconclusive"  # a stream that is there was not judged, so nothing clears the file
        timeline = self._timeline()
        quality += not_validated
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
            duration=round(self.frames / FRAME_RATE, 3) if self.span is None else round(self.reader.seconds, 3),
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
        if stream.logit is None or not calibration.validated:
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
                logit = (total[known] / count[known]).mean() if known.any() and calibration.validated else None
                values.append(None if logit is None else round(float(calibration.probability(logit)), 4))
            parts[name] = values
        if all(value is None for values in parts.values() for value in values):
            return ()
        return tuple(
            Segment(round(begin / FRAME_RATE, 3), round(min(begin + SEGMENT, self.frames) / FRAME_RATE, 3), heard, seen)
            for begin, heard, seen in zip(range(0, self.frames, SEGMENT), parts["audio"], parts["video"], strict=True)
        )

    def _sync(self) -> Sync:
        curve = sync_curve(self.compared)
        if curve is None or not self.detector.calibration.sync.validated:
            return Sync()
        p = float(self.detector.calibration.sync.probability(sync_statistic(curve)))
        return Sync(round(sync_offset(curve) * 1000.0 / FRAME_RATE, 1), round(p, 4))

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
        elif self.has_audio and not self.heard:
            flags.append("little_sound")
        if self.has_video and not self.faces:
            flags.append("no_face")
        elif self.has_video and not self.seen:
            flags.append("little_face")
        elif self.has_video and 1.0 - self.judged[self.span[0] if self.span else 0 :].mean() > MISSING_FACE:
            flags.append("face_in_part")
        if len(self.faces) > 1:
            flags.append("several_faces")
        if self.scales:
            flags += limits(float(np.median(self.scales)), float(np.median(self.sharpness)), bits_per_pixel(self.reader.info))
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
    for stream, values, known in (
        (audio, [s.audio for s in timeline], calibration.audio),
        (video, [s.video for s in timeline], calibration.video),
    ):
        if stream.label == "genuine":
            fake = [value is not None and value > known.fake_above for value in values]
            if any(a and b for a, b in itertools.pairwise(fake)):
                return True
    return False
