from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import Talk, noise_frames

from avwitness.media.face import landmarker
from avwitness.media.face.geometry import fit_mean_face, head_pose, mean_face, rigid_motion, similarity
from avwitness.media.face.landmarker import find_asset, without_native_messages
from avwitness.media.face.landmarks import LANDMARKS, RIGID
from avwitness.media.face.speaking import speaking_face
from avwitness.media.face.tracking import FaceTracker
from avwitness.media.files import file_sha256


def test_the_landmark_model_is_found_or_named_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = json.loads((find_asset().parent / "card.json").read_text())
    assert find_asset().name == card["file"] and file_sha256(find_asset()) == card["sha256"]
    mine = tmp_path / "mine.task"
    mine.write_bytes(b"x")
    assert find_asset(mine) == mine
    monkeypatch.setenv("AVWITNESS_FACE_LANDMARKER", str(tmp_path / "absent.task"))
    with pytest.raises(FileNotFoundError, match="AVWITNESS_FACE_LANDMARKER"):
        find_asset()
    monkeypatch.delenv("AVWITNESS_FACE_LANDMARKER")
    monkeypatch.setattr(landmarker, "BUNDLED_ASSET", tmp_path / "face_landmarker.task")
    with pytest.raises(FileNotFoundError, match=r"face_landmarker\.task.*AVWITNESS_FACE_LANDMARKER"):
        find_asset()


def test_native_messages_are_dropped_and_others_kept(capfd: pytest.CaptureFixture[str]) -> None:
    with without_native_messages():
        os.write(2, b"W0000 00:00:1795898434.278713   11940 face_landmarker_graph.cc:181] Sets acceleration.\nwritten by another thread\n")
    os.write(2, b"afterwards\n")
    with FaceTracker():
        pass
    assert capfd.readouterr().err == "written by another thread\nafterwards\n"


def test_one_face_is_followed(talk: Talk) -> None:
    with FaceTracker() as tracker:
        tracks = tracker.track(talk.frames)
    assert [t.name for t in tracks] == ["face-1"]
    track = tracks[0]
    assert track.landmarks.shape == (len(talk.frames), 478, 3)
    assert track.valid.all()
    # The landmarks follow the mouth of the animation.
    assert np.corrcoef(track.mouth_opening, talk.opening[: len(talk.frames)])[0, 1] > 0.8


def test_windows_give_what_the_whole_gives(talk: Talk) -> None:
    with FaceTracker() as tracker:
        whole = tracker.track(talk.frames)[0]
    with FaceTracker() as tracker:
        parts = [tracker.track(talk.frames[begin : begin + 40], begin)[0] for begin in (0, 20, 35)]
    assert {part.name for part in parts} == {"face-1"}
    assert np.abs(parts[1].landmarks[:20] - whole.landmarks[20:40]).max() < 3.0  # pixels


def test_gaps_are_interpolated_and_flagged(talk: Talk) -> None:
    frames = talk.frames.copy()
    frames[20:30] = 0  # a short gap
    with FaceTracker() as tracker:
        track = tracker.track(frames)[0]
    assert not track.valid[22:29].any()
    assert track.usable.all()
    frames[20:60] = 0  # too long to guess
    with FaceTracker() as tracker:
        tracks = tracker.track(frames)
    assert not tracks[0].usable[30:50].any()


def test_two_faces_and_the_one_that_speaks(talk: Talk) -> None:
    still = np.repeat(talk.frames[:1], len(talk.frames), axis=0)
    with FaceTracker() as tracker:
        tracks = tracker.track(np.concatenate([still, talk.frames], axis=2))
    assert len(tracks) == 2
    speaker = speaking_face(tracks, talk.waveform)
    assert speaker is not None
    assert speaker.box[0] > talk.frames.shape[2]  # the moving mouth is on the right


def test_no_face(talk: Talk) -> None:
    with FaceTracker() as tracker:
        tracks = tracker.track(noise_frames(20))
    assert tracks == []
    assert speaking_face(tracks) is None


@pytest.mark.parametrize(("axis", "index"), [(1, 0), (0, 1), (2, 2)])
@pytest.mark.parametrize("angle", [-0.4, 0.3])
def test_pose_of_a_turned_mean_face(axis: int, index: int, angle: float) -> None:
    c, s = np.cos(angle), np.sin(angle)
    rotation = {
        0: np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        1: np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        2: np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]
    turned = 80.0 * mean_face() @ rotation.T + np.array([200.0, 150.0, 0.0])
    pose = head_pose(turned[None])[0]
    expected = np.zeros(3)
    expected[index] = angle
    assert np.allclose(pose[:3], expected, atol=1e-3)
    assert pose[5] == pytest.approx(np.log(80.0), abs=1e-3)


def turned(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """A rotation: yaw first, then pitch, then roll."""
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


angles = st.floats(-1.2, 1.2)
places = st.floats(-500.0, 500.0)


@given(angles, angles, angles, places, places, places, st.floats(-2.0, 6.0))
def test_rigid_motion_is_recovered_in_the_unit_of_the_landmarks(
    yaw: float, pitch: float, roll: float, x: float, y: float, z: float, log_scale: float
) -> None:
    face = np.exp(log_scale) * mean_face() @ turned(yaw, pitch, roll).T + (x, y, z)
    made = rigid_motion(np.stack([face, 2.0 * face]))
    assert made.shape == (2, 6) and made.dtype == np.float64
    assert np.allclose(made[0], (yaw, pitch, roll, x, y, log_scale), atol=2e-4)
    assert np.allclose(made[1], (yaw, pitch, roll, 2 * x, 2 * y, log_scale + np.log(2.0)), atol=2e-4)


def test_speech_does_not_change_rigid_motion() -> None:
    faces = np.repeat(80.0 * mean_face()[None].astype(np.float64), 3, axis=0)
    moving = [i for i in range(LANDMARKS) if i not in RIGID]
    faces[1:, moving] += np.random.default_rng(0).normal(0.0, 5.0, (2, len(moving), 3))
    assert np.allclose(rigid_motion(faces), rigid_motion(faces[:1]), atol=1e-9)
    assert rigid_motion(faces[:0]).shape == (0, 6)


def test_head_pose_is_the_rigid_motion_in_face_widths(talk: Talk) -> None:
    with FaceTracker() as tracker:
        track = tracker.track(talk.frames[:12])[0]
    pose, rigid = track.pose, rigid_motion(track.landmarks)
    assert pose.dtype == np.float32 and pose.shape == (12, 6)
    assert np.allclose(pose[:, [0, 1, 2, 5]], rigid[:, [0, 1, 2, 5]], atol=1e-5)
    assert np.allclose(pose[:, 3:5] * np.median(track.width), rigid[:, 3:5], atol=1e-2)


def test_similarity_is_recovered() -> None:
    rng = np.random.default_rng(0)
    points = rng.standard_normal((12, 2))
    rotation = np.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]])
    scale, found, shift = similarity(points, 2.5 * points @ rotation.T + [3.0, -1.0])
    assert scale == pytest.approx(2.5)
    assert np.allclose(found, rotation)
    assert np.allclose(shift, [3.0, -1.0])


def test_mean_face_can_be_derived_again() -> None:
    rng = np.random.default_rng(0)
    mean = mean_face().astype(np.float64)
    faces = []
    for _ in range(8):
        angle = rng.uniform(-0.3, 0.3)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        faces.append(rng.uniform(50, 150) * mean @ turn.T + rng.uniform(-100, 100, 3))
    assert np.allclose(fit_mean_face(np.array(faces)), mean, atol=1e-4)
