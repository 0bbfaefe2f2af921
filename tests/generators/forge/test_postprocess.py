"""Postprocessing of genuine and forged clips."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from makers import noise_frames

from avwitness.generators.demo import synthetic_voice
from avwitness.generators.forge.plan import Attempt, Job
from avwitness.generators.forge.postprocess import MAX_PEAK, MIN_IMAGE_SIZE, Postprocess, degrade_audio, degrade_frames, write_clip
from avwitness.generators.methods.base import Window
from avwitness.generators.methods.source import Origin, Source
from avwitness.media.windows import read_clip

SEEDS = st.integers(0, 2**32 - 1)
VOICE = synthetic_voice(2.0, seed=1)[0]
# Encoding only; tests replace single fields.
OPEN = replace(
    Postprocess.draw(np.random.default_rng(0)),
    scale=1.0,
    crop=(0.0, 0.0, 0.0, 0.0),
    soften="none",
    grain=0.0,
    gain=1.0,
    bias=0.0,
    level=-24.0,
    band=0.0,
    hiss=0.0,
    jitter=0,
    lead=0,
    trail=0,
    crf=18,
    gop=12,
    preset="superfast",
    audio_bit_rate=64_000,
)


def level(waveform: np.ndarray) -> float:
    """dB of full scale of the blocks of 10 ms that are within 30 dB of the loudest."""
    power = np.square(waveform[: len(waveform) // 160 * 160].reshape(-1, 160), dtype=np.float64).mean(axis=1)
    return float(10 * np.log10(power[power > power.max() / 1000].mean()))


@given(SEEDS)
def test_a_postprocess_depends_on_its_random_generator_alone(seed: int) -> None:
    postprocess = Postprocess.draw(np.random.default_rng(seed))
    assert postprocess == Postprocess.draw(np.random.default_rng(seed))
    assert postprocess != Postprocess.draw(np.random.default_rng(seed + 1))
    assert set(postprocess.to_dict()) == set(Postprocess.__dataclass_fields__)
    assert 17 <= postprocess.crf <= 32 and -1 <= postprocess.jitter <= 1 and 0 <= postprocess.lead <= 10 and 0 <= postprocess.trail <= 10


def test_a_door_draws_as_often_whatever_it_draws() -> None:
    assert list(inspect.signature(Postprocess.draw).parameters) == ["rng"]
    doors = [Postprocess.draw(np.random.default_rng(seed)) for seed in range(400)]
    assert {postprocess.soften for postprocess in doors} == {"none", "mouth", "face", "smooth", "frame"}
    assert {postprocess.jitter for postprocess in doors} == {-1, 0, 1}
    assert 0.05 < np.mean([postprocess.lead > 0 for postprocess in doors]) < 0.16
    assert 0.3 < np.mean([postprocess.scale < 1.0 for postprocess in doors]) < 0.5


def test_a_forged_and_a_genuine_clip_of_one_slot_go_through_the_same_door() -> None:
    origin = Origin("a.mp4", "/a.mp4", "x", "c", "train", "")
    forged = Job("f", origin, Window(0, 30), 3, 5, (Attempt("lpc", None),), 7)
    genuine = replace(forged, name="g", attempts=())
    doors = [job.postprocess for job in (forged, genuine, replace(forged, postprocess_number=4), replace(forged, seed=8))]
    assert doors[0] == doors[1]
    assert doors[0] != doors[2] != doors[3]


@settings(max_examples=40)
@given(SEEDS, st.integers(20, 240), st.integers(20, 240))
def test_written_frames_have_a_size_that_can_be_encoded(seed: int, width: int, height: int) -> None:
    postprocess = Postprocess.draw(np.random.default_rng(seed))
    frames = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    before = frames.copy()
    out = degrade_frames(frames, None, postprocess)
    assert out.dtype == np.uint8 and len(out) == 2
    assert min(out.shape[1:3]) >= min(MIN_IMAGE_SIZE - 1, round(0.87 * min(width, height)))
    assert out.shape[1] <= height and out.shape[2] <= width
    assert np.array_equal(frames, before)
    assert np.array_equal(out, degrade_frames(frames, None, postprocess))


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SEEDS, st.integers(1, 9), st.integers(0, 5), st.integers(0, 5), st.booleans(), st.booleans())
def test_a_file_is_as_long_as_the_clip_with_what_is_put_around_it(
    tmp_path: Path, seed: int, count: int, lead: int, trail: int, image: bool, audio: bool
) -> None:
    assume(image or audio)
    postprocess = replace(Postprocess.draw(np.random.default_rng(seed)), lead=lead, trail=trail)
    frames = noise_frames(count, side=112)[:, :101, :107] if image else None
    waveform = VOICE[: 640 * count] if audio else None
    file = tmp_path / "clip.mp4"
    write_clip(file, frames, waveform, None, postprocess)
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]
    with av.open(str(file)) as container:
        assert [len(container.streams.video), len(container.streams.audio)] == [image, audio]
        if image:
            shown = list(container.decode(video=0))
            assert len(shown) == count + lead + trail
            assert shown[0].width % 2 == shown[0].height % 2 == 0
    if audio:
        decoded = read_clip(file, video=False).waveform
        assert decoded is not None
        assert 640 * (count + lead + trail) <= len(decoded) + 640 <= 640 * (count + lead + trail) + 3 * 1024


@pytest.mark.parametrize("preset", ["superfast", "veryfast", "fast", "medium"])
def test_the_same_clip_is_written_as_the_same_bytes(preset: str, followed: dict[str, Source], tmp_path: Path) -> None:
    frames = followed["hopper-silent"].frames
    assert frames is not None
    written = set()
    for number in range(4):
        write_clip(tmp_path / f"{number}.mp4", frames[:40, :, :240], VOICE[: 640 * 40], None, replace(OPEN, preset=preset, gop=50))
        written.add((tmp_path / f"{number}.mp4").read_bytes())
    assert len(written) == 1


def test_what_is_put_around_a_clip_is_still_and_silent(tmp_path: Path) -> None:
    frames = noise_frames(8)
    write_clip(tmp_path / "clip.mp4", frames, VOICE[16_000:][: 640 * 8], None, replace(OPEN, lead=5, trail=4))
    clip = read_clip(tmp_path / "clip.mp4")
    assert clip.frames is not None and clip.waveform is not None and len(clip.frames) == 17
    moved = np.abs(np.diff(clip.frames.astype(int), axis=0)).mean(axis=(1, 2, 3))
    assert moved[:4].max() < 2.0 and moved[-3:].max() < 2.0  # but for what the codec does
    assert moved[5:12].min() > 20.0
    loud = np.sqrt(np.mean(clip.waveform[: 640 * 17].reshape(17, 640) ** 2, axis=1))
    assert loud[:4].max() < 0.05 * loud[5:13].max()
    assert loud[14:].max() < 0.05 * loud[5:13].max()


@given(SEEDS, st.floats(1e-3, 3.0))
def test_written_audio_has_the_level_of_the_postprocess(seed: int, gain: float) -> None:
    postprocess = replace(Postprocess.draw(np.random.default_rng(seed)), band=0.0, hiss=0.0)
    audio = degrade_audio(gain * VOICE, postprocess)
    assert audio.shape == VOICE.shape and audio.dtype == np.float32
    assume(np.abs(audio).max() < MAX_PEAK - 1e-3)
    assert level(audio) == pytest.approx(postprocess.level, abs=1.0)


@given(SEEDS, st.integers(0, 3000), st.floats(0.0, 1.0))
def test_audio_keeps_its_length_and_is_not_clipped(seed: int, samples: int, gain: float) -> None:
    waveform = (gain * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)
    audio = degrade_audio(waveform, Postprocess.draw(np.random.default_rng(seed)))
    assert audio.shape == (samples,) and audio.dtype == np.float32
    assert np.isfinite(audio).all()
    assert np.abs(audio).max(initial=0.0) <= MAX_PEAK + 1e-6


def test_jitter_shifts_the_audio_by_one_frame() -> None:
    straight, late, early = (degrade_audio(VOICE, replace(OPEN, jitter=jitter)) for jitter in (0, 1, -1))
    assert np.abs(straight).max() < MAX_PEAK
    assert np.allclose(late[640:], straight[:-640], atol=1e-6)
    assert np.allclose(early[:-640], straight[640:], atol=1e-6)
    for moved, edge in ((late, slice(0, 640)), (early, slice(-640, None))):
        assert np.std(moved[edge]) > 0.3 * np.std(straight[edge])  # no silence gives it away


def test_band_limit_and_hiss() -> None:
    plain, dull, hissing = (degrade_audio(VOICE, replace(OPEN, **given)) for given in ({}, {"band": 3500.0}, {"hiss": 20.0}))
    power = [np.square(np.abs(np.fft.rfft(x))) for x in (plain, dull, hissing)]
    hertz = np.fft.rfftfreq(len(VOICE), 1 / 16_000)
    high, low = hertz > 5000.0, (hertz > 200.0) & (hertz < 3000.0)
    assert power[1][high].sum() < 1e-3 * power[0][high].sum()
    assert power[1][low].sum() == pytest.approx(power[0][low].sum(), rel=0.01)
    assert 10 * np.log10(np.mean((hissing - plain) ** 2)) == pytest.approx(OPEN.level - 20.0, abs=0.2)


def test_loud_audio_is_scaled_not_clipped() -> None:
    spiky = 0.02 * np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    spiky[8000] = 3.0
    loud = degrade_audio(spiky, replace(OPEN, level=-18.0))
    assert np.abs(loud).max() == pytest.approx(MAX_PEAK, abs=1e-3)
    assert np.corrcoef(loud, spiky)[0, 1] > 0.9999


@pytest.mark.parametrize(("soften", "place"), [("mouth", 13), ("face", 1), ("smooth", 1), ("frame", 1)])
def test_softening_affects_its_region(soften: str, place: int, followed: dict[str, Source]) -> None:
    source = followed["hopper-1"].cut(10, 4)
    assert source.frames is not None and source.landmarks is not None
    plain = degrade_frames(source.frames, source.landmarks, OPEN)
    soft = degrade_frames(source.frames, source.landmarks, replace(OPEN, soften=soften))
    assert np.array_equal(plain, source.frames)
    change = np.abs(soft.astype(int) - plain).mean(axis=(0, 3))
    x, y = source.landmarks[0, place].astype(int)
    assert change[y - 8 : y + 8, x - 8 : x + 8].mean() > 0.3
    corner = change[:20, :20].mean()
    assert corner > 0.05 if soften == "frame" else corner == 0.0
    if soften != "frame":  # of a clip without a face, nothing
        assert np.array_equal(degrade_frames(source.frames, None, replace(OPEN, soften=soften)), source.frames)


def test_tones_grain_crop_and_scale() -> None:
    grey = np.full((2, 200, 160, 3), 100, np.uint8)
    assert (degrade_frames(grey, None, replace(OPEN, gain=1.1, bias=-5.0)) == 105).all()
    grain = degrade_frames(grey, None, replace(OPEN, grain=3.0)).astype(int) - 100
    assert grain.std() == pytest.approx(3.0, abs=0.2)
    assert abs(np.corrcoef(grain[0].ravel(), grain[1].ravel())[0, 1]) < 0.05
    assert degrade_frames(grey, None, replace(OPEN, crop=(0.05, 0.0, 0.05, 0.1))).shape == (2, 180, 144, 3)
    assert degrade_frames(grey, None, replace(OPEN, scale=0.75, upscaled=False)).shape == (2, 150, 120, 3)
    assert degrade_frames(grey, None, replace(OPEN, scale=0.75, upscaled=True)).shape == grey.shape
    assert degrade_frames(grey, None, replace(OPEN, scale=0.55, upscaled=False)).shape == (2, 120, 96, 3)
