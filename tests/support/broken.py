"""Files that cannot be scored, one of every kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from avwitness.media.encode import write_media
from avwitness.media.windows import read_clip


def write_broken_files(folder: Path, whole: Path) -> dict[str, Path]:
    """Write them to a folder, by kind; those made from an intact clip (an MP4) among them."""
    data = whole.read_bytes()
    clip = read_clip(whole)
    index_first = folder / "index_first.mp4"
    faststart = write_media(index_first, clip.frames, clip.waveform, container_options={"movflags": "faststart"}).read_bytes()
    index_first.unlink()
    rng = np.random.default_rng(0)
    corrupt = bytearray(faststart)
    begin = corrupt.index(b"mdat") + 4000
    for position in rng.integers(begin, len(corrupt), 400):
        corrupt[position] ^= int(rng.integers(1, 256))
    contents = {
        "empty": b"",
        "truncated_index": data[: len(data) // 2],
        "truncated_data": faststart[: len(faststart) // 2],
        "text": b"this is no film\n" * 200,
        "corrupt": bytes(corrupt),
    }
    files = {}
    for kind, content in contents.items():
        files[kind] = folder / f"{kind}.mp4"
        files[kind].write_bytes(content)
    files["tiny"] = write_media(folder / "tiny.mkv", np.zeros((10, 16, 16, 3), np.uint8), video_codec="ffv1", pixel_format="yuv420p")
    huge = np.zeros((8800, 8800, 3), np.uint8)
    files["huge"] = write_media(folder / "huge.mov", [huge], video_codec="png", pixel_format="rgb24")
    return files
