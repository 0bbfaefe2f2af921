"""The networks of the talking heads that are measured together, their ablations, and sheets of public-domain portraits that they move."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ....checkpoints import MODEL, find_weights, read_card
from ....generators.demo import PEOPLE, synthetic_voice
from ....generators.talking.models.base import Attitude, DrivingSignals, Portrait, TalkingHead
from ....generators.talking.models.mfr_net import MfrNet
from ....generators.talking.models.registry import HEADS, IDENTITY
from ....generators.talking.rendering.head_clips import HeadClip
from ....generators.talking.rendering.head_crops import SIDE
from ....generators.talking.rendering.identity import IdentityNetwork
from ....generators.talking.rendering.motion import POSE, Motion, MotionSpace
from ....generators.talking.rendering.renderer import Renderer
from ....generators.talking.synthesis import bundled_head, bundled_renderer, head_missing_reason, render
from ....generators.talking.training.motion_training import HeadTraining, ListenerTraining, train_head
from ....generators.weights import load_network, save_network
from ....media.clip import FRAME_RATE
from ....media.face.tracking import FaceTracker
from ....media.speech import log_mel

ABLATIONS = {"font": "sampling", "opt": "disentangled", "osm-net": "space", "mfr-net": "aggregation"}  # what is switched off
SHEET_ROWS, SHEET_COLUMNS = 3, 8  # of each portrait
SHEET_SECONDS = 2.4  # of babble
SHEET_BYTES = 150_000  # of one sheet, at most
CAPTION = 58  # pixels on the left of a row
SWING = 1.5  # deviations by which a made-up reference pose swings
SWING_RATE = 0.7  # Hz


@dataclass(frozen=True)
class Cast:
    """Loaded networks, on the processor and ready to use.

    Parameters
    ----------
    renderer : Renderer
        The trunk.
    heads, ablated : mapping of str to TalkingHead
        By the names under which they are registered; those that are not there are not measured.
    identity : IdentityNetwork
    """

    renderer: Renderer
    heads: Mapping[str, TalkingHead]
    ablated: Mapping[str, TalkingHead]
    identity: IdentityNetwork


def load_cast(ablations: str | os.PathLike[str] | None, clips: Callable[[], Sequence[HeadClip]]) -> Cast:
    """The bundled networks, and their ablations from a folder.

    Parameters
    ----------
    ablations : path-like or None
        With a folder of weights for each generator; those that are missing are trained into it. ``None`` for no ablations.
    clips : callable
        Gives the training clips, if something must be trained.

    Raises
    ------
    FileNotFoundError
        If no weights are bundled.
    """
    renderer, identity = bundled_renderer(), load_network(IdentityNetwork, IDENTITY)
    heads = {name: bundled_head(name) for name in HEADS if head_missing_reason(name) is None}
    folders = {} if ablations is None else {name: Path(ablations) / name for name in heads}
    absent = [name for name, folder in folders.items() if not (folder / MODEL).is_file()]
    if absent:
        known = clips()
        for name in absent:
            train_ablation(name, known, renderer, identity, folders[name])
    return Cast(renderer, heads, {name: load_network(HEADS[name], folder) for name, folder in folders.items()}, identity)


def train_ablation(
    name: str, clips: Sequence[HeadClip], renderer: Renderer, identity: IdentityNetwork, folder: str | os.PathLike[str]
) -> None:
    """Train a generator without what its paper claims, else as the card of the bundled one says, and write its weights."""
    card = read_card(find_weights("generators", name))
    kind: Any = HEADS[name]
    settings_type = ListenerTraining if name == MfrNet.name else HeadTraining
    known = {field.name for field in fields(settings_type)}
    settings = settings_type(
        **{key: value for key, value in card.get("training", {}).items() if key in known and key != "model"},
        model={**card["model"], ABLATIONS[name]: False},
    )
    torch.manual_seed(settings.seed)
    head = train_head(kind(kind.config_type(**settings.model)), settings, clips, renderer, Path(folder) / "run", identity=identity)
    about = f"{name} without {ABLATIONS[name]}, to measure what that is worth"
    save_network(head, folder, {"about": about, "training": asdict(settings)})


def write_sheets(cast: Cast, folder: str | os.PathLike[str], seed: int) -> Iterator[Path]:
    """Write ``generated_NAME.jpg`` for every generator: public-domain portraits that it moves to a synthetic voice.

    Rows are seeds; for OPT made-up reference poses, for MFR-Net attitudes. The first column is the portrait.
    """
    sound, portraits = log_mel(synthetic_voice(SHEET_SECONDS, seed)[0]), [sitting(name, cast.renderer.space) for name in sorted(PEOPLE)]
    for name, head in cast.heads.items():
        lines = [_title(f"SYNTHETIC: {name} moves two public-domain portraits; columns are {SHEET_SECONDS} s")]
        for portrait, other in zip(portraits, portraits[::-1], strict=True):
            for number in range(SHEET_ROWS):
                caption, cue = _cue(name, number, sound, cast, other, seed)
                motion = head.move(portrait, cue, np.random.default_rng((seed, number)))
                lines.append(_row(caption, portrait.head, render(head, cast.renderer, portrait, motion)))
        target = Path(folder) / f"generated_{name}.jpg"
        _write(np.concatenate(lines), target)
        yield target


def sitting(name: str, space: MotionSpace) -> Portrait:
    """One of :data:`..generators.demo.PEOPLE` as a portrait."""
    picture = PEOPLE[name]()
    with FaceTracker(max_faces=1) as tracker:
        return Portrait.of(picture, tracker.track(picture[None])[0].landmarks[0], space)


def swinging(length: int, number: int, space: MotionSpace) -> np.ndarray:
    """A made-up reference: one number of a pose swings, float32 [length, 6]."""
    pose = np.zeros((length, POSE), np.float32)
    pose[:, number] = SWING * np.sin(2.0 * np.pi * SWING_RATE * np.arange(length) / FRAME_RATE)
    return pose * space.pose_scale.numpy()


def _cue(name: str, number: int, sound: np.ndarray, cast: Cast, other: Portrait, seed: int) -> tuple[str, DrivingSignals]:
    """Caption and cue of a row; the ``other`` portrait speaks where one listens."""
    space = cast.renderer.space
    if name == "opt":
        return ("yaw", "pitch", "roll")[number], DrivingSignals(sound, pose=swinging(len(sound), number, space))
    if name == MfrNet.name:
        speaker = Motion(swinging(len(sound), 0, space), np.repeat(other.motion.expression, len(sound), axis=0))
        if "font" in cast.heads:
            speaker = cast.heads["font"].move(other, DrivingSignals(sound), np.random.default_rng(seed))
        attitude = list(Attitude)[number]
        return attitude.value, DrivingSignals(sound, speaker=speaker, attitude=attitude)
    return f"seed {number}", DrivingSignals(sound)


def _title(text: str) -> np.ndarray:
    return _words(text, 18, CAPTION + (SHEET_COLUMNS + 1) * SIDE)


def _row(caption: str, source: np.ndarray, heads: np.ndarray) -> np.ndarray:
    picked = np.linspace(0, len(heads) - 1, SHEET_COLUMNS + 1).round().astype(int)[1:]
    return np.concatenate([_words(caption, SIDE, CAPTION), source, *heads[picked]], axis=1)


def _words(text: str, height: int, width: int) -> np.ndarray:
    strip = np.full((height, width, 3), 255, np.uint8)
    cv2.putText(strip, text, (3, height // 2 + 4), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return strip


def _write(picture: np.ndarray, target: Path) -> None:
    """As well as it can be within 150 kB."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for quality in (92, 85, 75, 60):
        data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(data) < SHEET_BYTES:
            break
    target.write_bytes(data)
