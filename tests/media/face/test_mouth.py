from __future__ import annotations

import cv2
import numpy as np
from makers import Talk

from avwitness.media.face.landmarks import LIPS
from avwitness.media.face.mouth import CROP_SIZE, EYE_DISTANCE, INPUT_SIZE, centre, mouth_crops, mouth_transforms, native_scale
from avwitness.media.face.tracking import FaceTrack, FaceTracker


def test_crops_are_centred_on_the_lips_and_level(talk: Talk) -> None:
    with FaceTracker() as tracker:
        track = tracker.track(talk.frames)[0]
    crops, lips = mouth_crops(talk.frames, track)
    assert crops.shape == (len(talk.frames), CROP_SIZE, CROP_SIZE)
    assert np.allclose(lips.mean(axis=1), CROP_SIZE / 2, atol=0.5)
    assert 35 < np.median(np.ptp(lips[:, :, 0], axis=1)) < 70  # the mouth fills about half of the crop
    transform = mouth_transforms(track.landmarks)
    eyes = np.einsum("tij,tnj->tni", transform[:, :, :2], track.landmarks[:, [33, 263], :2]) + transform[:, None, :, 2]
    assert np.abs(eyes[:, 0, 1] - eyes[:, 1, 1]).max() < 6.0
    assert np.abs(eyes[:, 1, 0] - eyes[:, 0, 0] - EYE_DISTANCE).max() < 12.0


def test_crops_do_not_depend_on_size_or_turn(talk: Talk) -> None:
    with FaceTracker() as tracker:
        track = tracker.track(talk.frames[:20])[0]
    crops, _ = mouth_crops(talk.frames[:20], track)
    height, width = talk.frames.shape[1:3]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 20.0, 0.8)
    frames = np.stack([cv2.warpAffine(frame, matrix, (width, height)) for frame in talk.frames[:20]])
    moved = track.landmarks.copy()
    moved[:, :, :2] = moved[:, :, :2] @ matrix[:, :2].T + matrix[:, 2]
    turned, _ = mouth_crops(frames, FaceTrack("face-1", moved, track.valid, track.usable))
    assert np.abs(turned.astype(float) - crops).mean() < 4.0  # grey levels


def test_unusable_frames_are_black_and_alignment_is_averaged(talk: Talk) -> None:
    with FaceTracker() as tracker:
        track = tracker.track(talk.frames)[0]
    usable = track.usable.copy()
    usable[5:9] = False
    crops, _ = mouth_crops(talk.frames, FaceTrack("face-1", track.landmarks, track.valid, usable))
    assert crops[5:9].max() == 0
    assert crops[9:].min(axis=(1, 2)).max() > 0 or crops[9:].mean() > 10
    rng = np.random.default_rng(0)
    shaky = track.landmarks + 2.0 * rng.standard_normal(track.landmarks.shape).astype(np.float32)
    scale = np.hypot(*mouth_transforms(shaky)[:-12, :, 0].T)
    single = np.hypot(*mouth_transforms(shaky[:1])[:, :, 0].T)
    assert scale.std() < 0.02
    assert np.isfinite(single).all()


def test_centre_and_scale(talk: Talk) -> None:
    with FaceTracker() as tracker:
        track = tracker.track(talk.frames[:10])[0]
    assert centre(np.zeros((3, CROP_SIZE, CROP_SIZE), np.uint8)).shape == (3, INPUT_SIZE, INPUT_SIZE)
    twice = FaceTrack("face-1", track.landmarks * 2, track.valid, track.usable)
    assert native_scale(twice) == native_scale(track) / 2 or abs(native_scale(twice) - native_scale(track) / 2) < 1e-6
    assert len(LIPS) == 40
