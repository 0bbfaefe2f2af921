"""Properties of all degradations."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from makers import Talk

from avwitness.evaluation.robustness.degradations.base import Coding, Degradation
from avwitness.evaluation.robustness.degradations.degrade import degrade
from avwitness.evaluation.robustness.degradations.registry import DEGRADATIONS
from avwitness.generators.demo import synthetic_voice
from avwitness.media.clip import FRAME_RATE, SAMPLE_RATE, SAMPLES_PER_FRAME, Clip, MediaError
from avwitness.media.encode import write_media
from avwitness.media.probe import probe
from avwitness.media.windows import MediaReader, read_clip

FRAMES = 38  # of the talking clip, 1.5 s
QUIET = 20  # frames without motion and almost silent at either end, to be trimmed
SHORTER = ("silence_trim", "av_shift")
SHIFT = DEGRADATIONS["av_shift"].severities[-1]  # ms
VOICES = [synthetic_voice(2.0, seed)[0].astype(np.float32) for seed in (11, 12, 13)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("degraded")


@pytest.fixture(scope="module")
def sources(talk: Talk, folder: Path) -> dict[str, Path]:
    """A clip of a person who is silent, talks, and is silent again: with both streams, audio alone, video alone."""
    small = talk.frames[: FRAMES + 1, ::2, ::2]  # for speed
    frames = np.concatenate([small[:1].repeat(QUIET, 0), small[:-1], small[-1:].repeat(QUIET, 0)])
    spoken = talk.waveform[: FRAMES * SAMPLES_PER_FRAME]
    waveform = np.pad(spoken, QUIET * SAMPLES_PER_FRAME) + np.random.default_rng(0).normal(0, 1e-5, len(frames) * SAMPLES_PER_FRAME)
    return {
        "both": write_media(folder / "talk.mp4", frames, waveform, video_options={"crf": "16"}),
        "audio": write_media(folder / "talk.m4a", None, waveform),
        "video": write_media(folder / "silent.mp4", frames, video_options={"crf": "16"}),
    }


Made = Callable[[str, str, int], Clip]


@pytest.fixture(scope="module")
def made(sources: dict[str, Path], folder: Path) -> Made:
    """The decoded output by kind of source, name and index of the severity; each is written once."""
    known: dict[tuple[str, str, int], Clip] = {}

    def make(kind: str, name: str, place: int) -> Clip:
        if (kind, name, place) not in known:
            degradation = DEGRADATIONS.get(name)
            severity = degradation.severities[place] if degradation else 0.0
            file = degrade(sources[kind], folder / f"{kind}-{name}-{place}.mkv", degradation, severity, VOICES, seed=3)
            reader = MediaReader(file)
            (clip,) = reader.windows(60.0, 60.0)
            reader.check()
            known[kind, name, place] = clip
        return known[kind, name, place]

    return make


def seconds(clip: Clip) -> tuple[float, float]:
    assert clip.frames is not None and clip.waveform is not None
    return len(clip.frames) / FRAME_RATE, len(clip.waveform) / SAMPLE_RATE


def video_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mean difference in levels of frames [T, H, W, 3], at the size of the second."""
    size = (b.shape[2], b.shape[1])
    pairs = zip(a, b, strict=False)
    return float(np.mean([np.abs(cv2.resize(x, size, interpolation=cv2.INTER_LINEAR).astype(float) - y).mean() for x, y in pairs]))


def audio_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mean difference of log spectra of waveforms [S]."""
    length = min(len(a), len(b)) // 512 * 512
    spectra = [np.log(np.abs(np.fft.rfft(x[:length].reshape(-1, 512) * np.hanning(512), axis=1)) + 1e-2) for x in (a, b)]
    return float(np.abs(spectra[0] - spectra[1]).mean())


def distance(clip: Clip, control: Clip, degradation: Degradation) -> float:
    assert clip.frames is not None and control.frames is not None and clip.waveform is not None and control.waveform is not None
    if degradation.name in SHORTER:
        return seconds(control)[1] - seconds(clip)[1]
    if degradation.stream == "audio":
        return audio_distance(clip.waveform, control.waveform)
    return video_distance(clip.frames, control.frames)


def lag(later: np.ndarray, earlier: np.ndarray) -> int:
    """Delay in samples of one signal [S] relative to another, from their cross-correlation."""
    a, b = (np.asarray(x, dtype=float) - np.mean(x) for x in (later, earlier))
    size = 2 * max(len(a), len(b))
    curve = np.fft.irfft(np.fft.rfft(a, size) * np.conj(np.fft.rfft(b, size)), size)
    best = int(curve.argmax())
    return best - size if best > size // 2 else best


def test_names_of_the_degradations() -> None:
    assert set(DEGRADATIONS) == {
        *("h264", "hevc", "vp9", "resize", "blur", "grain", "crop", "frame_drop"),
        *("aac", "opus", "mp3", "noise", "babble", "reverb", "band_limit", "silence_trim", "av_shift"),
    }
    assert [name for name, d in DEGRADATIONS.items() if d.needs_voices] == ["babble"]


@pytest.mark.parametrize("degradation", DEGRADATIONS.values(), ids=DEGRADATIONS)
def test_definitions_are_complete(degradation: Degradation) -> None:
    assert DEGRADATIONS[degradation.name] is degradation
    assert degradation.title and degradation.unit
    assert degradation.stream in ("video", "audio", "both")
    assert len(degradation.severities) == 5
    steps = np.sign(np.diff(degradation.severities))
    assert abs(steps.sum()) == 4
    changes = (degradation.video, degradation.audio, degradation.coding, degradation.trim)
    assert any(change is not None for change in changes)
    assert degradation.video is None or degradation.stream != "audio"
    assert degradation.audio is None or degradation.stream != "video"


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_encoders_are_available(name: str) -> None:
    make = DEGRADATIONS[name].coding
    coding = Coding() if make is None else make(DEGRADATIONS[name].severities[0])
    assert {coding.video_codec, coding.audio_codec} <= av.codecs_available


@pytest.mark.slow
def test_control_is_close_to_the_source(sources: dict[str, Path], made: Made) -> None:
    source, control = read_clip(sources["both"]), made("both", "control", 0)
    assert source.frames is not None and source.waveform is not None and control.frames is not None and control.waveform is not None
    assert control.frames.shape == source.frames.shape
    assert video_distance(control.frames, source.frames) < 2.0
    assert len(control.waveform) == len(source.waveform)
    assert np.abs(control.waveform - source.waveform).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, -1], ids=["mildest", "hardest"])
@pytest.mark.parametrize("name", DEGRADATIONS)
def test_duration_and_other_stream_are_kept(name: str, place: int, made: Made) -> None:
    clip, control = made("both", name, place), made("both", "control", 0)
    assert clip.frames is not None and control.frames is not None and clip.waveform is not None and control.waveform is not None
    if name not in SHORTER:
        assert seconds(clip) == pytest.approx(seconds(control), abs=0.081)
    if DEGRADATIONS[name].stream == "video":
        assert np.array_equal(clip.waveform, control.waveform)
    if DEGRADATIONS[name].stream == "audio" and name not in SHORTER:
        assert np.array_equal(clip.frames, control.frames)
    if name not in ("resize", "crop"):
        assert clip.frames.shape[1:] == control.frames.shape[1:]


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_distance_increases_with_severity(name: str, made: Made) -> None:
    control = made("both", "control", 0)
    mild, hard = (distance(made("both", name, place), control, DEGRADATIONS[name]) for place in (0, -1))
    assert mild >= 0.0
    assert hard > max(1.2 * mild, 0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["h264", "aac", "blur", "noise", "av_shift"])
def test_distance_increases_at_every_level(name: str, made: Made) -> None:
    control = made("both", "control", 0)
    steps = [distance(made("both", name, place), control, DEGRADATIONS[name]) for place in range(5)]
    assert all(later > earlier for earlier, later in pairwise([0.0, *steps]))


@pytest.mark.slow
@pytest.mark.parametrize("name", DEGRADATIONS)
def test_same_seed_gives_the_same_output(name: str, sources: dict[str, Path], made: Made, tmp_path: Path) -> None:
    degradation = DEGRADATIONS[name]
    elsewhere = tmp_path / "fake" / f"another-name{sources['both'].suffix}"  # neither the name nor the folder may matter
    elsewhere.parent.mkdir()
    shutil.copy(sources["both"], elsewhere)
    again = read_clip(degrade(elsewhere, tmp_path / "again.mkv", degradation, degradation.severities[-1], VOICES, seed=3))
    before = made("both", name, -1)
    assert np.array_equal(again.frames, before.frames)
    assert np.array_equal(again.waveform, before.waveform)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grain", "frame_drop", "noise", "babble", "reverb"])
@pytest.mark.parametrize("changed", ["seed", "content"])
def test_randomness_depends_on_seed_and_content(name: str, changed: str, sources: dict[str, Path], made: Made, tmp_path: Path) -> None:
    source, degradation = tmp_path / "same-picture-and-sound.mp4", DEGRADATIONS[name]
    source.write_bytes(sources["both"].read_bytes() + (b"\0" if changed == "content" else b""))
    out = degrade(source, tmp_path / "out.mkv", degradation, degradation.severities[-1], VOICES, seed=4 if changed == "seed" else 3)
    again, before = read_clip(out), made("both", name, -1)
    stream = "frames" if degradation.stream == "video" else "waveform"
    assert not np.array_equal(getattr(again, stream), getattr(before, stream))


def test_randomness_depends_on_the_severity(made: Made) -> None:
    heard = [made("audio", name, place).waveform for name, place in (("control", 0), ("noise", 0), ("noise", 1))]
    assert heard[0] is not None and heard[1] is not None and heard[2] is not None
    assert abs(np.corrcoef(heard[1] - heard[0], heard[2] - heard[0])[0, 1]) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["audio", "video"])
@pytest.mark.parametrize("name", ["control", *DEGRADATIONS])
def test_files_with_one_stream(name: str, kind: str, sources: dict[str, Path], made: Made) -> None:
    degradation = DEGRADATIONS.get(name)
    if degradation is not None and degradation.stream != kind:
        lacking = {"audio": "video", "video": "audio"}[kind]
        with pytest.raises(ValueError, match=rf"{sources[kind].name}: has no {lacking} stream"):
            made(kind, name, 0)
        return
    clip, twin = made(kind, name, 0), made("both", name, 0)
    if kind == "audio":
        assert clip.frames is None
        assert clip.waveform is not None and twin.waveform is not None
        assert abs(len(clip.waveform) - len(twin.waveform)) <= SAMPLES_PER_FRAME
    else:
        assert clip.waveform is None
        assert clip.frames is not None and twin.frames is not None
        assert clip.frames.shape == twin.frames.shape


@pytest.fixture(scope="module", params=["late sound", "late picture", "both late"])
def offset_file(request: pytest.FixtureRequest, folder: Path) -> Path:
    """Video and audio with random levels; one of them begins 0.36 s after the other, and the first after 0 or 2 s."""
    rng = np.random.default_rng(5)
    tones = rng.integers(60, 200, 15).repeat(4)
    frames = np.broadcast_to(tones[:, None, None, None], (60, 64, 80, 3)).astype(np.uint8)
    loudness = np.interp(np.arange(60 * SAMPLES_PER_FRAME) / SAMPLES_PER_FRAME, np.arange(0, 61, 4), rng.uniform(0.02, 0.2, 16))
    waveform = (loudness * rng.standard_normal(60 * SAMPLES_PER_FRAME)).astype(np.float32)
    start = {"late sound": (0.0, 0.36), "late picture": (0.36, 0.0), "both late": (2.36, 2.0)}[request.param]
    return write_media(
        folder / f"{request.param}.mkv",
        frames,
        waveform,
        frame_times=start[0] + np.arange(60) / 25,
        audio_start=start[1],
        audio_codec="flac",
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["control", *DEGRADATIONS])
def test_offset_between_streams_is_kept(name: str, offset_file: Path, tmp_path: Path) -> None:
    degradation = DEGRADATIONS.get(name)
    # With most frames dropped, no lag can be measured. Which ones are depends on the content, and a Matroska file has a random identifier.
    severity = degradation.severities[1 if name == "frame_drop" else -1] if degradation else 0.0
    before, after = (read_clip(f) for f in (offset_file, degrade(offset_file, tmp_path / "out.mkv", degradation, severity, VOICES)))
    assert before.frames is not None and after.frames is not None and before.waveform is not None and after.waveform is not None
    picture = lag(after.frames.mean(axis=(1, 2, 3)), before.frames.mean(axis=(1, 2, 3))) * 1000.0 / FRAME_RATE  # ms
    sound = lag(after.waveform, before.waveform) * 1000.0 / SAMPLE_RATE
    moved = SHIFT if name == "av_shift" else 0.0
    assert sound - picture == pytest.approx(moved, abs=41.0 if name == "frame_drop" else 1.0)  # repeated frames are late
    if name != "silence_trim":
        assert sound == pytest.approx(0.0, abs=1.0)


def test_silence_trimming_cuts_both_streams(made: Made, sources: dict[str, Path]) -> None:
    control = made("both", "control", 0)
    for place, left in enumerate(DEGRADATIONS["silence_trim"].severities):
        seen, heard = seconds(made("both", "silence_trim", place))
        assert seen == pytest.approx(heard, abs=0.1)
        cut = 2 * max(0.0, QUIET / FRAME_RATE - left)
        assert seconds(control)[0] - seen == pytest.approx(cut, abs=0.3)  # the voice does not begin at full level


def moving(seconds: int) -> Iterator[np.ndarray]:
    base = np.random.default_rng(0).integers(0, 256, (15, 20, 3), dtype=np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    return (np.roll(base, 16 * index, axis=1) for index in range(seconds * FRAME_RATE))


MEASURE = """
import sys
from pathlib import Path
from avwitness.evaluation.robustness.degradations.registry import DEGRADATIONS
from avwitness.evaluation.robustness.degradations.degrade import degrade
for source in sys.argv[1:]:
    degrade(source, source + ".mkv", DEGRADATIONS["silence_trim"], 0.0)
    # Unlike the result of getrusage, this peak does not include that of the parent process.
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(1024 * int(line.split()[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="this system does not tell how much memory a process took")
def test_long_files_are_streamed(tmp_path: Path) -> None:
    sources = {}
    for length in (4, 40):
        waveform = np.random.default_rng(0).normal(0, 0.1, length * SAMPLE_RATE).astype(np.float32)
        sources[length] = tmp_path / f"{length}.mp4"
        write_media(sources[length], moving(length), waveform, video_options={"preset": "ultrafast"})
    command = [sys.executable, "-P", "-c", MEASURE, *map(str, sources.values())]
    short, long = map(int, subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.split())
    pictures = 36 * FRAME_RATE * 320 * 240 * 3  # bytes of the additional frames: 207 MB
    assert long - short < pictures / 4
    reader = MediaReader(f"{sources[40]}.mkv")
    seen = heard = 0
    for clip in reader.windows(8.0, 8.0):
        seen += 0 if clip.frames is None else len(clip.frames)
        heard += 0 if clip.waveform is None else len(clip.waveform)
    reader.check()
    assert seen == pytest.approx(40 * FRAME_RATE, abs=2)
    assert heard == pytest.approx(40 * SAMPLE_RATE, abs=2 * SAMPLES_PER_FRAME)


@pytest.mark.slow
def test_frames_keep_resolution_and_times(tmp_path: Path) -> None:
    times = np.concatenate([np.arange(10) / 10, 1.0 + np.arange(20) / 50])
    frames = np.random.default_rng(0).integers(0, 256, (30, 9, 16, 3), dtype=np.uint8).repeat(60, axis=1).repeat(60, axis=2)
    source = write_media(tmp_path / "variable.mp4", frames, frame_times=times)
    out = degrade(source, tmp_path / "out.mkv", None, 0.0)
    info = probe(out)
    assert info.video is not None
    assert (info.video.width, info.video.height) == (960, 540)  # larger than in a window of the detector
    with av.open(str(out)) as container:
        assert [frame.time for frame in container.decode(video=0)] == pytest.approx(times, abs=1e-3)


def test_frames_with_equal_times_are_dropped(tmp_path: Path) -> None:
    source = write_media(tmp_path / "twice.mp4", np.full((6, 64, 64, 3), 90, np.uint8), frame_times=[0.0, 0.04, 0.0404, 0.08, 0.12, 0.16])
    with av.open(str(degrade(source, tmp_path / "out.mkv", None, 0.0))) as container:
        assert [frame.time for frame in container.decode(video=0)] == pytest.approx([0.0, 0.04, 0.08, 0.12, 0.16])


def test_rotated_video(tmp_path: Path) -> None:
    frames = np.full((5, 64, 96, 3), 20, np.uint8)
    source = write_media(tmp_path / "clip.mp4", frames)
    data = source.read_bytes()
    at = data.index(b"tkhd") + 44
    matrix = b"".join(n.to_bytes(4, "big", signed=True) for n in (0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30))  # ISO 14496-12
    source.write_bytes(data[:at] + matrix + data[at + 36 :])
    clip = read_clip(degrade(source, tmp_path / "out.mkv", None, 0.0))
    assert clip.frames is not None
    assert clip.frames.shape[1:3] == (96, 64)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["empty", "truncated_index", "truncated_data", "text", "corrupt", "tiny", "huge", "missing", "directory"])
def test_damaged_files_are_refused(kind: str, broken_files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=broken_files[kind].name):
        degrade(broken_files[kind], tmp_path / "out.mkv", DEGRADATIONS["silence_trim"], 0.0)
    assert list(tmp_path.iterdir()) == []


def test_frames_that_change_their_size_have_that_of_the_first_one(tmp_path: Path) -> None:
    parts = [write_media(tmp_path / f"{i}.h264", np.full((5, side, side, 3), 90, np.uint8)) for i, side in enumerate((64, 96))]
    source = tmp_path / "changing.h264"
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    clip = read_clip(degrade(source, tmp_path / "out.mkv", None, 0.0))
    assert clip.frames is not None and clip.frames.shape[1:] == (64, 64, 3) and len(clip.frames) > 5


@pytest.mark.parametrize("stream", ["audio", "video"])
def test_a_clip_shorter_than_the_shift_is_refused(stream: str, tmp_path: Path) -> None:
    short, long = 5, 25
    frames = np.full((short if stream == "video" else long, 64, 64, 3), 90, np.uint8)
    sound = np.full((short if stream == "audio" else long) * SAMPLES_PER_FRAME, 0.1, np.float32)
    source = write_media(tmp_path / "short.mkv", frames, sound, audio_codec="flac")
    if stream == "audio":
        with pytest.raises(MediaError, match="too short: nothing of its audio is left"):
            degrade(source, tmp_path / "out.mkv", DEGRADATIONS["av_shift"], SHIFT)
    else:  # its last frame stays on screen
        clip = read_clip(degrade(source, tmp_path / "out.mkv", DEGRADATIONS["av_shift"], SHIFT))
        assert clip.frames is not None and len(clip.frames) == 1


def test_other_invalid_requests_are_refused(sources: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="h264 has no severity 24; choose one of 23, 28"):
        degrade(sources["both"], tmp_path / "out.mkv", DEGRADATIONS["h264"], 24)
    with pytest.raises(ValueError, match=r"out\.mp4: .* end in \.mkv"):
        degrade(sources["both"], tmp_path / "out.mp4", None, 0.0)
    with pytest.raises(ValueError, match=rf"{sources['both'].name}: babble needs the voices"):
        degrade(sources["both"], tmp_path / "out.mkv", DEGRADATIONS["babble"], 10)
    assert list(tmp_path.iterdir()) == []
