"""Decoy tracks and channels: every track is scored, the worst one decides, and what was not scored never clears a file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import jsonschema
import numpy as np
import pytest
from makers import Talk, noise_frames

from avwitness.detector.calibration import Calibration
from avwitness.detector.inference.scoring import score_file
from avwitness.detector.inference.window_model import WindowOutput
from avwitness.detector.verdict import ModelInfo, Verdict, schema
from avwitness.media.clip import FRAME_RATE, SAMPLE_RATE, MediaError

SECONDS = 3
CLOCK = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE
GENUINE, FAKE = (0.3 * np.sin(2 * np.pi * hertz * CLOCK).astype(np.float32) for hertz in (300.0, 3000.0))
SILENT = np.zeros_like(GENUINE)


class PitchModel:
    """A model for which high tones are fake and every face is genuine."""

    info = ModelInfo("pitch", "1", "0" * 64)
    calibration = Calibration()
    uses_portraits = False

    def extract_audio_features(self, waveform: np.ndarray) -> np.ndarray:
        spectrum = np.abs(np.fft.rfft(waveform))
        pitch = np.argmax(spectrum) * SAMPLE_RATE / len(waveform)
        return np.full((len(waveform) * FRAME_RATE // SAMPLE_RATE, 1), pitch, np.float32)

    def predict_window(self, features: np.ndarray | None, crops: np.ndarray | None, *_: Any) -> WindowOutput:
        audio = None if features is None else 8.0 if features[0, 0] > 1000.0 else -8.0
        return WindowOutput(
            audio=audio,
            video=None if crops is None else -8.0,
            audio_frames=None if features is None or audio is None else np.full(len(features), audio, np.float32),
            video_frames=None if crops is None else np.full(len(crops), -8.0, np.float32),
        )


def write(file: Path, voices: list[np.ndarray], videos: list[np.ndarray] = [], default: int = 0) -> Path:  # noqa: B006
    """A file with several tracks; voices are [S] or [S, C]."""
    with av.open(str(file), "w") as out:
        pictures = [out.add_stream("libx264", rate=FRAME_RATE) for _ in videos]
        sounds = [out.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono" if voice.ndim == 1 else "stereo") for voice in voices]
        for index, sound in enumerate(sounds):
            sound.disposition = av.stream.Disposition.default if index == default else av.stream.Disposition(0)
            sound.metadata["language"] = "eng"
        for stream, frames in zip(pictures, videos, strict=True):
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = "yuv420p"
        for stream, frames in zip(pictures, videos, strict=True):
            for index, image in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, FRAME_RATE)
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        for sound, voice in zip(sounds, voices, strict=True):
            packed = np.round(np.atleast_2d(voice.T).T * 32767).astype(np.int16).reshape(1, -1)
            block = av.AudioFrame.from_ndarray(packed, format="s16", layout="mono" if voice.ndim == 1 else "stereo")
            block.sample_rate, block.pts, block.time_base = SAMPLE_RATE, 0, Fraction(1, SAMPLE_RATE)
            out.mux(sound.encode(block))
            out.mux(sound.encode(None))
    return file


def score(file: Path, modality: str = "auto", **options: int) -> Verdict:
    verdict = score_file(PitchModel(), file, modality, **options)  # type: ignore[arg-type]
    jsonschema.validate(verdict.to_dict(), schema())
    assert Verdict.from_dict(verdict.to_dict()) == verdict
    return verdict


def test_a_fake_second_track_makes_the_file_fake(tmp_path: Path) -> None:
    verdict = score(write(tmp_path / "decoy.mkv", [GENUINE, FAKE], default=1))
    assert verdict.verdict == verdict.audio.label == "fake"
    assert [track.label for track in verdict.tracks] == ["genuine", "fake"]
    assert [(track.default, track.language, track.sample_rate) for track in verdict.tracks] == [
        (False, "eng", SAMPLE_RATE),
        (True, "eng", SAMPLE_RATE),
    ]
    assert any((segment.audio or 0.0) > 0.9 for segment in verdict.timeline)
    assert score(tmp_path / "decoy.mkv", audio_track=0).verdict == "genuine"
    assert score(tmp_path / "decoy.mkv", audio_track=1).verdict == "fake"
    with pytest.raises(MediaError, match="has no audio track 5"):
        score(tmp_path / "decoy.mkv", audio_track=5)


def test_two_genuine_tracks_are_genuine(tmp_path: Path) -> None:
    assert score(write(tmp_path / "dubbed.mkv", [GENUINE, GENUINE])).verdict == "genuine"


@pytest.mark.parametrize(("second", "expected"), [(FAKE, "fake"), (GENUINE, "inconclusive")])
def test_a_silent_first_track_hides_nothing(tmp_path: Path, second: np.ndarray, expected: str) -> None:
    verdict = score(write(tmp_path / "silent.mkv", [SILENT, second]))
    assert verdict.verdict == expected
    assert "silent_audio" in verdict.quality


CHANNELS = {
    "opposite phase": (np.stack([FAKE, -FAKE], axis=1), "fake"),
    "opposite phase, genuine": (np.stack([GENUINE, -GENUINE], axis=1), "genuine"),
    "a fake under a louder genuine voice": (np.stack([GENUINE, 0.5 * FAKE], axis=1), "fake"),
    "one channel": (np.stack([SILENT, FAKE], axis=1), "fake"),
    "dual mono": (np.stack([GENUINE, GENUINE], axis=1), "genuine"),
}


@pytest.mark.parametrize("kind", CHANNELS)
def test_channels_that_differ_are_scored_one_by_one(tmp_path: Path, kind: str) -> None:
    voice, expected = CHANNELS[kind]
    verdict = score(write(tmp_path / "stereo.mkv", [voice]))
    assert verdict.verdict == expected
    assert ("channels_differ" in verdict.quality) == (kind != "dual mono")


@pytest.mark.slow
def test_a_test_card_beside_the_face(tmp_path: Path, talk: Talk) -> None:
    card = list(noise_frames(75))
    verdict = score(write(tmp_path / "card.mkv", [GENUINE], [card, list(talk.frames)]))
    assert [(track.type, track.scored) for track in verdict.tracks] == [("video", False), ("video", True), ("audio", True)]
    assert verdict.video.p_fake is not None
    assert verdict.verdict == "inconclusive"  # nothing clears the card
    assert score(write(tmp_path / "face.mkv", [GENUINE], [list(talk.frames)])).verdict == "genuine"


def test_a_video_without_a_face_never_leaves_a_file_genuine(tmp_path: Path) -> None:
    verdict = score(write(tmp_path / "noise.mkv", [GENUINE], [list(noise_frames(75))]))
    assert "no_face" in verdict.quality
    assert (verdict.audio.label, verdict.verdict) == ("genuine", "inconclusive")
    assert score(tmp_path / "noise.mkv", "audio").verdict == "genuine"


def test_tracks_past_the_eighth_are_flagged(tmp_path: Path) -> None:
    verdict = score(write(tmp_path / "many.mkv", [GENUINE] * 9))
    assert "unscored_tracks" in verdict.quality
    assert verdict.verdict == "inconclusive"


def test_a_track_of_an_unknown_codec_is_flagged(tmp_path: Path) -> None:
    file = write(tmp_path / "unknown.mkv", [GENUINE], [list(noise_frames(10))])
    file.write_bytes(file.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_NOSUCH/CODEC1"))
    verdict = score(file)
    assert "unscored_tracks" in verdict.quality
    assert verdict.tracks[0].codec is None
    assert verdict.verdict == "inconclusive"
