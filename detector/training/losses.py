"""Losses of the detector; a stream that is absent or masked contributes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model import DetectorOutput, DualLabelDetector, StreamOutput
from .batches import MIN_FAKE_FRAMES, Batch, TrainBatch


@dataclass
class LossConfig:
    """Weights of the losses, relative to that of the clip logits, which is 1."""

    frames: float = 0.5  # frame logits
    branches: float = 0.5  # clip logits of the speech encoder alone, and of the artefact branch alone
    count: float = 0.2  # number of fake streams
    faces: float = 0.5  # single faces

    RENAMED: ClassVar[Mapping[str, str]] = {"parts": "loss.branches"}


def forward_batch(model: nn.Module, batch: Batch, **more: Tensor) -> DetectorOutput:
    """A model's output for a batch, and for further inputs by name."""
    streams = (batch.audio, batch.video, batch.audio_mask, batch.video_mask)
    output: DetectorOutput = model(*streams, spectrum=batch.spectrum, faces=batch.faces, **more)
    return output


def clip_labels(labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Labels of windows [B] from those of their frames [B, T], and bool [B]: windows with any frame that is not masked."""
    return ((labels * mask).sum(dim=1) >= MIN_FAKE_FRAMES).float(), mask.any(dim=1)


def pass_losses(output: DetectorOutput, batch: Batch, config: LossConfig, binary: bool = False) -> dict[str, Tensor]:
    """Losses of one pass, by name."""
    losses: dict[str, Tensor] = {}
    labelled: list[tuple[Tensor, Tensor]] = []
    streams: tuple[tuple[str, StreamOutput | None, Tensor | None, Tensor | None], ...] = (
        ("audio", output.audio, batch.audio_labels, batch.audio_mask),
        ("video", output.video, batch.video_labels, batch.video_mask),
    )
    for stream, logits, labels, mask in streams:
        if logits is None or labels is None or mask is None:
            continue
        fake, present = clip_labels(labels, mask)
        labelled.append((fake, present))
        if binary or not present.any():
            continue
        losses[stream] = _cross_entropy(logits.clip, fake, present)
        losses[f"{stream}_frames"] = config.frames * _cross_entropy(logits.frames, labels, mask)
        if logits.artefacts is not None:
            losses[f"{stream}_speech"] = config.branches * _cross_entropy(logits.speech, fake, present)
            losses[f"{stream}_artefacts"] = config.branches * _cross_entropy(logits.artefacts, fake, present)
    count = torch.stack([fake * present for fake, present in labelled]).sum(dim=0)
    if binary:
        logits = output.audio or output.video
        assert logits is not None
        losses["clip"] = F.binary_cross_entropy_with_logits(logits.clip, (count > 0).float())
    losses["count"] = config.count * F.cross_entropy(output.count, count.long())
    return losses


def loss_names(pass_name: str, artefacts: bool, binary: bool) -> tuple[str, ...]:
    """Names of all losses that :func:`pass_losses` may return for a pass."""
    if binary:
        return "clip", "count"
    kinds = ("", "_frames", "_speech", "_artefacts") if artefacts else ("", "_frames")
    streams = ("audio", "video") if pass_name == "both" else (pass_name,)
    return (*(f"{stream}{kind}" for stream in streams for kind in kinds), "count")


def face_loss(model: DualLabelDetector, faces: Tensor, labels: Tensor, config: LossConfig) -> Tensor:
    """Loss of the face branch on single faces."""
    assert model.face_branch is not None
    return config.faces * F.binary_cross_entropy_with_logits(model.face_branch(faces)[:, 0], labels)


def _cross_entropy(logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits[mask], labels[mask])


class DetectorWithLosses(nn.Module):
    """A detector whose forward pass returns losses, so that distributed data parallel wraps both; parts of it may be frozen.

    Parameters
    ----------
    frozen : sequence of str
        Parts of the backbone that keep their weights.
    freeze_faces : bool
        Whether the face branch keeps its weights.
    trainable : sequence of str
        Parts of the detector that are trained, all others frozen; empty trains all but ``frozen``.
    """

    def __init__(
        self,
        detector: DualLabelDetector,
        frozen: Sequence[str],
        losses: LossConfig,
        freeze_faces: bool = False,
        trainable: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.detector, self.losses = detector, losses
        self.frozen = [getattr(detector.backbone, name) for name in frozen]  # a list: they are registered already
        if trainable:
            self.frozen = [part for name, part in detector.named_children() if name not in trainable]
        if freeze_faces and detector.face_branch is not None:
            self.frozen.append(detector.face_branch)
        self.freeze()

    def freeze(self) -> None:
        """Turn gradients off for the frozen parts, and for the sync head, which is fitted after training."""
        for part in filter(None, (*self.frozen, self.detector.sync_head)):
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> DetectorWithLosses:
        super().train(mode)
        for part in self.frozen:
            part.eval()  # running statistics of their batch norms are frozen too
        return self

    def forward(self, batch: TrainBatch) -> dict[str, Tensor]:
        """Losses, by pass and name."""
        binary = self.detector.config.labels == "binary"
        losses: dict[str, Tensor] = {}
        for name, inputs in batch.passes.items():
            by_name = pass_losses(forward_batch(self.detector, inputs), inputs, self.losses, binary)
            losses |= {f"{name}_{key}": value for key, value in by_name.items()}
        if batch.faces is not None and batch.face_labels is not None and self.detector.face_branch is not None:
            losses["faces"] = face_loss(self.detector, batch.faces, batch.face_labels, self.losses)
        return losses
