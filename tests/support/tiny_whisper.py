"""A Whisper of random weights with a vocabulary of some words, written in the layouts in which checkpoints are published."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import WhisperConfig, WhisperForConditionalGeneration

TEXT = ["Ġbin", "Ġblue", "Ġat", "Ġnow", ",", ".", "s", "!", "Ġ", *"ãģĤ", *"æľ¬"]  # the last six are two Japanese characters in bytes
SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|ja|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>"]
SPECIAL += ["<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
TIMESTAMPS = [f"<|{step / 50:.2f}|>" for step in range(51)]  # of a window of one second
TOKENS = [*TEXT, *SPECIAL, *TIMESTAMPS]
HEADS = [[0, 1], [1, 0]]
SETTINGS = {"alignment_heads": HEADS, "suppress_ids": [TOKENS.index("!")], "suppress_ids_begin": [TOKENS.index("Ġ")]}


def tiny_whisper(seed: int = 0) -> WhisperForConditionalGeneration:
    """Two layers, 32 channels, windows of one second; weights that half precision holds."""
    torch.manual_seed(seed)
    end = TOKENS.index("<|endoftext|>")
    config = WhisperConfig(
        vocab_size=len(TOKENS),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_source_positions=50,
        max_target_positions=24,
        init_std=0.3,
        dropout=0.0,
        begin_suppress_tokens=None,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=end + 1,
    )
    return WhisperForConditionalGeneration(config).half().float().eval()


def variables_of(model: WhisperForConditionalGeneration) -> dict[str, np.ndarray]:
    """The model's weights as CTranslate2's converter names and stacks them, in half precision."""
    state = {name.removeprefix("model."): value.half().numpy() for name, value in model.state_dict().items()}
    zeros = np.zeros(model.config.d_model, np.float16)

    def stack(prefix: str, parts: str, kind: str) -> np.ndarray:
        return np.concatenate([state.get(f"{prefix}.{part}_proj.{kind}", zeros) for part in parts])

    variables = {f"encoder/conv{n}/{kind}": state[f"encoder.conv{n}.{kind}"] for n in (1, 2) for kind in ("weight", "bias")}
    variables["decoder/embeddings/weight"] = state["decoder.embed_tokens.weight"]
    for part in ("encoder", "decoder"):
        variables[f"{part}/num_heads"] = np.asarray(2, np.int16)
        variables[f"{part}/position_encodings/encodings"] = state[f"{part}.embed_positions.weight"]
        attentions = {"self_attention": ("self_attn", ["qkv"])}
        attentions |= {"attention": ("encoder_attn", ["q", "kv"])} if part == "decoder" else {}
        for kind, norm in (("weight", "gamma"), ("bias", "beta")):
            variables[f"{part}/layer_norm/{norm}"] = state[f"{part}.layer_norm.{kind}"]
            for layer in range(2):
                old, new = f"{part}.layers.{layer}", f"{part}/layer_{layer}"
                variables[f"{new}/ffn/layer_norm/{norm}"] = state[f"{old}.final_layer_norm.{kind}"]
                variables |= {f"{new}/ffn/linear_{n}/{kind}": state[f"{old}.fc{n + 1}.{kind}"] for n in (0, 1)}
                for target, (source, stacks) in attentions.items():
                    for number, parts in enumerate(stacks):
                        variables[f"{new}/{target}/linear_{number}/{kind}"] = stack(f"{old}.{source}", parts, kind)
                    variables[f"{new}/{target}/linear_{len(stacks)}/{kind}"] = state[f"{old}.{source}.out_proj.{kind}"]
                    variables[f"{new}/{target}/layer_norm/{norm}"] = state[f"{old}.{source}_layer_norm.{kind}"]
    return variables


def pack(variables: dict[str, np.ndarray], name: str = "WhisperSpec", version: int = 6) -> bytes:
    """Variables in CTranslate2's binary format."""
    types = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    out = [struct.pack("<I", version), text(name), struct.pack("<II", 3, len(variables))]
    for key, value in variables.items():
        shape = struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        out += [text(key), shape, struct.pack("<BI", types[str(value.dtype)], value.nbytes), value.tobytes()]
    return b"".join(out)


def write_ctranslate2(model: WhisperForConditionalGeneration, folder: Path, parts: int = 2) -> Path:
    """A folder as CTranslate2's converter writes it, the weights in parts."""
    folder.mkdir(parents=True)
    data = pack(variables_of(model))
    size = -(-len(data) // parts)
    for number in range(parts):
        (folder / f"model.bin.part{number + 1}").write_bytes(data[number * size : (number + 1) * size])
    (folder / "config.json").write_text(json.dumps(SETTINGS))
    (folder / "vocabulary.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    return folder


def write_hugging_face(model: WhisperForConditionalGeneration, folder: Path) -> Path:
    """A folder as published on the hub: the vocabulary in tokenizer.json, timestamps left out."""
    folder.mkdir(parents=True)
    state = {name: value.contiguous().clone() for name, value in model.state_dict().items() if name != "proj_out.weight"}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(model.config.to_dict() | {"model_type": "whisper"}))
    added = [{"id": TOKENS.index(token), "content": token} for token in SPECIAL]
    tokenizer = {"model": {"vocab": {token: TOKENS.index(token) for token in TEXT}}, "added_tokens": added}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    renamed = {"suppress_ids": "suppress_tokens", "suppress_ids_begin": "begin_suppress_tokens"}
    (folder / "generation_config.json").write_text(json.dumps({renamed.get(name, name): value for name, value in SETTINGS.items()}))
    return folder
