from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from avwitness.avsr.whisper.encoder import WhisperEncoderConfig
from avwitness.detector.audio_classifier import AudioClassifier, AudioClassifierConfig

CONFIG = AudioClassifierConfig(WhisperEncoderConfig(width=32, heads=2, feed_forward=48, layers=2, positions=400), (0, 2))


@pytest.fixture(scope="module")
def classifier() -> AudioClassifier:
    torch.manual_seed(0)
    return AudioClassifier(CONFIG).eval()


@torch.inference_mode()
def test_the_clip_logit_is_the_linear_layer_on_the_statistics(classifier: AudioClassifier) -> None:
    waveform = 0.1 * torch.randn(3, 24_000, generator=torch.Generator().manual_seed(1))
    clip, frames = classifier(waveform)
    assert torch.allclose(clip, classifier.classify(classifier.statistics(waveform)), atol=1e-5)
    assert frames.shape == (3, 38)  # 1.5 s at 25 Hz, the last one begun
    assert torch.isfinite(frames).all()


@given(st.integers(400, 5 * 16_000))
@torch.inference_mode()
def test_frames_cover_the_waveform(samples: int) -> None:
    torch.manual_seed(0)
    frames = AudioClassifier(CONFIG).eval()(0.1 * torch.randn(1, samples))[1]
    assert 0 <= frames.shape[1] - samples // 640 <= 1


@torch.inference_mode()
def test_a_frame_depends_on_the_second_around_it(classifier: AudioClassifier) -> None:
    """The encoder attends over the whole window, so its layers are replaced by what the convolutions output."""
    torch.manual_seed(4)
    local = AudioClassifier(AudioClassifierConfig(CONFIG.encoder, (0,))).eval()
    local.encoder.load_state_dict(classifier.encoder.state_dict())
    waveform = 0.1 * torch.randn(1, 64_000, generator=torch.Generator().manual_seed(2))
    changed = waveform.clone()
    changed[:, 48_000:] += 0.1 * torch.randn(1, 16_000, generator=torch.Generator().manual_seed(3))  # from 3 s on
    before, after = (local(x)[1][0] for x in (waveform, changed))
    assert (before[75:] - after[75:]).abs().max() > 1e-4
    assert torch.allclose(before[:60], after[:60], atol=1e-6)


def test_the_configuration_is_plain_json() -> None:
    import json

    assert AudioClassifierConfig.from_dict(json.loads(json.dumps(CONFIG.to_dict()))) == CONFIG
