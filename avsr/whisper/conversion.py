"""Whisper checkpoints, in CTranslate2's format or in that of Hugging Face: the audio encoder alone, or the whole model to a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

from ...checkpoints import CARD
from .ctranslate2 import CTRANSLATE2_FILE, encoder_state_of_ctranslate2, is_ctranslate2, read_ctranslate2, state_of_ctranslate2
from .encoder import WhisperAudioEncoder, WhisperEncoderConfig
from .vocabulary import END, NO_TIMESTAMPS, PREVIOUS, START, TRANSCRIBE, TRANSLATE, Vocabulary

HEAD_WIDTH = 64  # channels of an attention head in every published size
HUGGING_FACE_FILE = "model.safetensors"
HUGGING_FACE_INDEX = "model.safetensors.index.json"
LATEST_START = 50  # steps of 20 ms; the first timestamp of a window is not later, as in the published settings
LICENCE = """MIT License

Copyright (c) 2022 OpenAI

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to
the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY
CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE
SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
NOTICE = (
    "OpenAI published Whisper and its weights under the MIT licence, Copyright (c) 2022 OpenAI. If your checkpoint is a fine-tuned "
    "one of somebody else, its own licence holds instead."
)


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
    if is_ctranslate2(folder):
        state = encoder_state_of_ctranslate2(read_ctranslate2(folder))
    elif (folder / HUGGING_FACE_FILE).is_file():
        state = _hugging_face_encoder_state(folder)
    else:
        raise _neither(folder)
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


def convert_whisper(folder: str | os.PathLike[str], out: str | os.PathLike[str]) -> WhisperForConditionalGeneration:
    """Turn a Whisper checkpoint into a folder that :class:`avwitness.avsr.whisper.transcriber.WhisperTranscriber` loads.

    Parameters
    ----------
    folder : path-like
        As for :func:`load_whisper_encoder`, with the vocabulary in ``vocabulary.json``, ``vocabulary.txt``, ``tokenizer.json`` or
        ``vocab.json``. Weights of Hugging Face may be in several files.
    out : path-like
        Folder to write: ``config.json``, ``generation_config.json``, ``model.safetensors`` in half precision,
        ``vocabulary.json``, ``card.json`` and ``NOTICE.txt``.

    Raises
    ------
    FileNotFoundError
        If the folder holds no model or no vocabulary.
    ValueError
        If it is no Whisper model, or is quantised.
    """
    folder, out = Path(folder), Path(out)
    if not is_ctranslate2(folder) and not any((folder / name).is_file() for name in (HUGGING_FACE_FILE, HUGGING_FACE_INDEX)):
        raise _neither(folder)
    try:
        vocabulary = Vocabulary.read(folder)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from None
    if is_ctranslate2(folder):
        layout, model, settings = "CTranslate2", *_model_of_ctranslate2(folder, vocabulary)
    else:
        layout, model, settings = "Hugging Face", *_model_of_hugging_face(folder)
    if vocabulary.timestamps >= model.config.vocab_size:
        raise ValueError(f"{folder}: its weights are for {model.config.vocab_size} tokens, fewer than its vocabulary has")
    model.generation_config = generation_config(vocabulary, settings, model.config.max_target_positions)
    model.config.notice = NOTICE
    model.config.suppress_tokens = model.config.begin_suppress_tokens = None  # they are settings of generation
    model.half().save_pretrained(out)
    vocabulary.write(out)
    card = {"name": "whisper", "version": version("avwitness"), "converted_from": layout, "licence": "MIT", "copyright": "2022 OpenAI"}
    (out / CARD).write_text(json.dumps(card | {"languages": len(vocabulary.languages) or 1}, indent=2) + "\n")
    (out / "NOTICE.txt").write_text(f"{NOTICE}\n\n{LICENCE}")
    return model.float().eval()


def generation_config(vocabulary: Vocabulary, settings: Mapping[str, Any], max_length: int) -> GenerationConfig:
    """What decoding needs besides the weights.

    Parameters
    ----------
    vocabulary : Vocabulary
    settings : mapping
        Of the checkpoint: ``alignment_heads``, ``suppress_tokens`` and ``begin_suppress_tokens``, each where it is known.
    max_length : int
        Tokens of one window at most.
    """
    ids = vocabulary.ids
    options: dict[str, Any] = {
        **_special_tokens(vocabulary),
        "prev_sot_token_id": ids.get(PREVIOUS),
        "no_timestamps_token_id": ids[NO_TIMESTAMPS],
        "begin_suppress_tokens": settings.get("begin_suppress_tokens") or [ids[END]],
        "suppress_tokens": settings.get("suppress_tokens") or None,
        "is_multilingual": bool(vocabulary.languages),
        "return_timestamps": True,
        "max_initial_timestamp_index": LATEST_START,
        "max_length": max_length,
    }
    if settings.get("alignment_heads"):
        options["alignment_heads"] = settings["alignment_heads"]
    if vocabulary.languages:
        options["lang_to_id"] = vocabulary.languages
        options["task_to_id"] = {"transcribe": ids[TRANSCRIBE], "translate": ids[TRANSLATE]}
    return GenerationConfig(**options)


def _special_tokens(vocabulary: Vocabulary) -> dict[str, int]:
    end = vocabulary.end
    return {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": vocabulary.ids[START]}


def _model_of_ctranslate2(folder: Path, vocabulary: Vocabulary) -> tuple[WhisperForConditionalGeneration, dict[str, Any]]:
    """The model, and the settings beside it under the names of ``transformers``."""
    variables = read_ctranslate2(folder)
    try:
        state = state_of_ctranslate2(variables)
        model = WhisperForConditionalGeneration(_config_of(variables, state, vocabulary))
        model.load_state_dict(state)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{folder / CTRANSLATE2_FILE}: cannot be converted: {error}") from None
    settings = _read_json(folder / "config.json")
    renamed = {"suppress_ids": "suppress_tokens", "suppress_ids_begin": "begin_suppress_tokens"}
    return model, {renamed.get(name, name): value for name, value in settings.items()}


def _config_of(variables: Mapping[str, np.ndarray], state: Mapping[str, Tensor], vocabulary: Vocabulary) -> WhisperConfig:
    """The sizes of a model from the shapes of its weights."""

    def size(name: str, dimension: int = 0) -> int:
        return int(state[f"model.{name}"].shape[dimension])

    width = size("encoder.conv1.weight")
    sizes: dict[str, int] = {"vocab_size": size("decoder.embed_tokens.weight"), "d_model": width}
    sizes |= {"num_mel_bins": size("encoder.conv1.weight", 1), "max_source_positions": size("encoder.embed_positions.weight")}
    sizes |= {"max_target_positions": size("decoder.embed_positions.weight")}
    for part in ("encoder", "decoder"):
        numbers = [int(name.split(".")[3]) for name in state if name.startswith(f"model.{part}.layers.")]
        if not numbers:
            raise ValueError(f"its {part} has no layers")
        sizes[f"{part}_layers"] = 1 + max(numbers)
        sizes[f"{part}_ffn_dim"] = size(f"{part}.layers.0.fc1.weight")
        sizes[f"{part}_attention_heads"] = int(variables.get(f"{part}/num_heads", np.asarray(width // HEAD_WIDTH)))
    return WhisperConfig(**sizes, **_special_tokens(vocabulary), dropout=0.0)


def _model_of_hugging_face(folder: Path) -> tuple[WhisperForConditionalGeneration, dict[str, Any]]:
    """The model, and its generation settings."""
    from safetensors import SafetensorError

    config = _hugging_face_config(folder)
    try:
        model, found = WhisperForConditionalGeneration.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"{folder}: cannot be read as a Whisper model: {error}") from None
    if found["missing_keys"]:
        raise ValueError(f"{folder}: lacks weights: {', '.join(sorted(found['missing_keys'])[:5])}")
    return model, config | _read_json(folder / "generation_config.json")


def _hugging_face_encoder_state(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    _hugging_face_config(folder)
    prefixes = ("model.encoder.", "encoder.")
    state = load_file(folder / HUGGING_FACE_FILE)
    return {name.removeprefix(p): value.float() for p in prefixes for name, value in state.items() if name.startswith(p)}


def _hugging_face_config(folder: Path) -> dict[str, Any]:
    config = _read_json(folder / "config.json")
    if config.get("model_type") != "whisper":
        raise ValueError(f"{folder}: its config.json does not say that it is a Whisper model")
    return config


def _read_json(file: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no file."""
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _neither(folder: Path) -> FileNotFoundError:
    return FileNotFoundError(f"{folder}: holds neither {CTRANSLATE2_FILE} (CTranslate2) nor {HUGGING_FACE_FILE} (Hugging Face)")
