"""The section on detection, with a random model and a few synthetic clips."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from avwitness.detector.calibration import Calibration
from avwitness.detector.inference.detector import Detector
from avwitness.detector.model import DetectorConfig, DualLabelDetector
from avwitness.detector.training.samples import Sample, frame_labels
from avwitness.detector.verdict import ModelInfo, StreamVerdict, Sync, Verdict, error_verdict
from avwitness.evaluation.metrics import baselines as baseline_metrics
from avwitness.evaluation.metrics import bootstrap as bootstrap_metrics
from avwitness.evaluation.reports.detection import forged_dev, report, wild
from avwitness.evaluation.reports.detection.sync import shifted
from avwitness.media.clip import SAMPLES_PER_FRAME

TINY = {"backbone_options": {"width": 32, "heads": 2, "feed_forward": 48, "visual_widths": [8, 8, 16, 16]}}
FRAMES = 40
KINDS = (  # method, video label, audio label, mismatch, intervals of the forged stream
    ("genuine", 0, 0, 0, []),
    ("lpc", 0, 1, 0, [[0.0, 1.6]]),
    ("self_blend", 1, 0, 0, [[0.0, 1.6]]),
    ("foreign_audio", 0, 0, 1, []),
    ("word_replace_both", 1, 1, 0, [[0.4, 0.8]]),
)
WILD = (  # path, video label, audio label, method
    ("lip2speech/1_gt", 0, 0, "real"),
    ("lip2speech/1_pred", 0, 1, "fastspeech2_av"),
    ("lip2speech/2_gt", 0, 0, "real"),
    ("lip2speech/2_pred", 0, 1, "fastspeech2_av"),
    ("wav2lip_quiz/org__words__hello.nicole1", 0, "", "real"),
    ("wav2lip_quiz/org__words__hi.nicole1", 0, "", "real"),
    ("wav2lip_quiz/lipread_sentences__how_are_you", 1, "", "wav2lip_gan"),
    ("sadtalker/a", 1, 0, "sadtalker"),
    ("sadtalker/b", 1, 0, "sadtalker"),
    ("hdtf/a", 0, 0, "real"),
    ("mcgurk/Ba_Ba", 0, 0, "congruent"),
    ("mcgurk/Ba_Da", 0, 0, "av_mismatch"),
)
FAKES = (("pred",), ("lipread_", "sadtalker"))  # parts of the names of clips with a fake verdict: audio, video
GENUINE = StreamVerdict(True, 0.1, "genuine")


def samples(rng: np.random.Generator) -> Iterator[Sample]:
    for source in range(4):
        for method, video, audio, mismatch, spans in KINDS:
            marked = {stream: bool(label) for stream, label in (("video", video), ("audio", audio))}
            labels = {stream: frame_labels(label, json.dumps(spans), FRAMES) for stream, label in marked.items()}
            yield Sample(
                path=f"clips/{source}-{method}.mp4",
                corpus="grid" if source < 2 else "lrc_ar",
                identity="s1" if source < 2 else f"ar_{source}",
                source=f"source-{source}",
                slot="0",
                methods={stream: method if fake else "genuine" for stream, fake in marked.items()},
                mouth=rng.integers(0, 256, (FRAMES, 96, 96), dtype=np.uint8),
                usable=np.ones(FRAMES, dtype=bool),
                face=rng.integers(0, 256, (FRAMES // 5, 128, 128, 3), dtype=np.uint8),
                waveform=rng.integers(-3000, 3000, FRAMES * SAMPLES_PER_FRAME).astype(np.int16),
                labels=labels,
                mismatch=bool(mismatch),
                lag=0,
            )


def forged(folder: Path) -> None:
    folder.mkdir()
    rows = [
        {
            "path": f"clips/{source}-{method}.mp4",
            "video_label": video,
            "audio_label": audio,
            "method": method,
            "video_intervals": json.dumps(spans if video else []),
            "audio_intervals": json.dumps(spans if audio else []),
        }
        for source in range(4)
        for method, video, audio, _, spans in KINDS
    ]
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)


def verdicts(paths: list[str], *_: object, **__: object) -> Iterator[Verdict]:
    for path in paths:
        if "hdtf" in path:
            yield error_verdict(path, "MediaError", f"{path}: broken")
            continue
        audio, video = (StreamVerdict(True, 0.9, "fake") if any(n in path for n in names) else GENUINE for names in FAKES)
        fake = not audio.label == video.label == "genuine"
        sync = Sync(0.0, 0.8 if "Ba_Da" in path else 0.2)
        yield Verdict(path, "ok", "fake", audio=audio, video=video, sync=sync, quality=("small_face",) if fake else ())


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_the_section_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = DualLabelDetector(DetectorConfig(**TINY)).eval()
    rng = np.random.default_rng(0)
    made = list(samples(rng))
    forged(tmp_path / "forged")
    rows = [(f"wild/{name}.mp4", name.split("/")[0], "wild", "", video, audio, method) for name, video, audio, method in WILD]
    columns = ("path", "corpus", "split", "speaker", "video_label", "audio_label", "method")
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "manifest.csv", index=False)
    measured = {name: float(value) for value, name in enumerate((*wild.AUDIO_BASELINES, "mouth blur"))} | {"native face size": -1.5}
    known = pd.DataFrame([{"path": row[0], **measured} for row in rows])
    known.to_csv(tmp_path / wild.STATISTICS, index=False)
    monkeypatch.setattr(report, "load", lambda *_, **__: Detector(model, ModelInfo("tiny", "0", "abc" * 10), "tiny", "cpu"))
    monkeypatch.setattr(report, "forge_dev", lambda *_: (tmp_path / "forged", ("one could not be read",)))
    monkeypatch.setattr(forged_dev, "load_set", lambda *_: made)
    monkeypatch.setattr(wild, "score_in_processes", verdicts)
    monkeypatch.setattr(report, "speed_section", lambda *_: ["## Speed and size", ""])
    monkeypatch.setattr(bootstrap_metrics, "N_BOOTSTRAP", 8)
    monkeypatch.setattr(baseline_metrics, "N_BOOTSTRAP", 8)
    (tmp_path / report.WILD_EVALUATIONS).write_text('{"other": 3}\n')
    out = tmp_path / "RESULTS.md"
    out.write_text("# Results\n\n<!-- other: begin -->\nkept\n<!-- other: end -->\n")

    (tmp_path / report.CARD).write_text("# Model card\n\n<!-- detection: begin -->\nold\n<!-- detection: end -->\n\n## Limits\n")

    report.write_report(tmp_path, out, "tiny", 1, 0, tmp_path)

    text = out.read_text()
    card = (tmp_path / report.CARD).read_text()
    assert "old" not in card and card.endswith("## Limits\n")
    assert "| AUC, generated speech against all genuine speech | >= 0.99 | 1.000 [1.000, 1.000] | met by 0.010 |" in card
    assert "| video, coarse faces | all | 8 / 12 |" in card
    assert "kept" in text and "<!-- detection: end -->" in text
    assert "evaluated 1 time(s) with these weights and 4 time(s) with any weights" in text
    assert json.loads((tmp_path / report.WILD_EVALUATIONS).read_text()) == {"other": 3, "abc" * 10: 1}
    assert (tmp_path / "reliability.png").stat().st_size > 1000
    assert "20 clips, 4 of them genuine and in sync" in text and "1 could not be made" in text
    assert "## Forged dev clips: coarse faces" in text
    assert "12 files, 1 of them not readable (a.mp4)" in text
    assert "| Wav2Lip within speakers, mean over 1 | 1 / 2 | 1.000 |" in text
    assert "| foreign against own audio (mcgurk) | 1 / 1 | 1.000" in text
    assert "| AUC, generated speech against all genuine speech | >= 0.99 | 1.000 [1.000, 1.000] | met by 0.010 |" in text
    assert "| `lpc` | 4 / 12 |" in text and "| `word_replace_both` | 4 / 12 |" in text
    assert "| audio | 4 / 4 | 0.95 |" in text  # of the timeline
    assert "small_face 2" in text and "`wild/sadtalker/a.mp4` | 0.900 | small_face |" in text
    assert "mcgurk (wild): 2 of 2 clips" in text


def test_shifted_streams() -> None:
    sample = next(samples(np.random.default_rng(0)))
    assert sample.waveform is not None and sample.mouth is not None
    late, early = shifted(sample, 5), shifted(sample, -5)
    assert late.mouth is not None and early.waveform is not None
    assert np.array_equal(late.mouth[0], sample.mouth[5]) and late.waveform is not None and np.array_equal(late.waveform, sample.waveform)
    assert np.array_equal(early.waveform, sample.waveform[5 * SAMPLES_PER_FRAME :]) and early.lag == -5


def test_a_stream_that_is_not_validated_is_left_out_of_the_file_score() -> None:
    table = pd.DataFrame(
        {"audio": [1.0, np.nan], "video": [2.0, 3.0], "audio_label": [0.0, 0.0], "video_label": [0.0, 1.0], "mismatch": [True, False]}
    )
    calibration = Calibration.from_dict({"audio": {"power": 0.5}})
    found = forged_dev.overall(table, calibration)
    assert found["overall"] == pytest.approx(calibration.video.log_odds(np.array([2.0, 3.0])))
    assert np.isnan(found["overall_label"][0]) and found["overall_label"][1] == 1.0
