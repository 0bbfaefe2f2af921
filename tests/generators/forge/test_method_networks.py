"""Methods that use networks, with untrained networks instead of the bundled ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from forging import SECONDS, SOURCE, WINDOW, digest, donor_for, shown

from avwitness.generators.faces import methods as face_methods
from avwitness.generators.faces.methods import DubbedLowerFace
from avwitness.generators.faces.networks import FaceAutoencoder, LowerFace, ResynthesisConfig
from avwitness.generators.forge.registry import METHODS
from avwitness.generators.methods.source import Source
from avwitness.generators.voices import neural_vocoder
from avwitness.generators.voices.codec import Codec, CodecConfig
from avwitness.generators.voices.noise_vocoder import NoiseVocoder, NoiseVocoderConfig
from avwitness.generators.voices.vocoder import HifiGan, HifiGanConfig, Vocoder, VocoderConfig

VOICES = (
    neural_vocoder.NeuralVocoder(),
    neural_vocoder.SmoothNeuralVocoder(),
    neural_vocoder.HifiGanVocoder(),
    neural_vocoder.ShapedNoiseVocoder(),
    neural_vocoder.NeuralCodec(),
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    sizes = ResynthesisConfig(widths=(8, 8, 8, 8), audio=8)
    lower, whole = LowerFace(sizes).eval(), FaceAutoencoder(sizes).eval()
    voices = {
        "vocoder": Vocoder(VocoderConfig(channels=16)).eval(),
        "vocoder_hifigan": HifiGan(HifiGanConfig(channels=16)).eval(),
        "vocoder_noise": NoiseVocoder(NoiseVocoderConfig(channels=16, blocks=1)).eval(),
        "codec": Codec(CodecConfig(channels=16, codes=16, encoder_blocks=1, decoder_blocks=1)).eval(),
    }
    monkeypatch.setattr(face_methods, "_lower_face", lambda: lower)
    monkeypatch.setattr(face_methods, "_autoencoder", lambda: whole)
    monkeypatch.setattr(neural_vocoder, "_network", lambda name: voices[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lower_face", "lower_face_dubbed", "face_autoencoder", *(voice.name for voice in VOICES)])
def test_any_network_keeps_the_contract(name: str, untrained: None, followed: dict[str, Source]) -> None:
    method, source = METHODS[name], followed[SOURCE]
    donor = donor_for(method, followed)
    before = digest(source, donor)
    made, again = (method.forge(source, donor, WINDOW, np.random.default_rng(0)) for _ in range(2))
    assert digest(source, donor) == before
    frames, waveform = shown(source)
    assert made.frames is not None and made.waveform is not None and source.landmarks is not None
    assert np.array_equal(made.frames, again.frames) and np.array_equal(made.waveform, again.waveform)
    assert made.frames.shape == frames.shape and made.frames.dtype == np.uint8
    assert made.waveform.shape == waveform.shape and np.isfinite(made.waveform).all()
    if "audio" in method.streams:
        assert made.audio_intervals == ((0.0, SECONDS),) and not np.array_equal(made.waveform, waveform)
        assert np.array_equal(made.frames, frames)
        return
    assert made.video_intervals == ((0.0, SECONDS),)
    assert np.array_equal(made.waveform, waveform) == (not isinstance(method, DubbedLowerFace))
    changed = np.abs(made.frames.astype(int) - frames).max(axis=-1)
    assert (changed.max(axis=(1, 2)) > 0).all()
    if name.startswith("lower_face"):
        brows = int(source.landmarks[4:52, 70, 1].min())
        assert not changed[:, :brows].any()


@pytest.mark.parametrize("samples", [1, 700, 1601])
def test_the_neural_voices_accept_any_length(samples: int, untrained: None) -> None:
    waveform = 0.1 * np.random.default_rng(0).standard_normal(samples, dtype=np.float32)
    for voice in VOICES:
        made, again = (voice(waveform, np.random.default_rng(0)) for _ in range(2))
        assert made.shape == waveform.shape and made.dtype == np.float32
        assert np.isfinite(made).all() and np.array_equal(made, again)
        quiet = voice(np.zeros(samples, np.float32), np.random.default_rng(0))
        assert np.abs(quiet).max() < 1e-2
