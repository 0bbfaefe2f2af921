"""Sampling of mouths and faces from head crops, as the mouth crops and aligned faces of the other modules."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from makers import Talk
from torch import Tensor

from avwitness.avsr.backbones.visual import VisualFrontEnd
from avwitness.generators.talking.rendering.head_crops import HEAD_SIZE, crop_heads, head_box
from avwitness.generators.talking.rendering.identity import FACE_SIZE, IdentityConfig, IdentityNetwork, face_maps
from avwitness.generators.talking.rendering.keypoints import grid
from avwitness.generators.talking.rendering.lips import LipReadingLoss, load_lip_loss, mouth_maps
from avwitness.media.face.crops import crop_faces, face_transforms
from avwitness.media.face.landmarks import LIPS
from avwitness.media.face.mouth import CROP_SIZE, INPUT_SIZE, centre, mouth_crops, mouth_transforms
from avwitness.media.face.tracking import FaceTrack

pytestmark = pytest.mark.usefixtures("one_thread")
FRAMES = (0, 21, 40)


@pytest.fixture(scope="module")
def heads(talk: Talk, talk_track: FaceTrack) -> tuple[np.ndarray, np.ndarray]:
    """Head crops uint8 [3, 96, 96, 3] of the demo talk and their landmarks in units."""
    box = head_box(talk_track.landmarks)
    return crop_heads(talk.frames[list(FRAMES)], box), box.to_unit(talk_track.landmarks[list(FRAMES)])


@pytest.fixture(scope="module")
def distance() -> LipReadingLoss:
    torch.manual_seed(0)
    return LipReadingLoss(VisualFrontEnd((8, 8, 16, 16), 1, half_size=True))


def tensor(heads: np.ndarray) -> Tensor:
    return torch.from_numpy(heads).permute(0, 3, 1, 2).float() / 255.0


def pixels(points: np.ndarray) -> np.ndarray:
    return (points + 1.0) * HEAD_SIZE / 2


def levels(made: Tensor, wanted: np.ndarray) -> float:
    return float(np.abs(255.0 * made.numpy() - wanted).mean())


def test_mouths_of_heads_are_those_of_the_lip_reader(heads: tuple[np.ndarray, np.ndarray], distance: LipReadingLoss) -> None:
    images, points = heads
    made = distance.crops(tensor(images), torch.from_numpy(mouth_maps(points)))
    assert made.shape == (3, INPUT_SIZE, INPUT_SIZE)
    for index, (image, face) in enumerate(zip(images, pixels(points), strict=True)):
        # Those crops use pixel centres, which matters where few pixels are enlarged.
        track = FaceTrack("face-1", (face[None] - (0.5, 0.5, 0.0)).astype(np.float32), np.ones(1, bool), np.ones(1, bool))
        wanted = centre(mouth_crops(image[None], track)[0])[0].astype(float)
        assert levels(made[index], wanted) < 5.0
        assert np.corrcoef(made[index].numpy().ravel(), wanted.ravel())[0, 1] > 0.98


def test_mouths_of_heads_are_those_of_the_whole_frames(
    talk: Talk, talk_track: FaceTrack, heads: tuple[np.ndarray, np.ndarray], distance: LipReadingLoss
) -> None:
    made = distance.crops(tensor(heads[0]), torch.from_numpy(mouth_maps(heads[1])))
    for index, number in enumerate(FRAMES):
        track = FaceTrack("face-1", talk_track.landmarks[[number]], np.ones(1, bool), np.ones(1, bool))
        wanted = centre(mouth_crops(talk.frames[[number]], track)[0])[0].astype(float)
        assert np.corrcoef(made[index].numpy().ravel(), wanted.ravel())[0, 1] > 0.95  # a head crop holds fewer pixels
        window = cv2.createHanningWindow((INPUT_SIZE, INPUT_SIZE), cv2.CV_64F)
        shift, _ = cv2.phaseCorrelate(255.0 * made[index].double().numpy(), wanted, window)
        assert np.abs(shift).max() < 0.5  # pixels


def test_the_lips_lie_in_the_middle_of_a_mouth(heads: tuple[np.ndarray, np.ndarray]) -> None:
    maps = mouth_maps(heads[1])
    assert maps.shape == (3, 2, 3) and maps.dtype == np.float32
    assert np.allclose(maps[:, :, 2], heads[1][:, list(LIPS), :2].mean(axis=1), atol=1e-4)
    # Side of the crop in units of the head, from the transform.
    for index, face in enumerate(pixels(heads[1])):
        scale = np.hypot(*mouth_transforms(face[None])[0, :, 0])
        assert np.linalg.norm(maps[index, :, 0]) == pytest.approx(INPUT_SIZE / scale / HEAD_SIZE, rel=1e-4)
    assert CROP_SIZE > INPUT_SIZE


def test_faces_of_heads_are_the_aligned_ones(heads: tuple[np.ndarray, np.ndarray]) -> None:
    images, points = heads
    maps = torch.from_numpy(face_maps(points))
    x = tensor(images)
    where = grid(FACE_SIZE, FACE_SIZE, x).flatten(0, 1) @ maps[:, :, :2].transpose(1, 2) + maps[:, None, :, 2]
    made = F.grid_sample(x, where.unflatten(1, (FACE_SIZE, FACE_SIZE)), padding_mode="border", align_corners=False)
    for index, (image, face) in enumerate(zip(images, pixels(points), strict=True)):
        wanted = crop_faces(image[None], face_transforms(face[None], FACE_SIZE), FACE_SIZE)[0].transpose(2, 0, 1).astype(float)
        assert levels(made[index], wanted) < 3.0
        assert np.corrcoef(made[index].numpy().ravel(), wanted.ravel())[0, 1] > 0.99


def test_equal_mouths_are_no_distance_apart(heads: tuple[np.ndarray, np.ndarray], distance: LipReadingLoss) -> None:
    maps, real = torch.from_numpy(mouth_maps(heads[1])), tensor(heads[0])
    assert float(distance(real, real, maps)) == 0.0
    made = real.clone().requires_grad_()
    blurred = F.avg_pool2d(made, 5, 1, 2)
    loss = distance(blurred, real, maps)
    loss.backward()
    assert float(loss.detach()) > 0.0
    # Pixels far from the mouth have no gradient.
    assert made.grad is not None
    assert float(made.grad[:, :, :20].abs().max()) == 0.0 and float(made.grad[:, :, 60:75, 40:56].abs().max()) > 0.0
    assert all(not p.requires_grad for p in distance.parameters())


def test_the_bundled_reader_is_the_loss(heads: tuple[np.ndarray, np.ndarray]) -> None:
    real = load_lip_loss()
    maps, images = torch.from_numpy(mouth_maps(heads[1])), tensor(heads[0])
    assert not real.front.training and float(real(images, images, maps)) == 0.0
    shut, opened = (images[[i]] for i in (0, 1))
    brighter = float(real(shut + 0.02, shut, maps[:1]))
    assert float(real(opened, shut, maps[:1])) > brighter > 0.0  # a mouth counts, not the light
    with pytest.raises(FileNotFoundError):
        load_lip_loss("no-such-reader")


@torch.no_grad()
def test_identities_are_unit_vectors_whatever_the_light(heads: tuple[np.ndarray, np.ndarray]) -> None:
    torch.manual_seed(0)
    network = IdentityNetwork(IdentityConfig((8, 8, 8, 16), 12)).eval()
    images, maps = tensor(heads[0]), torch.from_numpy(face_maps(heads[1]))
    made = network(images, maps)
    assert made.shape == (3, 12) and torch.allclose(made.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.allclose(made[1:2], network(images[1:2], maps[1:2]), atol=1e-5)
    darker = network(0.7 * images + 0.05, maps)
    assert float((made * darker).sum(dim=1).min()) > 0.98
    hat = images.clone()
    hat[:, :, :3] = 0.0  # above the aligned face
    assert torch.allclose(network(hat, maps), made, atol=1e-6)
