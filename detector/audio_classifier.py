"""Audio classifier on Whisper features: statistics over time of the first encoder layers, and a linear layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..avsr.whisper.encoder import FRAME_RATE, WhisperAudioEncoder, WhisperEncoderConfig
from ..media.clip import FRAME_RATE as OUTPUT_RATE

LOCAL_WINDOW = FRAME_RATE  # encoder frames (1 s) whose statistics give the logit of one frame
LOCAL_BLOCK = 128  # frames of the output whose windows are averaged at once
EPSILON = 1e-6  # added to a variance before its root, whose gradient is infinite at 0
STATISTICS = ("mean", "deviation", "difference")


@dataclass(frozen=True)
class AudioClassifierConfig:
    """The encoder's sizes, and what is classified.

    Parameters
    ----------
    encoder : WhisperEncoderConfig
    layers : tuple of int
        Layers whose statistics are classified; 0 is the output of the convolutions.
    statistics : tuple of str
        Over time: ``mean``, ``deviation`` (standard deviation), and ``difference`` (standard deviation of the differences of
        neighbouring frames).
    """

    encoder: WhisperEncoderConfig = field(default_factory=WhisperEncoderConfig)
    layers: tuple[int, ...] = (1, 2)
    statistics: tuple[str, ...] = STATISTICS

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AudioClassifierConfig:
        """Inverse of :meth:`to_dict`; weights of older versions name no statistics and have the first two."""
        return cls(WhisperEncoderConfig(**values["encoder"]), tuple(values["layers"]), tuple(values.get("statistics", STATISTICS[:2])))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for ``config.json``."""
        return {"encoder": asdict(self.encoder), "layers": list(self.layers), "statistics": list(self.statistics)}


class AudioClassifier(nn.Module):
    """Waveforms to logits that the audio is fake: one for the clip and one for every frame of 40 ms.

    Statistics over time of the chosen layers are standardised and classified by a linear layer, as in the statistics pooling of
    speaker recognition (Snyder et al., *X-vectors*, ICASSP 2018). The logit of a frame uses the statistics of the second
    around it.
    """

    center: Tensor
    scale: Tensor

    def __init__(self, config: AudioClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = WhisperAudioEncoder(config.encoder)
        width = len(config.statistics) * config.encoder.width * len(config.layers)
        self.register_buffer("center", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.linear = nn.Linear(width, 1)

    def statistics(self, waveform: Tensor) -> Tensor:
        """Statistics of every chosen layer, float [B, P D L] for P statistics, of waveforms float [B, S] at 16 kHz."""
        return torch.cat([part for x in self._chosen(self.encoder(waveform)) for part in self._statistics(x)], dim=1)

    def classify(self, statistics: Tensor) -> Tensor:
        """Logits [...] of statistics [..., P D L]."""
        return self.linear((statistics - self.center) / self.scale).squeeze(-1)

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the clips [B], and of their frames [B, T] at 25 Hz, of waveforms float [B, S] at 16 kHz."""
        return self.classify_layers(self.encoder(waveform))

    def classify_layers(self, outputs: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The same of what the encoder made of the waveforms."""
        layers = self._chosen(outputs)
        whole = [part for x in layers for part in self._statistics(x)]
        local = [part for x in layers for part in self._local_statistics(x)]
        return self.classify(torch.cat(whole, dim=1)), self.classify(torch.cat(local, dim=2))

    def _chosen(self, outputs: list[Tensor]) -> list[Tensor]:
        return [outputs[index].float() for index in self.config.layers]

    def _statistics(self, x: Tensor) -> list[Tensor]:
        """Statistics of [B, T, D] over time: tensors [B, D]."""
        found = {"mean": lambda: x.mean(dim=1), "deviation": lambda: _deviation(x), "difference": lambda: _deviation(_differences(x))}
        return [found[name]() for name in self.config.statistics]

    def _local_statistics(self, x: Tensor) -> list[Tensor]:
        """Statistics of [B, T, D] in a window around every second frame: tensors [B, ceil(T / 2), D]."""
        average = _local_average(x)
        found = {
            "mean": lambda: average,
            "deviation": lambda: _local_deviation(x, average),
            # The first difference stands twice, so that there is one for every frame.
            "difference": lambda: _local_deviation(_differences(torch.cat([2 * x[:, :1] - x[:, 1:2], x], dim=1))),
        }
        return [found[name]() for name in self.config.statistics]


def with_encoder(encoder: WhisperAudioEncoder, layers: Iterable[int], statistics: Iterable[str] = STATISTICS) -> AudioClassifier:
    """A classifier with the weights of an encoder, whose linear layer is not fitted yet."""
    classifier = AudioClassifier(AudioClassifierConfig(encoder.config, tuple(layers), tuple(statistics)))
    classifier.encoder.load_state_dict(encoder.state_dict())
    return classifier.eval()


def _differences(x: Tensor) -> Tensor:
    """Differences of neighbouring frames of [B, T, D]; zeros [B, 1, D] of a single frame."""
    return x[:, 1:] - x[:, :-1] if x.shape[1] > 1 else torch.zeros_like(x)


def _deviation(x: Tensor) -> Tensor:
    """Standard deviation over time, [B, D] of [B, T, D]."""
    return (x.var(dim=1, correction=0) + EPSILON).sqrt()


def _local_average(x: Tensor) -> Tensor:
    """Mean of [B, T, D] in a window around every second frame, of its frames that there are: [B, ceil(T / 2), D]."""
    stride, margin, length = FRAME_RATE // OUTPUT_RATE, LOCAL_WINDOW // 2, x.shape[1]
    frames, parts = torch.arange(length, device=x.device), []
    for centers in frames[::stride].split(LOCAL_BLOCK):  # a product with a matrix of weights; blocks bound its size
        begin, end = max(0, int(centers[0]) - margin), int(centers[-1]) + margin + 1
        inside = (frames[None, begin:end] - centers[:, None]).abs() <= margin
        parts.append((inside / inside.sum(dim=1, keepdim=True)).to(x.dtype) @ x[:, begin:end])
    return torch.cat(parts, dim=1)


def _local_deviation(x: Tensor, average: Tensor | None = None) -> Tensor:
    """Standard deviation of [B, T, D] in the same windows, whose means may be given."""
    average = _local_average(x) if average is None else average
    center = x.mean(dim=1, keepdim=True)  # squares of small numbers are exact enough in single precision
    return ((_local_average((x - center).square()) - (average - center).square()).clamp_min(0.0) + EPSILON).sqrt()
