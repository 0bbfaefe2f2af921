"""A detector and its losses in one forward pass, as several processes need it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ..model import DualLabelDetector
from .batches import TrainBatch
from .losses import LossConfig, face_loss, forward_batch, pass_losses


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
