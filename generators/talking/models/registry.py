"""The registry of the four talking-head models by name."""

from __future__ import annotations

from .base import TalkingHead
from .font import Font
from .mfr_net import MfrNet
from .opt import Opt
from .osm_net import OsmNet

HEADS: dict[str, type[TalkingHead]] = {kind.name: kind for kind in (Font, Opt, OsmNet, MfrNet)}
RENDERER, IDENTITY = "renderer", "identity"  # names of the bundled weights that the models share
