"""Conversion of published checkpoints to folders that are loaded by name or path: AV-HuBERT, without fairseq, and Whisper."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from ..checkpoints import user_weights
from .backbones.av_hubert import SIZES, rename
from .model import EncoderConfig, SpeechEncoder
from .seq2seq import Seq2SeqConfig, Seq2SeqModel
from .unpickle import plain, read_checkpoint
from .whisper.conversion import convert_whisper

NOTICE = (
    "AV-HuBERT is licensed under the AV-HuBERT license, Copyright (c) Meta Platforms, Inc. All Rights Reserved. "
    "That licence allows non-commercial research only; it bars commercial and production use, surveillance, biometric "
    "processing and military use, and asks that a copy of it travels with the weights. If your checkpoint is not one "
    "of Meta's, its own licence holds instead."
)
ENCODER_PREFIX = "encoder.w2v_model."  # of the pretrained network's keys in a fine-tuned checkpoint
REQUIRED_KEYS = (  # of every AV-HuBERT
    "post_extract_proj.weight",
    "feature_extractor_audio.proj.weight",
    "encoder.layers.0.fc1.weight",
    "encoder.pos_conv.0.weight_v",
)
PRETRAINING_KEYS = ("mask_emb", "label_embs_concat", "final_proj.")  # prefixes; unused after pretraining
_IGNORED_DECODER_KEYS = ("decoder.version", "decoder.embed_positions._float_tensor")


def convert(checkpoint: str | os.PathLike[str], out: str | os.PathLike[str]) -> PreTrainedModel:
    """Turn a checkpoint into a folder: a file is an AV-HuBERT, a folder is a Whisper.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`convert_av_hubert` and :func:`avwitness.avsr.whisper.conversion.convert_whisper`.
    """
    return convert_whisper(checkpoint, out) if Path(checkpoint).is_dir() else convert_av_hubert(checkpoint, out)


def default_folder(checkpoint: str | os.PathLike[str]) -> Path:
    """Where a converted checkpoint is found by the name ``whisper`` or ``av_hubert``."""
    return user_weights("avsr", "whisper" if Path(checkpoint).is_dir() else "av_hubert")


def convert_av_hubert(checkpoint: str | os.PathLike[str], out: str | os.PathLike[str]) -> SpeechEncoder | Seq2SeqModel:
    """Turn a fairseq AV-HuBERT checkpoint, self-supervised or fine-tuned with a decoder, into a folder.

    Raises
    ------
    FileNotFoundError, avwitness.avsr.unpickle.UnsafeCheckpoint
        See :func:`avwitness.avsr.unpickle.read_checkpoint`.
    ValueError
        If it is not an AV-HuBERT, or has parts that do not fit one.
    """
    state = read_checkpoint(checkpoint)
    keys, settings = state["model"], settings_of(state)
    try:
        if any(key.startswith(ENCODER_PREFIX) for key in keys):
            model: SpeechEncoder | Seq2SeqModel = seq2seq_of(keys, settings, vocabulary_of(state))
        else:
            model = encoder_of(keys, settings)
    except ValueError as error:
        raise ValueError(f"{checkpoint}: {error}") from None
    out = Path(out)
    model.save_pretrained(out)
    (out / "NOTICE.txt").write_text(NOTICE + "\n")
    return model


def settings_of(state: dict[str, Any]) -> dict[str, Any]:
    """The model's settings in a checkpoint, from ``cfg`` or from the older ``args``."""
    cfg = plain(state.get("cfg")) or {}
    model = cfg.get("model") if isinstance(cfg, dict) else None
    return model or plain(state.get("args")) or {}


def vocabulary_of(state: dict[str, Any]) -> list[str]:
    """Symbols of the target dictionary that a fine-tuned checkpoint carries.

    Raises
    ------
    ValueError
        If it carries none.
    """
    task = plain(state.get("task_state")) or {}
    for name in ("target_dictionary", "dictionaries", "s2s_tokenizer"):
        entry = task.get(name)
        for candidate in entry if isinstance(entry, list) else [entry]:
            if isinstance(candidate, dict) and candidate.get("symbols"):
                return list(candidate["symbols"])
    raise ValueError("it has a decoder but no dictionary, so its output cannot be converted to text")


def encoder_options(keys: dict[str, Tensor], settings: dict[str, Any]) -> dict[str, Any]:
    """Arguments of :class:`avwitness.avsr.backbones.av_hubert.AVHubertConfig`, inferred from the shapes of a state dict.

    Raises
    ------
    ValueError
        If these are not the keys of an AV-HuBERT.
    """
    missing = [key for key in REQUIRED_KEYS if key not in keys]
    if missing:
        raise ValueError(f"not an AV-HuBERT checkpoint: it has no {', '.join(missing)}")
    if settings.get("layer_norm_first", True) is False:
        raise ValueError("this AV-HuBERT normalises after its layers; only the published kind, layer norm first, can be converted")
    width = int(keys["post_extract_proj.weight"].shape[0])
    if keys["post_extract_proj.weight"].shape[1] != 2 * width:
        raise ValueError("this AV-HuBERT adds its streams; only the published kind, which concatenates them, can be converted")
    layers = 1 + max(int(key.split(".")[2]) for key in keys if key.startswith("encoder.layers."))
    kernel = keys["encoder.pos_conv.0.weight_v"]
    known = {size["width"]: size["heads"] for size in SIZES.values()}
    return {
        "size": next((name for name, size in SIZES.items() if size["width"] == width and size["layers"] == layers), "base"),
        "width": width,
        "layers": layers,
        "heads": int(settings.get("encoder_attention_heads") or known.get(width, width // 64)),
        "feed_forward": int(keys["encoder.layers.0.fc1.weight"].shape[0]),
        "position_kernel": int(kernel.shape[2]),
        "position_groups": width // int(kernel.shape[1]),
    }


def encoder_of(keys: dict[str, Tensor], settings: dict[str, Any]) -> SpeechEncoder:
    """The self-supervised network of a state dict."""
    model = SpeechEncoder(EncoderConfig("av_hubert", encoder_options(keys, settings), NOTICE))
    _fill(model.backbone, keys)
    return model.eval()


def seq2seq_of(keys: dict[str, Tensor], settings: dict[str, Any], vocabulary: list[str]) -> Seq2SeqModel:
    """The fine-tuned network of a state dict, with its decoder."""
    inner = {key.removeprefix(ENCODER_PREFIX): value for key, value in keys.items() if key.startswith(ENCODER_PREFIX)}
    pretrained = ((settings.get("w2v_args") or {}).get("model") or {}) if isinstance(settings.get("w2v_args"), dict) else {}
    options = encoder_options(inner, pretrained)
    embedding = keys["decoder.embed_tokens.weight"]
    if embedding.shape[1] != options["width"] or "encoder.proj.weight" in keys:
        raise ValueError("its decoder is of another width than its encoder; only decoders of the same width can be converted")
    if "decoder.layer_norm.weight" not in keys:
        raise ValueError("its decoder normalises after its layers; only the published kind, layer norm first, can be converted")
    tied = "decoder.embed_out" not in keys
    layers = 1 + max(int(key.split(".")[2]) for key in keys if key.startswith("decoder.layers."))
    symbols = vocabulary + [f"<unused{i}>" for i in range(len(vocabulary), embedding.shape[0])]
    model = Seq2SeqModel(
        Seq2SeqConfig(
            "av_hubert",
            options,
            NOTICE,
            vocabulary=symbols[: embedding.shape[0]],
            decoder_layers=layers,
            decoder_heads=int(settings.get("decoder_attention_heads") or 4),
            decoder_feed_forward=int(keys["decoder.layers.0.fc1.weight"].shape[0]),
            scale_embedding=settings.get("no_scale_embedding", True) is False,
            tied=tied,
        )
    )
    _fill(model.backbone, inner)
    inside = [key for key in keys if key.startswith("decoder.") and key not in _IGNORED_DECODER_KEYS]
    decoder = {key.removeprefix("decoder."): keys[key] for key in inside}
    output = decoder.pop("embed_out", embedding)
    _load(model.decoder, decoder)
    model.output.load_state_dict({"weight": output})
    if tied:
        model.tie_weights()
    return model.eval()


def _fill(backbone: Any, keys: dict[str, Tensor]) -> None:
    _load(backbone, rename({key: value for key, value in keys.items() if not key.startswith(PRETRAINING_KEYS)}))


def _load(module: Any, state: dict[str, Tensor]) -> None:
    try:
        outcome = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ValueError(f"its parts do not fit: {error}") from None
    mismatched = [*(f"{k} is missing" for k in outcome.missing_keys), *(f"{k} is not known" for k in outcome.unexpected_keys)]
    if mismatched:
        raise ValueError(f"its parts do not fit: {'; '.join(mismatched[:5])}")
