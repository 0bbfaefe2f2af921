"""A detector from its configuration: on a speech encoder, on a trained detector, or with random weights."""

from __future__ import annotations

import torch

from ...avsr.model import load_encoder
from ...checkpoints import find_weights
from ..model import DetectorConfig, DualLabelDetector
from .config import ModelConfig


def build_model(config: ModelConfig) -> DualLabelDetector:
    """A detector before training: on the backbone of its configuration, or with the weights of another detector.

    Raises
    ------
    FileNotFoundError
        If the folder of the backbone, or of the other detector, does not exist.
    ValueError
        If a face branch is to be taken from a detector that has none.
    """
    if config.init_from:
        return DualLabelDetector.from_pretrained(find_weights("detector", config.init_from), dtype=torch.float32, local_files_only=True)
    model = _on_backbone(config)
    if config.face_branch_from and model.face_branch is not None:
        donor = DualLabelDetector.from_pretrained(
            find_weights("detector", config.face_branch_from), dtype=torch.float32, local_files_only=True
        )
        if donor.face_branch is None:
            raise ValueError(f"{config.face_branch_from}: this detector has no face branch")
        model.face_branch.load_state_dict(donor.face_branch.state_dict())
    return model


def _on_backbone(config: ModelConfig) -> DualLabelDetector:
    if not config.backbone:
        return DualLabelDetector(DetectorConfig(**config.detector))
    encoder = load_encoder(find_weights("avsr", config.backbone))
    values = {
        "backbone": encoder.config.backbone,
        "backbone_options": encoder.config.backbone_options,
        "notice": encoder.config.notice,
    }
    model = DualLabelDetector(DetectorConfig(**{**values, **config.detector}))
    model.backbone.load_state_dict(encoder.backbone.state_dict())
    return model
