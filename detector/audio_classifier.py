"""Audio classifier on Whisper features: statistics over time of the first encoder layers, and a linear layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..avsr.whisper.encoder import FRAME_RATE, WhisperAudioEncoder, WhisperEncoderConfig
from ..media.clip import FRAME_RATE as OUTPUT_RATE

LOCAL_WINDOW = FRAME_RATE  # encoder frames (1 s) whose statistics give the logit of one frame
EPSILON = 1e-5  # variance below which a feature is constant


@dataclass(frozen=True)
class AudioClassifierConfig:
    """The encoder's sizes, and the layers whose statistics are classified (0 is the output of the convolutions)."""

    encoder: WhisperEncoderConfig = field(default_factory=WhisperEncoderConfig)
    layers: tuple[int, ...] = (1, 2, 3)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AudioClassifierConfig:
        """Inverse of :meth:`to_dict`."""
        return cls(WhisperEncoderConfig(**values["encoder"]), tuple(values["layers"]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for ``config.json``."""
        return {"encoder": asdict(self.encoder), "layers": list(self.layers)}


class AudioClassifier(nn.Module):
    """Waveforms to logits that the audio is fake: one for the clip and one for every frame of 40 ms.

    The mean and the standard deviation over time of the chosen layers are standardised and classified by a linear layer, as
    in the statistics pooling of speaker recognition (Snyder et al., *X-vectors*, ICASSP 2018). The logit of a frame uses the
    statistics of the second around it.
    """

    center: Tensor
    scale: Tensor

    def __init__(self, config: AudioClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = WhisperAudioEncoder(config.encoder)
        width = 2 * config.encoder.width * len(config.layers)
        self.register_buffer("center", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.linear = nn.Linear(width, 1)

    def statistics(self, waveform: Tensor) -> Tensor:
        """Mean and deviation of every chosen layer, float [B, 2 D L] of waveforms float [B, S] at 16 kHz."""
        return torch.cat([part for x in self._layers(waveform) for part in (x.mean(dim=1), x.std(dim=1, correction=0))], dim=1)

    def classify(self, statistics: Tensor) -> Tensor:
        """Logits [...] of statistics [..., 2 D L]."""
        return self.linear((statistics - self.center) / self.scale).squeeze(-1)

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the clips [B], and of their frames [B, T] at 25 Hz, of waveforms float [B, S] at 16 kHz."""
        layers = self._layers(waveform)
        whole = [part for x in layers for part in (x.mean(dim=1), x.std(dim=1, correction=0))]
        local = [part for x in layers for part in _local_statistics(x)]
        return self.classify(torch.cat(whole, dim=1)), self.classify(torch.cat(local, dim=2))

    def _layers(self, waveform: Tensor) -> list[Tensor]:
        outputs = self.encoder(waveform)
        return [outputs[index].float() for index in self.config.layers]


def with_encoder(encoder: WhisperAudioEncoder, layers: Iterable[int]) -> AudioClassifier:
    """A classifier with the weights of an encoder, whose linear layer is not fitted yet."""
    classifier = AudioClassifier(AudioClassifierConfig(encoder.config, tuple(layers)))
    classifier.encoder.load_state_dict(encoder.state_dict())
    return classifier.eval()


def _local_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of [B, T, D] in a window around every second frame: two of [B, ceil(T / 2), D]."""
    stride = FRAME_RATE // OUTPUT_RATE
    margin = LOCAL_WINDOW // 2

    def average(y: Tensor) -> Tensor:
        # Frames beyond the ends do not count: the average of ones there is below 1, and divides it out.
        kept = F.avg_pool1d(F.pad(torch.ones_like(y[:1, :1]), (margin, margin)), LOCAL_WINDOW + 1, stride)
        return (F.avg_pool1d(F.pad(y, (margin, margin)), LOCAL_WINDOW + 1, stride) / kept).transpose(1, 2)

    y = x.transpose(1, 2)
    mean = average(y)
    variance = average(y.square()) - mean.square()
    return mean, variance.clamp_min(EPSILON).sqrt()
