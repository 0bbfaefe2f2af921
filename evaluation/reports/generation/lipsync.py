"""Offset between audio and lips, with a confidence, from the front ends of the bundled AVSR backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ....avsr.backbones.two_stream import TwoStream
from ....avsr.correlation import canonical
from ....avsr.transcriber import Transcriber
from ....media.clip import FRAME_RATE, SAMPLES_PER_FRAME
from ....media.face.mouth import centre

FRAME_MS = 1000.0 / FRAME_RATE  # milliseconds in one frame, 40
MAX_OFFSET = 15  # frames
EDGE = 2  # frames at either end of a clip, and around frames without a mouth, whose features depend on that edge
CONTEXT = 1  # frames on either side of a frame that are concatenated with it
MIN_OVERLAP = 6  # frames that must be compared at every offset
COMPONENTS = 32  # canonical components; more of them fit noise
OVERLAP_POWER = 0.75  # of the share of frames compared at an offset; 0 favours large offsets by chance, 1 favours small offsets
MIN_NORM = 1e-3  # of a projected frame, below which it has no content; frames of speech have about 3

Clips = Sequence[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Lipsync:
    """The offset at which audio and lips agree best.

    Parameters
    ----------
    offset_ms : float
        Delay of the audio relative to the lips; negative if it comes first.
    confidence : float
        Similarity there minus its median over all offsets, 0 to 2. It decreases with the length of the clip, for matching and
        foreign audio alike, so only clips of equal length are comparable.
    """

    offset_ms: float
    confidence: float


@dataclass(frozen=True)
class OffsetEstimator:
    """Estimates the offset by comparing both streams at every shift; see :meth:`fit`.

    Parameters
    ----------
    backbone : TwoStream
        Its two front ends are used, whose receptive field is two frames to either side, so that features of a frame do not depend
        on its position in the clip. Outputs of the transformers above them do: with those, clips of a second appear in sync
        at any offset, and even with the audio of another clip.
    audio_projection, video_projection : float64 [A, K], [V, K]
        From features with their context to the common space.

    Notes
    -----
    Source: shifting one stream over the other, and the confidence, as in Chung and Zisserman, *Out of time: automated lip
    sync in the wild*, ACCV workshops 2016. Their contrastive network is replaced by canonical correlation with a ridge
    (Vinod, *Canonical ridge and econometrics of joint production*, Journal of Econometrics, 1976), in which components
    are weighted by their correlation.
    """

    backbone: TwoStream
    audio_projection: np.ndarray
    video_projection: np.ndarray

    @classmethod
    def fit(
        cls, clips: Clips, lags: Sequence[int] | None = None, backbone: TwoStream | None = None, components: int = COMPONENTS
    ) -> OffsetEstimator:
        """Fit the common space of lips and audio.

        Parameters
        ----------
        clips : sequence of (uint8 [T, 96, 96], float32 [S])
            Mouth crops at 25 Hz, black where no mouth was detected, and waveforms at 16 kHz, of genuine clips. Too short ones are
            skipped.
        lags : sequence of int, optional
            Frames by which the audio of each clip is known to be delayed; 0 by default. They calibrate the zero offset.
        backbone : TwoStream, optional
            That of the bundled AVSR model by default.
        components : int
            Maximum of K.

        Raises
        ------
        ValueError
            If the numbers of lags and clips differ, or no clip is long enough.
        """
        lags = [0] * len(clips) if lags is None else lags
        if len(lags) != len(clips):
            raise ValueError(f"{len(clips)} clips, but {len(lags)} lags; give one for every clip, or none")
        backbone = bundled_backbone() if backbone is None else backbone
        pairs = [_align(*_features(backbone, *clip), lag) for clip, lag in zip(clips, lags, strict=True)]
        pairs = [pair for pair in pairs if len(pair[0])]
        if not pairs:
            raise ValueError(f"none of {len(clips)} clips holds both streams for {2 * (EDGE + CONTEXT) + 1} frames; give longer ones")
        audio, video = (np.concatenate([_centred(pair[stream]) for pair in pairs]) for stream in (0, 1))
        return cls(backbone, *canonical(audio, video, components))

    def estimate(self, mouth: np.ndarray, waveform: np.ndarray) -> Lipsync | None:
        """Estimate the offset of one clip; for arguments and result see :meth:`estimate_many`."""
        return self.estimate_many([(mouth, waveform)])

    def estimate_many(self, clips: Clips) -> Lipsync | None:
        """Estimate the common offset of several clips, since a second of speech alone is often ambiguous.

        Parameters
        ----------
        clips : sequence of (uint8 [T, 96, 96], float32 [S])
            As for :meth:`fit`. The result does not depend on the level of the audio or the mean of the video features.

        Returns
        -------
        Lipsync or None
            ``None`` if some offset leaves fewer than six frames to compare (a single clip must last 1.08 s), or if the audio is
            silent or the lips are still.
        """
        total, compared = sum((self._similarities(*clip) for clip in clips), np.zeros((2, 2 * MAX_OFFSET + 1)))
        if compared.min() < MIN_OVERLAP:
            return None
        curve = total / compared * (compared / compared.max()) ** OVERLAP_POWER
        if np.ptp(curve) < MIN_NORM:
            return None
        best = int(curve.argmax())
        offset = best - MAX_OFFSET + _parabola_peak(curve[best - 1 : best + 2])
        return Lipsync(offset * FRAME_MS, float(curve[best] - np.median(curve)))

    def _similarities(self, mouth: np.ndarray, waveform: np.ndarray) -> np.ndarray:
        """Sum of cosines between audio and lips, and number of compared frames, at every offset from -15 to 15 frames [2, 31]."""
        audio, video, known = _features(self.backbone, mouth, waveform)
        if not known.any():
            return np.zeros((2, 2 * MAX_OFFSET + 1))
        a = _normalise(_centred(audio) @ self.audio_projection)
        v = _normalise(_centred(video, known) @ self.video_projection) * known[:, None]
        compared = np.repeat(known[:, None], len(a), axis=1)
        # Diagonal k pairs video frames with the audio k frames later.
        return np.array(
            [[np.trace(table, k) for k in range(-MAX_OFFSET, MAX_OFFSET + 1)] for table in (v @ a.T, compared)], dtype=np.float64
        )


def bundled_backbone() -> TwoStream:
    """The backbone of the bundled AVSR model, on the CPU."""
    backbone = Transcriber.load("small", 1, "cpu").model.backbone
    assert isinstance(backbone, TwoStream)
    return backbone


@torch.inference_mode()
def _features(backbone: TwoStream, mouth: np.ndarray, waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Front-end features of a clip with their context: audio [N, A] and video [N, V], and bool [N], whether a mouth is known.

    Both ends of the clip are left out, since their features depend on the padding; N is 0 for clips that are too short.
    """
    frames = min(len(mouth), len(waveform) // SAMPLES_PER_FRAME)
    if frames <= 2 * (EDGE + CONTEXT):
        return np.zeros((0, 1)), np.zeros((0, 1)), np.zeros(0, dtype=bool)
    device = next(backbone.parameters()).device
    usable = mouth[:frames].any(axis=(1, 2))
    audio_input = torch.from_numpy(backbone.extract_audio_features(waveform[: frames * SAMPLES_PER_FRAME]))[None].to(device)
    video_input = torch.from_numpy(np.ascontiguousarray(centre(mouth[:frames])))[None].to(device)
    mask = torch.from_numpy(usable)[None].to(device)
    audio = backbone.audio_front(audio_input, torch.ones_like(mask))[0]
    video = backbone.video_front(video_input, mask)[0]
    known = np.asarray(np.lib.stride_tricks.sliding_window_view(usable, 2 * (EDGE + CONTEXT) + 1).all(axis=1))
    return _with_context(audio[EDGE:-EDGE].double().cpu().numpy()), _with_context(video[EDGE:-EDGE].double().cpu().numpy()), known


def _with_context(x: np.ndarray) -> np.ndarray:
    """Rows [N, D] concatenated with their neighbours [N - 2 * CONTEXT, (2 * CONTEXT + 1) * D]."""
    width = 2 * CONTEXT + 1
    return np.concatenate([x[begin : len(x) - width + 1 + begin] for begin in range(width)], axis=1)


def _align(audio: np.ndarray, video: np.ndarray, known: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of both streams at the same time, where a mouth is known."""
    frames = max(len(audio) - abs(lag), 0)
    late, early = max(lag, 0), max(-lag, 0)
    known = known[early : early + frames]
    return audio[late : late + frames][known], video[early : early + frames][known]


def _centred(x: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Rows minus their mean over the known ones, which depends on speaker and channel and not on timing."""
    rows = x if known is None else x[known]
    return x - rows.mean(axis=0) if len(rows) else x


def _normalise(x: np.ndarray) -> np.ndarray:
    """Rows scaled to unit length, or to about zero if they are shorter than :data:`MIN_NORM`."""
    return x / (np.linalg.norm(x, axis=1, keepdims=True) + MIN_NORM)


def _parabola_peak(heights: np.ndarray) -> float:
    """Peak, between -0.5 and 0.5 frames, of the parabola through the best offset and its neighbours; 0 at either end."""
    if len(heights) < 3:
        return 0.0
    before, peak, after = heights
    bend = before - 2.0 * peak + after
    return float(0.5 * (before - after) / bend) if bend < 0.0 else 0.0
