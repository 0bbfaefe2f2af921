"""Training of the video classifier with labels: the image encoder, or its last stages, together with the linear layer."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ...efficientnet import EfficientNetLite
from ...video_classifier import VideoClassifier
from .distillation import MAX_GRADIENT, random_view
from .linear import page_weights

REPORT_EVERY = 5  # steps between two calls of the progress hook
IMAGES_AT_ONCE = 32  # in evaluation


@dataclass(frozen=True)
class VideoFineTuning:
    """Settings of the training.

    Parameters
    ----------
    epochs : int
    batch : int
        Images.
    encoder_rate, linear_rate : float
        Maximum learning rates.
    weight_decay : float
    frozen_stages : int
        First stages of the encoder that keep their weights, with its stem; 0 trains all of it.
    page_balance : float
        See :func:`~avwitness.detector.training.classifiers.linear.page_weights`.
    seed : int
    bf16 : bool
        Autocast; pays where the processor multiplies bf16 matrices.
    """

    epochs: int = 3
    batch: int = 32
    encoder_rate: float = 3e-4
    linear_rate: float = 3e-4
    weight_decay: float = 0.05
    frozen_stages: int = 5
    page_balance: float = 0.5
    seed: int = 0
    bf16: bool = True


@dataclass(frozen=True)
class LabelledImages:
    """Portraits of clips.

    Parameters
    ----------
    images : uint8 [N, S, S, 3]
    clips : int [N]
        The clip that each shows.
    labels, pages : int [M], str [M]
        Of the clips.
    """

    images: np.ndarray
    clips: np.ndarray
    labels: np.ndarray
    pages: np.ndarray


def fine_tune_video(
    classifier: VideoClassifier,
    data: LabelledImages,
    taught: np.ndarray,
    config: VideoFineTuning,
    hook: Callable[[int, int], None] | None = None,
) -> VideoClassifier:
    """A copy of a classifier, trained to tell the fake clips among ``taught`` (bool [M]) from the genuine ones.

    Classes and pages are balanced by weights of the loss. Learning rates rise and fall on a cosine. Images are flipped and
    cropped by a few pixels.

    Raises
    ------
    ValueError
        If the classifier's encoder is no EfficientNet.
    """
    if not isinstance(classifier.encoder, EfficientNetLite):
        raise ValueError("only a classifier on EfficientNet-Lite0 can be fine-tuned")
    torch.manual_seed(config.seed)
    model = copy.deepcopy(classifier).train()
    network = model.encoder
    assert isinstance(network, EfficientNetLite)
    for part in [network.stem, *network.stages[: config.frozen_stages]] if config.frozen_stages else []:
        part.eval().requires_grad_(False)
    rows = np.flatnonzero(taught[data.clips])
    labels = torch.from_numpy(data.labels[data.clips[rows]]).float()
    weights = torch.from_numpy(page_weights(data.labels[data.clips[rows]], data.pages[data.clips[rows]], config.page_balance)).float()
    encoder = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in encoder if p.ndim > 1], "weight_decay": config.weight_decay, "lr": config.encoder_rate},
            {"params": [p for p in encoder if p.ndim <= 1], "weight_decay": 0.0, "lr": config.encoder_rate},
            {"params": list(model.linear.parameters()), "weight_decay": config.weight_decay, "lr": config.linear_rate},
        ]
    )
    per_epoch = max(1, len(rows) // config.batch)
    steps = config.epochs * per_epoch
    rates = [config.encoder_rate, config.encoder_rate, config.linear_rate]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=max(2, steps), pct_start=0.1)
    for step in range(steps):
        epoch, position = divmod(step, per_epoch)
        rng = np.random.default_rng([config.seed, step])
        order = np.random.default_rng([config.seed, epoch]).permutation(len(rows))
        chosen = order[position * config.batch : (position + 1) * config.batch]
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
            statistics = model.statistics(random_view(torch.from_numpy(data.images[rows[chosen]]), rng))
        logits = model.classify(statistics.float())
        loss = F.binary_cross_entropy_with_logits(logits, labels[chosen], weights[chosen])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([*encoder, *model.linear.parameters()], MAX_GRADIENT)
        optimiser.step()
        schedule.step()
        if hook is not None and (step % REPORT_EVERY == 0 or step + 1 == steps):
            hook(step + 1, steps)
    return model.eval()


@torch.inference_mode()
def clip_logits(classifier: VideoClassifier, data: LabelledImages, asked: np.ndarray) -> np.ndarray:
    """Mean logit of the portraits of the clips ``asked`` (bool [M]): float [M], NaN for the others."""
    total, count = np.zeros(len(data.labels)), np.zeros(len(data.labels))
    rows = np.flatnonzero(asked[data.clips])
    for begin in range(0, len(rows), IMAGES_AT_ONCE):
        part = rows[begin : begin + IMAGES_AT_ONCE]
        values = classifier.classify(classifier.statistics(torch.from_numpy(data.images[part]))).numpy()
        np.add.at(total, data.clips[part], values)
        np.add.at(count, data.clips[part], 1.0)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
