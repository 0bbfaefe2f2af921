from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from avwitness.detector.examples import audio_example, interval, video_example
from avwitness.detector.export import export
from avwitness.detector.model import DetectorConfig, DualLabelDetector
from avwitness.detector.pipeline import load
from avwitness.detector.prepare import TRAINING_VOICES, Material, derive_mean_face, load_material, prepare
from avwitness.detector.train import Steps, TrainConfig, calibration_rows, group_loss, sync_loss, train
from avwitness.media.encode import write_media
from avwitness.settings import read_settings
from makers import Talk

TINY = {"backbone_options": {"width": 32, "heads": 2, "feed_forward": 48, "visual_widths": [8, 8, 16, 16]}}


@pytest.fixture(scope="module")
def corpus(talk: Talk, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Six clips of six "speakers" with their manifest, prepared."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = []
    for index in range(6):
        begin = 5 * index
        file = write_media(folder / f"{index}.mp4", talk.frames[begin : begin + 40], talk.waveform[begin * 640 : (begin + 40) * 640])
        rows.append(
            {"path": file.name, "file": file, "corpus": "toy", "split": "train", "speaker": f"s{index}", "video_label": 0, "audio_label": 0}
        )
    table = pd.DataFrame(rows)
    table.attrs["cache"] = str(folder / "cache")
    assert prepare(table, table.attrs["cache"], workers=1) == []
    return table


@pytest.fixture(scope="module")
def material(corpus: pd.DataFrame) -> Material:
    found = load_material(corpus.attrs["cache"], "0.mp4")
    assert found is not None
    assert load_material(corpus.attrs["cache"], "never_prepared.mp4") is None
    return found


def config(**changes: object) -> TrainConfig:
    settings = {
        "frames": 20,
        "pairs_both": 2,
        "pairs_audio": 1,
        "pairs_video": 1,
        "pairs_seams": 1,
        "seam_minutes": 0.01,
        "corpora": {"toy": 1.0},
        "held_out": {"toy": 2},
        "model": TINY,
        "threads": 1,
    }
    return TrainConfig(**{**settings, **changes})  # type: ignore[arg-type]


def test_material_holds_every_voice_twice(material: Material) -> None:
    assert material.voices == TRAINING_VOICES == ("world_copy", "world_smooth", "world_convert", "griffin_lim")
    assert material.speech is not None
    assert material.mouth is not None
    assert material.speech.shape[:2] == (2, 1 + len(TRAINING_VOICES))
    assert material.mouth.shape == (40, 96, 96)
    # With and without a codec the same words at the same time: no shift that could become a label.
    for made, coded in zip(*material.speech.astype(float), strict=True):
        lags = range(-40, 41)
        match = [float(made[2000:20000] @ coded[2000 + lag : 20000 + lag]) for lag in lags]
        assert abs(lags[int(np.argmax(match))]) <= 2


def test_the_mean_face_of_a_corpus_is_a_face(corpus: pd.DataFrame) -> None:
    mean = derive_mean_face(corpus.head(2), clips=1)
    assert mean.shape == (478, 3)
    assert np.linalg.norm(mean[263] - mean[33]) == pytest.approx(1.0, abs=1e-4)
    assert mean[152, 1] > mean[14, 1] > mean[1, 1] > 0  # chin below mouth below nose below eyes


def test_preparing_again_does_nothing_and_failures_are_told(corpus: pd.DataFrame, tmp_path: Path) -> None:
    cache = Path(corpus.attrs["cache"])
    times = {f: f.stat().st_mtime_ns for f in cache.iterdir()}
    assert prepare(corpus, cache, workers=1) == []
    assert times == {f: f.stat().st_mtime_ns for f in cache.iterdir()}
    broken = corpus.head(1).assign(file=[tmp_path / "absent.mp4"], path="absent.mp4")
    (failure,) = prepare(broken, tmp_path / "cache", workers=1)
    assert "absent.mp4: no such file" in failure


def test_examples_carry_the_labels_of_what_was_done(material: Material) -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        genuine = video_example(material, material, 0, 30, None, rng)
        forged = video_example(material, material, 0, 30, "self_blend", rng)
        assert genuine.crops.shape == forged.crops.shape == (30, 88, 88)
        assert not genuine.labels.any()
        assert not genuine.seams.any()
        assert forged.labels.any()
        assert (forged.seams.max(axis=(1, 2)) > 0).tolist() == (forged.labels > 0).tolist()
        sound = audio_example(material, -5, 30, "world_copy", rng)
        assert sound.features.shape == (30, 320)
        assert not sound.mask[:5].any()
        assert sound.mask[5:].all()
        assert sound.labels[5:].any()
        assert not audio_example(material, 0, 30, None, rng).labels.any()
    short = video_example(material, material, 30, 20, None, np.random.default_rng(0))
    assert short.mask.tolist() == [True] * 10 + [False] * 10


def test_intervals_stay_inside() -> None:
    rng = np.random.default_rng(0)
    drawn = [interval(20, rng) for _ in range(200)]
    assert all(0 <= begin < end <= 20 for begin, end in drawn)
    assert 0.15 < np.mean([end - begin < 20 for begin, end in drawn]) < 0.45


def test_half_of_every_step_is_fake_and_steps_repeat(corpus: pd.DataFrame, material: Material) -> None:
    steps = Steps({"toy": [material]}, config(pairs_both=4), 0)
    group = steps.step(3)["both"]
    assert (group["video_labels"].amax(dim=1) > 0).float().mean() == 0.5
    assert (group["audio_labels"].amax(dim=1) > 0).float().mean() <= 0.5
    assert all(torch.equal(value, steps.step(3)["both"][key]) for key, value in group.items())


def test_an_absent_stream_is_masked_out_of_the_loss(material: Material) -> None:
    torch.manual_seed(0)
    model = DualLabelDetector(DetectorConfig(**TINY))
    group = Steps({"toy": [material]}, config(), 0).step(0)["audio"]
    losses = group_loss(model(group["audio"], None, group["audio_mask"], None), group, config())
    assert set(losses) == {"audio", "audio_frames", "count"}
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in model.video_head.parameters())
    assert any(p.grad is not None and p.grad.any() for p in model.audio_head.parameters())


def test_sync_loss_rewards_the_right_offset() -> None:
    time, offset = 30, 4
    everything = torch.ones(1, time, dtype=torch.bool)
    group = {"offset": torch.tensor([offset]), "foreign": torch.tensor([False]), "audio_mask": everything, "video_mask": everything}
    right, wrong = torch.zeros(1, time, time), torch.zeros(1, time, time)
    for picture in range(time):
        if picture >= offset:
            right[0, picture - offset, picture] = 1.0  # its sound stands earlier, since the sound was taken later
        if picture + offset < time:
            wrong[0, picture + offset, picture] = 1.0
    good, bad = sync_loss(right, group), sync_loss(wrong, group)
    assert good is not None
    assert bad is not None
    assert good < 0.01 < bad
    assert sync_loss(right, {**group, "foreign": torch.tensor([True])}) is None


def test_a_run_that_was_cut_goes_on_and_what_is_exported_scores(corpus: pd.DataFrame, talk_file: Path, tmp_path: Path) -> None:
    half = config(minutes=0.03)
    train(half, corpus, corpus.attrs["cache"], tmp_path / "run")
    first = torch.load(tmp_path / "run" / "joint.pt", weights_only=True)
    model = train(config(minutes=0.06), corpus, corpus.attrs["cache"], tmp_path / "run")
    second = torch.load(tmp_path / "run" / "joint.pt", weights_only=True)
    assert second["step"] > first["step"] > 0
    assert second["spent"] >= 3.6
    out = export(model, half, corpus, corpus.attrs["cache"], tmp_path / "weights", "toy.yaml")
    verdict = load(out, device="cpu").score(talk_file)
    assert verdict.status in ("ok", "inconclusive")  # two seconds of training may leave every head unproven
    assert verdict.model is not None
    assert verdict.model.name == "weights"


def test_calibration_identities_are_kept_back(corpus: pd.DataFrame) -> None:
    kept = calibration_rows(corpus, config())
    assert kept.sum() == 2
    assert not set(corpus[kept].speaker) & set(corpus[~kept].speaker)


def test_configurations_are_read_and_typing_errors_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("minutes: 5\n")
    assert read_settings(file, TrainConfig).minutes == 5
    file.write_text("minuets: 5\n")
    with pytest.raises(ValueError, match="minuets"):
        read_settings(file, TrainConfig)
    for shipped in (Path(__file__).parents[2] / "configs").glob("detector_*.yaml"):
        read_settings(shipped, TrainConfig)
