from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from makers import Talk, noise_frames

import avwitness
from avwitness.detector.calibration import Calibration, StreamCalibration
from avwitness.detector.inference.detector import Detector
from avwitness.detector.inference.processes.pool import score_in_processes
from avwitness.detector.inference.window_model import WindowOutput
from avwitness.detector.verdict import QUALITY_FLAGS, Verdict, schema
from avwitness.media.clip import FRAME_RATE, SAMPLE_RATE
from avwitness.media.encode import write_media


@pytest.fixture(scope="module")
def detector() -> Detector:
    loaded = avwitness.load("small", device="cpu")
    # Every head counts as validated here, because the way from a file to a verdict is tested.
    loaded.calibration = Calibration()
    return loaded


def checked(verdict: Verdict) -> Verdict:
    jsonschema.validate(verdict.to_dict(), schema())
    assert set(verdict.quality) <= set(QUALITY_FLAGS)
    return verdict


@pytest.mark.slow
def test_a_talking_face_gets_two_stream_verdicts(detector: Detector, talk_file: Path) -> None:
    verdict = checked(detector.score(talk_file))
    assert verdict.status == "ok"
    assert verdict.audio.p_fake is not None
    assert verdict.video.p_fake is not None
    assert verdict.p_fake == pytest.approx(1 - (1 - verdict.audio.p_fake) * (1 - verdict.video.p_fake), abs=2e-4)
    assert verdict.duration == pytest.approx(3.0, abs=0.1)
    assert verdict.sync.p_mismatch is not None
    assert [face.name for face in verdict.faces] == ["face-1"]
    assert verdict.faces[0].speaking
    assert len(verdict.sha256 or "") == 64
    assert verdict.timeline[0].start == 0.0
    assert verdict.timeline[-1].end == verdict.duration
    assert all(a.end == b.start for a, b in zip(verdict.timeline, verdict.timeline[1:], strict=False))
    assert verdict == detector.score(talk_file)  # nothing is drawn at random


def test_audio_alone(detector: Detector, talk: Talk, tmp_path: Path) -> None:
    verdict = checked(detector.score(write_media(tmp_path / "sound.wav", waveform=talk.waveform, audio_codec="pcm_s16le")))
    assert verdict.status == "ok"
    assert verdict.audio.p_fake is not None
    assert verdict.video == avwitness.detector.verdict.StreamVerdict()
    assert verdict.p_fake == pytest.approx(verdict.audio.p_fake, abs=1e-4)
    assert verdict.quality == ("no_video_stream",)


def test_windows_of_audio_alone_share_one_second(detector: Detector, talk: Talk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = []

    def count(self: Detector, features: np.ndarray, *arguments: Any) -> WindowOutput:
        seconds.append(len(features) / FRAME_RATE)
        return predict(self, features, *arguments)

    predict = Detector.predict_window
    monkeypatch.setattr(Detector, "predict_window", count)
    waveform = np.resize(talk.waveform, round(15.6 * SAMPLE_RATE))
    verdict = checked(detector.score(write_media(tmp_path / "long.wav", waveform=waveform, audio_codec="pcm_s16le")))
    assert seconds == [8.0, 8.0, 1.6]
    assert verdict.timeline[-1].end == 15.6 and all(interval.audio is not None for interval in verdict.timeline)


@pytest.mark.slow
def test_video_alone_and_muted(detector: Detector, talk: Talk, tmp_path: Path) -> None:
    silent = checked(detector.score(write_media(tmp_path / "silent.mp4", talk.frames)))
    assert silent.quality == ("no_audio_stream",)
    assert not silent.audio.present
    muted = checked(detector.score(write_media(tmp_path / "muted.mp4", talk.frames, np.zeros_like(talk.waveform))))
    assert muted.audio.present
    assert muted.audio.p_fake is None
    assert muted.audio.label == "inconclusive"
    assert muted.quality == ("silent_audio",)
    # The video's verdict is the same without an audio stream and with a silent one.
    assert muted.video.p_fake == pytest.approx(silent.video.p_fake, abs=1e-4)


def test_no_face(detector: Detector, talk: Talk, tmp_path: Path) -> None:
    verdict = checked(detector.score(write_media(tmp_path / "noise.mp4", noise_frames(50))))
    assert verdict.status == "inconclusive"
    assert verdict.verdict == "inconclusive"
    assert verdict.p_fake is None
    assert "no_face" in verdict.quality


@pytest.mark.slow
def test_face_in_part_of_the_frames(detector: Detector, talk: Talk, tmp_path: Path) -> None:
    frames = talk.frames.copy()
    frames[45:] = 0
    verdict = checked(detector.score(write_media(tmp_path / "part.mp4", frames, talk.waveform)))
    assert "face_in_part" in verdict.quality
    assert verdict.video.p_fake is not None
    assert verdict.timeline[0].video is not None
    assert verdict.timeline[-1].video is None
    assert verdict.timeline[-1].audio is not None


@pytest.mark.slow
def test_two_faces(detector: Detector, talk: Talk, tmp_path: Path) -> None:
    still = np.repeat(talk.frames[:1], len(talk.frames), axis=0)
    verdict = checked(detector.score(write_media(tmp_path / "two.mp4", np.concatenate([still, talk.frames], axis=2), talk.waveform)))
    assert "several_faces" in verdict.quality
    assert len(verdict.faces) == 2
    speaking = [face for face in verdict.faces if face.speaking]
    assert len(speaking) == 1
    assert speaking[0].box[0] > 0.5


def test_a_fifth_of_a_second_is_too_short(detector: Detector, talk: Talk, tmp_path: Path) -> None:
    verdict = checked(detector.score(write_media(tmp_path / "short.mp4", talk.frames[10:15], talk.waveform[6400:9600])))
    assert verdict.status == "inconclusive"
    assert verdict.p_fake is None
    assert "too_short" in verdict.quality


@pytest.mark.slow
def test_modalities(detector: Detector, talk_file: Path, talk: Talk, tmp_path: Path) -> None:
    assert not detector.score(talk_file, modality="audio").video.present
    assert not detector.score(talk_file, modality="video").audio.present
    silent = write_media(tmp_path / "silent.mp4", talk.frames)
    refused = checked(detector.score(silent, modality="av"))
    assert refused.status == "error"
    assert refused.error is not None
    assert "has no audio stream" in refused.error.message
    with pytest.raises(ValueError, match="smell"):
        detector.score(talk_file, modality="smell")


@pytest.mark.slow
def test_every_bad_file_gets_its_row_and_harms_no_other(detector: Detector, broken_files: dict[str, Path], talk_file: Path) -> None:
    files = [talk_file, *broken_files.values(), talk_file]
    verdicts = [checked(v) for v in detector.score_many(files)]
    assert [v.path for v in verdicts] == [str(f) for f in files]
    assert verdicts[0] == verdicts[-1]
    for verdict in verdicts[1:-1]:
        assert verdict.status == "error"
        assert verdict.p_fake is None
        assert verdict.error is not None
        assert verdict.error.message.startswith(verdict.path)


@pytest.mark.slow
def test_long_files_stream_through_windows(detector: Detector, talk: Talk, tmp_path: Path) -> None:
    turn = np.concatenate([talk.frames, talk.frames[::-1]] * 3)  # 18 s
    file = write_media(tmp_path / "long.mp4", turn, np.tile(talk.waveform, 6))
    done_seconds: list[float] = []
    verdict = checked(detector.score(file, hook=lambda done, total: done_seconds.append(done)))
    assert done_seconds == sorted(done_seconds)
    assert len(done_seconds) >= 4
    assert verdict.duration == pytest.approx(18.0, abs=0.2)
    assert all(segment.video is not None for segment in verdict.timeline[:-1])


@pytest.mark.slow
def test_a_head_that_is_not_validated_gives_no_number_and_clears_no_file(talk_file: Path) -> None:
    detector = avwitness.load("small", device="cpu")
    mute = StreamCalibration(power=0.5)
    sure = StreamCalibration(slope=1e-6, intercept=-9.0)  # calls everything genuine
    detector.calibration = Calibration(audio=sure, video=mute, sync=mute)
    verdict = checked(detector.score(talk_file))
    assert verdict.audio.label == "genuine"
    assert verdict.video.present
    assert verdict.video.p_fake is None
    assert verdict.sync.p_mismatch is None
    assert all(segment.video is None for segment in verdict.timeline)
    assert verdict.verdict == "inconclusive"
    assert "video_not_validated" in verdict.quality
    detector.calibration = Calibration(audio=sure, video=sure, sync=mute)
    assert checked(detector.score(talk_file)).verdict == "genuine"


def test_unknown_weights_are_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"bundled: .*\bsmall\b"):
        avwitness.load("gigantic")


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(avwitness.__file__).parent / "detector" / "weights" / "small"
    weights = load_file(folder / "model.safetensors")
    save_file(
        {key: value for key, value in weights.items() if key != "video_head.clip.bias"}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(ValueError, match=r"lacks weights of the detector: video_head\.clip\.bias"):
        avwitness.load(tmp_path, device="cpu")


def test_the_model_is_named_by_checksum(detector: Detector) -> None:
    assert detector.info.name == "small"
    assert len(detector.info.sha256) == 64
    card = json.loads((Path(avwitness.__file__).parent / "detector" / "weights" / "small" / "card.json").read_text())
    assert detector.info.version == card["version"]  # with which the weights were made


@pytest.mark.slow
@pytest.mark.footage
def test_real_footage_is_scored(detector: Detector, footage: Path) -> None:
    verdict = checked(detector.score(next((footage / "wild" / "hdtf").glob("*.mp4"))))
    assert verdict.status == "ok"
    assert verdict.audio.p_fake is not None
    assert verdict.video.p_fake is not None


@pytest.mark.slow
def test_silence_at_the_edges_can_be_left_out(detector: Detector, talk: Talk, tmp_path: Path) -> None:
    quiet = np.zeros(25 * 640, dtype=np.float32)
    still = talk.frames[:1].repeat(25, axis=0)
    file = write_media(tmp_path / "edges.mp4", np.concatenate([still, talk.frames, still]), np.concatenate([quiet, talk.waveform, quiet]))
    whole, cut = checked(detector.score(file)), checked(detector.score(file, trim_silence=True))
    assert cut.duration == pytest.approx(whole.duration, abs=0.1)  # of the file, not of the part that was scored
    assert "face_in_part" not in cut.quality
    assert whole.timeline[0].audio is not None and cut.timeline[0].audio is None and cut.timeline[-1].end < whole.timeline[-1].end
    assert cut.audio.p_fake is not None and cut.audio.p_fake != whole.audio.p_fake
    bare = checked(detector.score(write_media(tmp_path / "bare.mp4", talk.frames, talk.waveform), trim_silence=True))
    assert bare.audio.label == cut.audio.label
    (pooled,) = score_in_processes([file], 1, device="cpu", trim_silence=True)
    assert pooled.timeline[0].audio is None and pooled.timeline[-1].end == cut.timeline[-1].end


@pytest.mark.slow
def test_a_still_image_has_no_number_and_is_never_genuine(detector: Detector, talk: Talk, tmp_path: Path) -> None:
    verdict = checked(detector.score(write_media(tmp_path / "still.mp4", [talk.frames[0]] * 75, talk.waveform)))
    assert "still_video" in verdict.quality
    assert (verdict.video.p_fake, verdict.video.label) == (None, "inconclusive")
    assert verdict.verdict != "genuine"
    assert all(segment.video is None for segment in verdict.timeline)


@pytest.mark.slow
def test_high_dynamic_range_sets_no_label(detector: Detector, talk: Talk, tmp_path: Path) -> None:
    options = {"x264-params": "transfer=smpte2084:colorprim=bt2020:colormatrix=bt2020nc"}
    verdict = checked(detector.score(write_media(tmp_path / "hdr.mp4", talk.frames, talk.waveform, video_options=options)))
    assert "hdr_video" in verdict.quality
    assert verdict.video.label == "inconclusive"
    assert verdict.verdict != "genuine"


@pytest.mark.slow
def test_long_files_are_refused(detector: Detector, talk: Talk, tmp_path: Path) -> None:
    file = write_media(tmp_path / "sound.wav", waveform=np.tile(talk.waveform, 3), audio_codec="pcm_s16le")
    verdict = checked(detector.score(file, max_seconds=4.0))
    assert verdict.status == "error" and verdict.error is not None and "is longer than 4 s" in verdict.error.message
    assert [each.status for each in detector.score_many([file], max_seconds=20.0)] == ["ok"]
