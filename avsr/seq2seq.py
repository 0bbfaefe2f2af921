"""Sequence-to-sequence model: a backbone with an attention decoder, as in fine-tuned AV-HuBERT checkpoints."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel, Speech2TextConfig
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput
from transformers.models.speech_to_text.modeling_speech_to_text import Speech2TextDecoder

from .backbones import build_backbone

BEGIN, PAD, END, UNKNOWN = 0, 1, 2, 3  # fairseq's first four symbols
CACHE = "cache" if "cache" in {field.name for field in fields(Seq2SeqLMOutput)} else "past_key_values"  # its name in this transformers
SPACE_MARK = "▁"  # first character of a word's first piece in a sentencepiece vocabulary


class Seq2SeqConfig(PretrainedConfig):
    """Everything needed to rebuild a :class:`Seq2SeqModel`.

    Parameters
    ----------
    backbone, backbone_options, notice
        As for :class:`avwitness.avsr.model.EncoderConfig`.
    vocabulary : list of str
        Sentencepiece symbols in the order of their indices, fairseq's four special ones first.
    decoder_layers, decoder_heads, decoder_feed_forward : int
    scale_embedding : bool
        Whether embeddings are multiplied by the square root of the width.
    tied : bool
        Whether the output layer is the embedding.
    """

    model_type = "avwitness_seq2seq"

    def __init__(
        self,
        backbone: str = "av_hubert",
        backbone_options: dict[str, Any] | None = None,
        notice: str = "",
        vocabulary: list[str] | None = None,
        decoder_layers: int = 6,
        decoder_heads: int = 4,
        decoder_feed_forward: int = 3072,
        scale_embedding: bool = False,
        tied: bool = True,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("is_encoder_decoder", True)
        kwargs.setdefault("bos_token_id", BEGIN)
        kwargs.setdefault("pad_token_id", PAD)
        kwargs.setdefault("eos_token_id", END)
        kwargs.setdefault("decoder_start_token_id", END)  # fairseq starts a sentence with the end of the one before
        kwargs.pop("vocab_size", None)
        super().__init__(**{**kwargs, "tie_word_embeddings": tied})
        self.backbone = backbone
        self.backbone_options = backbone_options or {}
        self.notice = notice
        self.vocabulary = vocabulary or ["<s>", "<pad>", "</s>", "<unk>"]
        self.vocab_size = len(self.vocabulary)
        self.decoder_layers = decoder_layers
        self.num_hidden_layers = decoder_layers  # from which generation takes the size of its cache
        self.decoder_heads = decoder_heads
        self.decoder_feed_forward = decoder_feed_forward
        self.scale_embedding = scale_embedding
        self.tied = tied


class _Encoder(nn.Module):
    """The backbone with the interface that generation of ``transformers`` expects of an encoder."""

    def __init__(self, model: Seq2SeqModel) -> None:
        super().__init__()
        object.__setattr__(self, "model", model)  # not registered as a submodule: it contains this module's weights

    def forward(self, audio: Tensor | None = None, video: Tensor | None = None, **_: Any) -> BaseModelOutput:
        model: Seq2SeqModel = self.model  # type: ignore[assignment]
        return BaseModelOutput(last_hidden_state=model.backbone.encode(audio, video).joint)


class SinusoidalPositions(nn.Module):
    """Position embeddings of the decoder, computed where they are used.

    The module of ``transformers`` that it replaces keeps them in a buffer that is not saved, which ``from_pretrained`` of a model
    outside of ``transformers`` leaves uninitialised.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    @torch.no_grad()
    def forward(self, symbols: Tensor, cache_length: int = 0, past_key_values_length: int = 0) -> Tensor:
        """Symbols [B, U] that follow a cache of that length (under either name that ``transformers`` has) to [B, U, width]."""
        known = symbols.ne(PAD).int()
        positions = (torch.cumsum(known, dim=1) + cache_length + past_key_values_length) * known + PAD
        half = self.width // 2
        rates = torch.exp(torch.arange(half, dtype=torch.int64, device=symbols.device).float() * -(math.log(10000) / (half - 1)))
        angles = positions.float()[..., None] * rates
        table = torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1)
        if self.width % 2:
            table = nn.functional.pad(table, (0, 1))
        return torch.where(known[..., None] > 0, table, 0.0).to(torch.get_default_dtype())


class Seq2SeqModel(PreTrainedModel, GenerationMixin):
    """A backbone with the Speech2Text decoder of ``transformers``, which outputs word pieces."""

    config_class = Seq2SeqConfig
    base_model_prefix = "backbone"
    main_input_name = "audio"

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__(config)
        self.backbone = build_backbone(config.backbone, config.backbone_options)
        width, symbols = self.backbone.width, len(config.vocabulary)
        self.decoder = Speech2TextDecoder(
            Speech2TextConfig(
                vocab_size=symbols,
                d_model=width,
                decoder_layers=config.decoder_layers,
                decoder_attention_heads=config.decoder_heads,
                decoder_ffn_dim=config.decoder_feed_forward,
                scale_embedding=config.scale_embedding,
                pad_token_id=PAD,
                bos_token_id=BEGIN,
                eos_token_id=END,
                max_target_positions=2048,
            )
        )
        self.decoder.embed_positions = SinusoidalPositions(width)
        self.output = nn.Linear(width, symbols, bias=False)
        if config.tied:
            self._tied_weights_keys = {"output.weight": "decoder.embed_tokens.weight"}  # transformers 4 reads its keys alone
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Backbone and decoder initialise themselves."""

    def get_encoder(self) -> nn.Module:
        return _Encoder(self)

    def get_input_embeddings(self) -> nn.Module:
        return self.decoder.embed_tokens

    def get_output_embeddings(self) -> nn.Module:
        return self.output

    def forward(
        self,
        audio: Tensor | None = None,
        video: Tensor | None = None,
        encoder_outputs: BaseModelOutput | None = None,
        decoder_input_ids: Tensor | None = None,
        past_key_values: Any = None,
        cache: Any = None,
        use_cache: bool | None = None,
        **_: Any,
    ) -> Seq2SeqLMOutput:
        """Logits of the next word piece after every one of ``decoder_input_ids`` [B, U]."""
        if encoder_outputs is None:
            encoder_outputs = _Encoder(self)(audio, video)
        decoded = self.decoder(
            input_ids=decoder_input_ids,
            encoder_hidden_states=encoder_outputs.last_hidden_state,
            use_cache=use_cache,
            return_dict=True,
            **{CACHE: past_key_values if cache is None else cache},
        )
        return Seq2SeqLMOutput(
            logits=self.output(decoded.last_hidden_state),
            encoder_last_hidden_state=encoder_outputs.last_hidden_state,
            **{CACHE: getattr(decoded, CACHE)},
        )

    @torch.inference_mode()
    def generate_text(self, audio: Tensor | None, video: Tensor | None, beams: int = 5, max_pieces: int = 200) -> str:
        """The text of one clip, by beam search.

        Parameters
        ----------
        audio : float [1, T, F] or None
        video : uint8 or float [1, T, S, S] or None
        beams : int
            1 decodes greedily.
        max_pieces : int
            Length of the output at most.
        """
        outputs = _Encoder(self)(audio, video)
        pieces = self.generate(encoder_outputs=outputs, num_beams=beams, max_new_tokens=max_pieces)[0].tolist()  # type: ignore[operator]
        return join_pieces([self.config.vocabulary[i] for i in pieces if i > UNKNOWN])


def join_pieces(pieces: list[str]) -> str:
    """Words of sentencepiece symbols."""
    return " ".join("".join(pieces).replace(SPACE_MARK, " ").split())
