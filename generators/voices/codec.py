"""A small neural codec: speech to 50 frames of up to eight codes per second and back; language models that speak end in one.

Residual vector quantiser with quantiser dropout and codebooks by moving averages as in Zeghidour et al., *SoundStream: an
end-to-end neural audio codec*, TASLP 2021; the decoder with an inverse-STFT head of Siuzdak, *Vocos: closing the gap between
time-domain and Fourier-based neural vocoders for high-quality audio synthesis*, ICLR 2024. The encoder sees the mel
spectrogram, as in Langman et al., *Spectral codecs: spectrogram-based audio codecs for high quality speech synthesis*,
2024: that of SoundStream, which sees the waveform, takes longer to learn than two CPU cores allow. At 16 kHz.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .vocoder import HOP, MEL_BINS, ConvNextBlock, SpeechGenerator, inverse_stft, mel_spectrogram

CODEC_HOP = 320  # samples between two frames, 20 ms
MEL_STRIDE = CODEC_HOP // HOP  # frames of the mel spectrogram for every frame of the codec
EMA_DECAY = 0.98  # of the moving averages of codes and of their use, per step
DEAD_COUNT = 0.1  # vectors per step; a code that is used less is replaced by a random vector of the batch
COMMITMENT_WEIGHT = 0.25  # of the commitment loss, beside a spectral loss with weight 15
FULL_DEPTH_SHARE = 0.5  # of the training segments that use all codebooks; the others use a random number of them
MIN_DEPTH = 2  # codebooks, fewest that are used
HEAD_FFT = 1280  # samples, 80 ms: of the inverse STFT


@dataclass(frozen=True)
class CodecConfig:
    """Sizes of the network."""

    latent: int = 64  # dimensions of a code
    codebooks: int = 8
    codes: int = 512  # of a codebook: 9 bits
    channels: int = 256
    encoder_blocks: int = 3
    decoder_blocks: int = 4


class ResidualQuantiser(nn.Module):
    """Residual vector quantisation: every codebook quantises what those before it left.

    In training mode, codes follow the moving average of the vectors that are nearest to them.
    """

    codebook: Tensor
    use: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.register_buffer("codebook", 0.1 * torch.randn(config.codebooks, config.codes, config.latent))
        self.register_buffer("use", torch.zeros(config.codebooks, config.codes))  # all dead: the first batch replaces them

    def forward(self, x: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Quantise vectors.

        Parameters
        ----------
        x : float [B, N, D]
        depth : int [B]
            How many codebooks are used, from the first on.

        Returns
        -------
        quantised : float [B, N, D]
            With the gradient passed straight through to ``x``.
        commitment : float
            Mean squared distance of ``x`` to the codes, a loss for the encoder.
        """
        residual, losses = x, []
        total = torch.zeros_like(x)
        for level in range(len(self.codebook)):
            active = depth > level
            if not active.any():
                break
            vectors = residual[active].detach().flatten(0, 1)
            if self.training:
                self._restart(level, vectors)
            index = torch.cdist(residual.detach(), self.codebook[level]).argmin(dim=2)
            chosen = self.codebook[level][index]
            losses.append(F.mse_loss(residual[active], chosen[active]))
            if self.training:
                self._follow(level, vectors, index[active].flatten())
            total = total + chosen * active[:, None, None]
            residual = residual - chosen
        return x + (total - x).detach(), torch.stack(losses).mean()

    @torch.no_grad()
    def _restart(self, level: int, vectors: Tensor) -> None:
        """Replace dead codes by random vectors."""
        dead = self.use[level] < DEAD_COUNT
        count = int(dead.sum())
        if count:
            self.codebook[level, dead] = vectors[torch.randint(len(vectors), (count,), device=vectors.device)]
            self.use[level, dead] = 1.0

    @torch.no_grad()
    def _follow(self, level: int, vectors: Tensor, index: Tensor) -> None:
        """Move codes towards the mean of their vectors."""
        counts = torch.bincount(index, minlength=self.codebook.shape[1]).to(vectors)
        sums = torch.zeros_like(self.codebook[level]).index_add_(0, index, vectors)
        use = EMA_DECAY * self.use[level] + (1.0 - EMA_DECAY) * counts
        moved = EMA_DECAY * self.use[level, :, None] * self.codebook[level] + (1.0 - EMA_DECAY) * sums
        self.codebook[level] = moved / use[:, None].clamp_min(1e-6)
        self.use[level] = use


class Codec(SpeechGenerator):
    """Waveforms [B, 320 N] at 16 kHz to codes and back to waveforms."""

    config_type = CodecConfig

    def __init__(self, config: CodecConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CodecConfig()
        self.encoder = nn.Sequential(
            nn.Conv1d(MEL_BINS, config.channels, 2 * MEL_STRIDE, MEL_STRIDE, padding=MEL_STRIDE // 2),
            *(ConvNextBlock(config.channels) for _ in range(config.encoder_blocks)),
            nn.Conv1d(config.channels, config.latent, 1),
            nn.BatchNorm1d(config.latent, affine=False),  # else the commitment loss makes all latents equal
        )
        self.quantiser = ResidualQuantiser(config)
        self.first = nn.Conv1d(config.latent, config.channels, 7, padding=3)
        self.blocks = nn.Sequential(*(ConvNextBlock(config.channels) for _ in range(config.decoder_blocks)))
        self.norm = nn.LayerNorm(config.channels)
        self.last = nn.Linear(config.channels, HEAD_FFT + 2)

    def forward(self, waveform: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Encode and decode with the first ``depth`` int [B] codebooks; the waveforms, and the commitment loss."""
        latent = self.encoder(mel_spectrogram(waveform)).transpose(1, 2).float()
        with torch.autocast(waveform.device.type, enabled=False):
            quantised, commitment = self.quantiser(latent, depth)
        # Frames at the ends of every hop, one more than there are hops, as the inverse STFT needs them.
        x = F.avg_pool1d(F.pad(quantised.transpose(1, 2), (1, 1), mode="replicate"), 2, 1)
        x = self.norm(self.blocks(self.first(x)).transpose(1, 2))
        return inverse_stft(self.last(x).transpose(1, 2), HEAD_FFT, CODEC_HOP), commitment

    def resynthesise(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        most = self.config.codebooks
        depth = torch.where(torch.rand(len(waveform)) < FULL_DEPTH_SHARE, most, torch.randint(MIN_DEPTH, most + 1, (len(waveform),)))
        generated, commitment = self(waveform, depth)
        return generated, COMMITMENT_WEIGHT * commitment
