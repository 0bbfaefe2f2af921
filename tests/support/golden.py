"""Verdicts on 24 clips, kept as golden values: ``python tests/support/golden.py record|compare FILE [--footage DIR]``.

It needs only what scoring needs, so that an installed wheel can be compared from outside of the repository; the four generated
clips need the extra ``generate`` too and are left out without it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SAMPLES = ("font.mp4", "mfr-net.mp4", "opt.mp4", "osm-net.mp4")
GENERATED = ("talk.mp4", "talk.wav", "silent.mkv", "long.mp4")
FOOTAGE = (
    "grid/s1/bbaf2n.mp4",
    "grid/s1/prbq1a.mp4",
    "lrc_ar/01467.mp4",
    "lrc_ar/04026.mp4",
    "ted/00_s1.mp4",
    "wild/edtalk/res__demo_EDTalk_V_using_weights.mp4",
    "wild/mcgurk/Da_Ba.mp4",
    "wild/wav2lip_quiz/org__lipreading_sentences_introductions__how_are_you.sheri1.mp4",
    "field/clips/0024dd8764d4.mp4",
    "field/clips/3412d5f2e259.mp4",
    "field/clips/6a5178450844.mp4",
    "field/clips/9f5067c7e7ca.mp4",
    "field/clips/d5f2391ddc0d.mp4",
    "field/audio/0484e43accd6.flac",
    "field/audio/324921d3a0d9.flac",
    "field/audio/616d0a37e0dd.flac",
)
KEPT = ("status", "verdict", "duration", "p_fake", "audio", "video", "sync", "timeline", "faces", "quality")
RENAMED = {"audio_unproven": "audio_not_validated", "video_unproven": "video_not_validated"}  # flags of schema 1.1
SAME_PROCESSOR = 1e-6  # tolerance where numbers were recorded with the same libraries on the same kind of processor
OTHER_PROCESSOR = 0.05  # vector widths and library versions move landmarks by fractions of a pixel


def generated_clips(folder: Path) -> dict[str, Path]:
    """Clips made by the package itself; none without the extra ``generate``."""
    try:
        from avwitness.generators.demo import animate, portrait, synthetic_voice
        from avwitness.media.encode import write_media

        image = portrait()
    except ImportError:
        return {}
    waveform, opening = synthetic_voice(3.0, seed=1)
    frames = animate(image, opening)
    long_waveform, long_opening = synthetic_voice(13.0, seed=2)
    return {
        "talk.mp4": write_media(folder / "talk.mp4", frames, waveform),
        "talk.wav": write_media(folder / "talk.wav", waveform=waveform, audio_codec="pcm_s16le"),
        "silent.mkv": write_media(folder / "silent.mkv", frames),
        "long.mp4": write_media(folder / "long.mp4", animate(image, long_opening), long_waveform),
    }


def footage_folder() -> Path | None:
    """The development footage, or ``None`` where it is absent."""
    folder = Path(os.environ.get("AVWITNESS_DATA") or ROOT.parent / "shared" / "data")
    return folder if (folder / "field" / "manifest.csv").is_file() else None


def golden_clips(folder: Path, footage: Path | None) -> dict[str, Path]:
    """Every clip that is there, by name."""
    clips = {f"samples/{name}": ROOT / "samples" / name for name in SAMPLES}
    clips |= {f"generated/{name}": file for name, file in generated_clips(folder).items()}
    if footage is not None:
        clips |= {name: footage / name for name in FOOTAGE}
    return clips


def environment() -> dict[str, str]:
    """What numbers depend on beside the code."""
    import av
    import cv2
    import mediapipe
    import torch
    import transformers

    versions = {module.__name__: str(module.__version__).split("+")[0] for module in (av, cv2, mediapipe, torch, transformers)}
    return {**versions, "processor": torch.backends.cpu.get_cpu_capability()}


def score(clips: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """What the bundled detector says of every clip."""
    import avwitness

    detector = avwitness.load(device="cpu")
    out = {}
    for name, path in clips.items():
        values = detector.score(path).to_dict()
        out[name] = {key: values[key] for key in KEPT}
    return out


def differences(expected: Any, found: Any, tolerance: float, place: str = "") -> list[str]:
    """Sentences on what is not the same, numbers within a tolerance."""
    if isinstance(expected, dict) and isinstance(found, dict):
        wrong = [f"{place}: keys {sorted(set(expected) ^ set(found))}"] if set(expected) != set(found) else []
        return wrong + [
            line for key in expected if key in found for line in differences(expected[key], found[key], tolerance, f"{place}/{key}")
        ]
    if isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            return [f"{place}: {expected} became {found}"]
        return [line for i, pair in enumerate(zip(expected, found, strict=True)) for line in differences(*pair, tolerance, f"{place}[{i}]")]
    if isinstance(expected, float) and isinstance(found, int | float):
        return [] if math.isfinite(found) and abs(expected - found) <= tolerance else [f"{place}: {expected} became {found}"]
    expected = RENAMED.get(expected, expected) if isinstance(expected, str) else expected
    return [] if expected == found else [f"{place}: {expected!r} became {found!r}"]


def compare(recorded: dict[str, Any], found: dict[str, dict[str, Any]], tolerance: float) -> list[str]:
    """Differences over all clips that were scored; beyond the same processor, only of the numbers that a verdict rests on."""
    lines = []
    for name, values in found.items():
        expected = recorded["verdicts"][name]
        if tolerance > SAME_PROCESSOR:
            numbers = ("status", "p_fake", "audio", "video")
            expected, values = ({key: side[key] for key in numbers} for side in (expected, values))
            for side in (expected, values):  # a label may change at a threshold
                for stream in ("audio", "video"):
                    side[stream] = {key: value for key, value in side[stream].items() if key != "label"}
        lines += differences(expected, values, tolerance, name)
    return lines


def tolerance_here(recorded: dict[str, Any]) -> float:
    """How far numbers may lie from the recorded ones on this machine, with these libraries."""
    return SAME_PROCESSOR if recorded["environment"] == environment() else OTHER_PROCESSOR


def main() -> int:
    """Record verdicts, or compare with what was recorded."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("record", "compare"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--footage", type=Path)
    parser.add_argument("--tolerance", type=float)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = score(golden_clips(Path(folder), given.footage or footage_folder()))
    if given.what == "record":
        given.file.write_text(json.dumps({"environment": environment(), "verdicts": found}, indent=1, allow_nan=False) + "\n")
        return 0
    recorded = json.loads(given.file.read_text())
    tolerance = given.tolerance or tolerance_here(recorded)
    lines = compare(recorded, found, tolerance)
    print("\n".join([*lines, f"{len(found)} verdicts compared within {tolerance:g}: {len(lines)} differences"]))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
