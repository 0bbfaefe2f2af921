"""The accumulated output of one file to a verdict: calibration, labels, timeline, faces and quality flags."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from ...media.clip import FRAME_RATE
from ...media.windows import MediaReader
from ..calibration import Calibration, StreamCalibration
from ..sync import sync_curve, sync_offset, sync_statistic
from ..verdict import Face, ModelInfo, Segment, StreamVerdict, Sync, Verdict
from .accumulator import Accumulator, FaceRecord, StreamLogits
from .quality import ABSTAIN, bits_per_pixel, limits

MIN_FRAMES = 10  # frames (0.4 s) below which a file is too short
SILENT_PEAK = 1e-3  # peak of full scale (-60 dB) below which a stream is silent
SEGMENT = 12  # frames (0.48 s) of one entry of the timeline
MISSING_FACE = 0.1  # share of frames without the speaking face above which a flag is set


class VerdictBuilder:
    """Builds the verdict on one file.

    Parameters
    ----------
    media : MediaReader
        The file, read to its end.
    accumulated : Accumulator
        Of all its windows.
    calibration : Calibration
    model : ModelInfo
    modality : {"auto", "av", "audio", "video"}
        Which streams were asked for.
    """

    def __init__(self, media: MediaReader, accumulated: Accumulator, calibration: Calibration, model: ModelInfo, modality: str) -> None:
        self.media, self.accumulated, self.calibration, self.model, self.modality = media, accumulated, calibration, model, modality

    def build(self) -> Verdict:
        """The verdict."""
        sums, calibration = self.accumulated, self.calibration
        quality = self._quality()
        audio = stream_verdict(self.media.has_audio, sums.audio, calibration.audio)
        if "still_video" in quality:
            sums.video, sums.sync = StreamLogits(), np.zeros_like(sums.sync)  # no number on an image that never moves
        video = stream_verdict(self.media.has_video, sums.video, calibration.video)
        if video.p_fake is not None and ABSTAIN & set(quality):
            video = replace(video, label="inconclusive")  # the probability stays, to rank by, but sets no label
        scored = [stream for stream in (audio, video) if stream.p_fake is not None]
        p_fake = calibration.overall_probability(sums.audio.logit, sums.video.logit)
        labels = {stream.label for stream in scored}
        label = "fake" if "fake" in labels else "genuine" if labels == {"genuine"} else "inconclusive"
        not_validated = [
            f"{name}_not_validated"
            for name, logits, known in (("audio", sums.audio, calibration.audio), ("video", sums.video, calibration.video))
            if logits.windows and not known.validated
        ]
        timeline = self._timeline()
        quality += not_validated
        mixed = has_mixed_evidence(timeline, audio, video, calibration)
        if mixed:
            quality.append("mixed_evidence")
        if label == "genuine" and (not_validated or mixed or "still_video" in quality):
            label = "inconclusive"  # a stream without a score, or a fake segment, and the file is not cleared
        sync = self._sync()
        if sync.p_mismatch is not None and calibration.sync.label(sync.p_mismatch) == "fake":
            quality.append("streams_mismatch")
        return Verdict(
            path=str(self.media.info.path),
            status="ok" if scored else "inconclusive",
            verdict=label,
            duration=round(sums.frames / FRAME_RATE if self.media.span is None else self.media.seconds, 3),
            p_fake=None if p_fake is None else round(p_fake, 4),
            audio=audio,
            video=video,
            sync=sync,
            timeline=timeline,
            faces=tuple(face(name, record) for name, record in sums.faces.items()),
            quality=tuple(quality),
            model=self.model,
        )

    def _timeline(self) -> tuple[Segment, ...]:
        """Mean frame logit of every segment as a probability; empty where no stream has one."""
        sums = self.accumulated
        starts = range(0, sums.frames, SEGMENT)
        audio, video = (
            [segment_probability(logits, calibration, start) for start in starts]
            for logits, calibration in ((sums.audio, self.calibration.audio), (sums.video, self.calibration.video))
        )
        if all(value is None for value in (*audio, *video)):
            return ()
        return tuple(
            Segment(round(start / FRAME_RATE, 3), round(min(start + SEGMENT, sums.frames) / FRAME_RATE, 3), p_audio, p_video)
            for start, p_audio, p_video in zip(starts, audio, video, strict=True)
        )

    def _sync(self) -> Sync:
        curve = sync_curve(self.accumulated.sync)
        if curve is None or not self.calibration.sync.validated:
            return Sync()
        p = float(self.calibration.sync.probability(sync_statistic(curve)))
        return Sync(round(sync_offset(curve) * 1000.0 / FRAME_RATE, 1), round(p, 4))

    def _quality(self) -> list[str]:
        media, sums, flags = self.media, self.accumulated, []
        if not media.has_audio and self.modality != "video":
            flags.append("no_audio_stream")
        if not media.has_video and self.modality != "audio":
            flags.append("no_video_stream")
        if 0 < sums.frames < MIN_FRAMES:
            flags.append("too_short")
        if media.has_audio and sums.peak < SILENT_PEAK:
            flags.append("silent_audio")
        elif media.has_audio and not sums.audio_windows:
            flags.append("little_sound")
        if media.has_video and not sums.faces:
            flags.append("no_face")
        elif media.has_video and not sums.video_windows:
            flags.append("little_face")
        elif media.has_video and 1.0 - sums.face_usable[media.span[0] if media.span else 0 :].mean() > MISSING_FACE:
            flags.append("face_in_part")
        if len(sums.faces) > 1:
            flags.append("several_faces")
        if media.has_video and media.motion.still:
            flags.append("still_video")
        if media.has_video and media.info.video is not None and media.info.video.hdr:
            flags.append("hdr_video")
        if sums.scales:
            seconds = media.video_damage.end - (media.info.video.start if media.info.video else 0.0)
            flags += limits(float(np.median(sums.scales)), float(np.median(sums.sharpness)), bits_per_pixel(media.info, seconds))
        if media.video_damage.broken or media.audio_damage.broken:
            flags.append("damaged_packets")
        return flags


def stream_verdict(present: bool, logits: StreamLogits, calibration: StreamCalibration) -> StreamVerdict:
    """Probability and label of one stream."""
    if not present:
        return StreamVerdict()
    if logits.logit is None or not calibration.validated:
        return StreamVerdict(True, None, "inconclusive")
    p = float(calibration.probability(logits.logit))
    return StreamVerdict(True, round(p, 4), calibration.label(p))


def segment_probability(logits: StreamLogits, calibration: StreamCalibration, start: int) -> float | None:
    """Probability of the segment that begins at frame ``start``; ``None`` where no frame of it was scored."""
    count, total = (x[start : start + SEGMENT] for x in (logits.count, logits.total))
    scored = count > 0
    if not scored.any() or not calibration.validated:
        return None
    return round(float(calibration.probability((total[scored] / count[scored]).mean())), 4)


def face(name: str, record: FaceRecord) -> Face:
    """The verdict's entry for one face."""
    left, top, right, bottom = (round(float(x), 4) for x in np.median(record.boxes, axis=0))
    return Face(
        name=name,
        speaking=record.speaking,
        start=round(record.first / FRAME_RATE, 3),
        end=round((record.last + 1) / FRAME_RATE, 3),
        seen=round(len(record.frames) / (record.last - record.first + 1), 4),
        box=(left, top, right, bottom),
    )


def has_mixed_evidence(timeline: tuple[Segment, ...], audio: StreamVerdict, video: StreamVerdict, calibration: Calibration) -> bool:
    """Whether a stream labelled genuine has at least two consecutive segments (about a second) above its threshold for fakes."""
    for stream, values, known in (
        (audio, [s.audio for s in timeline], calibration.audio),
        (video, [s.video for s in timeline], calibration.video),
    ):
        if stream.label == "genuine":
            fake = [value is not None and value > known.fake_above for value in values]
            if any(a and b for a, b in itertools.pairwise(fake)):
                return True
    return False
