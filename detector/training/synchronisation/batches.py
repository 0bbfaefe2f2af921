"""Windows of recordings, with random changes, as batches of a sync network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ....avsr.sync_network import LIP_SCALE, MAX_OFFSET
from ....media.clip import FRAME_RATE
from ....media.face.mouth import CROP_SIZE
from .config import SyncAugment, SyncTrainConfig
from .recordings import Recording

SHORT_EVERY = 3  # every third batch has windows of half the length, twice as many
MAX_SECONDS = 6.0  # of a recording that count for how often it is drawn


@dataclass
class SyncBatch:
    """Windows of B recordings; the audio reaches :data:`~avwitness.avsr.sync_network.MAX_OFFSET` frames beyond the lips at either side.

    Parameters
    ----------
    features : float [B, 2 (T + 30), D]
    audio_mask : bool [B, T + 30]
    lips : float [B, T, 40, 2]
    lip_mask : bool [B, T]
    """

    features: Tensor
    audio_mask: Tensor
    lips: Tensor
    lip_mask: Tensor

    def to(self, device: torch.device, *, non_blocking: bool = False) -> None:
        """Move to a device, in place."""
        for name, value in vars(self).items():
            setattr(self, name, value.to(device, non_blocking=non_blocking))


def sampling_weights(recordings: Sequence[Recording], balance: float) -> np.ndarray:
    """Probability of each recording: its seconds, over a power of the seconds of its page."""
    seconds = np.array([min(r.frames / FRAME_RATE, MAX_SECONDS) for r in recordings])
    _, codes = np.unique([r.page for r in recordings], return_inverse=True)
    weights: np.ndarray = seconds * np.bincount(codes, seconds)[codes] ** -balance
    return weights / weights.sum()


def make_batch(
    recordings: Sequence[Recording], weights: np.ndarray, config: SyncTrainConfig, number: int, rng: np.random.Generator
) -> SyncBatch:
    """The batch of a step: windows of different recordings."""
    short = number % SHORT_EVERY == 0
    count, frames = (2 * config.batch, config.frames // 2) if short else (config.batch, config.frames)
    chosen = rng.choice(len(recordings), min(count, len(recordings)), replace=False, p=weights)
    rows = [window(recordings[index], frames, config.augment, rng) for index in chosen]
    return SyncBatch(*(torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True)))


def window(
    recording: Recording, frames: int, augment: SyncAugment, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One window: audio features, their mask, lips and their mask; see :class:`SyncBatch`."""
    tempo = 1.0 + rng.uniform(-augment.tempo, augment.tempo)
    first = rng.uniform(0.0, max(0.0, recording.frames - frames * tempo))
    at = first + tempo * np.arange(frames)  # position of every frame of the window in the recording
    lips, seen = _at(recording.lips, at), _known(recording.usable, at)
    positions = first + recording.lag + tempo * np.arange(-2 * MAX_OFFSET, 2 * (frames + MAX_OFFSET)) / 2.0
    features = _at(recording.features, 2.0 * positions).astype(np.float32)
    heard = (positions >= 0.0) & (positions <= recording.frames - 1)
    return changed_audio(features, augment, rng), heard[::2].copy(), changed_lips(lips, augment, rng), seen


def changed_lips(lips: np.ndarray, augment: SyncAugment, rng: np.random.Generator) -> np.ndarray:
    """Lips [T, 40, 2] mirrored, turned, scaled, and with noise."""
    centre = CROP_SIZE / 2
    x = lips - centre
    if rng.random() < augment.mirror:
        x = x * np.array([-1.0, 1.0])
    angle = rng.normal(0.0, augment.rotation)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    x = (x * rng.uniform(1.0 - augment.scale, 1.0 + augment.scale, 2)) @ turn
    x = x + rng.normal(0.0, augment.jitter * LIP_SCALE, x.shape)
    out: np.ndarray = (x + centre).astype(np.float32)
    return out


def changed_audio(features: np.ndarray, augment: SyncAugment, rng: np.random.Generator) -> np.ndarray:
    """Audio features [T, D] with noise, and some channels set to their mean."""
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    out = features + augment.audio_noise * deviation * rng.standard_normal(features.shape, dtype=np.float32)
    dropped = rng.random(features.shape[1]) < augment.audio_dropout
    out[:, dropped] = mean[dropped]
    return out.astype(np.float32)


def _at(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Rows of [T, ...] at fractional positions, by linear interpolation; the ends are repeated."""
    positions = np.clip(positions, 0.0, len(values) - 1)
    before = positions.astype(int)
    after = np.minimum(before + 1, len(values) - 1)
    share = (positions - before).reshape(-1, *[1] * (values.ndim - 1)).astype(np.float32)
    out: np.ndarray = (1.0 - share) * values[before] + share * values[after]
    return out


def _known(usable: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Whether both frames around each position are usable; outside of the recording none is."""
    inside = positions <= len(usable) - 1
    before = np.minimum(positions.astype(int), len(usable) - 1)
    out: np.ndarray = inside & usable[before] & usable[np.minimum(before + 1, len(usable) - 1)]
    return out
