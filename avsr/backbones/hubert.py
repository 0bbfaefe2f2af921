"""The transformer of all backbones: the pre-norm HuBERT encoder of ``transformers``."""

from __future__ import annotations

from torch import Tensor, nn


def hubert_encoder(
    width: int,
    layers: int,
    heads: int,
    feed_forward: int,
    position_kernel: int,
    position_groups: int,
    dropout: float,
    layer_drop: float = 0.0,
) -> nn.Module:
    """A HuBERT encoder with convolutional position embedding, [B, T, width] to [B, T, width]."""
    from transformers import HubertConfig
    from transformers.models.hubert.modeling_hubert import HubertEncoderStableLayerNorm

    encoder = HubertEncoderStableLayerNorm(
        HubertConfig(
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=feed_forward,
            num_conv_pos_embeddings=position_kernel,
            num_conv_pos_embedding_groups=position_groups,
            hidden_dropout=dropout,
            attention_dropout=dropout,
            activation_dropout=0.0,
            layerdrop=0.0,
            do_stable_layer_norm=True,
            attn_implementation="sdpa",
        )
    )
    for module in encoder.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
    assert isinstance(encoder, nn.Module)
    return encoder


def attend(encoder: nn.Module, x: Tensor, mask: Tensor, layer: int | None = None) -> Tensor:
    """Run a HuBERT encoder.

    Parameters
    ----------
    x : float [B, T, D]
    mask : bool [B, T]
        False in frames that are not attended to.
    layer : int, optional
        Output of this layer, counted from 1, without the last layer norm; the whole encoder by default.

    Raises
    ------
    ValueError
        If the encoder has no such layer.
    """
    if layer is None:
        return encoder(x, attention_mask=mask).last_hidden_state  # type: ignore[no-any-return]
    blocks = encoder.layers
    assert isinstance(blocks, nn.ModuleList)
    if not 1 <= layer <= len(blocks):
        raise ValueError(f"there is no layer {layer}: the encoder has {len(blocks)}")
    caught: list[Tensor] = []

    def catch(_module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        caught.append(output if isinstance(output, Tensor) else output[0])  # a tuple in transformers 4

    hook = blocks[layer - 1].register_forward_hook(catch)
    try:
        encoder(x, attention_mask=mask)
    finally:
        hook.remove()
    return caught[0]
