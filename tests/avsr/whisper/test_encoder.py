"""The unpadded encoder against the one of transformers, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from avwitness.avsr.whisper.encoder import HOP, WhisperAudioEncoder, WhisperEncoderConfig, log_mel

SIZES = WhisperEncoderConfig(width=32, heads=2, feed_forward=48, layers=2, positions=50)


@pytest.fixture(scope="module")
def waveform() -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(0.1 * rng.standard_normal((1, 16_000)).astype(np.float32))


def test_log_mel_is_that_of_the_published_feature_extractor(waveform: torch.Tensor) -> None:
    extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=1)  # pads to one second, which is the waveform's length
    expected = extractor(waveform[0].numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    assert torch.allclose(log_mel(waveform), expected, atol=1e-4)


def test_outputs_are_those_of_transformers(waveform: torch.Tensor) -> None:
    torch.manual_seed(0)
    sizes = {"d_model": 32, "encoder_attention_heads": 2, "encoder_ffn_dim": 48, "encoder_layers": 2, "max_source_positions": 50}
    reference = WhisperEncoder(WhisperConfig(**sizes)).eval()
    encoder = WhisperAudioEncoder(SIZES).eval()
    state = {name: value for name, value in reference.state_dict().items() if not name.startswith("layer_norm.")}
    encoder.load_state_dict(state)
    with torch.inference_mode():
        outputs = encoder(waveform)
        expected = reference(log_mel(waveform), output_hidden_states=False).last_hidden_state
        assert [tuple(x.shape) for x in outputs] == [(1, 50, 32)] * 3
        assert torch.allclose(reference.layer_norm(outputs[-1]), expected, atol=1e-5)


def test_a_window_needs_no_padding(waveform: torch.Tensor) -> None:
    encoder = WhisperAudioEncoder(SIZES).eval()
    with torch.inference_mode():
        assert encoder(waveform[:, : 16 * HOP])[-1].shape == (1, 8, 32)
        assert encoder(waveform[:, :400])[-1].shape[1] == 1


@pytest.mark.parametrize(("samples", "message"), [(399, "too short"), (16_000 * 2, "too long")])
def test_lengths_that_cannot_be_encoded_are_refused(samples: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WhisperAudioEncoder(SIZES)(torch.zeros(1, samples))
