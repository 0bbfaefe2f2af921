from __future__ import annotations

from pathlib import Path

import pytest
import torch
from avwitness.detector.model import MAX_OFFSET, DetectorConfig, DualLabelDetector, diagonal_means

SMALL = {"width": 64, "heads": 2, "feed_forward": 96, "visual_widths": (8, 8, 16, 16)}


@pytest.fixture
def model() -> DualLabelDetector:
    torch.manual_seed(0)
    return DualLabelDetector(DetectorConfig(backbone_options=SMALL)).eval()


def streams(batch: int = 2, time: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, time, 320, generator=generator), torch.randint(
        0, 256, (batch, time, 88, 88), generator=generator, dtype=torch.uint8
    )


@torch.no_grad()
def test_each_head_hears_or_sees_only_its_own_stream(model: DualLabelDetector) -> None:
    audio, video = streams()
    both, heard, seen = model(audio, video), model(audio, None), model(None, video)
    assert torch.allclose(both.audio, heard.audio, atol=1e-5)
    assert torch.allclose(both.video, seen.video, atol=1e-5)
    assert heard.video is None
    assert heard.sync is None
    assert seen.audio is None
    assert both.count.shape == (2, 3)
    assert both.audio_frames.shape == both.video_frames.shape == (2, 20)
    assert both.sync.shape == (2, 2 * MAX_OFFSET + 1)
    assert both.seams.shape == (2, 7, 11, 11)


@torch.no_grad()
def test_masked_frames_do_not_testify(model: DualLabelDetector) -> None:
    audio, _ = streams()
    mask = torch.ones(2, 20, dtype=torch.bool)
    mask[:, 12:] = False
    changed = audio.clone()
    changed[:, 12:] = 9.0
    assert torch.allclose(model(audio, None, mask).audio, model(changed, None, mask).audio, atol=1e-5)


def test_diagonal_means_find_the_offset() -> None:
    time, offset = 40, 6
    similarity = torch.zeros(1, time, time)
    for picture in range(time - offset):
        similarity[0, picture + offset, picture] = 1.0  # the sound of picture t is heard at t + 6
    curve = diagonal_means(similarity, torch.ones(1, time, time, dtype=torch.bool))
    assert int(curve.argmax()) - MAX_OFFSET == offset
    assert curve.max() == pytest.approx(1.0)


def test_saved_and_loaded_in_half_precision(model: DualLabelDetector, tmp_path: Path) -> None:
    audio, video = streams()
    with torch.no_grad():
        before = model(audio, video)
        model.half().save_pretrained(tmp_path)
        after = DualLabelDetector.from_pretrained(tmp_path, dtype=torch.float32, local_files_only=True).eval()(audio, video)
    assert torch.allclose(before.audio, after.audio, atol=2e-2)
    assert torch.allclose(before.video, after.video, atol=2e-2)
