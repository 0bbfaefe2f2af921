"""Fine-tuning of the audio classifier: encoder and linear layer together, on random parts of the clips."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....media.clip import SAMPLE_RATE
from ...audio_classifier import AudioClassifier
from .linear import PageSamples, page_weights
from .waveform_augmentation import augment

WARM_UP = 30  # steps in which the learning rates rise to their maximum
MAX_GRADIENT = 1.0  # norm to which gradients are clipped
REPORT_EVERY = 10  # steps between two calls of the progress hook


@dataclass
class FineTuning:
    """Settings; with 0 epochs the encoder stays as it was pretrained, and the linear layer as it was fitted."""

    epochs: int = 0  # as many clips are drawn in each as are scored
    batch: int = 16
    seconds: float = 2.5  # of a clip, cut at random
    encoder_rate: float = 1e-4  # maximum learning rate
    linear_rate: float = 1e-4
    weight_decay: float = 0.01  # of the encoder
    augment: float = 0.5  # share of the clips that are augmented, whatever their label
    average: float = 0.98  # decay of the moving average of all weights, which is the result
    bf16: bool = True  # autocast; pays where the processor multiplies bf16 matrices


def fine_tune(
    classifier: AudioClassifier,
    samples: PageSamples,
    waveforms: Sequence[np.ndarray],
    config: FineTuning,
    page_balance: float = 0.5,
    seed: int = 0,
    hook: Callable[[int, int], None] | None = None,
) -> AudioClassifier:
    """Train a classifier whose linear layer is fitted already.

    Clips are drawn with the weights of the linear fit: both classes alike, large pages less than in proportion. The learning
    rates fall to 0 on a cosine.

    Parameters
    ----------
    classifier : AudioClassifier
        Stays as it is.
    samples : PageSamples
        Labels, pages and weights of the clips; their statistics are not used.
    waveforms : sequence of float [S]
        At 16 kHz, of the same clips.
    config : FineTuning
    page_balance : float
        See :func:`~avwitness.detector.training.classifiers.linear.page_weights`.
    seed : int
    hook : callable, optional
        Called with the steps done and all steps.

    Returns
    -------
    AudioClassifier
        A trained copy.
    """
    model = copy.deepcopy(classifier).train()
    model.encoder.embed_positions.requires_grad_(False)  # a clip is cut anywhere, so a place says nothing
    average = copy.deepcopy(model)
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in model.encoder.parameters() if p.requires_grad], "weight_decay": config.weight_decay},
            {"params": list(model.linear.parameters()), "weight_decay": 0.0},
        ]
    )
    weights = page_weights(samples.labels, samples.pages, page_balance, samples.weights)
    rng = np.random.default_rng(seed)
    length = int(config.seconds * SAMPLE_RATE)
    steps = config.epochs * math.ceil(int(samples.scored.sum()) / config.batch)
    for step in range(steps):
        factor = min(1.0, (step + 1) / WARM_UP) * 0.5 * (1.0 + math.cos(math.pi * step / steps))
        for group, rate in zip(optimiser.param_groups, (config.encoder_rate, config.linear_rate), strict=True):
            group["lr"] = factor * rate
        rows = rng.choice(len(weights), config.batch, p=weights / weights.sum())
        batch = np.stack([augment(cut(waveforms[row], length, rng), config.augment, rng) for row in rows])
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
            statistics = model.statistics(torch.from_numpy(batch))
        loss = F.binary_cross_entropy_with_logits(model.classify(statistics.float()), torch.from_numpy(samples.labels[rows]).float())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT)
        optimiser.step()
        # The first steps count as little as they do in a mean over all steps so far.
        _average(average, model, min(config.average, (step + 1) / (step + 10)))
        if hook is not None and (step % REPORT_EVERY == 0 or step + 1 == steps):
            hook(step + 1, steps)
    return average.eval()


@torch.inference_mode()
def clip_logits(classifier: AudioClassifier, waveforms: Sequence[np.ndarray]) -> np.ndarray:
    """Logits float [N] of whole clips."""
    tensors = (torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32))[None] for waveform in waveforms)
    return np.array([float(classifier.classify(classifier.statistics(x))[0]) for x in tensors])


def cut(waveform: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """A random part of a waveform, float32 [length]; a shorter waveform is repeated."""
    waveform = np.asarray(waveform, dtype=np.float32)
    if len(waveform) < length:
        waveform = np.pad(waveform, (0, length - len(waveform)), mode="wrap")
    begin = int(rng.integers(0, len(waveform) - length + 1))
    return waveform[begin : begin + length]


@torch.no_grad()
def _average(average: nn.Module, model: nn.Module, decay: float) -> None:
    mine: dict[str, Tensor] = average.state_dict()
    for name, value in model.state_dict().items():
        mine[name].lerp_(value, 1.0 - decay)
