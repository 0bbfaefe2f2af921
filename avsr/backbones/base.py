"""The interface of the backbones: one or both streams in, encodings of every frame (25 Hz) out."""

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
        Of both streams together, or of the one that was given.
    audio_early, video_early : float [B, T, D'] or None
        Output of each stream's front end, before the transformers. Its receptive field is a few frames, so it holds no
        information about the position in the clip.
    """

    audio: Tensor | None
    video: Tensor | None
    joint: Tensor
    audio_early: Tensor | None = None
    video_early: Tensor | None = None


class Backbone(nn.Module, ABC):
    """Base class of the audio-visual speech encoders.

    Attributes
    ----------
    width : int
        Channels D of every output.
    audio_features : int
        Channels F of the audio features (25 Hz) that it reads.
    crop : int
        Side in pixels of the mouth crops that it reads.
    early_widths : (int, int)
        Channels of ``Encoded.audio_early`` and ``Encoded.video_early``.
    video_front : VisualFrontEnd
        From mouth crops and mask to features of every frame.
    """

    width: int
    audio_features: int
    crop: int
    early_widths: tuple[int, int]
    video_front: VisualFrontEnd

    @staticmethod
    def extract_audio_features(waveform: np.ndarray) -> np.ndarray:
        """Audio features of a waveform, float32 [S] at 16 kHz to float32 [T, F] at 25 Hz; log-mel unless overridden."""
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
            Features at 25 Hz. A missing stream is not encoded.
        video : float or uint8 [B, T, S, S] or None
            Grey mouth crops, 0 to 255. Or float [B, T, D'], the output of :attr:`video_front` for them.
        audio_mask, video_mask : bool [B, T], optional
            True in frames with data; False in padding and gaps.
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
    """Raise ``ValueError`` for two missing streams, or streams that differ in length."""
    if audio is None and video is None:
        raise ValueError("both streams are missing: there is nothing to encode")
    if audio is not None and video is not None and audio.shape[:2] != video.shape[:2]:
        raise ValueError(f"audio {tuple(audio.shape[:2])} and video {tuple(video.shape[:2])} differ in batch or length")
