"""What every backbone promises: either stream in, frame-wise representations at 25 Hz out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ...media.speech import log_mel
from .visual import VisualFrontEnd


@dataclass(frozen=True)
class Encoded:
    """Backbone output; a stream that was not given is ``None``.

    Parameters
    ----------
    audio, video : float [B, T, D] or None
        Each stream on its own.
    joint : float [B, T, D]
        What both say together, or the one that is there.
    heard, seen : float [B, T, D'] or None
        What the front end of each stream makes of it. It reaches no further than a few frames, so it does not know where
        in the clip it stands.
    """

    audio: Tensor | None
    video: Tensor | None
    joint: Tensor
    heard: Tensor | None = None
    seen: Tensor | None = None


class Backbone(nn.Module, ABC):
    """Base class of the audio-visual speech encoders.

    Attributes
    ----------
    width : int
        Channels D of every output.
    audio_features : int
        Channels F of the audio features it hears at 25 Hz.
    crop : int
        Side in pixels of the mouth crops it sees.
    near_widths : (int, int)
        Channels of what the front ends of sound and picture give.
    video_front : VisualFrontEnd
        From crops and mask to features of every frame.
    """

    width: int
    audio_features: int
    crop: int
    near_widths: tuple[int, int]
    video_front: VisualFrontEnd

    @staticmethod
    def extract_audio_features(waveform: np.ndarray) -> np.ndarray:
        """Audio features of a waveform, float32 [S] at 16 kHz to float32 [T, F] at 25 Hz; our own log-mel unless it says otherwise."""
        return log_mel(waveform)

    @abstractmethod
    def encode(
        self,
        audio: Tensor | None,
        video: Tensor | None,
        audio_mask: Tensor | None = None,
        video_mask: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> Encoded:
        """Encode one or both streams.

        Parameters
        ----------
        audio : float [B, T, F] or None
            Features at 25 Hz. A missing stream is simply not encoded.
        video : float or uint8 [B, T, S, S] or None
            Grey mouth crops, 0 to 255. Or float [B, T, D'], what :attr:`video_front` made of them before.
        audio_mask, video_mask : bool [B, T], optional
            True where there is something to hear or see. Padding and gaps alike are False.
        keep : bool [B, 2], optional
            Which of audio and video reach the joint representation of each item: modality dropout, in training.

        Raises
        ------
        ValueError
            If both streams are missing, or their lengths differ.
        """


def full_mask(stream: Tensor, mask: Tensor | None) -> Tensor:
    """The mask itself, or one that is True everywhere [B, T]."""
    return torch.ones(stream.shape[:2], dtype=torch.bool, device=stream.device) if mask is None else mask


def check_streams(audio: Tensor | None, video: Tensor | None) -> None:
    """Refuse two missing streams, and streams of different length."""
    if audio is None and video is None:
        raise ValueError("both streams are missing: there is nothing to encode")
    if audio is not None and video is not None and audio.shape[:2] != video.shape[:2]:
        raise ValueError(f"audio {tuple(audio.shape[:2])} and video {tuple(video.shape[:2])} differ in batch or length")
