"""How far the voice is from the lips, and how clearly: measured with the front ends of the bundled speech reader."""

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
REACH = 15  # frames, the largest offset that is looked for
EDGE = 2  # frames at either end of a clip, and around frames without a mouth, whose features can tell that they lie there
CONTEXT = 1  # frames on either side that are looked at together with one frame
MIN_OVERLAP = 6  # frames that must be compared at every offset
COMPONENTS = 32  # canonical components; more of them hold more chance than speech
PATIENCE = 0.75  # power of the share of frames compared at an offset; 0 lets few frames win by chance, 1 lets small offsets win
STILL = 1e-3  # length of a projected frame that says nothing; spoken ones have about 3

Clips = Sequence[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Lipsync:
    """Where the voice fits the lips best.

    Parameters
    ----------
    offset_ms : float
        How much later the voice comes than the lips; negative if it comes first.
    confidence : float
        Height of the similarity there above its median over all offsets, 0 to 2. It shrinks with the length of what was
        measured, for genuine and foreign voices alike: compare like with like.
    """

    offset_ms: float
    confidence: float


@dataclass(frozen=True)
class OffsetProbe:
    """Slides the voice along the lips; see :meth:`fit`.

    Parameters
    ----------
    backbone : TwoStream
        Its two front ends are used. They reach no further than two frames, so what they say of a frame does not depend on
        its place in the clip. What the transformers above them say does: with those, clips of a second seem in step
        wherever their voice lies, and even with the voice of another clip.
    heard, seen : float64 [A, K], [V, K]
        From features with their context to the space that both streams share.

    Notes
    -----
    Source: sliding one stream over the other, and the confidence, as in Chung and Zisserman, *Out of time: automated lip
    sync in the wild*, ACCV workshops 2016. Their contrastive network is replaced by canonical correlation with a ridge
    (Vinod, *Canonical ridge and econometrics of joint production*, Journal of Econometrics, 1976), in which a component
    weighs as much as it correlates.
    """

    backbone: TwoStream
    heard: np.ndarray
    seen: np.ndarray

    @classmethod
    def fit(
        cls, clips: Clips, lags: Sequence[int] | None = None, backbone: TwoStream | None = None, components: int = COMPONENTS
    ) -> OffsetProbe:
        """Find the space that lips and voices share.

        Parameters
        ----------
        clips : sequence of (uint8 [T, 96, 96], float32 [S])
            Mouth crops at 25 Hz, black where no mouth was seen, and waveforms at 16 kHz, of genuine clips. Those too short
            to use are passed over.
        lags : sequence of int, optional
            Frames by which the voice of each clip is known to come late; 0 each unless given. They set the zero of what
            is measured.
        backbone : TwoStream, optional
            The bundled reader's unless given.
        components : int
            K, at most.

        Raises
        ------
        ValueError
            If there are not as many lags as clips, or no clip is long enough.
        """
        lags = [0] * len(clips) if lags is None else lags
        if len(lags) != len(clips):
            raise ValueError(f"{len(clips)} clips, but {len(lags)} lags; give one for every clip, or none")
        backbone = bundled_backbone() if backbone is None else backbone
        pairs = [_in_step(*_features(backbone, *clip), lag) for clip, lag in zip(clips, lags, strict=True)]
        pairs = [pair for pair in pairs if len(pair[0])]
        if not pairs:
            raise ValueError(f"none of {len(clips)} clips holds both streams for {2 * (EDGE + CONTEXT) + 1} frames; give longer ones")
        audio, video = (np.concatenate([_centred(pair[stream]) for pair in pairs]) for stream in (0, 1))
        return cls(backbone, *canonical(audio, video, components))

    def measure(self, mouth: np.ndarray, waveform: np.ndarray) -> Lipsync | None:
        """Offset of one clip; for arguments and result see :meth:`measure_many`."""
        return self.measure_many([(mouth, waveform)])

    def measure_many(self, clips: Clips) -> Lipsync | None:
        """Offset that several clips have in common: a second of speech alone often fits in two places.

        Parameters
        ----------
        clips : sequence of (uint8 [T, 96, 96], float32 [S])
            As for :meth:`fit`. Neither the level of a voice nor what a mouth looks like on average matters.

        Returns
        -------
        Lipsync or None
            ``None`` where some offset leaves fewer than six frames to compare (a clip alone must last 1.08 s), or where
            nothing is heard or no lips stir.
        """
        total, compared = sum((self._slide(*clip) for clip in clips), np.zeros((2, 2 * REACH + 1)))
        if compared.min() < MIN_OVERLAP:
            return None
        curve = total / compared * (compared / compared.max()) ** PATIENCE
        if np.ptp(curve) < STILL:
            return None
        best = int(curve.argmax())
        offset = best - REACH + _summit(curve[best - 1 : best + 2])
        return Lipsync(offset * FRAME_MS, float(curve[best] - np.median(curve)))

    def _slide(self, mouth: np.ndarray, waveform: np.ndarray) -> np.ndarray:
        """At every offset from -15 to 15 frames the sum of the cosines between voice and lips, and of how many frames [2, 31]."""
        audio, video, known = _features(self.backbone, mouth, waveform)
        if not known.any():
            return np.zeros((2, 2 * REACH + 1))
        heard = _directions(_centred(audio) @ self.heard)
        seen = _directions(_centred(video, known) @ self.seen) * known[:, None]
        compared = np.repeat(known[:, None], len(heard), axis=1)
        # Diagonal k holds what is heard k frames after it is seen.
        return np.array([[np.trace(table, k) for k in range(-REACH, REACH + 1)] for table in (seen @ heard.T, compared)], dtype=np.float64)


def bundled_backbone() -> TwoStream:
    """The backbone of the reader that ships, on the processor."""
    backbone = Transcriber.load("small", 1, "cpu").reader.backbone
    assert isinstance(backbone, TwoStream)
    return backbone


@torch.inference_mode()
def _features(backbone: TwoStream, mouth: np.ndarray, waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the front ends make of a clip: audio [N, A] and video [N, V] with their context, and bool [N], where a mouth is seen.

    The ends of the clip are left out, as they know that they are ends; N is 0 for clips without a middle.
    """
    frames = min(len(mouth), len(waveform) // SAMPLES_PER_FRAME)
    if frames <= 2 * (EDGE + CONTEXT):
        return np.zeros((0, 1)), np.zeros((0, 1)), np.zeros(0, dtype=bool)
    device = next(backbone.parameters()).device
    usable = mouth[:frames].any(axis=(1, 2))
    hear = torch.from_numpy(backbone.extract_audio_features(waveform[: frames * SAMPLES_PER_FRAME]))[None].to(device)
    look = torch.from_numpy(np.ascontiguousarray(centre(mouth[:frames])))[None].to(device)
    mask = torch.from_numpy(usable)[None].to(device)
    audio = backbone.audio_front(hear, torch.ones_like(mask))[0]
    video = backbone.video_front(look, mask)[0]
    known = np.asarray(np.lib.stride_tricks.sliding_window_view(usable, 2 * (EDGE + CONTEXT) + 1).all(axis=1))
    return _with_context(audio[EDGE:-EDGE].double().cpu().numpy()), _with_context(video[EDGE:-EDGE].double().cpu().numpy()), known


def _with_context(x: np.ndarray) -> np.ndarray:
    """Rows [N, D] beside their neighbours [N - 2 * CONTEXT, (2 * CONTEXT + 1) * D]."""
    width = 2 * CONTEXT + 1
    return np.concatenate([x[begin : len(x) - width + 1 + begin] for begin in range(width)], axis=1)


def _in_step(audio: np.ndarray, video: np.ndarray, known: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of both streams that belong to the same moment, where a mouth is seen."""
    frames = max(len(audio) - abs(lag), 0)
    late, early = max(lag, 0), max(-lag, 0)
    known = known[early : early + frames]
    return audio[late : late + frames][known], video[early : early + frames][known]


def _centred(x: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Rows without their mean (over the known ones), which tells who speaks and through what, and nothing of when."""
    rows = x if known is None else x[known]
    return x - rows.mean(axis=0) if len(rows) else x


def _directions(x: np.ndarray) -> np.ndarray:
    """Rows of length one, or none where nothing stirs."""
    return x / (np.linalg.norm(x, axis=1, keepdims=True) + STILL)


def _summit(heights: np.ndarray) -> float:
    """Where between -0.5 and 0.5 frames the parabola through the best offset and its neighbours is highest; 0 at either end."""
    if len(heights) < 3:
        return 0.0
    before, peak, after = heights
    bend = before - 2.0 * peak + after
    return float(0.5 * (before - after) / bend) if bend < 0.0 else 0.0
