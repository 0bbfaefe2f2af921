"""Image sheets of public-domain portraits that the generators animate."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from ....generators.demo import PEOPLE, synthetic_voice
from ....generators.talking.models.base import Attitude, DrivingSignals, Portrait
from ....generators.talking.models.mfr_net import MfrNet
from ....generators.talking.rendering.head_crops import HEAD_SIZE
from ....generators.talking.rendering.motion import POSE_SIZE, Motion, MotionSpace
from ....generators.talking.synthesis import render
from ....media.clip import FRAME_RATE
from ....media.face.tracking import FaceTracker
from ....media.speech import log_mel
from .networks import Networks

SHEET_ROWS, SHEET_COLUMNS = 3, 8  # of each portrait
SHEET_SECONDS = 2.4  # of the synthetic voice
MAX_SHEET_BYTES = 150_000  # of one sheet
CAPTION_WIDTH = 58  # pixels on the left of a row
TITLE_HEIGHT = 18  # pixels
JPEG_QUALITIES = (92, 85, 75, 60)  # the first that keeps a sheet below MAX_SHEET_BYTES is used
POSE_AMPLITUDE = 1.5  # standard deviations of a synthetic reference pose
POSE_FREQUENCY = 0.7  # Hz


def write_sheets(networks: Networks, folder: str | os.PathLike[str], seed: int) -> Iterator[Path]:
    """Write ``generated_NAME.jpg`` for every generator: public-domain portraits animated with a synthetic voice.

    Rows are seeds; for OPT synthetic reference poses, for MFR-Net attitudes. The first column is the portrait.
    """
    audio = log_mel(synthetic_voice(SHEET_SECONDS, seed)[0])
    portraits = [load_portrait(name, networks.renderer.space) for name in sorted(PEOPLE)]
    for name, head in networks.heads.items():
        lines = [_title(f"SYNTHETIC: {name} animates two public-domain portraits; columns are {SHEET_SECONDS} s")]
        for portrait, other in zip(portraits, portraits[::-1], strict=True):
            for number in range(SHEET_ROWS):
                caption, signals = _driving_signals(name, number, audio, networks, other, seed)
                motion = head.generate_motion(portrait, signals, np.random.default_rng((seed, number)))
                lines.append(_row(caption, portrait.head, render(head, networks.renderer, portrait, motion)))
        target = Path(folder) / f"generated_{name}.jpg"
        _write(np.concatenate(lines), target)
        yield target


def load_portrait(name: str, space: MotionSpace) -> Portrait:
    """One of :data:`..generators.demo.PEOPLE` as a portrait."""
    image = PEOPLE[name]()
    with FaceTracker(max_faces=1) as tracker:
        return Portrait.from_frame(image, tracker.track(image[None])[0].landmarks[0], space)


def oscillating_pose(length: int, index: int, space: MotionSpace) -> np.ndarray:
    """A synthetic reference pose float32 [length, 6], in which one of the six numbers oscillates."""
    pose = np.zeros((length, POSE_SIZE), np.float32)
    pose[:, index] = POSE_AMPLITUDE * np.sin(2.0 * np.pi * POSE_FREQUENCY * np.arange(length) / FRAME_RATE)
    return pose * space.pose_scale.numpy()


def _driving_signals(
    name: str, number: int, audio: np.ndarray, networks: Networks, other: Portrait, seed: int
) -> tuple[str, DrivingSignals]:
    """Caption and driving signals of a row; for a listening head, the ``other`` portrait speaks."""
    space = networks.renderer.space
    if name == "opt":
        return ("yaw", "pitch", "roll")[number], DrivingSignals(audio, pose=oscillating_pose(len(audio), number, space))
    if name == MfrNet.name:
        speaker = Motion(oscillating_pose(len(audio), 0, space), np.repeat(other.motion.expression, len(audio), axis=0))
        if "font" in networks.heads:
            speaker = networks.heads["font"].generate_motion(other, DrivingSignals(audio), np.random.default_rng(seed))
        attitude = list(Attitude)[number]
        return attitude.value, DrivingSignals(audio, speaker=speaker, attitude=attitude)
    return f"seed {number}", DrivingSignals(audio)


def _title(text: str) -> np.ndarray:
    return _text(text, TITLE_HEIGHT, CAPTION_WIDTH + (SHEET_COLUMNS + 1) * HEAD_SIZE)


def _row(caption: str, source: np.ndarray, heads: np.ndarray) -> np.ndarray:
    picked = np.linspace(0, len(heads) - 1, SHEET_COLUMNS + 1).round().astype(int)[1:]
    return np.concatenate([_text(caption, HEAD_SIZE, CAPTION_WIDTH), source, *heads[picked]], axis=1)


def _text(text: str, height: int, width: int) -> np.ndarray:
    strip = np.full((height, width, 3), 255, np.uint8)
    cv2.putText(strip, text, (3, height // 2 + 4), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return strip


def _write(image: np.ndarray, target: Path) -> None:
    """Write a JPEG in the best quality that keeps it below :data:`MAX_SHEET_BYTES`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for quality in JPEG_QUALITIES:
        data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(data) < MAX_SHEET_BYTES:
            break
    target.write_bytes(data)
