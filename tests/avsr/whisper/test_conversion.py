"""Checkpoints of either format give the same encoder; what is no Whisper model is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from avwitness.avsr.whisper.conversion import load_whisper_encoder, read_ctranslate2
from avwitness.avsr.whisper.encoder import WhisperAudioEncoder, WhisperEncoderConfig

SIZES = WhisperEncoderConfig(width=64, heads=1, feed_forward=96, layers=3, positions=40)


def ctranslate2(encoder: WhisperAudioEncoder, name: str = "WhisperSpec", version: int = 6) -> bytes:
    """The encoder as CTranslate2's converter writes it, in half precision."""
    state = {key: value.half().numpy() for key, value in encoder.state_dict().items()}
    variables: dict[str, np.ndarray] = {
        "encoder/position_encodings/encodings": state["embed_positions.weight"],
        **{f"encoder/conv{n}/{kind}": state[f"conv{n}.{kind}"] for n in (1, 2) for kind in ("weight", "bias")},
    }
    for i in range(encoder.config.layers):
        old, new = f"layers.{i}", f"encoder/layer_{i}"
        heads = [f"{old}.self_attn.{part}_proj" for part in "qkv"]
        bias = [state.get(f"{head}.bias", np.zeros(encoder.config.width, np.float16)) for head in heads]
        variables |= {
            f"{new}/self_attention/linear_0/weight": np.concatenate([state[f"{head}.weight"] for head in heads]),
            f"{new}/self_attention/linear_0/bias": np.concatenate(bias),
            **{f"{new}/self_attention/linear_1/{k}": state[f"{old}.self_attn.out_proj.{k}"] for k in ("weight", "bias")},
            **{f"{new}/ffn/linear_{n}/{k}": state[f"{old}.fc{n + 1}.{k}"] for n in (0, 1) for k in ("weight", "bias")},
        }
        for part, norm in (("self_attention", "self_attn_layer_norm"), ("ffn", "final_layer_norm")):
            for old_kind, new_kind in (("weight", "gamma"), ("bias", "beta")):
                variables[f"{new}/{part}/layer_norm/{new_kind}"] = state[f"{old}.{norm}.{old_kind}"]

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    out = [struct.pack("<I", version), text(name), struct.pack("<II", 3, len(variables))]
    for key, value in variables.items():
        shape = struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        out += [text(key), shape, struct.pack("<BI", 4, value.nbytes), value.tobytes()]
    return b"".join(out)


@pytest.fixture(scope="module")
def encoder() -> WhisperAudioEncoder:
    torch.manual_seed(1)
    return WhisperAudioEncoder(SIZES).half().float().eval()


def test_ctranslate2_in_parts_and_hugging_face(encoder: WhisperAudioEncoder, tmp_path: Path) -> None:
    data = ctranslate2(encoder)
    for folder in ("one", "parts", "hub"):
        (tmp_path / folder).mkdir()
    (tmp_path / "one" / "model.bin").write_bytes(data)
    for number, part in enumerate((data[:1000], data[1000:5000], data[5000:]), start=1):
        (tmp_path / "parts" / f"model.bin.part{number}").write_bytes(part)
    save_file({f"model.encoder.{k}": v.contiguous() for k, v in encoder.state_dict().items()}, tmp_path / "hub" / "model.safetensors")
    (tmp_path / "hub" / "config.json").write_text(json.dumps({"model_type": "whisper"}))
    for folder in ("one", "parts", "hub"):
        loaded = load_whisper_encoder(tmp_path / folder)
        assert loaded.config == SIZES
        for name, value in encoder.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], value), (folder, name)
    assert len(load_whisper_encoder(tmp_path / "one", layers=1).layers) == 1
    with pytest.raises(ValueError, match="3 encoder layers"):
        load_whisper_encoder(tmp_path / "one", layers=4)


def test_what_is_no_whisper_model_is_refused(encoder: WhisperAudioEncoder, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"neither model\.bin"):
        load_whisper_encoder(tmp_path)
    for wrong in (
        ctranslate2(encoder, name="TransformerSpec"),
        ctranslate2(encoder, version=5),
        ctranslate2(encoder)[:-100],
        b"",
        b"no model",
    ):
        (tmp_path / "model.bin").write_bytes(wrong)
        with pytest.raises(ValueError, match="cannot be read as a CTranslate2 model"):
            read_ctranslate2(tmp_path)
    (tmp_path / "model.bin").unlink()
    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"config\.json"):
        load_whisper_encoder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "whisper"}))
    with pytest.raises(ValueError, match="no audio encoder"):
        load_whisper_encoder(tmp_path)
