"""Reading of a CLIP image tower: Hugging Face folders, and ONNX files with dynamic eight-bit quantisation."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...clip_encoder import ClipEncoder, ClipEncoderConfig, Int8Linear

PREFIX = "vision_model."
LINEAR = {  # ours, theirs
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "output": "self_attn.out_proj",
    "expand": "mlp.fc1",
    "contract": "mlp.fc2",
}


def load_clip_encoder(path: str | os.PathLike[str], layers: int, config: ClipEncoderConfig | None = None) -> ClipEncoder:
    """The first layers of a CLIP image tower.

    Parameters
    ----------
    path : path-like
        Folder with ``model.safetensors``, or a ``.safetensors`` or ``.onnx`` file, with the names of ``transformers``' ``CLIPVisionModel``.
    layers : int
    config : ClipEncoderConfig, optional
        Sizes; ViT-B/16 by default.

    Raises
    ------
    ValueError
        If the file holds no such network.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    path = path / "model.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give a folder with model.safetensors, or an .onnx file, of a CLIP image tower")
    state = _onnx_state(path) if path.suffix == ".onnx" else _safetensors_state(path)
    encoder = ClipEncoder(replace(config or ClipEncoderConfig(), layers=layers)).eval()
    try:
        with torch.no_grad():
            _copy(encoder, state)
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"{path}: is no CLIP image tower of these sizes ({error})") from error
    return encoder


def _copy(encoder: ClipEncoder, state: dict[str, Tensor]) -> None:
    embeddings = PREFIX + "embeddings."
    encoder.patches.weight.copy_(state[embeddings + "patch_embedding.weight"])
    encoder.class_token.copy_(state[embeddings + "class_embedding"])
    encoder.positions.copy_(state[embeddings + "position_embedding.weight"])
    for name in ("weight", "bias"):
        getattr(encoder.norm, name).copy_(state[f"{PREFIX}pre_layrnorm.{name}"])
    for number, layer in enumerate(encoder.layers):
        theirs = f"{PREFIX}encoder.layers.{number}."
        for name in ("weight", "bias"):
            getattr(layer.attention_norm, name).copy_(state[f"{theirs}layer_norm1.{name}"])
            getattr(layer.feed_forward_norm, name).copy_(state[f"{theirs}layer_norm2.{name}"])
        for ours, name in LINEAR.items():
            linear = getattr(layer, ours)
            assert isinstance(linear, Int8Linear)
            linear.quantise(state[f"{theirs}{name}.weight"])
            linear.bias.copy_(state[f"{theirs}{name}.bias"])


def _safetensors_state(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return {name: value.float() for name, value in load_file(path).items()}


def _onnx_state(path: Path) -> dict[str, Tensor]:
    """Initialisers by name; the weights of quantised products are scaled, transposed, and named after the bias that is added to them."""
    import onnx
    from onnx.numpy_helper import to_array

    graph = onnx.load(str(path)).graph
    arrays = {item.name: to_array(item) for item in graph.initializer}
    state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items() if name.startswith(PREFIX)}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    for node in graph.node:
        if node.op_type != "MatMulInteger":
            continue
        stem = node.input[1].removesuffix("_quantized")
        zero = arrays[f"{stem}_zero_point"].astype(np.float32)
        weight = (arrays[node.input[1]].astype(np.float32) - zero) * arrays[f"{stem}_scale"]
        scaled = users[users[node.output[0]][0].output[0]][0]  # cast to float, times the scales
        for add in users.get(scaled.output[0], []):
            for name in add.input:
                if add.op_type == "Add" and name.endswith(".bias"):
                    state[f"{name.removesuffix('bias')}weight"] = torch.from_numpy(np.ascontiguousarray(weight.T))
    return state
