"""A small corpus of two people on disk: portraits that dependencies ship, animated to a synthetic voice; and the forge's command line."""

from __future__ import annotations

import csv
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np

from avwitness.generators.demo import speaking_clip, synthetic_voice
from avwitness.generators.methods.source import Source, cache_name, load_source, track_clip
from avwitness.media.clip import FRAME_RATE
from avwitness.media.encode import write_media

IMAGE_SIZE = 256  # pixels
FRAMES = 60  # of every clip
TRANSCRIPT = "bin blue at f two now"
# Name of a clip: who is in it, and the seed of the voice.
CLIPS = {"collins-1": ("collins", 2), "collins-2": ("collins", 3), "hopper-1": ("hopper", 4), "hopper-2": ("hopper", 5)}
FAST_METHODS = "self_blend,face_swap,mouth_replacement,griffin_lim,lpc,desync,foreign_audio,word_replace_audio,word_delete_both"
AUDIO_ONLY, VIDEO_ONLY, BROKEN = "collins-voice", "hopper-silent", "hopper-broken"


def animated_clip(identity: str, seed: int) -> tuple[np.ndarray, np.ndarray, list[tuple[float, float]]]:
    """Frames, waveform, and begin and end of the syllables in seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return speaking_clip(identity, IMAGE_SIZE, FRAMES / FRAME_RATE, seed)


def write_people(folder: Path) -> Path:
    """Write ``manifest.csv``, its clips, and word times in the format of the GRID corpus; returns the manifest.

    Readable clips have the split ``train``, the unreadable file has ``dev``.
    """
    (folder / "clips").mkdir(parents=True)
    (folder / "align").mkdir()
    rows = []

    def add(name: str, identity: str, video: str, audio: str, split: str = "train") -> Path:
        rows.append((f"clips/{name}.mp4", video, audio, identity, "people", split, TRANSCRIPT))
        return folder / rows[-1][0]

    for name, (identity, seed) in CLIPS.items():
        frames, waveform, syllables = animated_clip(identity, seed)
        write_media(add(name, identity, "0", "0"), frames, waveform, video_options={"crf": "18"})
        lines = [f"{round(25_000 * a)} {round(25_000 * b)} word" for a, b in syllables]
        (folder / "align" / f"{name}.align").write_text("\n".join(lines) + "\n")
    write_media(add(AUDIO_ONLY, "collins", "", "0"), None, synthetic_voice(FRAMES / FRAME_RATE, 6)[0])
    write_media(add(VIDEO_ONLY, "hopper", "0", ""), animated_clip("hopper", 7)[0], video_options={"crf": "18"})
    add(BROKEN, "hopper", "0", "0", "dev").write_bytes(b"this is no film\n" * 200)
    with open(folder / "manifest.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path", "video_label", "audio_label", "identity", "corpus", "split", "transcript"))
        writer.writerows(rows)
    return folder / "manifest.csv"


def track_people(manifest: Path, cache: Path) -> dict[str, Source]:
    """Every readable clip of the corpus as a tracked source of the forge, by its name."""
    cache.mkdir(parents=True, exist_ok=True)
    out = {}
    with open(manifest, newline="") as stream:
        for row in csv.DictReader(stream):
            file, track = manifest.parent / row["path"], cache / cache_name(manifest.parent / row["path"], row["transcript"])
            if Path(row["path"]).stem != BROKEN:
                track_clip(file, track, row["transcript"])
                out[file.stem] = load_source(file, track, row["path"], row["identity"], row["transcript"])
    return out


def forge_command(people: Path, out: Path, workers: int = 1, **options: object) -> list[str]:
    """The command that writes two forged clips and a genuine one of every readable source; options by their names."""
    given = {"methods": FAST_METHODS, "per_clip": 2, "split": "train", "seed": 5} | options
    arguments = [word for name, value in given.items() if value is not None for word in (f"--{name.replace('_', '-')}", str(value))]
    where = ["--manifest", str(people), "--out", str(out), "--cache", str(people / "tracks"), "--workers", str(workers)]
    return [sys.executable, "-m", "avwitness.cli", "forge", *where, *arguments]


def run_forge_command(people: Path, out: Path, workers: int = 1, **options: object) -> subprocess.CompletedProcess[str]:
    """Forge a set in a separate process: its forks do not inherit the threads of the tests."""
    return subprocess.run(forge_command(people, out, workers, **options), capture_output=True, text=True, timeout=300, check=False)
