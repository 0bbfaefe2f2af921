"""Synthesis: loading of source face and motion, rendering and pasting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from makers import Talk, noise_frames

from avwitness.checkpoints import BUNDLED, CARD, MODEL
from avwitness.generators.talking.models.base import DrivingSignals, Portrait
from avwitness.generators.talking.models.mfr_net import MfrNet, MfrNetConfig
from avwitness.generators.talking.models.registry import HEADS
from avwitness.generators.talking.rendering.head_crops import HEAD_SIZE
from avwitness.generators.talking.rendering.motion import POSE_SIZE, Motion
from avwitness.generators.talking.rendering.renderer import Renderer, RendererConfig
from avwitness.generators.talking.synthesis import (
    BATCH_SIZE,
    MAX_IMAGE_SIDE,
    SourceFace,
    head_missing_reason,
    load_motion,
    load_source_face,
    paste_into_source,
    render,
)
from avwitness.media.clip import MediaError
from avwitness.media.encode import write_media
from avwitness.media.face.tracking import FaceTrack

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def sitter(talk: Talk, talk_track: FaceTrack) -> SourceFace:
    return SourceFace(talk.frames[0], talk_track.landmarks[0])


def motion(portrait: Portrait, length: int, size: float = 0.02) -> Motion:
    rng = np.random.default_rng(0)
    pose, expression = (x + size * rng.standard_normal((length, x.shape[1])) for x in (portrait.motion.pose, portrait.motion.expression))
    return Motion(pose.astype(np.float32), expression.astype(np.float32))


@pytest.mark.parametrize("length", [1, BATCH_SIZE, BATCH_SIZE + 3])
def test_every_frame_of_a_motion_is_rendered(length: int, renderer: Renderer, portrait: Portrait) -> None:
    whole = motion(portrait, BATCH_SIZE + 3)
    part = Motion(whole.pose[:length], whole.expression[:length])
    made = render(None, renderer, portrait, part)
    assert made.shape == (length, HEAD_SIZE, HEAD_SIZE, 3) and made.dtype == np.uint8
    everything = render(None, renderer, portrait, whole)
    assert np.abs(made.astype(int) - everything[:length]).max() <= 1
    assert made[0].std() > 1.0


def test_a_listener_is_rendered_by_its_own_renderer(renderer: Renderer, tiny: RendererConfig, portrait: Portrait) -> None:
    torch.manual_seed(3)
    listener = MfrNet(MfrNetConfig(32, True, tiny)).eval()
    listener.space.load_state_dict(renderer.space.state_dict())
    made = render(listener, renderer, portrait, motion(portrait, 2))
    assert not np.array_equal(made, render(None, renderer, portrait, motion(portrait, 2)))
    listener.renderer.load_state_dict(renderer.state_dict())
    assert np.array_equal(render(listener, renderer, portrait, motion(portrait, 2)), render(None, renderer, portrait, motion(portrait, 2)))


@pytest.mark.parametrize("name", sorted(HEADS))
def test_from_cue_to_film(
    name: str, renderer: Renderer, tiny: RendererConfig, sitter: SourceFace, driving_of: Callable[..., DrivingSignals]
) -> None:
    given: dict[str, Any] = {"renderer": tiny} if name == "mfr-net" else {}
    head = HEADS[name](HEADS[name].config_type(width=32, **given)).eval()
    head.space.load_state_dict(renderer.space.state_dict())
    taken = Portrait.from_frame(sitter.frame, sitter.landmarks, renderer.space)
    frames = paste_into_source(
        render(head, renderer, taken, head.generate_motion(taken, driving_of(3), np.random.default_rng(0))), sitter, taken
    )
    assert frames.shape == (3, *sitter.frame.shape) and frames.dtype == np.uint8
    left, top, side = (int(x) for x in (taken.box.left, taken.box.top, taken.box.side))
    outside = np.ones(sitter.frame.shape[:2], bool)
    outside[max(0, top - 4) : top + side + 5, max(0, left - 4) : left + side + 5] = False
    assert outside.any() and (frames[:, outside] == sitter.frame[outside]).all()
    assert (frames[:, top + side // 2, left + side // 2] != sitter.frame[top + side // 2, left + side // 2]).any()


def test_the_source_face_is_loaded_from_an_image_or_a_clip(talk: Talk, talk_file: Path, talk_track: FaceTrack, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "still.PNG"), cv2.cvtColor(talk.frames[0], cv2.COLOR_RGB2BGR))
    still = load_source_face(tmp_path / "still.PNG")
    assert np.array_equal(still.frame, talk.frames[0])
    assert np.abs(still.landmarks[:, :2] - talk_track.landmarks[0, :, :2]).mean() < 2.0
    big = cv2.resize(talk.frames[0], (2000, 2000))
    cv2.imwrite(str(tmp_path / "big.jpg"), cv2.cvtColor(big, cv2.COLOR_RGB2BGR))
    assert load_source_face(tmp_path / "big.jpg").frame.shape == (MAX_IMAGE_SIDE, MAX_IMAGE_SIDE, 3)
    rests = load_source_face(talk_file)
    opening = np.linalg.norm(rests.landmarks[13] - rests.landmarks[14]) / np.linalg.norm(rests.landmarks[234] - rests.landmarks[454])
    assert opening <= np.quantile(talk_track.mouth_opening, 0.2)


def test_a_source_without_a_face_is_refused(tmp_path: Path) -> None:
    write_media(tmp_path / "voice.mp4", None, np.zeros(16_000, np.float32))
    write_media(tmp_path / "noise.mp4", noise_frames(10))
    for kind in ("png", "mp4"):
        (tmp_path / f"text.{kind}").write_text("no picture")
    for file, why in (
        (tmp_path / "none.png", "no such file"),
        (tmp_path / "text.png", "not an image that OpenCV can read"),
        (tmp_path / "voice.mp4", "has no video"),
        (tmp_path / "noise.mp4", "no face"),
        (tmp_path / "text.mp4", "text.mp4"),
    ):
        with pytest.raises(MediaError, match=why):
            load_source_face(file)
    for file in (tmp_path / "voice.mp4", tmp_path / "noise.mp4"):
        with pytest.raises(MediaError, match=r"no video|no face"):
            load_motion(file, Renderer().space)


def test_the_motion_of_a_clip_is_that_of_its_head(talk_file: Path, talk_track: FaceTrack, renderer: Renderer) -> None:
    made, clip = load_motion(talk_file, renderer.space)
    assert len(made) == len(talk_track.landmarks) and clip.waveform is not None
    assert made.pose.shape == (len(made), POSE_SIZE) and np.isfinite(made.expression).all()
    assert np.corrcoef(made.pose[:, 2], talk_track.pose[:, 2])[0, 1] > 0.95  # the roll
    assert np.abs(made.pose[:, 3:5]).max() < 0.6


def test_heads_whose_weights_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(BUNDLED, "generators", tmp_path)
    why = head_missing_reason("osm-net")
    assert why is not None and "osm-net" in why
    for folder in ("osm-net", "renderer"):
        assert head_missing_reason("osm-net") is not None
        (tmp_path / folder).mkdir()
        for file in (CARD, MODEL):
            (tmp_path / folder / file).touch()
    assert head_missing_reason("osm-net") is None
