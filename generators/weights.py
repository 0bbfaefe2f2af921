"""Loading and saving of the bundled networks: half-precision safetensors with a card (JSON) beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from ..checkpoints import BUNDLED, CARD, MODEL, find_weights, read_card

# Module names and configuration keys of weights that version 0.1 wrote, and what they are called now.
RENAMED_KEYS = {
    "painter": "decoder",
    "finder": "keypoint_detector",
    "carrier": "keypoint_transform",
    "dense": "dense_motion",
    "reads": "projection",
    "writes": "basis",
    "sound": "audio",
    "voice_sound": "voice_audio",
    "pose_sound": "pose_audio",
    "seen": "speaker_motion",
    "meant": "attitude",
    "where": "positions",
    "narrow": "content_projection",
    "unexplained": "residual_deviation",
    "mouth_front": "mouth_audio",
    "numbers": "dimensions",
}
Network = TypeVar("Network", bound=nn.Module)


def weights_missing_reason(name: str) -> str | None:
    """Why a bundled network cannot be used, or ``None`` if it can."""
    try:
        find_weights("generators", name)
    except FileNotFoundError:
        return f"its weights are not in {BUNDLED['generators'] / name}; train them with `avwitness train generator {name}`"
    return None


def renamed_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The ``model`` entry of a card with today's keys (see :data:`RENAMED_KEYS`); lists become tuples."""
    return {
        RENAMED_KEYS.get(key, key): renamed_config(value)
        if isinstance(value, Mapping)
        else tuple(value)
        if isinstance(value, list)
        else value
        for key, value in config.items()
    }


def renamed_state(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict with today's module names (see :data:`RENAMED_KEYS`)."""
    return {".".join(RENAMED_KEYS.get(part, part) for part in key.split(".")): value for key, value in state.items()}


def load_network(kind: type[Network], name: str | os.PathLike[str]) -> Network:
    """Load a network by the name of its bundled weights, or from a folder; float32, in evaluation mode.

    Parameters
    ----------
    kind : type
        A module class with the attribute ``config_type``, the dataclass of its sizes.
    name : str or path-like

    Raises
    ------
    FileNotFoundError
        If there are no such weights.
    """
    from safetensors.torch import load_file

    folder = find_weights("generators", name)
    config = read_card(folder)["model"]
    config_type = kind.config_type  # type: ignore[attr-defined]
    network = kind(config_type(**renamed_config(config)))
    network.load_state_dict(renamed_state({name: value.float() for name, value in load_file(folder / MODEL).items()}))
    return network.eval()


def save_network(network: nn.Module, folder: str | os.PathLike[str], card: Mapping[str, Any]) -> Path:
    """Write the weights in half precision and the card, to which name, version and sizes are added; returns the folder."""
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().to(torch.float16).contiguous() for name, value in network.state_dict().items()}
    save_file(state, folder / MODEL)
    (folder / MODEL).chmod(0o644)  # readable for every user of the installation
    config: Any = network.config
    about = {"version": version("avwitness"), "parameters": sum(p.numel() for p in network.parameters()), "precision": "fp16"}
    (folder / CARD).write_text(json.dumps({"name": folder.name, **about, "model": asdict(config), **card}, indent=2) + "\n")
    return folder
