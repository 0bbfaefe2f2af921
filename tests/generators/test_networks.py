"""The vocoder and the face networks: shapes, invariances, storage, and short training runs."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from avwitness.checkpoints import BUNDLED, find_weights, read_card
from avwitness.generators import training
from avwitness.generators.demo import synthetic_voice
from avwitness.generators.faces.network_training import AlignedFaces, ResynthesisTraining, train_resynthesis
from avwitness.generators.faces.networks import MASK_TOP, FaceAutoencoder, LowerFace, ResynthesisConfig, audio_windows, lower_face_mask
from avwitness.generators.methods.source import Source, cache_name
from avwitness.generators.recipes import RECIPES, train_network
from avwitness.generators.talking.models.registry import HEADS
from avwitness.generators.talking.rendering.identity import IdentityNetwork
from avwitness.generators.talking.rendering.renderer import Renderer
from avwitness.generators.training import CURVES
from avwitness.generators.voices.codec import Codec
from avwitness.generators.voices.discriminators import spectral_loss
from avwitness.generators.voices.noise_vocoder import NoiseVocoder
from avwitness.generators.voices.vocoder import HOP, MEL_BINS, HifiGan, SpeechGenerator, Vocoder, VocoderConfig, mel_spectrogram
from avwitness.generators.voices.vocoder_training import VocoderTraining, train_vocoder
from avwitness.generators.weights import load_network, save_network, weights_missing_reason

pytestmark = pytest.mark.usefixtures("one_thread")

TINY_VOICE = {"channels": 32, "kernels": (3,), "dilations": (1,)}
TINY_FACE = {"widths": (16, 16, 16, 16), "audio": 8}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail after a time limit."""

    def ring(*_: object) -> None:
        raise TimeoutError(f"still busy after {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("frames", [1, 2, 7, 50])
def test_the_vocoder_makes_a_hop_of_samples_of_every_frame(frames: int) -> None:
    made = Vocoder(VocoderConfig(**TINY_VOICE))(torch.randn(2, MEL_BINS, frames))
    assert made.shape == (2, HOP * frames)
    assert torch.isfinite(made).all()


@pytest.mark.parametrize(("rates", "head_hop"), [((8, 5), 4), ((5, 4, 2), 4), ((8, 5, 4), 1)])
def test_the_vocoders_rates_make_up_the_hop(rates: tuple[int, ...], head_hop: int) -> None:
    config = VocoderConfig(channels=16, rates=rates, head_hop=head_hop, head_fft=4 * head_hop)
    assert Vocoder(config)(torch.zeros(1, MEL_BINS, 6)).shape == (1, 6 * HOP)


@pytest.mark.parametrize("samples", [640, 1600, 1700, 16_000])
def test_a_mel_spectrogram_has_a_frame_for_every_hop(samples: int) -> None:
    mel = mel_spectrogram(torch.randn(3, samples))
    assert mel.shape == (3, MEL_BINS, samples // HOP)
    assert torch.isfinite(mel).all()


def test_a_mel_spectrogram_shows_tones_where_and_when_they_sound() -> None:
    time = torch.arange(16_000) / 16_000
    peaks = [int(mel_spectrogram(torch.sin(2 * torch.pi * hertz * time)[None])[0, :, 50].argmax()) for hertz in (200, 800, 3000, 7000)]
    assert peaks == sorted(set(peaks))
    click = torch.zeros(1, 16_000)
    click[0, 8000] = 1.0
    energy = mel_spectrogram(click)[0].mean(dim=0)
    assert abs(int(energy.argmax()) - 50) <= 1
    assert energy[:46].max() < energy[50] - 2.0


def test_the_lower_face_network_keeps_the_upper_half_exactly() -> None:
    faces, reference, audio = torch.rand(2, 3, 128, 128), torch.rand(2, 3, 128, 128), torch.randn(2, 5, 320)
    network = LowerFace(ResynthesisConfig(**TINY_FACE))
    made = network(faces, reference, audio)
    rows = int(np.ceil(MASK_TOP * 128))
    assert made.shape == faces.shape
    assert torch.equal(made[:, :, :rows], faces[:, :, :rows])
    assert (made[:, :, rows:] != faces[:, :, rows:]).float().mean() > 0.99
    assert float(lower_face_mask(faces)[0, 0, :, 0].sum()) == 128 - rows


def test_the_lower_face_depends_on_audio_and_reference_not_on_the_masked_rows() -> None:
    faces, reference, audio = torch.rand(1, 3, 128, 128), torch.rand(1, 3, 128, 128), torch.randn(1, 5, 320)
    network = LowerFace(ResynthesisConfig(**TINY_FACE))
    made = network(faces, reference, audio)
    other = faces.clone()
    other[:, :, 70:] = torch.rand_like(other[:, :, 70:])
    assert torch.equal(network(other, reference, audio), made)
    assert not torch.equal(network(faces, reference, audio + 1.0), made)
    assert not torch.equal(network(faces, reference.flip(3), audio), made)


def test_audio_windows_hold_two_frames_on_either_side() -> None:
    features = torch.arange(6.0)[:, None].expand(6, 320)
    windows = audio_windows(features)
    assert windows.shape == (6, 5, 320)
    assert windows[:, :, 7].tolist()[0] == [0, 0, 0, 1, 2]
    assert windows[:, :, 7].tolist()[3] == [1, 2, 3, 4, 5]
    assert windows[:, :, 7].tolist()[5] == [3, 4, 5, 5, 5]
    assert audio_windows(features[:1]).shape == (1, 5, 320)


def test_the_autoencoder_has_a_small_bottleneck() -> None:
    network = FaceAutoencoder(ResynthesisConfig(**TINY_FACE, latent=4))
    faces = torch.rand(2, 3, 128, 128)
    made = network(faces).detach()
    assert made.shape == faces.shape
    assert float(made.min()) >= 0.0 and float(made.max()) <= 1.0
    assert network.encoder(faces).numel() < faces.numel() / 8
    assert network.encoder(faces).shape[1] == 4


@pytest.mark.parametrize(
    "network", [Vocoder(), HifiGan(), NoiseVocoder(), Codec(), LowerFace(), FaceAutoencoder()], ids=lambda n: type(n).__name__
)
def test_networks_ship_small(network: nn.Module) -> None:
    assert 2 * sum(value.numel() for value in network.state_dict().values()) < 8e6  # bytes in half precision


@pytest.mark.parametrize(
    ("kind", "config", "inputs"),
    [
        (Vocoder, VocoderConfig(**TINY_VOICE), (torch.randn(1, MEL_BINS, 9),)),
        (LowerFace, ResynthesisConfig(**TINY_FACE), (torch.rand(1, 3, 128, 128), torch.rand(1, 3, 128, 128), torch.randn(1, 5, 320))),
        (FaceAutoencoder, ResynthesisConfig(**TINY_FACE), (torch.rand(1, 3, 128, 128),)),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_a_network_comes_back_as_it_was_stored(kind: type[nn.Module], config: object, inputs: tuple[Tensor, ...], tmp_path: Path) -> None:
    network = kind(config).eval()
    folder = save_network(network, tmp_path / "net", {"about": "a test"})
    assert sorted(p.name for p in folder.iterdir()) == ["card.json", "model.safetensors"]
    count = sum(p.numel() for p in network.parameters())
    assert 2 * count < (folder / "model.safetensors").stat().st_size < 2 * count + 20_000
    card = json.loads((folder / "card.json").read_text())
    assert card["parameters"] == count and card["about"] == "a test" and card["name"] == "net"
    again = load_network(kind, folder)
    assert again.config == config and not again.training
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    for name, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], value.half().float()), name
    with torch.inference_mode():
        assert torch.allclose(again(*inputs), network(*inputs), atol=0.02)


def test_networks_that_are_not_there_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUNDLED, "generators", tmp_path)
    assert "avwitness train generator vocoder" in str(weights_missing_reason("vocoder"))
    with pytest.raises(FileNotFoundError, match="vocoder: no such model; bundled: none"):
        load_network(Vocoder, "vocoder")
    save_network(Vocoder(VocoderConfig(**TINY_VOICE)), tmp_path / "vocoder", {})
    assert weights_missing_reason("vocoder") is None
    assert isinstance(load_network(Vocoder, "vocoder"), Vocoder)


NETWORKS: dict[str, Any] = {
    "vocoder": Vocoder,
    "vocoder_hifigan": HifiGan,
    "vocoder_noise": NoiseVocoder,
    "codec": Codec,
    "lower_face": LowerFace,
    "face_autoencoder": FaceAutoencoder,
    "renderer": Renderer,
    "identity": IdentityNetwork,
    **HEADS,
}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_bundled_networks_load_and_have_cards(name: str) -> None:
    if why := weights_missing_reason(name):
        pytest.skip(why)
    kind = NETWORKS[name]
    assert all(torch.isfinite(p).all() for p in load_network(kind, name).parameters())
    card = read_card(find_weights("generators", name))
    assert card["name"] == name and card["limits"] and card["data"]["identities"] > 1


def test_the_spectral_loss_is_zero_for_equal_audio() -> None:
    voice, other = (torch.from_numpy(synthetic_voice(0.5, seed)[0])[None] for seed in (1, 2))
    assert float(spectral_loss(voice, voice)) == 0.0
    assert float(spectral_loss(0.5 * voice, voice)) > 0.2
    assert float(spectral_loss(other, voice)) > float(spectral_loss(0.9 * voice, voice))


# Short but real training


def column(run: Path, name: str) -> list[float]:
    return list(pd.read_csv(run / CURVES)[name])


def tracks(followed: dict[str, Source], people: Path, *names: str) -> list[AlignedFaces]:
    return [
        AlignedFaces(people / "tracks" / cache_name(people / followed[name].path, followed[name].transcript), followed[name].identity)
        for name in names
    ]


TINY_NETWORKS: list[tuple[type[SpeechGenerator], dict[str, Any]]] = [
    (Vocoder, TINY_VOICE),
    (HifiGan, TINY_VOICE),
    (NoiseVocoder, {"channels": 32, "blocks": 1}),
    (Codec, {"channels": 32, "codes": 32, "encoder_blocks": 1, "decoder_blocks": 1}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "model"), TINY_NETWORKS, ids=lambda value: getattr(value, "__name__", ""))
def test_networks_of_speech_are_trained(
    kind: type[SpeechGenerator], model: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "LOG_EVERY", 10)
    voices = [synthetic_voice(2.0, seed)[0] for seed in range(3)]
    config = VocoderTraining(
        minutes=12 / 60, batch=4, samples=2400, discriminator_after=0.85, discriminator_batch=2, bf16=False, model=model
    )
    network = train_vocoder(kind, config, voices, tmp_path)
    losses = column(tmp_path, "mel")
    assert len(losses) >= 2, "fewer than 20 steps in 12 s"
    assert losses[-1] < (0.95 if kind is NoiseVocoder else 0.75) * losses[0]  # which starts from the envelope of the speech
    assert not network.training and network.config == kind.config_type(**model)
    assert torch.isfinite(network.resynthesise(torch.from_numpy(voices[0])[None])[0]).all()
    with pytest.raises(ValueError, match="no clip holds"):
        train_vocoder(kind, config, [np.zeros(100, np.float32)], tmp_path / "none")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lower_face", "face_autoencoder"])
def test_face_networks_are_trained(
    kind: str, followed: dict[str, Source], people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "LOG_EVERY", 10)
    clips = tracks(followed, people, "collins-1", "hopper-1", "collins-voice", "hopper-silent")
    config = ResynthesisTraining(minutes=12 / 60, batch=2, discriminator_after=0.85, bf16=False, model=TINY_FACE)
    network = train_resynthesis(kind, config, clips, tmp_path)
    losses = column(tmp_path, "reconstruction")
    assert len(losses) >= 2, "fewer than 20 steps in 12 s"
    assert losses[-1] < 0.8 * losses[0]
    assert not network.training
    assert type(network).__name__ == {"lower_face": "LowerFace", "face_autoencoder": "FaceAutoencoder"}[kind]


def test_where_no_clip_has_a_face_nothing_is_trained(followed: dict[str, Source], people: Path, tmp_path: Path) -> None:
    config = ResynthesisTraining(minutes=1 / 60, batch=1, model=TINY_FACE)
    for clips in ([], tracks(followed, people, "collins-voice")):
        with at_most(4.0), pytest.raises(ValueError, match=r"no aligned faces|no face"):
            train_resynthesis("lower_face", config, clips, tmp_path)


def test_a_recipe_trains_and_writes_what_ships(followed: dict[str, Source], people: Path, tmp_path: Path) -> None:
    rows = [(s.path, people / s.path, s.identity, "people", s.transcript) for s in followed.values()]
    table = pd.DataFrame(rows, columns=["path", "file", "identity", "corpus", "transcript"])
    table = table.assign(split="train", video_label=0, audio_label=0)
    settings = VocoderTraining(minutes=0.5 / 60, batch=1, samples=1600, bf16=False, model=TINY_VOICE)
    folder = train_network("vocoder", settings, table, people / "tracks", tmp_path / "run", tmp_path / "vocoder", 1)
    card = json.loads((folder / "card.json").read_text())
    assert card["data"]["clips"] == {"people": 6} and card["data"]["identities"] == 2
    assert card["data"]["left_out"] == 1  # the clip without audio
    assert card["data"]["minutes_of_sound"] == pytest.approx(5 * 2.4 / 60, abs=0.06)
    assert card["training"]["samples"] == 1600
    assert load_network(Vocoder, folder).config == VocoderConfig(**TINY_VOICE)
