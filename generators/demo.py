"""Demo clips made of public-domain portraits that dependencies ship: an animated mouth and a formant-synthesised voice."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from scipy.signal import lfilter

from ..media.clip import FRAME_RATE, SAMPLE_RATE, SAMPLES_PER_FRAME
from ..media.encode import write_media
from ..media.face.landmarks import LIPS_OUTER
from ..media.face.tracking import FaceTracker

CLIP_SECONDS = 4.0  # of the demo clip
IMAGE_SIZE = 384  # pixels, side of the rendered portrait
SYLLABLE_SECONDS = 0.22
VOWELS = (
    (730, 1090, 2440),
    (270, 2290, 3010),
    (300, 870, 2240),
    (530, 1840, 2480),
    (570, 840, 2410),
)  # formants in Hz (Peterson and Barney, 1952)
BANDWIDTHS = (80.0, 100.0, 140.0)  # Hz


def portrait() -> np.ndarray:
    """A frontal face uint8 [384, 384, 3]: Eileen Collins, photographed by NASA (public domain), shipped with scikit-image."""
    from skimage.data import astronaut

    return cv2.resize(astronaut()[0:256, 96:352], (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_CUBIC)


def second_portrait() -> np.ndarray:
    """A frontal face uint8 [384, 384, 3]: Grace Hopper, photographed by the U.S. Navy (public domain), shipped with matplotlib."""
    import matplotlib

    file = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    image = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
    return cv2.resize(image[55:415, 83:443], (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA)


# Portraits by the names of the persons.
PEOPLE = {"collins": portrait, "hopper": second_portrait}


def synthetic_voice(seconds: float = CLIP_SECONDS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Nonsense syllables from a formant synthesiser.

    Returns
    -------
    waveform : float32 [S]
        At 16 kHz.
    opening : float32 [T]
        Mouth opening at 25 frames per second, in [0, 1].
    """
    rng = np.random.default_rng(seed)
    samples = int(seconds * SAMPLE_RATE)
    time = np.arange(samples) / SAMPLE_RATE
    pitch = 185.0 + 25.0 * np.sin(2 * np.pi * 0.7 * time) + 4.0 * np.sin(2 * np.pi * 5.1 * time)
    phase = np.cumsum(pitch) / SAMPLE_RATE
    pulses = np.diff(np.floor(phase), prepend=0.0)
    source = lfilter([1.0], [1.0, -0.95], pulses) + 0.01 * rng.standard_normal(samples)
    waveform = np.zeros(samples)
    loudness = np.zeros(samples)
    step = int(SYLLABLE_SECONDS * SAMPLE_RATE)
    for begin in range(step, samples - step, step):
        if rng.random() < 0.15:  # a pause
            continue
        interval = slice(begin, min(begin + step, samples))
        audio = source[interval]
        for formant, bandwidth in zip(VOWELS[rng.integers(len(VOWELS))], BANDWIDTHS, strict=True):
            radius = np.exp(-np.pi * bandwidth / SAMPLE_RATE)
            audio = lfilter([1.0 - radius], [1.0, -2.0 * radius * np.cos(2 * np.pi * formant / SAMPLE_RATE), radius**2], audio)
        envelope = np.sin(np.pi * np.linspace(0.0, 1.0, len(audio))) ** 0.7
        waveform[interval] += audio / (np.abs(audio).max() + 1e-9) * envelope
        loudness[interval] = envelope
        burst = slice(begin, begin + int(0.02 * SAMPLE_RATE))
        waveform[burst] += 0.15 * rng.standard_normal(burst.stop - burst.start)
    waveform = 0.3 * waveform / np.abs(waveform).max() + 1e-3 * rng.standard_normal(samples)
    frames = samples // SAMPLES_PER_FRAME
    opening = loudness[: frames * SAMPLES_PER_FRAME].reshape(frames, -1).mean(axis=1)
    return waveform.astype(np.float32), opening.astype(np.float32)


def animate(image: np.ndarray, opening: np.ndarray) -> np.ndarray:
    """Animate the mouth and the head of a still image.

    Parameters
    ----------
    image : uint8 [H, W, 3]
    opening : float [T]
        Mouth opening in [0, 1].

    Returns
    -------
    uint8 [T, H, W, 3]

    Raises
    ------
    ValueError
        If no face is found in the image.
    """
    with FaceTracker() as tracker:
        tracks = tracker.track(image[None])
    if not tracks:
        raise ValueError("no face was found in the image")
    points = tracks[0].landmarks[0, :, :2]
    left, right = points[61], points[291]
    centre = (points[13] + points[14]) / 2
    width = float(np.linalg.norm(right - left))
    contour = points[list(LIPS_OUTER)]
    thickness = float(np.ptp(contour[:, 1])) / 2
    height, breadth = image.shape[:2]
    y, x = np.mgrid[0:height, 0:breadth].astype(np.float32)
    across = (x - centre[0]) / (0.5 * width)
    frames = np.empty((len(opening), *image.shape), dtype=np.uint8)
    for index, amount in enumerate(opening):
        gape = amount * 0.25 * width * np.sqrt(np.clip(1.0 - across**2, 0.0, 1.0))  # pixels by which the lower lip moves down
        below = y - centre[1]
        fade = np.exp(-np.square(np.clip(below - gape, 0.0, None) / (2.5 * thickness)))
        opened = cv2.remap(
            image, x, np.where(below > gape, y - gape * fade, y).astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        cavity = ((below > 0) & (below <= gape)).astype(np.float32)
        cavity = cv2.GaussianBlur(cavity, (0, 0), 1.0)[..., None]
        opened = opened * (1.0 - cavity) + np.array([62.0, 22.0, 24.0], dtype=np.float32) * cavity
        sway = 2 * np.pi * index / FRAME_RATE
        turn = cv2.getRotationMatrix2D((breadth / 2, height / 2), 1.5 * np.sin(0.35 * sway), 1.0 + 0.01 * np.sin(0.2 * sway))
        turn[:, 2] += 3.0 * np.sin(0.3 * sway), 2.0 * np.sin(0.43 * sway)
        frames[index] = cv2.warpAffine(opened.astype(np.uint8), turn, (breadth, height), borderMode=cv2.BORDER_REPLICATE)
    return frames


def write_demo(path: str | os.PathLike[str], seconds: float = CLIP_SECONDS, seed: int = 0) -> Path:
    """Render the demo clip; both of its streams are synthetic, and it carries a visible badge."""
    waveform, opening = synthetic_voice(seconds, seed)
    frames = animate(portrait(), opening)
    for frame in frames:
        cv2.putText(frame, "SYNTHETIC", (8, IMAGE_SIZE - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 2, cv2.LINE_AA)
    return write_media(path, frames, waveform, video_options={"crf": "18"})


def speaking_clip(identity: str, size: int, seconds: float, seed: int) -> tuple[np.ndarray, np.ndarray, list[tuple[float, float]]]:
    """One of :data:`PEOPLE`, animated to a synthetic voice.

    Returns
    -------
    frames : uint8 [T, side, side, 3]
    waveform : float32 [S]
    syllables : list of (float, float)
        Begin and end of each in seconds.
    """
    waveform, opening = synthetic_voice(seconds, seed)
    starts = np.arange(1, int(seconds / SYLLABLE_SECONDS)) * SYLLABLE_SECONDS
    syllables = [
        (a, a + SYLLABLE_SECONDS)
        for a in starts
        if opening[round(a * FRAME_RATE) : round((a + SYLLABLE_SECONDS) * FRAME_RATE)].max(initial=0.0) > 0.5
    ]
    image = cv2.resize(PEOPLE[identity](), (size, size), interpolation=cv2.INTER_AREA)
    return animate(image, opening), waveform, syllables


def write_corpus(folder: str | os.PathLike[str], clips: int = 6, size: int = 288, seconds: float = 2.4, seed: int = 0) -> Path:
    """Write a small corpus for trying the forge: clips of two people, times of their syllables, ``manifest.csv``; returns the manifest."""
    folder = Path(folder)
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    (folder / "align").mkdir(exist_ok=True)
    rows = ["path,video_label,audio_label,identity,corpus,split,transcript"]
    for number in range(clips):
        identity = sorted(PEOPLE)[number % len(PEOPLE)]
        frames, waveform, syllables = speaking_clip(identity, size, seconds, seed + number + 1)
        name = f"{identity}-{number}"
        write_media(folder / "clips" / f"{name}.mp4", frames, waveform, video_options={"crf": "18"})
        lines = [f"{round(25_000 * a)} {round(25_000 * b)} syllable" for a, b in syllables]
        (folder / "align" / f"{name}.align").write_text("\n".join(lines) + "\n")
        rows.append(f"clips/{name}.mp4,0,0,{identity},demo,train,bin blue at f two now")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder / "manifest.csv"
