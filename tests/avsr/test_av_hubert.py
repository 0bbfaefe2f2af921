"""AV-HuBERT against outputs of the published network."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avwitness.avsr.backbones.av_hubert import SIZES, AVHubert, AVHubertConfig, rename
from avwitness.avsr.conversion import convert, encoder_options
from avwitness.avsr.model import SpeechEncoder

CASES = {"tiny": (10, 7), "base": (6, 11)}  # frames, seed of the inputs
ATOL = 1e-4


def made_up(keys: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """The weights that the golden outputs were made with, from the names of the keys (see the README beside them)."""
    weights = {}
    for key, shape in keys.items():
        q = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode()))).integers(-7, 8, size=shape) / 7
        flat = len(shape) == 1
        if key.endswith("num_batches_tracked"):
            value = np.zeros(shape)
        elif key.endswith("running_var"):
            value = 1 + 0.5 * np.abs(q)
        elif key.endswith("running_mean"):
            value = 0.1 * q
        elif flat and key.endswith("weight"):
            value = (0.25 if "relu" in key or key.endswith("frontend3D.2.weight") else 1.0) + 0.1 * q
        elif key.endswith("weight_g"):
            value = 1 + 0.25 * q
        elif flat:
            value = 0.1 * q
        else:
            value = q * 1.5 / np.sqrt(np.prod(shape[1:]))
        weights[key] = torch.tensor(value, dtype=torch.long if key.endswith("tracked") else torch.float32)
    return weights


def inputs(frames: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.Generator(np.random.PCG64(seed))
    audio = generator.standard_normal((2, 104, frames)).astype(np.float32)
    video = generator.standard_normal((2, 1, frames, 88, 88)).astype(np.float32)
    return torch.from_numpy(audio).transpose(1, 2), torch.from_numpy(video)[:, 0]


def difference(network: AVHubert, outputs: Any, frames: int, seed: int) -> float:
    audio, video = inputs(frames, seed)
    worst = 0.0
    for name in outputs.files:
        if name == "resnet":
            continue
        streams, padding, layer = name.split(".")
        mask = torch.ones(2, frames, dtype=torch.bool)
        if padding == "padded":
            mask[1, -4:] = False
        depth = None if layer == "final" else int(layer.removeprefix("layer"))
        found = network.network(audio if "a" in streams else None, video if "v" in streams else None, mask, depth)
        worst = max(worst, float(np.abs(found.numpy()[..., : outputs[name].shape[2]] - outputs[name]).max()))
    return worst


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("size", sorted(CASES))
def test_every_stream_padding_and_layer_equals_the_published_network(size: str, golden: Path) -> None:
    folder = golden / "avhubert"
    weights = made_up(json.loads((folder / f"{size}_keys.json").read_text()))
    options = encoder_options(weights, {})
    assert options["size"] == size
    assert {name: options[name] for name in SIZES[size]} == SIZES[size]
    network = AVHubert(AVHubertConfig(**options)).eval()
    assert not network.load_state_dict(rename(weights)).missing_keys
    assert difference(network, np.load(folder / f"{size}_outputs.npz"), *CASES[size]) < ATOL
    expected = np.load(folder / f"{size}_outputs.npz")["resnet"]
    features = network.video_front.forward_normalised(inputs(*CASES[size])[1]).transpose(1, 2).numpy()
    step = 512 // expected.shape[1]
    assert np.abs(features[:, ::step, : expected.shape[2]] - expected).max() < ATOL


@pytest.mark.slow
@torch.no_grad()
def test_a_converted_fairseq_checkpoint_gives_the_same_outputs(golden: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "tiny.pt"
    checkpoint.write_bytes(gzip.decompress((golden / "avhubert" / "tiny_pretrain.pt.gz").read_bytes()))
    convert(checkpoint, tmp_path / "out")
    encoder = SpeechEncoder.from_pretrained(tmp_path / "out").eval()
    assert isinstance(encoder.backbone, AVHubert)
    assert difference(encoder.backbone, np.load(golden / "avhubert" / "tiny_outputs.npz"), *CASES["tiny"]) < ATOL
    assert "non-commercial" in (tmp_path / "out" / "NOTICE.txt").read_text()
    assert "Meta" in encoder.config.notice


@torch.no_grad()
def test_an_inner_layer_is_returned_and_a_missing_one_refused() -> None:
    torch.manual_seed(0)
    audio, video = inputs(5, 0)
    whole, first = (AVHubert(AVHubertConfig(size="tiny", layer=layer)).eval() for layer in (None, 1))
    first.load_state_dict(whole.state_dict())
    assert not torch.allclose(whole.encode(audio, video).joint, first.encode(audio, video).joint)
    with pytest.raises(ValueError, match="has 2"):
        AVHubert(AVHubertConfig(size="tiny", layer=3)).eval().encode(audio, None)
    with pytest.raises(ValueError, match="tiny, base, large"):
        AVHubertConfig(size="huge")


def test_the_large_size_has_the_published_shape() -> None:
    """The paper states 325 M parameters."""
    with torch.device("meta"):
        large = AVHubert(AVHubertConfig(size="large"))
    assert 300e6 < sum(p.numel() for p in large.parameters()) < 360e6
