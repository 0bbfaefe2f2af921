"""Occlusion maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from avwitness.evaluation.reports.occlusion import CELLS, draw_maps, occlusion_map, region_shares


class MouthBrightness(nn.Module):
    """A stand-in with a known answer: its logit is the brightness of one cell, the fifth of the fifth row."""

    def forward(self, portraits: Tensor) -> tuple[Tensor, Tensor]:
        side = portraits.shape[2] // CELLS
        logits = portraits[:, :, 4 * side : 5 * side, 4 * side : 5 * side].float().mean(dim=(2, 3, 4))
        return logits.mean(dim=1), logits


def test_the_map_is_highest_where_the_logit_comes_from(tmp_path: Path) -> None:
    side = 56
    portraits = np.zeros((2, side, side, 3), np.uint8)
    cell = slice(4 * side // CELLS, 5 * side // CELLS)
    portraits[:, cell, cell] = 200
    values = occlusion_map(MouthBrightness(), portraits)  # type: ignore[arg-type]
    assert values.shape == (CELLS, CELLS) and np.unravel_index(values.argmax(), values.shape) == (4, 4)
    assert (values >= 0).all() and values[0].max() == 0
    eyes, mouth, around = region_shares(values[None])
    assert mouth > eyes > around == 0
    draw_maps([values, values], ["a", "b"], tmp_path / "maps.png", columns=2)
    assert (tmp_path / "maps.png").stat().st_size > 1000


def test_portraits_are_not_changed() -> None:
    portraits = np.random.default_rng(0).integers(0, 256, (1, 56, 56, 3)).astype(np.uint8)
    before = portraits.copy()
    with torch.inference_mode():
        occlusion_map(MouthBrightness(), portraits)  # type: ignore[arg-type]
    assert np.array_equal(portraits, before)
