"""Square pixels, rotation, transfer function, duration and motion of decoded video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from makers import Talk, noise_frames

from avwitness.detector.inference.quality import bits_per_pixel
from avwitness.media.encode import write_media
from avwitness.media.probe import probe
from avwitness.media.windows import MediaReader, read_clip

CIRCLE = np.hypot(*np.mgrid[-64:64, -64:64]) < 40


def write_video(file: Path, frames: list[np.ndarray], start: float = 0.0, **settings: object) -> Path:
    clock = Fraction(1, 90_000)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = clock
        for name, value in settings.items():
            setattr(stream.codec_context, name, value)
        for index, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round((start + index / 25) / clock), clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file


@pytest.mark.parametrize("aspect", [Fraction(2, 1), Fraction(4, 3), Fraction(64, 45), Fraction(8, 9)])
def test_pixels_are_made_square(tmp_path: Path, aspect: Fraction) -> None:
    rows = np.arange(128)
    columns = np.minimum((np.arange(round(64 / aspect) * 2) * float(aspect)).astype(int), 127)
    squeezed = np.repeat((CIRCLE[np.ix_(rows, columns)] * 220 + 10).astype(np.uint8)[..., None], 3, axis=2)
    file = write_video(tmp_path / "clip.mp4", [squeezed] * 10, sample_aspect_ratio=aspect)
    assert probe(file).video.sample_aspect == pytest.approx(float(aspect), abs=0.02)  # type: ignore[union-attr]
    for reader in ("pyav", "decord"):
        frames = read_clip(file, reader=reader).frames
        assert frames is not None
        bright = frames[5].mean(axis=-1) > 120
        width, height = np.ptp(np.flatnonzero(bright.any(axis=0))), np.ptp(np.flatnonzero(bright.any(axis=1)))
        assert width == pytest.approx(height, abs=4)


@pytest.mark.parametrize("container", ["mkv", "mp4", "ts"])
def test_an_offset_of_the_clock_is_no_length(tmp_path: Path, container: str) -> None:
    frames = list(noise_frames(50))
    plain, late = (write_video(tmp_path / f"{start:.0f}.{container}", frames, start) for start in (0.0, 100.0))
    assert probe(late).duration == pytest.approx(2.0, abs=0.2)
    bits = []
    for file in (plain, late):
        media = MediaReader(file)
        list(media.windows())
        assert media.info.video is not None
        bits.append(bits_per_pixel(media.info, media.video_damage.end - media.info.video.start))
    assert bits[0] == pytest.approx(bits[1], rel=0.05)


@pytest.mark.parametrize(("transfer", "hdr"), [(1, False), (16, True), (18, True)])
def test_high_dynamic_range_is_noticed(tmp_path: Path, transfer: int, hdr: bool) -> None:
    file = write_video(tmp_path / "clip.mp4", list(noise_frames(10)), color_trc=transfer)
    assert probe(file).video.hdr is hdr  # type: ignore[union-attr]


def still(file: Path) -> bool:
    media = MediaReader(file)
    list(media.windows())
    return media.motion.still


@pytest.mark.parametrize(("container", "codec"), [("mp4", "libx264"), ("mpg", "mpeg1video"), ("webm", "libvpx")])
def test_still_images_and_slideshows_are_told_from_video(tmp_path: Path, talk: Talk, talk_file: Path, container: str, codec: str) -> None:
    images = noise_frames(4)
    slides = [images[index // 75] for index in range(300)]
    assert still(write_media(tmp_path / f"still.{container}", [talk.frames[0]] * 75, video_codec=codec))
    assert still(write_media(tmp_path / f"slides.{container}", slides, video_codec=codec))
    assert not still(talk_file)
