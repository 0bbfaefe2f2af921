from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avwitness.media.clip import SAMPLE_RATE, SAMPLES_PER_FRAME
from avwitness.media.encode import write_media
from avwitness.media.silence import BLOCK, active_frames, active_range
from avwitness.media.windows import MediaReader


def tone(seconds: float, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(2 * np.pi * 220.0 * np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE)).astype(np.float32)


@given(lead=st.integers(0, 8000), trail=st.integers(0, 8000), level=st.floats(1e-3, 1.0), hiss=st.floats(0.0, 5e-3))
def test_silence_at_the_edges_is_found_to_ten_milliseconds(lead: int, trail: int, level: float, hiss: float) -> None:
    body = tone(0.5, level)
    noise = hiss * level * np.random.default_rng(0).standard_normal(lead + len(body) + trail)  # more than 40 dB under the tone
    begin, end = active_range((np.pad(body, (lead, trail)) + noise).astype(np.float32))
    assert 0 <= lead - begin < BLOCK or 0 <= begin - lead < BLOCK
    assert abs(end - (lead + len(body))) < 2 * BLOCK


@pytest.mark.parametrize("waveform", [np.zeros(0), np.zeros(100), np.zeros(16_000), np.full(16_000, 1e-6)])
def test_where_nothing_sounds_nothing_is_cut(waveform: np.ndarray) -> None:
    assert active_range(waveform) == (0, len(waveform))


def test_quiet_between_words_is_kept() -> None:
    waveform = np.concatenate([np.zeros(3200), tone(0.2), np.zeros(16_000), tone(0.2), np.zeros(1600)])
    assert active_range(waveform) == (3200, len(waveform) - 1600)


def test_a_reader_gives_out_what_sounds_of_both_streams_on_the_files_own_clock(tmp_path: Path) -> None:
    waveform = np.concatenate([np.zeros(10 * SAMPLES_PER_FRAME + 200), tone(1.2), np.zeros(5 * SAMPLES_PER_FRAME)]).astype(np.float32)
    frames = np.repeat(np.arange(45, dtype=np.uint8)[:, None, None, None] * 5, 3, axis=3).repeat(64, axis=1).repeat(64, axis=2)
    file = write_media(tmp_path / "edges.mkv", frames, waveform, audio_codec="flac", video_options={"crf": "1"})
    span = active_frames(file)
    assert span == (11, 40)  # edges are moved inwards: frame 10 begins in silence, frame 40 ends in it
    reader = MediaReader(file, span=span)
    (clip,) = reader.windows()
    reader.check()
    assert clip.start == pytest.approx(11 / 25)
    assert clip.frames is not None and clip.waveform is not None
    assert np.allclose(clip.frames.mean(axis=(1, 2, 3)), np.arange(11, 40) * 5, atol=4)
    assert len(clip.waveform) == 29 * SAMPLES_PER_FRAME and np.abs(clip.waveform[:40]).max() > 0.1
    assert reader.seconds == pytest.approx(45 / 25, abs=0.02)


def test_windows_within_a_span_meet_as_those_of_a_whole_file_do(tmp_path: Path) -> None:
    file = write_media(tmp_path / "long.wav", waveform=tone(4.0), audio_codec="pcm_s16le")
    whole = np.concatenate([clip.waveform for clip in MediaReader(file).windows(1.0, 1.0) if clip.waveform is not None])
    part = [clip for clip in MediaReader(file, span=(30, 80)).windows(1.0, 1.0) if clip.waveform is not None]
    assert [clip.start for clip in part] == [1.2, 2.2]
    assert np.array_equal(np.concatenate([clip.waveform for clip in part]), whole[30 * SAMPLES_PER_FRAME : 80 * SAMPLES_PER_FRAME])  # type: ignore[misc]


def test_a_film_without_sound_has_no_silence_to_cut(tmp_path: Path) -> None:
    assert active_frames(write_media(tmp_path / "mute.mp4", np.zeros((10, 64, 64, 3), np.uint8))) is None


def test_neither_a_bump_nor_a_short_cry_takes_the_clip_away(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    bump = np.concatenate([0.9 * rng.standard_normal(500), np.zeros(1000), 0.004 * rng.standard_normal(32_000)]).clip(-1, 1)
    begin, end = active_range(bump)
    assert begin == 0 and end == len(bump)  # quiet speech is still sound
    cry = np.concatenate([np.zeros(8000), tone(0.3), np.zeros(32_000)])
    assert active_frames(write_media(tmp_path / "cry.wav", waveform=cry, audio_codec="pcm_s16le")) is None
