from __future__ import annotations

import pytest
import torch
from tiny_clip import SIZES
from tiny_detector import TINY

from avwitness.detector.efficientnet import EfficientNetConfig
from avwitness.detector.model import DetectorConfig, DualLabelDetector
from avwitness.detector.video_classifier import VideoClassifier, VideoClassifierConfig, spread_to_frames, view_of

CONFIG = VideoClassifierConfig(SIZES, (1,), (1, 2))


def made() -> VideoClassifier:
    torch.manual_seed(0)
    classifier = VideoClassifier(CONFIG).eval()
    for parameter in classifier.parameters():
        parameter.data.normal_(0.0, 0.1)
    for buffer in classifier.buffers():
        if buffer.dtype == torch.int8:
            buffer.random_(-127, 127)
        elif buffer.shape[:1] not in ((3,),):
            buffer.fill_(0.01)
    return classifier


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (count, 224, 224, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def test_the_logit_of_a_clip_is_that_of_its_mean_statistics() -> None:
    classifier, portraits = made(), images(3)
    clip, single = classifier(portraits[None])
    statistics = classifier.statistics(portraits)
    assert statistics.shape == (3, sum(size for _, size in CONFIG.parts)) == (3, 4 * SIZES.width)
    assert torch.allclose(clip, classifier.classify(statistics.mean(dim=0, keepdim=True)), atol=1e-4)
    assert torch.allclose(single[0], classifier.classify(statistics), atol=1e-4)
    assert torch.unique(single).numel() == 3


def test_a_frame_has_the_logit_of_the_nearest_portrait() -> None:
    logits, numbers = torch.tensor([[1.0, 2.0]]), torch.tensor([[2, 6]])
    assert spread_to_frames(logits, numbers, 9).tolist() == [[1.0] * 5 + [2.0] * 4]


@torch.inference_mode()
def test_a_detector_with_it_classifies_portraits_and_falls_back_without() -> None:
    torch.manual_seed(0)
    detector = DualLabelDetector(DetectorConfig(backbone_options=TINY, video_classifier=CONFIG.to_dict())).eval()
    assert detector.video_classifier is not None
    detector.video_classifier.load_state_dict(made().state_dict())
    video, numbers = torch.zeros(1, 10, 88, 88), torch.tensor([[1, 5, 8]])
    with_portraits = detector(video=video, portraits=images(3)[None], portrait_numbers=numbers)
    expected = detector.video_classifier(images(3)[None])[0]
    assert torch.allclose(with_portraits.video.clip, expected) and with_portraits.video.frames.shape == (1, 10)
    assert not torch.allclose(detector(video=video).video.clip, expected)


@pytest.mark.parametrize("config", [CONFIG, VideoClassifierConfig(EfficientNetConfig(), (5, 7), (), ("portrait", "mouth"))])
@torch.inference_mode()
def test_every_encoder_gives_the_parts_that_the_configuration_names(config: VideoClassifierConfig) -> None:
    again = VideoClassifierConfig.from_dict(config.to_dict())
    assert again == config
    torch.manual_seed(0)
    statistics = VideoClassifier(again).eval().statistics(images(2))
    assert statistics.shape == (2, sum(size for _, size in config.parts)) and bool(statistics.isfinite().all())


def test_a_configuration_without_network_and_views_is_of_clip_and_whole_portraits() -> None:
    values = {name: value for name, value in CONFIG.to_dict().items() if name not in ("network", "views")}  # as version 0.2 wrote it
    assert VideoClassifierConfig.from_dict(values) == CONFIG


def test_the_view_of_the_mouth_is_enlarged_and_that_of_the_portrait_is_itself() -> None:
    portraits = torch.zeros(1, 224, 224, 3, dtype=torch.uint8)
    portraits[:, 150:175, 90:135, 0] = 200  # where the mouth is
    portraits[:, :100, :, 1] = 200  # above
    assert view_of(portraits, "portrait") is portraits
    mouth = view_of(portraits, "mouth")
    assert mouth.shape == portraits.shape and mouth.dtype == torch.uint8
    assert mouth[0, 112, 112].tolist() == [200, 0, 0] and not mouth[..., 1].any()
    assert (mouth[..., 0] > 100).float().mean() > 2 * (portraits[..., 0] > 100).float().mean()
