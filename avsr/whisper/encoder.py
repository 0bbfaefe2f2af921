"""The audio encoder of Whisper: log-mel spectrogram, two convolutions, and the first transformer layers, without padding to 30 s."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...media.clip import SAMPLE_RATE

FFT_SIZE = 400  # samples (25 ms)
HOP = 160  # samples (10 ms) from one frame of the spectrogram to the next
MEL_BINS = 80  # up to 8 kHz
DYNAMIC_RANGE = 8.0  # decades below the loudest bin at which the spectrogram is clamped
FRAME_RATE = 50  # outputs a second: the second convolution halves the rate of the spectrogram
MIN_SAMPLES = FFT_SIZE  # of a waveform


@dataclass(frozen=True)
class WhisperEncoderConfig:
    """Sizes; the defaults are those of Whisper base with the first three of its six layers."""

    width: int = 512
    heads: int = 8
    feed_forward: int = 2048
    layers: int = 3
    positions: int = 1500  # outputs (30 s) for which there are position embeddings


@lru_cache(maxsize=4)
def _mel_filters(device: torch.device) -> Tensor:
    from transformers.audio_utils import mel_filter_bank

    bank = mel_filter_bank(FFT_SIZE // 2 + 1, MEL_BINS, 0.0, SAMPLE_RATE / 2, SAMPLE_RATE, norm="slaney", mel_scale="slaney")
    return torch.from_numpy(bank).float().to(device)


@lru_cache(maxsize=4)
def _window(device: torch.device) -> Tensor:
    return torch.hann_window(FFT_SIZE, device=device)


def log_mel(waveform: Tensor) -> Tensor:
    """Log-mel spectrogram as Whisper was trained on it, relative to the loudest bin of each waveform.

    Parameters
    ----------
    waveform : float [B, S]
        At 16 kHz, at least 25 ms.

    Returns
    -------
    float [B, 80, S // 160]

    Notes
    -----
    Source: Radford et al., *Robust speech recognition via large-scale weak supervision*, ICML 2023.
    """
    spectrum = torch.stft(waveform.float(), FFT_SIZE, HOP, window=_window(waveform.device), return_complex=True)[..., :-1]
    mel = (_mel_filters(waveform.device).T @ spectrum.abs().square()).clamp_min(1e-10).log10()
    mel = torch.maximum(mel, mel.amax(dim=(1, 2), keepdim=True) - DYNAMIC_RANGE)
    return (mel + 4.0) / 4.0


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself; the keys have no bias."""

    def __init__(self, config: WhisperEncoderConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q_proj, self.v_proj, self.out_proj = (nn.Linear(config.width, config.width) for _ in range(3))
        self.k_proj = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform [B, T, D]."""
        query = self.q_proj(x) * (x.shape[-1] // self.heads) ** -0.5
        q, k, v = (y.unflatten(2, (self.heads, -1)).transpose(1, 2) for y in (query, self.k_proj(x), self.v_proj(x)))
        attended = F.scaled_dot_product_attention(q, k, v, scale=1.0)
        out: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return out


class EncoderLayer(nn.Module):
    """Transformer layer with the norms before attention and feed-forward network.

    That of ``transformers`` is the same; its module imports text generation and scikit-learn too, which every process would wait for.
    """

    def __init__(self, config: WhisperEncoderConfig) -> None:
        super().__init__()
        self.self_attn = SelfAttention(config)
        self.self_attn_layer_norm = nn.LayerNorm(config.width)
        self.fc1 = nn.Linear(config.width, config.feed_forward)
        self.fc2 = nn.Linear(config.feed_forward, config.width)
        self.final_layer_norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor) -> Tensor:
        """Transform [B, T, D]."""
        x = x + self.self_attn(self.self_attn_layer_norm(x))
        out: Tensor = x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
        return out


class WhisperAudioEncoder(nn.Module):
    """Waveforms to the outputs of the convolutions and of every transformer layer.

    Parameters and their names are those of ``WhisperEncoder`` in ``transformers``, without the layers that are left out and
    without the final layer norm.
    """

    def __init__(self, config: WhisperEncoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or WhisperEncoderConfig()
        self.conv1 = nn.Conv1d(MEL_BINS, config.width, 3, padding=1)
        self.conv2 = nn.Conv1d(config.width, config.width, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(config.positions, config.width)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))

    def forward(self, waveform: Tensor) -> list[Tensor]:
        """Encode waveforms float [B, S] at 16 kHz, at most 30 s.

        Returns
        -------
        list of float [B, T, D]
            Output of the convolutions, then of each layer, at 50 Hz.

        Raises
        ------
        ValueError
            If the waveforms are shorter than 25 ms or longer than there are position embeddings.
        """
        if waveform.shape[-1] < MIN_SAMPLES:
            raise ValueError(f"a waveform of {waveform.shape[-1]} samples is too short: {MIN_SAMPLES} are needed")
        mel = log_mel(waveform)
        mel = mel[..., : mel.shape[-1] // 2 * 2] if mel.shape[-1] > 1 else F.pad(mel, (0, 1), mode="replicate")
        x = F.gelu(self.conv1(mel.to(self.conv1.weight.dtype)))
        x = F.gelu(self.conv2(x)).transpose(1, 2)
        if x.shape[1] > self.config.positions:
            raise ValueError(
                f"a waveform of {x.shape[1] / FRAME_RATE:.0f} s is too long: at most {self.config.positions / FRAME_RATE:.0f} s"
            )
        x = x + self.embed_positions.weight[: x.shape[1]]
        outputs = [x]
        for layer in self.layers:
            x = layer(x)
            outputs.append(x)
        return outputs
