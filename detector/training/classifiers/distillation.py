"""Distillation: a small image encoder learns to predict the statistics of a large one. Labels are not used."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ...efficientnet import EfficientNetLite, from_published
from ...video_classifier import with_image_encoder
from .field_data import GenuineCorpora

MAX_GRADIENT = 5.0  # norm to which gradients are clipped
POWER_ITERATIONS = 4  # of the principal components
CHECKPOINT_EVERY, REPORT_EVERY = 200, 10  # steps
MAX_SHIFT = 28  # pixels by which a batch is cropped at most
WEIGHTS = "model.safetensors"


@dataclass
class DistillationConfig(GenuineCorpora):
    """Settings of the distillation; read from YAML by :func:`avwitness.settings.read_settings`."""

    epochs: int = 8
    batch: int = 32
    rate: float = 1.5e-3  # maximum learning rate
    weight_decay: float = 0.02
    components: int = 384  # principal components of the teacher's statistics
    stages: tuple[int, ...] = (5, 7)  # of the student, whose mean and deviation over positions predict them
    portraits: int = 4  # of a clip
    degraded: int = 2  # further images of a clip
    bf16: bool = True  # autocast of teacher and student; pays where the processor multiplies bf16 matrices


def principal_components(statistics: np.ndarray, count: int, seed: int = 0) -> Tensor:
    """Standardised statistics [N, K] in their first principal components, float [N, C].

    A component is divided by the square root of its deviation, so that weak ones, in which forgeries differ, count too.
    """
    x = torch.from_numpy(statistics.astype(np.float32))
    x = (x - x.mean(dim=0)) / (x.std(dim=0) + 1e-3)
    torch.manual_seed(seed)
    _, _, directions = torch.pca_lowrank(x, min(count, *x.shape), center=False, niter=POWER_ITERATIONS)
    components = x @ directions
    components = components / components.std(dim=0).clamp_min(1e-6).sqrt()
    return components / components.std()


def load_efficientnet(path: str | os.PathLike[str]) -> EfficientNetLite:
    """An encoder from weights of :func:`save_encoder`, or from a published checkpoint of EfficientNet-Lite0 (``.pth``).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds other weights.
    """
    path = Path(path)
    path = path / WEIGHTS if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give a folder of `avwitness train student`, or a checkpoint of EfficientNet-Lite0")
    encoder = EfficientNetLite()
    try:
        if path.suffix == ".safetensors":
            encoder.load_state_dict(load_file(path))
        else:
            encoder.load_state_dict(from_published(torch.load(path, map_location="cpu", weights_only=True)))
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"{path}: holds no weights of EfficientNet-Lite0 ({error})") from error
    return encoder.eval()


def save_encoder(encoder: EfficientNetLite, out: str | os.PathLike[str]) -> Path:
    """Write the weights into a folder, which :func:`load_efficientnet` reads; returns the file."""
    file = Path(out) / WEIGHTS
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(encoder.state_dict(), file)
    return file


def distil(
    encoder: EfficientNetLite,
    images: np.ndarray,
    statistics: np.ndarray,
    config: DistillationConfig,
    checkpoint: str | os.PathLike[str] | None = None,
    hook: Callable[[int, int], None] | None = None,
) -> tuple[EfficientNetLite, float]:
    """Train an encoder to predict the teacher's statistics of images.

    The learning rate rises and falls on a cosine. Images are flipped and cropped by a few pixels, which the target ignores.

    Parameters
    ----------
    encoder : EfficientNetLite
        Is trained in place.
    images : uint8 [N, S, S, 3]
    statistics : float [N, K]
        The teacher's.
    config : DistillationConfig
    checkpoint : path-like, optional
        File of the state of training, written every few minutes; an interrupted run found there is resumed.
    hook : callable, optional
        Called with steps done and all steps.

    Returns
    -------
    encoder : EfficientNetLite
    error : float
        Mean squared error of the last epoch; components have a variance of 1 on average.
    """
    targets = principal_components(statistics, config.components, config.seed)
    torch.manual_seed(config.seed)
    student = with_image_encoder(encoder, config.stages, ())
    predictor = nn.Linear(len(student.center), targets.shape[1])
    trained = nn.ModuleDict({"encoder": student.encoder, "predictor": predictor}).train()
    parameters = list(trained.parameters())
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=config.rate,
    )
    per_epoch = max(1, len(images) // config.batch)
    steps = config.epochs * per_epoch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, total_steps=steps, pct_start=0.1)
    states = {"trained": trained, "optimiser": optimiser, "schedule": schedule}
    step, errors = _resume(states, checkpoint)
    while step < steps:
        epoch, position = divmod(step, per_epoch)
        rng = np.random.default_rng([config.seed, step])
        rows = np.random.default_rng([config.seed, epoch]).permutation(len(images))[position * config.batch :][: config.batch]
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
            predicted = predictor(student.statistics(random_view(torch.from_numpy(images[rows]), rng)))
        error = F.mse_loss(predicted.float(), targets[torch.from_numpy(rows)])
        optimiser.zero_grad(set_to_none=True)
        error.backward()
        nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT)
        optimiser.step()
        schedule.step()
        errors = [*errors[-per_epoch + 1 :], error.item()]
        step += 1
        if checkpoint is not None and (step % CHECKPOINT_EVERY == 0 or step == steps):
            _keep(states, step, errors, Path(checkpoint))
        if hook is not None and (step % REPORT_EVERY == 0 or step == steps):
            hook(step, steps)
    encoder.load_state_dict(student.encoder.state_dict())
    return encoder.eval(), float(np.mean(errors))


def random_view(images: Tensor, rng: np.random.Generator) -> Tensor:
    """A batch of images uint8 [B, S, S, 3], flipped or not, and cropped by a few pixels and scaled up or not."""
    if rng.random() < 0.5:
        images = images.flip(2)
    if rng.random() < 0.5:
        side = images.shape[1]
        size = side - int(rng.integers(0, MAX_SHIFT * side // 224 + 1))
        left, top = (int(x) for x in rng.integers(0, side - size + 1, 2))
        cut = images[:, top : top + size, left : left + size].permute(0, 3, 1, 2).float()
        images = F.interpolate(cut, (side, side), mode="bilinear").permute(0, 2, 3, 1)
    return images


def _keep(states: dict[str, Any], step: int, errors: list[float], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    torch.save({"step": step, "errors": errors, **{name: state.state_dict() for name, state in states.items()}}, part)
    part.replace(file)


def _resume(states: dict[str, Any], file: str | os.PathLike[str] | None) -> tuple[int, list[float]]:
    if file is None or not Path(file).exists():
        return 0, []
    kept = torch.load(file, weights_only=True)
    for name, state in states.items():
        state.load_state_dict(kept[name])
    return kept["step"], kept["errors"]
