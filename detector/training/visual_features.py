"""Features of a frozen visual front end, computed once for each clip and cached; training on them costs much less."""

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
from ...media.parallel import make_files
from ...media.views import cache_name, load_views, save_arrays
from .augment import AugmentConfig, augment_mouth
from .samples import Sample

VERSION = 1  # of the cached arrays; raise it when they change


def with_visual_features(
    samples: Sequence[Sample], encoder: str | os.PathLike[str], variants: int, cache: str | os.PathLike[str], workers: int
) -> list[Sample]:
    """The samples with the features of an encoder's visual front end.

    Parameters
    ----------
    encoder : path-like
        Folder of a speech encoder.
    variants : int
        Number of augmented versions of each clip, beside the plain one that comes first.
    cache : path-like
        Folder of the views; the features are stored there.
    """
    weights = hashlib.sha1((Path(encoder) / "model.safetensors").read_bytes()).hexdigest()[:8]
    name = f"visual-features-{VERSION}-{weights}-{variants}"
    files = [Path(cache) / sample.cache_folder / f"{name}-{cache_name(sample.path)}" for sample in samples]
    jobs = [
        (Path(cache) / sample.cache_folder / cache_name(sample.path), file, os.fspath(encoder), variants)
        for sample, file in zip(samples, files, strict=True)
        if sample.mouth is not None
    ]
    make_files(jobs, extract_clip, workers, "extracting visual features")
    return [replace(sample, visual_features=_load(file)) for sample, file in zip(samples, files, strict=True)]


def _load(file: Path) -> np.ndarray | None:
    if not file.exists():
        return None
    with np.load(file) as data:
        return np.asarray(data["features"])


def extract_clip(views: str | os.PathLike[str], target: str | os.PathLike[str], encoder: str, variants: int) -> None:
    """Write the features of one clip, float16 [1 + variants, T, D]."""
    clip = load_views(views)
    assert clip.mouth is not None and clip.usable is not None
    rng = np.random.default_rng(zlib.crc32(Path(views).name.encode()))
    augment = AugmentConfig()
    versions = [centre(clip.mouth), *(augment_mouth(clip.mouth, augment, rng) for _ in range(variants))]
    features = extract_visual_features(_backbone(encoder), np.stack(versions), clip.usable)
    save_arrays(target, features=features.astype(np.float16))


@lru_cache(maxsize=1)
def _backbone(encoder: str) -> Backbone:
    return load_encoder(encoder).eval().backbone


@torch.inference_mode()
def extract_visual_features(backbone: Backbone, crops: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Features float32 [V, T, D] of crops uint8 [V, T, 88, 88], V versions of the same frames; ``usable`` is bool [T]."""
    mask = torch.from_numpy(usable)[None]
    return np.stack([backbone.video_front(torch.from_numpy(np.ascontiguousarray(version))[None], mask)[0].numpy() for version in crops])
