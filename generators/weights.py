"""Small networks that ship: half-precision safetensors with a card beside them, and how they are loaded and written."""

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

WEIGHTS = Path(__file__).parent / "weights"
MODEL, CARD = "model.safetensors", "card.json"
Network = TypeVar("Network", bound=nn.Module)


def network_missing(name: str) -> str | None:
    """Why a bundled network cannot be used, or ``None``."""
    return (
        None
        if (WEIGHTS / name / MODEL).is_file()
        else f"its weights are not in {WEIGHTS / name}; train them with `avwitness train generator {name}`"
    )


def load_network(kind: type[Network], name: str | os.PathLike[str]) -> Network:
    """A network by the name of its bundled weights, or from a folder, ready to use.

    Raises
    ------
    FileNotFoundError
        If there are no such weights.
    """
    from safetensors.torch import load_file

    folder = WEIGHTS / name if (WEIGHTS / name).is_dir() else Path(name)
    if not (folder / MODEL).is_file():
        raise FileNotFoundError(f"{folder / MODEL}: no weights there; train them with `avwitness train generator`")
    config = json.loads((folder / CARD).read_text())["model"]
    config_type = kind.config_type  # type: ignore[attr-defined]
    network = kind(config_type(**{k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}))
    network.load_state_dict({name: value.float() for name, value in load_file(folder / MODEL).items()})
    return network.eval()


def save_network(network: nn.Module, folder: str | os.PathLike[str], card: Mapping[str, Any]) -> Path:
    """Write half-precision weights and the card, to which sizes and version are added."""
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().to(torch.float16).contiguous() for name, value in network.state_dict().items()}
    save_file(state, folder / MODEL)
    (folder / MODEL).chmod(0o644)  # others may read what ships
    config: Any = network.config
    about = {"version": version("avwitness"), "parameters": sum(p.numel() for p in network.parameters()), "precision": "fp16"}
    (folder / CARD).write_text(json.dumps({"name": folder.name, **about, "model": asdict(config), **card}, indent=2) + "\n")
    return folder
