from __future__ import annotations

import pytest
import torch

from avwitness.avsr.seq2seq import END, PAD, Seq2SeqConfig, Seq2SeqModel, SinusoidalPositions


@pytest.fixture(scope="module")
def model() -> Seq2SeqModel:
    torch.manual_seed(0)
    symbols = ["<s>", "<pad>", "</s>", "<unk>", *(f"▁word{i}" for i in range(12))]
    options = {"size": "tiny"}
    built = Seq2SeqModel(Seq2SeqConfig(backbone_options=options, vocabulary=symbols, decoder_layers=2, decoder_feed_forward=64, tied=False))
    torch.nn.init.normal_(built.decoder.embed_tokens.weight, std=1.0)
    torch.nn.init.normal_(built.output.weight, std=1.0)
    torch.nn.init.zeros_(built.output.weight[:4])  # special symbols are never the most probable
    return built.eval()


def test_generation_with_a_cache_equals_decoding_every_symbol_anew(model: Seq2SeqModel) -> None:
    audio = torch.randn(1, 20, 104, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        symbols = torch.tensor([[END]])
        for _ in range(12):
            logits = model(audio=audio, decoder_input_ids=symbols).logits[:, -1]
            symbols = torch.cat([symbols, logits.argmax(dim=-1, keepdim=True)], dim=1)
        made = model.generate(audio=audio, num_beams=1, do_sample=False, max_new_tokens=12)  # type: ignore[operator]
    assert made[0].tolist() == symbols[0].tolist()
    assert len(made[0]) == 13 and len(set(made[0].tolist())) > 3


@pytest.mark.parametrize("width", [32, 33])
def test_positions_equal_those_of_transformers(width: int) -> None:
    from transformers.models.speech_to_text.modeling_speech_to_text import Speech2TextSinusoidalPositionalEmbedding

    theirs, ours = Speech2TextSinusoidalPositionalEmbedding(100, width, PAD), SinusoidalPositions(width)
    symbols = torch.tensor([[2, 5, 6, PAD, PAD], [2, 5, 6, 7, 8]])
    for past in (0, 4):
        assert torch.equal(ours(symbols, past), theirs(symbols, past))
    assert not dict(ours.named_buffers()) and not ours.state_dict()
