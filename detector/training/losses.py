"""What a detector is told it did wrong; a stream that is absent or masked contributes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model import DetectorOutput, DualLabelDetector, StreamOutput
from .batches import LEAST_FAKE, Batch, TrainBatch


@dataclass
class LossConfig:
    """Weights of the losses beside that of a clip, which is 1."""

    frames: float = 0.5
    parts: float = 0.5  # of the speech encoder's and the artefact branch's own verdicts
    count: float = 0.2
    faces: float = 0.5  # of single faces blended on the fly


def forward_batch(model: nn.Module, batch: Batch) -> DetectorOutput:
    """A model's evidence on a batch."""
    evidence: DetectorOutput = model(
        batch.audio, batch.video, batch.audio_mask, batch.video_mask, spectrum=batch.spectrum, faces=batch.faces
    )
    return evidence


def clip_labels(labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Labels of whole clips [B] from those of their frames [B, T], and bool [B]: which clips show anything."""
    return ((labels * mask).sum(dim=1) >= LEAST_FAKE).float(), mask.any(dim=1)


def pass_losses(evidence: DetectorOutput, batch: Batch, config: LossConfig, binary: bool = False) -> dict[str, Tensor]:
    """Losses of one pass, by name."""
    losses: dict[str, Tensor] = {}
    known: list[tuple[Tensor, Tensor]] = []
    streams: tuple[tuple[str, StreamOutput | None, Tensor | None, Tensor | None], ...] = (
        ("audio", evidence.audio, batch.audio_labels, batch.audio_mask),
        ("video", evidence.video, batch.video_labels, batch.video_mask),
    )
    for stream, said, labels, mask in streams:
        if said is None or labels is None or mask is None:
            continue
        fake, there = clip_labels(labels, mask)
        known.append((fake, there))
        if binary or not there.any():
            continue
        losses[stream] = _cross_entropy(said.clip, fake, there)
        losses[f"{stream}_frames"] = config.frames * _cross_entropy(said.frames, labels, mask)
        if said.artefacts is not None:
            losses[f"{stream}_speech"] = config.parts * _cross_entropy(said.speech, fake, there)
            losses[f"{stream}_artefacts"] = config.parts * _cross_entropy(said.artefacts, fake, there)
    count = torch.stack([fake * there for fake, there in known]).sum(dim=0)
    if binary:
        said = evidence.audio or evidence.video
        assert said is not None
        losses["clip"] = F.binary_cross_entropy_with_logits(said.clip, (count > 0).float())
    losses["count"] = config.count * F.cross_entropy(evidence.count, count.long())
    return losses


def loss_names(step_pass: str, artefacts: bool, binary: bool) -> tuple[str, ...]:
    """Names of all losses that :func:`pass_losses` may give for a pass."""
    if binary:
        return "clip", "count"
    kinds = ("", "_frames", "_speech", "_artefacts") if artefacts else ("", "_frames")
    streams = ("audio", "video") if step_pass == "both" else (step_pass,)
    return (*(f"{stream}{kind}" for stream in streams for kind in kinds), "count")


def face_loss(model: DualLabelDetector, faces: Tensor, labels: Tensor, config: LossConfig) -> Tensor:
    """Loss of single faces, which the artefact branch alone sees."""
    assert model.face_branch is not None
    return config.faces * F.binary_cross_entropy_with_logits(model.face_branch(faces)[:, 0], labels)


def _cross_entropy(logits: Tensor, labels: Tensor, there: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits[there], labels[there])


class DetectorWithLosses(nn.Module):
    """What is trained: a detector, parts of whose backbone may keep their weights.

    Parameters
    ----------
    frozen : sequence of str
        Parts of the backbone that keep their weights.
    known_faces : bool
        Whether the face branch keeps its own.
    trainable : sequence of str
        Parts of the detector that learn, where all others keep their weights.
    """

    def __init__(
        self,
        detector: DualLabelDetector,
        frozen: Sequence[str],
        losses: LossConfig,
        known_faces: bool = False,
        trainable: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.detector, self.losses = detector, losses
        self.frozen = [getattr(detector.backbone, name) for name in frozen]  # a list: they are registered already
        if trainable:
            self.frozen = [part for name, part in detector.named_children() if name not in trainable]
        if known_faces and detector.face_branch is not None:
            self.frozen.append(detector.face_branch)
        self.freeze()

    def freeze(self) -> None:
        """Let nothing but what is trained ask for gradients."""
        for part in (*self.frozen, self.detector.sync_head):
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> DetectorWithLosses:
        super().train(mode)
        for part in self.frozen:
            part.eval()  # their batch norms must not follow the forgeries
        return self

    def forward(self, step: TrainBatch) -> dict[str, Tensor]:
        """Losses by pass and name."""
        binary = self.detector.config.labels == "binary"
        losses: dict[str, Tensor] = {}
        for name, batch in step.passes.items():
            found = pass_losses(forward_batch(self.detector, batch), batch, self.losses, binary)
            losses |= {f"{name}_{key}": value for key, value in found.items()}
        if step.faces is not None and step.face_labels is not None and self.detector.face_branch is not None:
            losses["faces"] = face_loss(self.detector, step.faces, step.face_labels, self.losses)
        return losses
