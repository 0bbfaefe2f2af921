"""Networks of the talking heads to evaluate: the bundled ones, and their ablations, which are trained if needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from ....checkpoints import MODEL, find_weights, read_card
from ....generators.talking.models.base import TalkingHead
from ....generators.talking.models.mfr_net import MfrNet
from ....generators.talking.models.registry import HEADS, IDENTITY
from ....generators.talking.rendering.head_clips import HeadClip
from ....generators.talking.rendering.identity import IdentityNetwork
from ....generators.talking.rendering.renderer import Renderer
from ....generators.talking.synthesis import bundled_head, bundled_renderer, head_missing_reason
from ....generators.talking.training.motion_training import HeadTraining, ListenerTraining, train_head
from ....generators.weights import load_network, save_network

#: Setting that an ablation of each generator switches off.
ABLATED_SETTINGS = {"font": "sampling", "opt": "disentangled", "osm-net": "space", "mfr-net": "aggregation"}


@dataclass(frozen=True)
class Networks:
    """Loaded networks, on the CPU.

    Parameters
    ----------
    renderer : Renderer
    heads, ablated : mapping of str to TalkingHead
        By name in the registry; missing ones are not evaluated.
    identity : IdentityNetwork
    """

    renderer: Renderer
    heads: Mapping[str, TalkingHead]
    ablated: Mapping[str, TalkingHead]
    identity: IdentityNetwork


def load_networks(ablations: str | os.PathLike[str] | None, clips: Callable[[], Sequence[HeadClip]]) -> Networks:
    """Load the bundled networks, and their ablations from a folder.

    Parameters
    ----------
    ablations : path-like or None
        Folder with a subfolder of weights for each generator; missing ones are trained and saved there. ``None`` for no ablations.
    clips : callable
        Returns the training clips; called if an ablation must be trained.

    Raises
    ------
    FileNotFoundError
        If no weights are bundled.
    """
    renderer, identity = bundled_renderer(), load_network(IdentityNetwork, IDENTITY)
    heads = {name: bundled_head(name) for name in HEADS if head_missing_reason(name) is None}
    folders = {} if ablations is None else {name: Path(ablations) / name for name in heads}
    absent = [name for name, folder in folders.items() if not (folder / MODEL).is_file()]
    if absent:
        known = clips()
        for name in absent:
            train_ablation(name, known, renderer, identity, folders[name])
    return Networks(renderer, heads, {name: load_network(HEADS[name], folder) for name, folder in folders.items()}, identity)


def train_ablation(
    name: str, clips: Sequence[HeadClip], renderer: Renderer, identity: IdentityNetwork, folder: str | os.PathLike[str]
) -> None:
    """Train a generator with its ablated setting off and all other settings as in the card of the bundled one, and save its weights."""
    card = read_card(find_weights("generators", name))
    kind: Any = HEADS[name]
    settings_type = ListenerTraining if name == MfrNet.name else HeadTraining
    known = {field.name for field in fields(settings_type)}
    settings = settings_type(
        **{key: value for key, value in card.get("training", {}).items() if key in known and key != "model"},
        model={**card["model"], ABLATED_SETTINGS[name]: False},
    )
    torch.manual_seed(settings.seed)
    head = train_head(kind(kind.config_type(**settings.model)), settings, clips, renderer, Path(folder) / "run", identity=identity)
    about = f"ablation of {name} without {ABLATED_SETTINGS[name]}"
    save_network(head, folder, {"about": about, "training": asdict(settings)})
