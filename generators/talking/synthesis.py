"""Inference of the talking-head models: load source face and motion, render head images, paste them into the source frame."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch

from ...media.clip import Clip, MediaError
from ...media.face.speaking import speaking_face
from ...media.face.tracking import FaceTracker
from ...media.windows import read_clip
from ..weights import load_network, weights_missing_reason
from .models.base import Portrait, TalkingHead
from .models.mfr_net import MfrNet
from .models.registry import HEADS, RENDERER
from .rendering.head_crops import HEAD_SIZE, head_box, paste_heads
from .rendering.motion import Motion, MotionSpace
from .rendering.renderer import HeadState, Renderer

BATCH_SIZE = 16  # head images in one forward pass
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
MAX_IMAGE_SIDE = 854  # pixels of the longer side; larger images are scaled down, as the frames of clips are
MAX_SECONDS = 30.0  # of audio and of reference clips; all frames are held in memory, up to 1.2 MB each


@lru_cache(maxsize=1)
def bundled_renderer() -> Renderer:
    """The bundled renderer."""
    return load_network(Renderer, RENDERER)


@lru_cache(maxsize=4)
def bundled_head(name: str) -> TalkingHead:
    """A bundled talking-head model by its name."""
    return load_network(HEADS[name], name)


def head_missing_reason(name: str) -> str | None:
    """Why a talking-head model cannot be used, or ``None`` if it can."""
    return weights_missing_reason(name) or weights_missing_reason(RENDERER)


@torch.inference_mode()
def render(head: TalkingHead | None, renderer: Renderer, portrait: Portrait, motion: Motion) -> np.ndarray:
    """Render a portrait with a motion: uint8 [T, 96, 96, 3]. MFR-Net uses its own fine-tuned renderer."""
    space, length = renderer.space, len(motion)
    pose, expression = (torch.from_numpy(np.ascontiguousarray(x)) for x in (motion.pose, motion.expression))
    points = space.mesh(torch.from_numpy(portrait.identity)[None], pose, expression)[..., :2]
    image, source = portrait.image, portrait.as_state()
    out = np.empty((length, HEAD_SIZE, HEAD_SIZE, 3), dtype=np.uint8)
    for begin in range(0, length, BATCH_SIZE):
        part = slice(begin, min(begin + BATCH_SIZE, length))
        count = part.stop - begin
        sources = (image.expand(count, -1, -1, -1), HeadState(*(x.expand(count, *x.shape[1:]) for x in source)))
        target = HeadState(pose[part], expression[part], points[part])
        rendered = head.render(*sources, target) if isinstance(head, MfrNet) else renderer(*sources, target)
        out[part] = (rendered.image.clamp(0.0, 1.0) * 255.0).round().byte().permute(0, 2, 3, 1).numpy()
    return out


@dataclass(frozen=True)
class SourceFace:
    """The source: one frame uint8 [H, W, 3] and the landmarks float32 [478, 3] of its face, in pixels."""

    frame: np.ndarray
    landmarks: np.ndarray


def load_source_face(path: str | os.PathLike[str]) -> SourceFace:
    """Load the source face from an image, or from the frame of a clip in which the speaking face's mouth is most closed.

    Raises
    ------
    MediaError
        If the file cannot be read, or no face is found in it.
    """
    if Path(path).suffix.lower() in IMAGE_SUFFIXES:
        frames, waveform = _read_image(path)[None], None
    else:
        clip = read_clip(path, max_seconds=8.0)
        if clip.frames is None:
            raise MediaError(os.fspath(path), "has no video; a source must show a face")
        frames, waveform = clip.frames, clip.waveform
    with FaceTracker() as tracker:
        track = speaking_face(tracker.track(frames), waveform)
    if track is None:
        raise MediaError(os.fspath(path), "no face was found in it; give a source that shows one, frontal and not too small")
    usable = np.flatnonzero(track.usable)
    index = int(usable[np.argmin(track.mouth_opening[usable])])
    return SourceFace(frames[index], track.landmarks[index])


def _read_image(path: str | os.PathLike[str]) -> np.ndarray:
    if not Path(path).is_file():
        raise MediaError(os.fspath(path), "no such file")
    image = cv2.imread(os.fspath(path), cv2.IMREAD_COLOR)
    if image is None:
        raise MediaError(os.fspath(path), "is not an image that OpenCV can read")
    scale = min(1.0, MAX_IMAGE_SIDE / max(image.shape[:2]))
    if scale < 1.0:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def load_motion(path: str | os.PathLike[str], space: MotionSpace) -> tuple[Motion, Clip]:
    """Motion of the speaking face of a clip, in units of its head crop; and the clip.

    Raises
    ------
    MediaError
        If the file cannot be read, or no face is found in it.
    """
    clip = read_clip(path, max_seconds=MAX_SECONDS)
    if clip.frames is None:
        raise MediaError(os.fspath(path), "has no video to take the head motion from")
    with FaceTracker() as tracker:
        track = speaking_face(tracker.track(clip.frames), clip.waveform)
    if track is None or not track.usable.any():
        raise MediaError(os.fspath(path), "no face was found in it")
    return space.motion(head_box(track.landmarks[track.usable]).to_unit(track.landmarks)), clip


def synthesise(head: TalkingHead, source: SourceFace, portrait: Portrait, motion: Motion) -> np.ndarray:
    """Render a motion and paste the head into the source frame: uint8 [T, H, W, 3]."""
    return paste_into_source(render(head, bundled_renderer(), portrait, motion), source, portrait)


def paste_into_source(heads: np.ndarray, source: SourceFace, portrait: Portrait) -> np.ndarray:
    """Paste head images uint8 [T, 96, 96, 3] into the source frame: uint8 [T, H, W, 3]."""
    out = np.empty((len(heads), *source.frame.shape), dtype=np.uint8)
    for begin in range(0, len(heads), BATCH_SIZE):
        batch = heads[begin : begin + BATCH_SIZE]
        frames = np.broadcast_to(source.frame, (len(batch), *source.frame.shape))
        out[begin : begin + BATCH_SIZE] = paste_heads(batch, frames, portrait.box)[0]
    return out
