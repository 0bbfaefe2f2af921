"""A toy corpus of synthetic speech: every character is a tone and a mouth shape, so that a tiny model learns it in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from avwitness.media.views import Views, cache_name, save_views

FRAMES_PER_CHARACTER = 4
SILENCE = 6  # frames before and after


def toy_views(text: str, rng: np.random.Generator) -> Views:
    """Views of a clip whose transcript is ``text``."""
    frames = 2 * SILENCE + FRAMES_PER_CHARACTER * len(text)
    waveform = 0.002 * rng.standard_normal(frames * 640).astype(np.float32)
    mouth = rng.integers(90, 110, (frames, 96, 96)).astype(np.uint8)
    for position, character in enumerate(text):
        if character == " ":
            continue
        first = SILENCE + position * FRAMES_PER_CHARACTER
        index = ord(character) - ord("a")
        time = np.arange(FRAMES_PER_CHARACTER * 640) / 16000.0
        waveform[first * 640 : (first + FRAMES_PER_CHARACTER) * 640] += 0.2 * np.sin(2 * np.pi * (300.0 + 500.0 * index) * time)
        mouth[first : first + FRAMES_PER_CHARACTER, 40 : 44 + 6 * index, 20:76] = 230
    return Views(mouth, np.zeros((frames, 40, 2), np.float32), np.ones(frames, dtype=bool), waveform)


def toy_corpus(cache: Path, clips: int = 24, seed: int = 0) -> pd.DataFrame:
    """Rows of a manifest with transcripts, their views already in ``cache``."""
    cache.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(clips):
        text = "".join(rng.choice(list("abcd"), int(rng.integers(2, 5)))) + " " + "".join(rng.choice(list("abcd"), 2))
        path = f"toy/{index}.mp4"
        save_views(toy_views(text, rng), cache / cache_name(path))
        rows.append(
            {
                "path": path,
                "file": path,
                "corpus": "toy",
                "split": "train" if index < clips - 4 else "dev",
                "speaker": f"s{index % 3}",
                "video_label": 0,
                "audio_label": 0,
                "method": "real",
                "transcript": text,
            }
        )
    return pd.DataFrame(rows)


TINY_CONFIG = """
seed: 3
threads: 1
model:
  backbone: two_stream
  backbone_options: {width: 32, heads: 2, feed_forward: 64, audio_layers: 1, video_layers: 1, joint_layers: 1,
                     visual_widths: [8, 8, 16, 16], visual_blocks: 1, visual_half_size: true, position_kernel: 7}
max_frames: 60
held_out_speakers: [s2]
stages:
  - {name: audio, streams: [audio], steps: 4, frames: 120, learning_rate: 1.0e-3, masked_prediction: 0.5, n_clusters: 8,
     checkpoint_every: 2}
  - {name: audio_visual, steps: 6, frames: 120, learning_rate: 1.0e-3, masked_prediction: 1.0, targets: encoder, n_clusters: 8,
     checkpoint_every: 2}
"""
