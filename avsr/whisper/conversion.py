"""Whisper checkpoints, in CTranslate2's format or in that of Hugging Face, to the state dict of :class:`WhisperAudioEncoder`."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .encoder import WhisperAudioEncoder, WhisperEncoderConfig

CTRANSLATE2_FILE = "model.bin"
PART = ".part"  # a file in several parts is called model.bin.part1, model.bin.part2, ...
CTRANSLATE2_VERSION = 6  # of the binary format
CTRANSLATE2_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
HEAD_WIDTH = 64  # channels of an attention head in every published size
HUGGING_FACE_FILE = "model.safetensors"


def load_whisper_encoder(folder: str | os.PathLike[str], layers: int | None = None) -> WhisperAudioEncoder:
    """The audio encoder of a Whisper checkpoint.

    Parameters
    ----------
    folder : path-like
        Holds ``model.bin`` (CTranslate2, perhaps in parts ``model.bin.part1``, ...), or ``config.json`` and
        ``model.safetensors`` (Hugging Face).
    layers : int, optional
        First layers to keep; all without it.

    Raises
    ------
    FileNotFoundError
        If the folder holds neither.
    ValueError
        If the file is no Whisper model, or has fewer layers.
    """
    folder = Path(folder)
    if (folder / CTRANSLATE2_FILE).is_file() or any(folder.glob(f"{CTRANSLATE2_FILE}{PART}*")):
        state = encoder_state_of_ctranslate2(read_ctranslate2(folder))
    elif (folder / HUGGING_FACE_FILE).is_file():
        state = _hugging_face_state(folder)
    else:
        raise FileNotFoundError(f"{folder}: holds neither {CTRANSLATE2_FILE} (CTranslate2) nor {HUGGING_FACE_FILE} (Hugging Face)")
    found = 1 + max((int(name.split(".")[1]) for name in state if name.startswith("layers.")), default=-1)
    if not found or "conv1.weight" not in state:
        raise ValueError(f"{folder}: is no Whisper model: it has no audio encoder")
    layers = found if layers is None else layers
    if not 0 < layers <= found:
        raise ValueError(f"{folder}: has {found} encoder layers, so {layers} cannot be kept")
    width = int(state["conv1.weight"].shape[0])
    config = WhisperEncoderConfig(
        width=width,
        heads=width // HEAD_WIDTH,
        feed_forward=int(state["layers.0.fc1.weight"].shape[0]),
        layers=layers,
        positions=int(state["embed_positions.weight"].shape[0]),
    )
    encoder = WhisperAudioEncoder(config)
    kept = {name: value for name, value in state.items() if not name.startswith("layers.") or int(name.split(".")[1]) < layers}
    kept = {name: value for name, value in kept.items() if not name.startswith("layer_norm.")}
    encoder.load_state_dict(kept)
    return encoder.eval()


def read_ctranslate2(folder: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The variables of a CTranslate2 model by name.

    Layout: version, name of the model, revision, number of variables; of each variable name, rank, dimensions, type, size in
    bytes, data. Numbers are unsigned and little-endian (rank and type one byte, all else four), texts begin with their length
    in two bytes and end in a zero byte.

    Raises
    ------
    ValueError
        If the file has another layout, or ends before its last variable.
    """
    folder = Path(folder)
    parts = sorted(folder.glob(f"{CTRANSLATE2_FILE}{PART}*"), key=lambda path: int(path.name.rsplit(PART, 1)[1]))
    data = b"".join(path.read_bytes() for path in parts) if parts else (folder / CTRANSLATE2_FILE).read_bytes()
    place = 0

    def number(code: str) -> int:
        nonlocal place
        (value,) = struct.unpack_from(f"<{code}", data, place)
        place += struct.calcsize(code)
        return int(value)

    def text() -> str:
        nonlocal place
        size = number("H")
        value = data[place : place + size].rstrip(b"\0").decode()
        place += size
        return value

    try:
        version, name = number("I"), text()
        if version != CTRANSLATE2_VERSION or name != "WhisperSpec":
            raise ValueError(f"is {name} in version {version} of the format, not a Whisper model in version {CTRANSLATE2_VERSION}")
        number("I")  # revision of the model
        variables = {}
        for _ in range(number("I")):
            name = text()
            shape = [number("I") for _ in range(number("B"))]
            kind, size = CTRANSLATE2_TYPES[number("B")], number("I")
            variables[name] = np.frombuffer(data, kind, size // np.dtype(kind).itemsize, place).reshape(shape)
            place += size
    except (struct.error, KeyError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{folder / CTRANSLATE2_FILE}: cannot be read as a CTranslate2 model: {error}") from None
    return variables


def encoder_state_of_ctranslate2(variables: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """The encoder's state dict under the names of ``transformers``; query, key and value are stacked in ``linear_0``."""
    renamed = {
        "embed_positions.weight": "encoder/position_encodings/encodings",
        **{f"conv{n}.{kind}": f"encoder/conv{n}/{kind}" for n in (1, 2) for kind in ("weight", "bias")},
        "layer_norm.weight": "encoder/layer_norm/gamma",
        "layer_norm.bias": "encoder/layer_norm/beta",
    }
    state = {new: _tensor(variables[old]) for new, old in renamed.items() if old in variables}
    layers = {
        name.split("/")[1].removeprefix("layer_")
        for name in variables
        if name.startswith("encoder/layer_") and "norm" not in name.split("/")[1]
    }
    for layer in sorted(layers, key=int):
        old, new = f"encoder/layer_{layer}", f"layers.{layer}"
        stacked = {kind: _tensor(variables[f"{old}/self_attention/linear_0/{kind}"]).chunk(3) for kind in ("weight", "bias")}
        for index, name in enumerate(("q_proj", "k_proj", "v_proj")):
            state[f"{new}.self_attn.{name}.weight"] = stacked["weight"][index]
            if name != "k_proj":  # keys have no bias; the converter writes zeros
                state[f"{new}.self_attn.{name}.bias"] = stacked["bias"][index]
        for kind, norm in (("weight", "gamma"), ("bias", "beta")):
            state[f"{new}.self_attn.out_proj.{kind}"] = _tensor(variables[f"{old}/self_attention/linear_1/{kind}"])
            state[f"{new}.fc1.{kind}"] = _tensor(variables[f"{old}/ffn/linear_0/{kind}"])
            state[f"{new}.fc2.{kind}"] = _tensor(variables[f"{old}/ffn/linear_1/{kind}"])
            state[f"{new}.self_attn_layer_norm.{kind}"] = _tensor(variables[f"{old}/self_attention/layer_norm/{norm}"])
            state[f"{new}.final_layer_norm.{kind}"] = _tensor(variables[f"{old}/ffn/layer_norm/{norm}"])
    return state


def _hugging_face_state(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    config: dict[str, Any] = json.loads((folder / "config.json").read_text()) if (folder / "config.json").is_file() else {}
    if config.get("model_type") != "whisper":
        raise ValueError(f"{folder}: its config.json does not say that it is a Whisper model")
    prefixes = ("model.encoder.", "encoder.")
    state = load_file(folder / HUGGING_FACE_FILE)
    return {name.removeprefix(p): value.float() for p in prefixes for name, value in state.items() if name.startswith(p)}


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
