"""A tiny CLIP image tower with random weights, as ``transformers`` writes it."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from avwitness.detector.clip_encoder import ClipEncoderConfig

SIZES = ClipEncoderConfig(width=32, feed_forward=48, heads=2, layers=2, patch=32, size=224)


def tiny_clip(folder: Path) -> CLIPVisionModel:
    """Build one and save it to a folder."""
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=SIZES.width,
        intermediate_size=SIZES.feed_forward,
        num_hidden_layers=3,
        num_attention_heads=SIZES.heads,
        patch_size=SIZES.patch,
        image_size=SIZES.size,
        hidden_act="quick_gelu",
    )
    model = CLIPVisionModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model
