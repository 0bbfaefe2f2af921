from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_clip import SIZES, tiny_clip

from avwitness.detector.clip_encoder import MEAN, STANDARD_DEVIATION, Int8Linear
from avwitness.detector.training.classifiers.clip_conversion import load_clip_encoder


def test_the_first_layers_compute_what_those_of_transformers_do(tmp_path: Path) -> None:
    theirs = tiny_clip(tmp_path)
    ours = load_clip_encoder(tmp_path, 2, SIZES)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8))
    pixels = (images.permute(0, 3, 1, 2) / 255.0 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STANDARD_DEVIATION)[:, None, None]
    with torch.inference_mode():
        expected = theirs(pixels, output_hidden_states=True).hidden_states
        outputs = ours(images)
    assert len(outputs) == 2 and outputs[0].shape == (2, SIZES.positions, SIZES.width)
    for layer, output in enumerate(outputs, start=1):
        error = (output - expected[layer]).abs().max() / expected[layer].std()
        assert error < 0.1  # eight bits


def test_weights_of_eight_bits_are_stored_exactly() -> None:
    torch.manual_seed(0)
    layer = Int8Linear(7, 5)
    layer.quantise(torch.randn(5, 7))
    stored, x = layer.weight * layer.scale[:, None], torch.randn(3, 7)
    again = Int8Linear(7, 5)
    again.quantise(stored)
    assert torch.equal(again.weight, layer.weight) and torch.allclose(again.scale, layer.scale)
    assert torch.allclose(layer(x), x @ stored.T, atol=1e-5)
    assert layer.half()(x.half()).dtype == torch.float16 and layer.weight.dtype == torch.int8


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_clip_encoder(tmp_path / "absent.onnx", 2)
    tiny_clip(tmp_path)
    with pytest.raises(ValueError, match="is no CLIP image tower of these sizes"):
        load_clip_encoder(tmp_path, 2)
    with pytest.raises(ValueError, match="is no CLIP image tower of these sizes"):
        load_clip_encoder(tmp_path, 5, SIZES)
