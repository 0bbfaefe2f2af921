"""What a frozen visual front end makes of mouths, computed once: most of the work of training on top of it is done here."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from ...avsr.backbones.base import Backbone
from ...avsr.model import load_encoder
from ...media.face.mouth import centre
from ...media.views import cache_name, fill, load_views, save_arrays
from .augment import AugmentConfig, augment_mouth
from .samples import Sample

VERSION = 1  # of the cached arrays; raise it when they change


def with_visual_features(
    samples: Sequence[Sample], encoder: str | os.PathLike[str], variants: int, cache: str | os.PathLike[str], workers: int
) -> list[Sample]:
    """The samples with what the visual front end of an encoder makes of them.

    Parameters
    ----------
    encoder : path-like
        Folder of a speech encoder.
    variants : int
        How many augmented versions to make of each clip, beside the plain one that comes first.
    cache : path-like
        Folder of the views; what is made is kept there.
    """
    weights = hashlib.sha1((Path(encoder) / "model.safetensors").read_bytes()).hexdigest()[:8]
    name = f"looks-{VERSION}-{weights}-{variants}"
    files = [Path(cache) / sample.home / f"{name}-{cache_name(sample.path)}" for sample in samples]
    jobs = [
        (Path(cache) / sample.home / cache_name(sample.path), file, os.fspath(encoder), variants)
        for sample, file in zip(samples, files, strict=True)
        if sample.mouth is not None
    ]
    fill(jobs, extract_clip, workers, "looking at mouths")
    return [replace(sample, looks=_load(file)) for sample, file in zip(samples, files, strict=True)]


def _load(file: Path) -> np.ndarray | None:
    if not file.exists():
        return None
    with np.load(file) as data:
        return np.asarray(data["looks"])


def extract_clip(views: str | os.PathLike[str], target: str | os.PathLike[str], encoder: str, variants: int) -> None:
    """Write float16 [1 + variants, T, D] of one clip."""
    seen = load_views(views)
    assert seen.mouth is not None and seen.usable is not None
    rng = np.random.default_rng(zlib.crc32(Path(views).name.encode()))
    augment = AugmentConfig()
    versions = [centre(seen.mouth), *(augment_mouth(seen.mouth, augment, rng) for _ in range(variants))]
    save_arrays(target, looks=look(_backbone(encoder), np.stack(versions), seen.usable).astype(np.float16))


@lru_cache(maxsize=1)
def _backbone(encoder: str) -> Backbone:
    return load_encoder(encoder).eval().backbone


@torch.inference_mode()
def look(backbone: Backbone, crops: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Front end's features float32 [V, T, D] of crops uint8 [V, T, 88, 88], all of the same moments."""
    mask = torch.from_numpy(usable)[None]
    return np.stack([backbone.video_front(torch.from_numpy(np.ascontiguousarray(version))[None], mask)[0].numpy() for version in crops])
