"""Weights that version 0.1 wrote load under today's module names."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from avwitness.checkpoints import MODEL, find_weights, read_card
from avwitness.generators.faces.networks import LowerFace
from avwitness.generators.talking.models.font import Font
from avwitness.generators.talking.models.mfr_net import MfrNet
from avwitness.generators.talking.models.opt import Opt
from avwitness.generators.talking.models.osm_net import OsmNet
from avwitness.generators.talking.rendering.renderer import Renderer
from avwitness.generators.weights import RENAMED_KEYS, load_network, renamed_config, renamed_state

KINDS: dict[str, type[nn.Module]] = {
    "renderer": Renderer,
    "lower_face": LowerFace,
    "font": Font,
    "opt": Opt,
    "osm-net": OsmNet,
    "mfr-net": MfrNet,
}


@pytest.mark.parametrize("name", sorted(KINDS))
def test_bundled_weights_load_under_todays_names(name: str) -> None:
    stored = load_file(find_weights("generators", name) / MODEL)
    assert {part for key in stored for part in key.split(".")} & set(RENAMED_KEYS)
    renamed = renamed_state(stored)
    assert len(renamed) == len(stored)
    assert not {part for key in renamed for part in key.split(".")} & set(RENAMED_KEYS)
    loaded = load_network(KINDS[name], name).state_dict()
    assert set(loaded) == set(renamed)
    assert all(torch.equal(loaded[key], value.float()) for key, value in renamed.items())


def test_the_renderers_sizes_are_read_from_an_old_card() -> None:
    stored = read_card(find_weights("generators", "renderer"))["model"]
    assert {"painter", "finder"} < set(stored)
    config = load_network(Renderer, "renderer").config
    assert config.decoder == tuple(stored["painter"]) and config.keypoint_detector == stored["finder"]
    assert renamed_config({"renderer": stored, "width": 96}) == {
        "renderer": {"keypoint_detector": 16, "flow": (24, 48, 80), "decoder": (24, 64, 112), "blocks": 2},
        "width": 96,
    }
