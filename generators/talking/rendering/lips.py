"""A perceptual loss for the lips: distance of the features of our AVSR model's visual front end."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....avsr.backbones.visual import DEVIATION, MEAN, VisualFrontEnd
from ....media.face.mouth import CROP_SIZE, INPUT_SIZE, mouth_transforms
from .head_crops import HEAD_SIZE
from .keypoints import grid

GREY_WEIGHTS = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601), as for the mouth crops of the AVSR model


def mouth_maps(points: np.ndarray) -> np.ndarray:
    """Affine maps float32 [B, 2, 3] from mouth crops to head crops, both in units from -1 to 1.

    Parameters
    ----------
    points : float32 [B, 478, 3]
        Landmarks in units of the head crop.
    """
    out = np.empty((len(points), 2, 3), dtype=np.float32)
    pixels = (np.asarray(points, np.float64) + 1.0) * HEAD_SIZE / 2
    for index, face in enumerate(pixels):
        to_crop = np.vstack([mouth_transforms(face[None])[0], (0.0, 0.0, 1.0)])
        to_head = np.linalg.inv(to_crop)
        # From units to pixels of the centre of the mouth crop, and from pixels of the head to units.
        half = INPUT_SIZE / 2
        units = np.array([[half, 0.0, CROP_SIZE / 2], [0.0, half, CROP_SIZE / 2], [0.0, 0.0, 1.0]])
        heads = np.array([[2.0 / HEAD_SIZE, 0.0, -1.0], [0.0, 2.0 / HEAD_SIZE, -1.0], [0.0, 0.0, 1.0]])
        out[index] = (heads @ to_head @ units)[:2]
    return out


class LipReadingLoss(nn.Module):
    """Mean absolute difference of the visual front-end features of two mouths, relative to those of the real one."""

    def __init__(self, front: VisualFrontEnd) -> None:
        super().__init__()
        self.front = front.float().eval().requires_grad_(False)

    def crops(self, heads: Tensor, maps: Tensor) -> Tensor:
        """Grey mouth crops [B, 88, 88] in [0, 1] of heads [B, 3, 96, 96]; ``maps`` are those of :func:`mouth_maps`."""
        grey = (heads * heads.new_tensor(GREY_WEIGHTS)[:, None, None]).sum(dim=1, keepdim=True)
        where = grid(INPUT_SIZE, INPUT_SIZE, heads).flatten(0, 1) @ maps[:, :, :2].transpose(1, 2) + maps[:, None, :, 2]
        return F.grid_sample(grey, where.unflatten(1, (INPUT_SIZE, INPUT_SIZE)), padding_mode="border", align_corners=False)[:, 0]

    def forward(self, generated: Tensor, real: Tensor, maps: Tensor) -> Tensor:
        crops = torch.cat([self.crops(generated, maps), self.crops(real, maps)])
        generated_features, real_features = self.front.forward_still((crops - MEAN) / DEVIATION).chunk(2)
        return (generated_features - real_features.detach()).abs().mean() / real_features.detach().abs().mean().clamp_min(1e-3)


def load_lip_loss(reader: str = "small") -> LipReadingLoss:
    """The loss with the front end of a bundled AVSR model.

    Raises
    ------
    FileNotFoundError
        If there is no such model.
    """
    from ....avsr.backbones.two_stream import TwoStream
    from ....avsr.transcriber import Transcriber

    backbone = Transcriber.load(reader, 1, "cpu").model.backbone
    assert isinstance(backbone, TwoStream)
    return LipReadingLoss(backbone.video_front)
