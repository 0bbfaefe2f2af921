"""A student that learns to predict the statistics of a teacher."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from makers import noise_frames
from tiny_clip import SIZES, tiny_clip

from avwitness.detector.efficientnet import EfficientNetLite
from avwitness.detector.training.classifiers import distillation
from avwitness.detector.training.classifiers.clip_conversion import load_clip_encoder
from avwitness.detector.training.classifiers.distillation import (
    DistillationConfig,
    distil,
    load_efficientnet,
    principal_components,
    save_encoder,
)
from avwitness.detector.training.classifiers.distillation_data import teaching_images
from avwitness.detector.video_classifier import with_image_encoder
from avwitness.media.encode import write_media

CONFIG = DistillationConfig(epochs=6, batch=8, rate=3e-3, components=3, stages=(2, 3), bf16=False)


def examples(count: int = 48, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Images of one colour each with a little noise, and statistics that follow from the colour."""
    rng = np.random.default_rng(0)
    colours = rng.uniform(40, 215, (count, 1, 1, 3))
    images = np.clip(colours + rng.normal(0, 4, (count, size, size, 3)), 0, 255).astype(np.uint8)
    return images, (colours[:, 0, 0] @ rng.standard_normal((3, 12))).astype(np.float16)


def encoder() -> EfficientNetLite:
    torch.manual_seed(0)
    return EfficientNetLite()


@pytest.mark.slow
def test_the_student_learns_what_the_teacher_sees() -> None:
    images, statistics = examples()
    _, before = distil(encoder(), images, statistics, DistillationConfig(**{**CONFIG.__dict__, "epochs": 1}))
    trained, after = distil(encoder(), images, statistics, CONFIG)
    assert after < 0.6 * before and not trained.training


@pytest.mark.slow
def test_an_interrupted_run_ends_with_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distillation, "CHECKPOINT_EVERY", 5)
    images, statistics = examples(24)
    config = DistillationConfig(**{**CONFIG.__dict__, "epochs": 4})

    def stop(step: int, steps: int) -> None:
        if step == 10:
            raise KeyboardInterrupt

    whole, error = distil(encoder(), images, statistics, config)
    with pytest.raises(KeyboardInterrupt):
        distil(encoder(), images, statistics, config, tmp_path / "state.pt", stop)
    resumed, again = distil(encoder(), images, statistics, config, tmp_path / "state.pt")
    assert again == pytest.approx(error, rel=1e-4)
    state = resumed.state_dict()
    assert all(torch.allclose(value.float(), state[name].float(), atol=1e-4) for name, value in whole.state_dict().items())


def test_components_are_uncorrelated_and_weak_ones_count_more_than_their_variance() -> None:
    rng = np.random.default_rng(0)
    mixed = (rng.standard_normal((500, 3)) * [10.0, 3.0, 1.0]) @ np.linalg.qr(rng.standard_normal((6, 6)))[0][:3]
    components = principal_components(mixed, 3).numpy()
    correlation = np.corrcoef(components.T)
    assert np.abs(correlation - np.eye(3)).max() < 0.02 and components.std() == pytest.approx(1.0, rel=0.01)
    deviation = np.sort(components.std(axis=0))[::-1]
    x = (mixed - mixed.mean(axis=0)) / mixed.std(axis=0)
    own = np.linalg.svd(x, compute_uv=False)[:3]
    assert deviation[0] / deviation[2] == pytest.approx((own[0] / own[2]) ** 0.5, rel=0.05)


def test_weights_are_read_back_and_other_files_are_refused(tmp_path: Path) -> None:
    made = encoder()
    save_encoder(made, tmp_path / "student")
    again = load_efficientnet(tmp_path / "student").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in made.state_dict().items())
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="holds no weights of EfficientNet-Lite0"):
        load_efficientnet(tmp_path / "other.pth")
    with pytest.raises(FileNotFoundError, match="no such file; give a folder"):
        load_efficientnet(tmp_path / "missing")


@pytest.mark.slow
def test_images_and_statistics_come_from_the_cache(talk_file: Path, tmp_path: Path) -> None:
    tiny_clip(tmp_path / "clip")
    teacher = with_image_encoder(load_clip_encoder(tmp_path / "clip", 2, SIZES), (1,), (2,))
    blank = write_media(tmp_path / "blank.mp4", noise_frames(30))
    calls: list[tuple[int, int]] = []
    images, statistics, failures = teaching_images(
        [blank, talk_file], teacher, 3, 2, tmp_path / "cache", bf16=False, hook=lambda *n: calls.append(n)
    )
    assert images.shape == (5, 224, 224, 3) and images.dtype == np.uint8 and statistics.shape == (5, len(teacher.center))
    assert len(failures) == 1 and "shows no face" in failures[0] and calls[-1] == (2, 2)
    with torch.inference_mode():
        assert np.allclose(teacher.statistics(torch.from_numpy(images)), statistics, atol=2e-2)
    assert (images[3:] != images[:3][:2]).any()
    (file,) = (tmp_path / "cache").glob("teaching-*/*.npz")
    np.savez(file, images=images[:1], statistics=statistics[:1])
    assert len(teaching_images([talk_file], teacher, 3, 2, tmp_path / "cache", bf16=False)[0]) == 1
    with pytest.raises(ValueError, match="none of the 1 clips shows a face"):
        teaching_images([blank], teacher, 3, 2, tmp_path / "cache", bf16=False)
