"""Tiny detectors, and samples of noise, for tests that need neither faces nor speech."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from avwitness.detector.model import DetectorConfig, DualLabelDetector
from avwitness.detector.training.samples import Sample

TINY: dict[str, Any] = {
    "width": 32,
    "heads": 2,
    "feed_forward": 48,
    "audio_layers": 1,
    "video_layers": 1,
    "joint_layers": 1,
    "visual_widths": [8, 8, 16, 16],
    "visual_blocks": 1,
    "visual_half_size": True,
    "position_kernel": 7,
}


def tiny(seed: int = 0, **options: Any) -> DualLabelDetector:
    """A detector with random weights, whose batch norms have random statistics."""
    torch.manual_seed(seed)
    model = DualLabelDetector(DetectorConfig(backbone_options=TINY, **options))
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0.0, 0.1, generator=generator)
            module.bias.data.normal_(0.0, 0.1, generator=generator)
    for branch in (model.sound_branch, model.face_branch):
        for module in () if branch is None else branch.modules():
            if isinstance(module, (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Linear)):
                module.weight.data *= 2.0  # as they start, noise leaves hardly a trace in their logits
    return model.eval()


def clip(seed: int = 0, frames: int = 40, streams: tuple[str, ...] = ("audio", "video"), **changes: Any) -> Sample:
    """A genuine clip of noise."""
    rng = np.random.default_rng(seed)
    video, audio = "video" in streams, "audio" in streams
    sample = Sample(
        path=f"clips/{seed}.mp4",
        corpus="noise",
        identity=f"i{seed % 3}",
        source=f"s{seed}",
        slot="0",
        methods={"audio": "genuine", "video": "genuine"},
        mouth=rng.integers(0, 256, (frames, 96, 96), dtype=np.uint8) if video else None,
        usable=np.ones(frames, dtype=bool) if video else None,
        face=rng.integers(1, 256, (-(-frames // 5), 128, 128, 3), dtype=np.uint8) if video else None,
        waveform=rng.integers(-6000, 6000, frames * 640).astype(np.int16) if audio else None,
        labels={stream: np.zeros(frames, dtype=np.float32) for stream in streams},
        mismatch=False if video and audio else None,
        lag=0 if video and audio else None,
    )
    return replace(sample, **changes)


def fake(sample: Sample, stream: str, method: str, begin: int = 0, end: int | None = None) -> Sample:
    """The same clip, called fake from one frame to another."""
    label = sample.labels[stream].copy()
    label[begin:end] = 1.0
    return replace(
        sample,
        path=f"{sample.path}:{method}",
        labels={**sample.labels, stream: label},
        methods={**sample.methods, stream: method},
    )


def inputs(batch: int = 2, frames: int = 20, seed: int = 0) -> dict[str, torch.Tensor]:
    """All inputs of a detector, at random."""
    generator = torch.Generator().manual_seed(seed)

    def images(*shape: int) -> torch.Tensor:
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)

    return {
        "audio": torch.randn(batch, frames, 320, generator=generator),
        "spectrum": torch.randn(batch, frames, 1024, generator=generator),
        "video": images(batch, frames, 88, 88),
        "faces": images(batch, -(-frames // 5), 128, 128, 3),
    }
