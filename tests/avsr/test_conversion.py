"""Conversion of checkpoints: fine-tuned, damaged and malicious ones."""

from __future__ import annotations

import argparse
import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from avwitness.avsr.backbones.av_hubert import AVHubert, AVHubertConfig, rename
from avwitness.avsr.conversion import ENCODER_PREFIX, convert, encoder_options
from avwitness.avsr.model import SpeechEncoder
from avwitness.avsr.seq2seq import Seq2SeqModel, join_pieces
from avwitness.avsr.transcriber import Transcriber
from avwitness.avsr.unpickle import UnsafeCheckpoint, plain, read_checkpoint
from avwitness.cli import app

SYMBOLS = ["<s>", "<pad>", "</s>", "<unk>", "▁bin", "▁bl", "ue", "▁now", "s", "▁four"]
WIDTH, LAYERS, FEED_FORWARD = 64, 2, 96


def published_names(width: int = WIDTH) -> dict[str, torch.Tensor]:
    """State dict of a self-supervised network under the published names."""
    torch.manual_seed(0)
    ours = AVHubert(AVHubertConfig(size="tiny")).state_dict()
    names: dict[str, torch.Tensor] = {}
    blocks = {"first.0": "conv1", "first.1": "bn1", "first.2": "relu1", "second.0": "conv2", "second.1": "bn2", "activation": "relu2"}
    blocks |= {"shortcut.0": "downsample.0", "shortcut.1": "downsample.1"}
    layers = {"attention": "self_attn", "feed_forward.intermediate_dense": "fc1", "feed_forward.output_dense": "fc2"}
    for name, value in ours.items():
        new = name.replace("audio_projection", "feature_extractor_audio.proj").replace("video_projection", "feature_extractor_video.proj")
        new = new.replace("video_front.stem", "feature_extractor_video.resnet.frontend3D").replace("fusion", "post_extract_proj")
        new = "layer_norm" + new.removeprefix("norm") if new.startswith("norm.") else new
        new = new.replace("encoder.pos_conv_embed.conv.parametrizations.weight.original0", "encoder.pos_conv.0.weight_g")
        new = new.replace("encoder.pos_conv_embed.conv.parametrizations.weight.original1", "encoder.pos_conv.0.weight_v")
        new = new.replace("encoder.pos_conv_embed.conv", "encoder.pos_conv.0")
        if new.startswith("encoder.layers."):
            head, rest = new.split(".", 3)[:3], new.split(".", 3)[3]
            rest = "self_attn_" + rest if rest.startswith("layer_norm") else rest
            for old, published in layers.items():
                rest = rest.replace(old, published)
            new = ".".join([*head, rest])
        if new.startswith("video_front.trunk."):
            number, rest = new.removeprefix("video_front.trunk.").split(".", 1)
            for old, published in blocks.items():
                if rest.startswith(old):
                    rest = published + rest.removeprefix(old)
                    break
            new = f"feature_extractor_video.resnet.trunk.layer{int(number) // 2 + 1}.{int(number) % 2}.{rest}"
        names[new] = value
    return names


def decoder_names() -> dict[str, torch.Tensor]:
    """State dict of a decoder under the published names, with weights that favour some symbols."""
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return 0.3 * torch.randn(*shape, generator=generator)

    names = {"decoder.version": torch.tensor([3.0]), "decoder.embed_positions._float_tensor": torch.zeros(1)}
    for layer in range(LAYERS):
        prefix = f"decoder.layers.{layer}."
        for attention in ("self_attn", "encoder_attn"):
            for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
                names[f"{prefix}{attention}.{part}.weight"], names[f"{prefix}{attention}.{part}.bias"] = normal(WIDTH, WIDTH), normal(WIDTH)
            names[f"{prefix}{attention}_layer_norm.weight"], names[f"{prefix}{attention}_layer_norm.bias"] = (
                torch.ones(WIDTH),
                normal(WIDTH),
            )
        names[f"{prefix}fc1.weight"], names[f"{prefix}fc1.bias"] = normal(FEED_FORWARD, WIDTH), normal(FEED_FORWARD)
        names[f"{prefix}fc2.weight"], names[f"{prefix}fc2.bias"] = normal(WIDTH, FEED_FORWARD), normal(WIDTH)
        names[f"{prefix}final_layer_norm.weight"], names[f"{prefix}final_layer_norm.bias"] = torch.ones(WIDTH), normal(WIDTH)
    names["decoder.layer_norm.weight"], names["decoder.layer_norm.bias"] = torch.ones(WIDTH), normal(WIDTH)
    names["decoder.embed_tokens.weight"] = normal(len(SYMBOLS), WIDTH)
    return names


def fairseq_object(patch: pytest.MonkeyPatch, name: str, **attributes: Any) -> Any:
    """An object whose class pickles under a fairseq or omegaconf name, as in real checkpoints."""
    module, _, kind = name.rpartition(".")
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        if ".".join(parts[:end]) not in sys.modules:
            patch.setitem(sys.modules, ".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
    made = vars(sys.modules[module]).setdefault(kind, type(kind, (), {"__module__": module}))
    found = made()
    vars(found).update(attributes)
    return found


@pytest.fixture
def fine_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    keys = {ENCODER_PREFIX + name: value for name, value in published_names().items()} | decoder_names()
    value = fairseq_object(monkeypatch, "omegaconf.nodes.AnyNode", _val=4)
    settings = fairseq_object(
        monkeypatch, "omegaconf.dictconfig.DictConfig", _content={"decoder_attention_heads": value, "no_scale_embedding": True}
    )
    state = {
        "cfg": fairseq_object(monkeypatch, "omegaconf.dictconfig.DictConfig", _content={"model": settings}),
        "args": argparse.Namespace(seed=1),
        "model": keys,
        "task_state": {"target_dictionary": fairseq_object(monkeypatch, "fairseq.data.dictionary.Dictionary", symbols=SYMBOLS)},
    }
    file = tmp_path / "fine_tuned.pt"
    torch.save(state, file)
    monkeypatch.undo()  # the classes do not exist when the file is read
    return file


def test_renaming_is_invertible() -> None:
    published = published_names()
    ours = AVHubert(AVHubertConfig(size="tiny")).state_dict()
    assert rename(published).keys() == ours.keys()
    options = encoder_options(published, {})
    assert (options["size"], options["layers"], options["heads"], options["feed_forward"]) == ("tiny", 2, 4, 128)


def test_a_converted_fine_tuned_checkpoint_generates_text(fine_tuned: Path, tmp_path: Path) -> None:
    model = convert(fine_tuned, tmp_path / "out")
    assert isinstance(model, Seq2SeqModel)
    again = Seq2SeqModel.from_pretrained(tmp_path / "out").eval()
    audio, tokens = torch.randn(1, 9, 104), torch.tensor([[2, 5, 6, 7]])
    with torch.no_grad():
        one, other = (m(audio=audio, decoder_input_ids=tokens).logits for m in (model, again))
    assert torch.equal(one, other)
    assert again.config.vocabulary == SYMBOLS
    assert again.config.decoder_heads == 4
    # The output of the decoder depends on that of the encoder.
    with torch.no_grad():
        deaf = again(audio=torch.zeros(1, 9, 104), decoder_input_ids=tokens).logits
    assert not torch.allclose(one, deaf)
    text = again.generate_text(audio, None, beams=2, max_pieces=6)
    assert isinstance(text, str)
    transcriber = Transcriber.load(tmp_path / "out", device="cpu")
    assert isinstance(transcriber.model, Seq2SeqModel)


def test_the_decoder_is_causal_and_depends_on_positions(fine_tuned: Path, tmp_path: Path) -> None:
    model = convert(fine_tuned, tmp_path / "out")
    assert isinstance(model, Seq2SeqModel)
    audio = torch.randn(1, 9, 104)
    with torch.no_grad():
        short = model(audio=audio, decoder_input_ids=torch.tensor([[2, 5]])).logits
        long = model(audio=audio, decoder_input_ids=torch.tensor([[2, 5, 7]])).logits
        repeated = model(audio=audio, decoder_input_ids=torch.tensor([[5, 5]])).logits
    assert torch.allclose(short, long[:, :2], atol=1e-5)
    assert not torch.allclose(repeated[:, 0], repeated[:, 1], atol=1e-3)


def test_word_pieces_are_joined() -> None:
    assert join_pieces(["▁bl", "ue", "▁now", "s"]) == "blue nows"


def test_code_in_a_pickle_is_not_executed(tmp_path: Path) -> None:
    trace = tmp_path / "was_here"

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, (f"touch {trace}",)

    torch.save({"model": {}, "cfg": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(UnsafeCheckpoint, match=r"evil\.pt: refused.*system"):
        read_checkpoint(tmp_path / "evil.pt")
    result = CliRunner().invoke(app, ["convert", str(tmp_path / "evil.pt"), str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "refused" in " ".join(result.output.split())
    assert not trace.exists()
    assert not (tmp_path / "out").exists()
    # Without the restricted loader, the code is executed.
    torch.load(tmp_path / "evil.pt", weights_only=False)
    assert trace.exists()


@pytest.mark.parametrize("target", ["builtins.eval", "subprocess.Popen", "torch.hub.load"])
def test_every_function_is_refused_by_name(target: str, tmp_path: Path) -> None:
    import importlib

    module, _, name = target.rpartition(".")
    function = getattr(importlib.import_module(module), name)

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return function, ("1",)

    torch.save({"model": {"x": Evil()}}, tmp_path / "evil.pt")
    with pytest.raises(UnsafeCheckpoint, match=name):
        read_checkpoint(tmp_path / "evil.pt")


def test_checkpoints_that_are_no_av_hubert_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.pt"):
        convert(tmp_path / "absent.pt", tmp_path / "out")
    (tmp_path / "text.pt").write_text("this is no checkpoint")
    with pytest.raises(ValueError, match="not a torch checkpoint"):
        convert(tmp_path / "text.pt", tmp_path / "out")
    (tmp_path / "old.pt").write_bytes(pickle.dumps({"model": {}}))
    with pytest.raises(ValueError, match="not a torch checkpoint"):
        convert(tmp_path / "old.pt", tmp_path / "out")
    torch.save({"weights": {}}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="without a 'model'"):
        convert(tmp_path / "other.pt", tmp_path / "out")
    torch.save({"model": {"layer.weight": torch.zeros(2)}}, tmp_path / "foreign.pt")
    with pytest.raises(ValueError, match=r"foreign\.pt: not an AV-HuBERT"):
        convert(tmp_path / "foreign.pt", tmp_path / "out")
    keys = published_names()
    del keys["encoder.layers.1.fc2.weight"]
    torch.save({"model": keys}, tmp_path / "hole.pt")
    with pytest.raises(ValueError, match="missing"):
        convert(tmp_path / "hole.pt", tmp_path / "out")
    torch.save({"model": {ENCODER_PREFIX + k: v for k, v in published_names().items()} | decoder_names()}, tmp_path / "mute.pt")
    with pytest.raises(ValueError, match="no dictionary"):
        convert(tmp_path / "mute.pt", tmp_path / "out")


def test_the_command_converts_and_prints_the_licence(tmp_path: Path) -> None:
    torch.save({"model": published_names()}, tmp_path / "ours.pt")
    result = CliRunner().invoke(app, ["convert", str(tmp_path / "ours.pt"), str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "SpeechEncoder" in result.output
    assert "AV-HuBERT is licensed under the AV-HuBERT license" in result.output
    assert isinstance(SpeechEncoder.from_pretrained(tmp_path / "out"), SpeechEncoder)
    with pytest.raises(ValueError, match="without a decoder"):
        Transcriber.load(tmp_path / "out")


def test_settings_of_all_fairseq_versions_become_plain_values() -> None:
    node = types.SimpleNamespace
    assert plain(argparse.Namespace(a=1, b=argparse.Namespace(c=[2]))) == {"a": 1, "b": {"c": [2]}}
    assert plain({"x": (1, 2)}) == {"x": [1, 2]}
    assert plain(node) is node
