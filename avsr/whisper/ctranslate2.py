"""Whisper models in CTranslate2's binary format: its variables, and the state dict of ``transformers`` from them."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

CTRANSLATE2_FILE = "model.bin"
PART = ".part"  # a file in several parts is called model.bin.part1, model.bin.part2, ...
CTRANSLATE2_VERSION = 6  # of the binary format
CTRANSLATE2_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
PARAMETERS = (("weight", "gamma"), ("bias", "beta"))  # of a layer norm, in transformers and in CTranslate2


def is_ctranslate2(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a model in this format, whole or in parts."""
    return (Path(folder) / CTRANSLATE2_FILE).is_file() or any(Path(folder).glob(f"{CTRANSLATE2_FILE}{PART}*"))


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


def encoder_state_of_ctranslate2(variables: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """The encoder's state dict under the names of ``transformers``."""
    renamed = {
        "embed_positions.weight": "encoder/position_encodings/encodings",
        **{f"conv{n}.{kind}": f"encoder/conv{n}/{kind}" for n in (1, 2) for kind in ("weight", "bias")},
        **{f"layer_norm.{kind}": f"encoder/layer_norm/{norm}" for kind, norm in PARAMETERS},
    }
    state = {new: _tensor(variables[old]) for new, old in renamed.items() if old in variables}
    return state | _layers(variables, "encoder")


def state_of_ctranslate2(variables: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """The state dict of ``WhisperForConditionalGeneration``; its output layer is the embedding.

    Raises
    ------
    ValueError
        If variables are missing, or are quantised.
    """
    quantised = [name for name, value in variables.items() if value.ndim > 1 and value.dtype.kind == "i"]
    if quantised:
        raise ValueError(f"is quantised to {variables[quantised[0]].dtype}: only float16 and float32 can be converted")
    renamed = {
        "embed_tokens.weight": "decoder/embeddings/weight",
        "embed_positions.weight": "decoder/position_encodings/encodings",
        **{f"layer_norm.{kind}": f"decoder/layer_norm/{norm}" for kind, norm in PARAMETERS},
    }
    try:
        decoder = {new: _tensor(variables[old]) for new, old in renamed.items()} | _layers(variables, "decoder")
        parts = {"encoder": encoder_state_of_ctranslate2(variables), "decoder": decoder}
    except KeyError as error:
        raise ValueError(f"has no variable {error}") from None
    state = {f"model.{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
    return state | {"proj_out.weight": state["model.decoder.embed_tokens.weight"]}


def _layers(variables: Mapping[str, np.ndarray], part: str) -> dict[str, Tensor]:
    """State dict of the layers of the encoder or of the decoder, which have cross-attention besides."""
    layers = {name.split("/")[1].removeprefix("layer_") for name in variables if name.startswith(f"{part}/layer_")} - {"norm"}
    state: dict[str, Tensor] = {}
    for layer in sorted(layers, key=int):
        old, new = f"{part}/layer_{layer}", f"layers.{layer}"
        state |= _attention(variables, f"{old}/self_attention", f"{new}.self_attn", ["qkv"])
        if part == "decoder":
            state |= _attention(variables, f"{old}/attention", f"{new}.encoder_attn", ["q", "kv"])
        for kind, norm in PARAMETERS:
            state[f"{new}.fc1.{kind}"] = _tensor(variables[f"{old}/ffn/linear_0/{kind}"])
            state[f"{new}.fc2.{kind}"] = _tensor(variables[f"{old}/ffn/linear_1/{kind}"])
            state[f"{new}.final_layer_norm.{kind}"] = _tensor(variables[f"{old}/ffn/layer_norm/{norm}"])
    return state


def _attention(variables: Mapping[str, np.ndarray], old: str, new: str, stacks: list[str]) -> dict[str, Tensor]:
    """One attention; each of its first linear layers is a stack of queries, keys and values, the last one the output."""
    state: dict[str, Tensor] = {}
    for kind, norm in PARAMETERS:
        for number, stack in enumerate(stacks):
            parts = _tensor(variables[f"{old}/linear_{number}/{kind}"]).chunk(len(stack))
            # keys have no bias; the converter writes zeros
            state |= {f"{new}.{name}_proj.{kind}": x for name, x in zip(stack, parts, strict=True) if (name, kind) != ("k", "bias")}
        state[f"{new}.out_proj.{kind}"] = _tensor(variables[f"{old}/linear_{len(stacks)}/{kind}"])
        state[f"{new}_layer_norm.{kind}"] = _tensor(variables[f"{old}/layer_norm/{norm}"])
    return state


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
