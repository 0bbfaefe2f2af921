from __future__ import annotations

import os
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avwitness.media.clip import FRAME_RATE, SAMPLE_RATE, MediaError
from avwitness.media.decode import Damage, at_25_fps, stream_frames
from avwitness.media.encode import write_media
from avwitness.media.probe import probe
from avwitness.media.windows import MediaReader, read_clip

VIDEO_KINDS = [
    ("mp4", "libx264", "yuv420p", "aac"),
    ("mov", "libx264", "yuv420p", "aac"),
    ("mkv", "libx265", "yuv420p", "flac"),
    ("mkv", "libx265", "yuv420p10le", "libopus"),
    ("mp4", "libx264", "yuv420p10le", "aac"),
    ("webm", "libvpx-vp9", "yuv420p", "libopus"),
    ("mp4", "libsvtav1", "yuv420p", "aac"),
    ("avi", "mpeg4", "yuv420p", "pcm_s16le"),
    ("mpg", "mpeg1video", "yuv420p", "mp2"),
]
AUDIO_KINDS = [("wav", "pcm_s16le"), ("mp3", "libmp3lame"), ("flac", "flac"), ("ogg", "flac"), ("opus", "libopus"), ("m4a", "aac")]


def flash_and_click(seconds: float = 2.0, rate: float = 25.0, at: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A video that turns from dark to bright, and a tone that starts, at the same moment."""
    times = np.arange(int(seconds * rate)) / rate
    frames = np.full((len(times), 64, 96, 3), 30, np.uint8)
    frames[times >= at - 1e-6] = 220
    clock = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tone = np.where(clock >= at, 0.5 * np.sin(2 * np.pi * 440 * clock), 0.0).astype(np.float32)
    return frames, tone


def bright_from(frames: np.ndarray) -> float:
    return float(np.argmax(frames.mean(axis=(1, 2, 3)) > 120)) / FRAME_RATE


def loud_from(waveform: np.ndarray) -> float:
    return float(np.argmax(np.abs(waveform) > 0.2)) / SAMPLE_RATE


@pytest.mark.parametrize(("container", "codec", "pixels", "sound"), VIDEO_KINDS)
def test_every_kind_of_video_keeps_its_clock(tmp_path: Path, container: str, codec: str, pixels: str, sound: str) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this build of PyAV has no encoder {codec}")
    frames, tone = flash_and_click()
    rate = 48_000 if sound in ("libopus", "mp2") else SAMPLE_RATE
    tone = np.repeat(tone, rate // SAMPLE_RATE)
    file = write_media(
        tmp_path / f"clip.{container}", frames, tone, video_codec=codec, pixel_format=pixels, audio_codec=sound, sample_rate=rate
    )
    reader = MediaReader(file)
    clips = list(reader.windows())
    reader.check()
    assert len(clips) == 1
    clip = clips[0]
    assert clip.frames is not None
    assert clip.waveform is not None
    assert clip.frames.shape[1:] == (64, 96, 3)
    assert abs(len(clip.frames) - 50) <= 1
    assert abs(len(clip.waveform) / SAMPLE_RATE - 2.0) < 0.1
    assert bright_from(clip.frames) == pytest.approx(1.0, abs=0.041)
    assert loud_from(clip.waveform) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(("container", "codec"), AUDIO_KINDS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_kind_of_audio(tmp_path: Path, container: str, codec: str, channels: int) -> None:
    _, tone = flash_and_click()
    rate = 48_000
    tone = np.repeat(tone, 3)
    sound = tone if channels == 1 else np.stack([tone, tone], axis=1)
    file = write_media(tmp_path / f"sound.{container}", waveform=sound, audio_codec=codec, sample_rate=rate)
    clip = read_clip(file)
    assert clip.frames is None
    assert clip.waveform is not None
    assert clip.waveform.dtype == np.float32
    assert loud_from(clip.waveform) == pytest.approx(1.0, abs=0.03)
    assert np.abs(clip.waveform).max() == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("rate", [12.0, 23.976, 29.97, 50.0, 60.0])
def test_other_frame_rates_become_25(tmp_path: Path, rate: float) -> None:
    frames, _ = flash_and_click(rate=rate)
    clip = read_clip(write_media(tmp_path / "clip.mp4", frames, frame_rate=rate))
    assert clip.frames is not None
    assert abs(len(clip.frames) - 50) <= 2
    assert bright_from(clip.frames) == pytest.approx(1.0, abs=0.5 / rate + 0.041)


def test_variable_frame_rate_is_placed_by_timestamp(tmp_path: Path) -> None:
    # 10 fps for a second, then 50 fps: by counting frames the flash would come far too early.
    times = np.concatenate([np.arange(10) / 10, 1.0 + np.arange(50) / 50])
    frames = np.full((60, 64, 96, 3), 30, np.uint8)
    frames[times >= 1.5] = 220
    clip = read_clip(write_media(tmp_path / "clip.mp4", frames, frame_times=times))
    assert clip.frames is not None
    assert bright_from(clip.frames) == pytest.approx(1.5, abs=0.05)


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_late_audio_stays_late(tmp_path: Path, container: str) -> None:
    frames, tone = flash_and_click()
    clip = read_clip(write_media(tmp_path / f"clip.{container}", frames, tone, audio_start=0.5))
    assert clip.waveform is not None
    assert loud_from(clip.waveform) == pytest.approx(1.5, abs=0.03)
    assert np.abs(clip.waveform[: int(0.45 * SAMPLE_RATE)]).max() < 1e-3


def test_late_video_begins_black(tmp_path: Path) -> None:
    frames, tone = flash_and_click()
    file = write_media(tmp_path / "clip.mkv", frames, tone, frame_times=0.4 + np.arange(50) / 25)
    clip = read_clip(file)
    assert clip.frames is not None
    assert clip.waveform is not None
    assert clip.frames[:9].max() == 0
    assert bright_from(clip.frames) == pytest.approx(1.4, abs=0.05)
    assert loud_from(clip.waveform) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(("turn", "corner"), [(90, (0, -1)), (180, (-1, -1)), (270, (-1, 0))])
def test_rotation_is_applied(tmp_path: Path, turn: int, corner: tuple[int, int]) -> None:
    frames = np.full((10, 64, 96, 3), 20, np.uint8)
    frames[:, :16, :16] = 230  # top left
    file = write_media(tmp_path / "clip.mp4", frames)
    file.write_bytes(rotated(file.read_bytes(), turn))
    clip = read_clip(file)
    assert clip.frames is not None
    assert clip.frames.shape[1:3] == ((96, 64) if turn != 180 else (64, 96))
    picture = clip.frames[5].mean(axis=-1)
    patches = {(y, x): picture[8 * (1 + 2 * y) if y >= 0 else -8, 8 * (1 + 2 * x) if x >= 0 else -8] for y in (0, -1) for x in (0, -1)}
    assert max(patches, key=lambda key: patches[key]) == corner
    for reader in ("pyav", "decord"):
        assert np.array_equal(read_clip(file, reader=reader).frames, clip.frames)


def rotated(data: bytes, turn: int) -> bytes:
    """Set the display matrix of the first track of an MP4 to a clockwise turn (ISO 14496-12, tkhd)."""
    cos, sin = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[turn]
    matrix = struct.pack(">9i", cos << 16, sin << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30)
    at = data.index(b"tkhd") + 44
    return data[:at] + matrix + data[at + 36 :]


def test_decord_and_pyav_agree(talk_file: Path) -> None:
    info = probe(talk_file)
    one, other = (list(stream_frames(info, Damage(), reader=reader)) for reader in ("decord", "pyav"))
    assert len(one) == len(other)
    assert np.allclose([t for t, _ in one], [t for t, _ in other], atol=1e-4)
    assert max(int(np.abs(a.astype(int) - b).max()) for (_, a), (_, b) in zip(one, other, strict=True)) <= 2


def test_windows_overlap_and_cover_everything(tmp_path: Path) -> None:
    frames, tone = flash_and_click(seconds=7.0, at=3.0)
    file = write_media(tmp_path / "clip.mp4", frames, tone[: int(6.9 * SAMPLE_RATE)])
    whole = read_clip(file)
    assert whole.frames is not None
    assert whole.waveform is not None
    starts = []
    for clip in MediaReader(file).windows(2.0, 1.0):
        begin = round(clip.start * FRAME_RATE)
        assert clip.frames is not None
        assert clip.waveform is not None
        assert np.array_equal(clip.frames, whole.frames[begin : begin + 50])
        assert np.array_equal(clip.waveform, whole.waveform[begin * 640 : (begin + 50) * 640])
        starts.append(clip.start)
    assert starts == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(gaps=st.lists(st.floats(0.005, 0.3), min_size=1, max_size=40), lead=st.floats(0.0, 0.5))
def test_every_tick_shows_the_nearest_frame(gaps: list[float], lead: float) -> None:
    times = lead + np.concatenate([[0.0], np.cumsum(gaps)])
    shown = list(at_25_fps(iter([(float(t), np.full((1, 1, 3), i + 1)) for i, t in enumerate(times)]), 0.0))
    for tick, frame in enumerate(shown):
        index, now = int(frame[0, 0, 0]) - 1, tick / FRAME_RATE
        if index < 0:
            assert now < lead
        elif now <= times[-1]:
            assert abs(times[index] - now) <= np.abs(times - now).min() + 1e-6
    assert len(shown) == 1 or abs(len(shown) / FRAME_RATE - (times[-1] + gaps[-1])) <= 1.0 / FRAME_RATE


CAUSES = {
    "empty": "is empty",
    "truncated_index": "truncated",
    "truncated_data": "truncated",
    "text": "not a media file",
    "corrupt": "corrupt packets",
    "tiny": "16x16",
    "huge": "8800x8800",
    "missing": "no such file",
    "directory": "is a directory",
}


def decode_all(file: Path) -> None:
    reader = MediaReader(file)
    for _ in reader.windows():
        pass
    reader.check()


@pytest.mark.parametrize("kind", CAUSES)
def test_bad_files_are_named_with_their_cause(broken_files: dict[str, Path], kind: str) -> None:
    file = broken_files[kind]
    with pytest.raises(MediaError) as caught:
        decode_all(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert CAUSES[kind] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_decord_falls_back_to_pyav_on_damage(broken_files: dict[str, Path]) -> None:
    reader = MediaReader(broken_files["corrupt"], reader="decord")
    frames = sum(len(clip.frames) for clip in reader.windows(60, 60) if clip.frames is not None)
    assert frames > 40


def test_unreadable_file(tmp_path: Path) -> None:
    file = tmp_path / "secret.mp4"
    file.write_bytes(b"x")
    file.chmod(0)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)
        with pytest.raises(MediaError, match="permissions"):
            probe(file)
    finally:
        if root:
            os.seteuid(0)


def test_a_pipe_is_refused_before_it_blocks(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    with pytest.raises(MediaError, match="no regular file"):
        probe(pipe)


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    _, tone = flash_and_click()
    file = tmp_path / "song.mp3"
    with av.open(str(file), "w") as container:
        audio = container.add_stream("libmp3lame", rate=SAMPLE_RATE, layout="mono")
        picture = container.add_stream("mjpeg", rate=1)
        picture.width = picture.height = 64
        picture.pix_fmt = "yuvj420p"
        picture.disposition = av.stream.Disposition.attached_pic
        container.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        sound = av.AudioFrame.from_ndarray(tone[None, :], format="fltp", layout="mono")
        sound.sample_rate = SAMPLE_RATE
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    info = probe(file)
    assert info.video is None
    assert info.audio is not None


def test_a_path_is_never_a_protocol(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such file"):
        probe("http://127.0.0.1/clip.mp4")


@pytest.mark.footage
def test_real_mpeg1(footage: Path) -> None:
    file = next((footage / "wild" / "grid_extra").glob("*.mpg"))
    reader = MediaReader(file)
    clip = next(reader.windows())
    assert clip.frames is not None
    assert clip.waveform is not None
    assert clip.frames.shape == (75, 288, 360, 3)
    assert abs(len(clip.waveform) / SAMPLE_RATE - 3.0) < 0.05


def test_a_stream_that_changes_its_size_keeps_that_of_its_first_frame(tmp_path: Path) -> None:
    parts = [
        write_media(tmp_path / f"{side}.ts", np.full((25, side, 2 * side, 3), 200, np.uint8), video_codec="mpeg2video").read_bytes()
        for side in (64, 128)
    ]
    parts.append(write_media(tmp_path / "tall.ts", np.full((25, 128, 64, 3), 200, np.uint8), video_codec="mpeg2video").read_bytes())
    file = tmp_path / "changing.ts"
    file.write_bytes(b"".join(parts))
    frames = read_clip(file).frames
    assert frames is not None and frames.shape[1:] == (64, 128, 3)
    grey = frames.mean(axis=(1, 2, 3))
    assert grey.max() > 150 and 30 < grey.min() < 80  # the tall frames stand in the middle of black
