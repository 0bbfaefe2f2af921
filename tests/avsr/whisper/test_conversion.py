"""Checkpoints of either format give the same encoder and the same whole model; what is no Whisper model is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_whisper import HEADS, SETTINGS, TIMESTAMPS, TOKENS, pack, tiny_whisper, variables_of, write_ctranslate2, write_hugging_face
from transformers import GenerationConfig, WhisperForConditionalGeneration
from typer.testing import CliRunner

from avwitness.avsr.whisper.conversion import convert_whisper, load_whisper_encoder
from avwitness.avsr.whisper.ctranslate2 import read_ctranslate2
from avwitness.avsr.whisper.encoder import WhisperAudioEncoder, WhisperEncoderConfig
from avwitness.avsr.whisper.vocabulary import Vocabulary
from avwitness.checkpoints import find_weights, read_card
from avwitness.cli import app

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

    return pack(variables, name, version)


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


@pytest.fixture(scope="module")
def whole() -> WhisperForConditionalGeneration:
    return tiny_whisper()


@pytest.mark.parametrize("write", [write_ctranslate2, write_hugging_face])
def test_the_whole_model_has_the_logits_of_its_checkpoint(write, whole: WhisperForConditionalGeneration, tmp_path: Path) -> None:
    source = write(whole, tmp_path / "source")
    returned = convert_whisper(source, tmp_path / "out")
    loaded, found = WhisperForConditionalGeneration.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not found["missing_keys"]
    generator = torch.Generator().manual_seed(1)
    inputs = {"input_features": torch.randn(1, 80, 100, generator=generator), "decoder_input_ids": torch.tensor([[16, 17, 2, 3]])}
    with torch.inference_mode():
        expected = whole(**inputs).logits
        for model in (returned, loaded.float().eval()):
            assert torch.allclose(model(**inputs).logits, expected, atol=1e-5)
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float16}


@pytest.mark.parametrize("write", [write_ctranslate2, write_hugging_face])
def test_settings_of_generation_come_from_checkpoint_and_vocabulary(write, whole: WhisperForConditionalGeneration, tmp_path: Path) -> None:
    convert_whisper(write(whole, tmp_path / "source"), tmp_path / "out")
    settings = GenerationConfig.from_pretrained(tmp_path / "out")
    assert settings.alignment_heads == HEADS
    assert settings.suppress_tokens == SETTINGS["suppress_ids"]
    assert settings.begin_suppress_tokens == SETTINGS["suppress_ids_begin"]
    assert settings.lang_to_id == {token: TOKENS.index(token) for token in ("<|en|>", "<|ja|>")}
    assert settings.task_to_id["transcribe"] == TOKENS.index("<|transcribe|>")
    assert settings.decoder_start_token_id == TOKENS.index("<|startoftranscript|>")
    assert settings.no_timestamps_token_id == TOKENS.index(TIMESTAMPS[0]) - 1
    assert Vocabulary.read(tmp_path / "out").tokens[: TOKENS.index(TIMESTAMPS[0])] == TOKENS[: -len(TIMESTAMPS)]
    assert read_card(tmp_path / "out")["licence"] == "MIT"
    assert "Permission is hereby granted" in (tmp_path / "out" / "NOTICE.txt").read_text()


def test_whole_models_that_cannot_be_converted_are_refused(whole: WhisperForConditionalGeneration, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"neither model\.bin"):
        convert_whisper(tmp_path, tmp_path / "out")
    variables = variables_of(whole)
    folder = write_ctranslate2(whole, tmp_path / "source", parts=1)
    weights = folder / "model.bin.part1"
    lacking = {name: value for name, value in variables.items() if "layer_1/attention/linear_2" not in name}
    quantised = variables | {"decoder/embeddings/weight": np.zeros((len(TOKENS), 32), np.int8)}
    other = variables | {"decoder/layer_1/ffn/linear_1/bias": np.zeros(5, np.float16)}
    for wrong, message in ((lacking, "no variable"), (quantised, "quantised to int8"), (other, "size mismatch")):
        weights.write_bytes(pack(wrong))
        with pytest.raises(ValueError, match=message):
            convert_whisper(folder, tmp_path / "out")
    (folder / "vocabulary.txt").write_text("one\ntwo\n")
    with pytest.raises(ValueError, match="no vocabulary of Whisper"):
        convert_whisper(folder, tmp_path / "out")
    (folder / "vocabulary.txt").unlink()
    with pytest.raises(FileNotFoundError, match="holds no vocabulary"):
        convert_whisper(folder, tmp_path / "out")
    hub = write_hugging_face(whole, tmp_path / "hub")
    (hub / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="cannot be read as a Whisper model"):
        convert_whisper(hub, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_writes_where_the_name_is_found(
    whole: WhisperForConditionalGeneration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_ctranslate2(whole, tmp_path / "source")
    monkeypatch.setenv("AVWITNESS_WEIGHTS", str(tmp_path / "weights"))
    result = CliRunner().invoke(app, ["convert", str(source)])
    assert result.exit_code == 0, result.output
    assert "MIT licence" in result.output
    assert find_weights("avsr", "whisper") == tmp_path / "weights" / "avsr" / "whisper"
    result = CliRunner().invoke(app, ["convert", str(tmp_path), str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "neither" in result.output
