from __future__ import annotations

import cv2
import numpy as np
import pytest
from makers import Talk

from avwitness.media.face.crops import EYE_HEIGHT, EYE_SPACING, FACE_SIZE, FACE_STRIDE, face_crops, face_transforms, to_crop
from avwitness.media.face.tracking import FaceTrack, FaceTracker


@pytest.fixture(scope="module")
def track(talk: Talk) -> FaceTrack:
    with FaceTracker() as tracker:
        return tracker.track(talk.frames[:23])[0]


def test_every_fifth_face_is_cropped_to_one_place(talk: Talk, track: FaceTrack) -> None:
    frames = talk.frames[:23]
    crops = face_crops(frames, track)
    assert crops.shape == (5, FACE_SIZE, FACE_SIZE, 3) and crops.dtype == np.uint8
    eyes = to_crop(track.landmarks[:, [33, 263], :2], face_transforms(track.landmarks))[::FACE_STRIDE]
    assert np.abs(eyes[:, :, 1] - EYE_HEIGHT * FACE_SIZE).max() < 5.0
    assert np.abs(eyes[:, 1, 0] - eyes[:, 0, 0] - EYE_SPACING * FACE_SIZE).max() < 6.0
    assert np.abs(eyes[:, :, 0].mean(axis=1) - FACE_SIZE / 2).max() < 5.0
    # They are those of frames 0, 5, 10, ...: a frame changed in between changes nothing.
    changed = frames.copy()
    changed[[1, 7, 19]] = 0
    assert np.array_equal(crops, face_crops(changed, track))
    changed[10] = 0
    assert [bool((a != b).any()) for a, b in zip(crops, face_crops(changed, track), strict=True)] == [False, False, True, False, False]


def test_faces_that_are_not_usable_are_black(talk: Talk, track: FaceTrack) -> None:
    usable = track.usable.copy()
    usable[[5, 6, 20]] = False
    crops = face_crops(talk.frames[:23], FaceTrack(track.name, track.landmarks, track.valid, usable))
    assert [bool(crop.any()) for crop in crops] == [True, False, True, True, False]
    hidden = FaceTrack(track.name, track.landmarks, track.valid, np.zeros_like(usable))
    assert not face_crops(talk.frames[:23], hidden).any()


def test_crops_do_not_depend_on_size_or_turn(talk: Talk, track: FaceTrack) -> None:
    height, width = talk.frames.shape[1:3]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 15.0, 0.9)
    frames = np.stack([cv2.warpAffine(frame, matrix, (width, height)) for frame in talk.frames[:23]])
    moved = track.landmarks.copy()
    moved[:, :, :2] = moved[:, :, :2] @ matrix[:, :2].T + matrix[:, 2]
    turned = face_crops(frames, FaceTrack(track.name, moved, track.valid, track.usable))
    middle = slice(FACE_SIZE // 4, 3 * FACE_SIZE // 4)
    straight = face_crops(talk.frames[:23], track)
    assert np.abs(turned[:, middle, middle].astype(float) - straight[:, middle, middle]).mean() < 5.0  # grey levels
